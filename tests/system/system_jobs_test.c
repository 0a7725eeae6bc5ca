/* Jobs beyond one client: shared fairly, kept, found again, over restarts. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/support/host.h"

TestSuite(system_jobs, .init = test_set_up, .fini = test_tear_down, .timeout = 120);

static th_job *start(th_adapter *adapter, const char *spec, bool detach) {
  th_job_request request = test_train_request(&test_data, spec);
  request.detach = detach;
  return test_job_start(adapter, &request);
}

Test(system_jobs, a_job_is_canceled_in_any_phase) {
  th_adapter *adapter = test_adapter_open(&test_host, NULL);
  th_job *training = start(adapter, TEST_ENDLESS, false);
  test_job_await(training, TH_PHASE_TRAINING);
  th_job *next = start(adapter, TEST_ENDLESS, false);
  cr_assert_eq(th_job_cancel(next), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_follow(next, NULL, NULL), TH_ERR_CANCELED);
  cr_assert_eq(th_job_cancel(training), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_follow(training, NULL, NULL), TH_ERR_CANCELED);
  cr_assert_not_null(strstr(th_error_text(), "cancel"), "%s", th_error_text());
  cr_assert_eq(th_job_cancel(training), TH_OK, "canceling again is no error");
  th_result result;
  cr_assert_eq(th_job_result(training, &result), TH_ERR_CANCELED);
  th_job_close(training);
  th_job_close(next);
  th_adapter_close(adapter);
}

Test(system_jobs, a_job_that_another_session_follows_can_be_canceled_by_number) {
  th_adapter *follower = test_adapter_open(&test_host, NULL),
             *other = test_adapter_open(&test_host, NULL);
  th_job *job = start(follower, TEST_ENDLESS, false), *theirs;
  test_job_await(job, TH_PHASE_TRAINING);
  cr_assert_eq(th_job_attach(other, th_job_number(job), &theirs), TH_ERR_BUSY);
  cr_assert_eq(th_adapter_cancel(other, th_job_number(job)), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_follow(job, NULL, NULL), TH_ERR_CANCELED);
  cr_assert_eq(th_adapter_cancel(other, 999999), TH_ERR_NOT_FOUND);
  th_job_close(job);
  th_adapter_close(other);
  th_adapter_close(follower);
}

Test(system_jobs, a_result_is_not_there_before_the_end) {
  th_adapter *adapter = test_adapter_open(&test_host, NULL);
  th_job *job = start(adapter, TEST_ENDLESS, false);
  th_result result;
  cr_assert_eq(th_job_result(job, &result), TH_ERR_AGAIN);
  cr_assert_eq(th_job_forget(job), TH_OK, "%s", th_error_text());
  th_job_close(job);
  th_adapter_close(adapter);
}

Test(system_jobs, a_long_job_does_not_hold_up_a_short_one) {
  th_adapter *patient = test_adapter_open(&test_host, NULL),
             *quick = test_adapter_open(&test_host, NULL);
  th_job *endless = start(patient, TEST_ENDLESS, false);
  test_job_await(endless, TH_PHASE_TRAINING);
  th_job *brief = start(quick, "{\"epochs\": 2}", false);
  cr_assert_eq(th_job_follow(brief, NULL, NULL), TH_OK, "%s", th_error_text());
  th_progress progress;
  cr_assert_eq(th_job_progress(endless, &progress), TH_OK);
  cr_assert_eq(progress.phase, TH_PHASE_TRAINING);
  th_job_close(brief);
  th_job_close(endless);
  th_adapter_close(quick);
  th_adapter_close(patient);
}

Test(system_jobs, jobs_and_sessions_are_listed) {
  th_adapter_options options = {.client = "the lister"};
  th_adapter *adapter = test_adapter_open(&test_host, &options);
  th_job *job = start(adapter, "{\"name\": \"example\", \"epochs\": 1000000}", false);
  th_job_info *jobs;
  th_session_info *sessions;
  size_t job_count, session_count;
  cr_assert_eq(th_adapter_jobs(adapter, &jobs, &job_count), TH_OK, "%s", th_error_text());
  cr_assert_eq(job_count, 1);
  cr_assert_str_eq(jobs[0].name, "example");
  cr_assert_eq(jobs[0].progress.job, th_job_number(job));
  cr_assert_eq(jobs[0].kind, TH_JOB_TRAIN);
  cr_assert_eq(jobs[0].uid, geteuid());
  cr_assert_eq(th_adapter_sessions(adapter, &sessions, &session_count), TH_OK);
  cr_assert_eq(session_count, 1);
  cr_assert_eq(sessions[0].pid, getpid());
  cr_assert_eq(sessions[0].jobs, 1);
  cr_assert_eq(sessions[0].session, jobs[0].session);
  cr_assert_eq(sessions[0].received_bytes, 2000 * 16 * 4 + 2000 * 4);
  cr_assert_not_null(strstr(sessions[0].client, "the lister"), "%s", sessions[0].client);
  free(jobs);
  free(sessions);
  th_job_close(job);
  th_adapter_close(adapter);
}

/* How many wait, and know for how long. */
static uint32_t list_queued(th_adapter *adapter, size_t jobs_expected) {
  th_job_info *jobs;
  size_t count;
  cr_assert_eq(th_adapter_jobs(adapter, &jobs, &count), TH_OK, "%s", th_error_text());
  cr_assert_eq(count, jobs_expected);
  uint32_t queued = 0;
  for (size_t i = 0; i < count; i++) {
    if (i > 0) cr_assert_gt(jobs[i].progress.job, jobs[i - 1].progress.job);
    queued += jobs[i].progress.phase == TH_PHASE_QUEUED && jobs[i].progress.queue_position > 0;
  }
  free(jobs);
  return queued;
}

Test(system_jobs, more_jobs_than_fit_one_answer_are_listed) {
  static const char *const arguments[] = {"--jobs-max", "400", "--active-max", "1", NULL};
  test_host_end(&test_host, SIGTERM);
  test_host_restart(&test_host, arguments);
  enum { JOBS = 330, PER_SESSION = 60 };
  th_adapter *adapters[JOBS / PER_SESSION + 1];
  for (int i = 0; i < JOBS; i++) {
    if (i % PER_SESSION == 0) adapters[i / PER_SESSION] = test_adapter_open(&test_host, NULL);
    th_job_close(start(adapters[i / PER_SESSION], TEST_ENDLESS, false));
  }
  /* The scheduler tells positions in its own time. */
  int64_t deadline_ns = th_clock_deadline_ns(10 * TH_NS_PER_S);
  uint32_t queued;
  do queued = list_queued(adapters[0], JOBS);
  while (queued < JOBS - 2 && th_clock_now_ns() < deadline_ns);
  cr_assert_geq(queued, JOBS - 2);
  for (int i = 0; i <= JOBS / PER_SESSION; i++) th_adapter_close(adapters[i]);
}

Test(system_jobs, a_session_that_follows_too_many_is_told_so_and_nothing_is_left_behind) {
  enum { FOLLOWED_MAX = 64 };
  th_adapter *adapter = test_adapter_open(&test_host, NULL);
  for (int i = 0; i < FOLLOWED_MAX; i++) th_job_close(start(adapter, TEST_ENDLESS, false));
  th_job_request request = test_train_request(&test_data, TEST_ENDLESS);
  th_job *job;
  cr_assert_eq(th_job_start(adapter, &request, &job), TH_ERR_BUSY);
  cr_assert_not_null(strstr(th_error_text(), "follows 64 jobs"), "%s", th_error_text());
  th_job_info *jobs;
  size_t count;
  cr_assert_eq(th_adapter_jobs(adapter, &jobs, &count), TH_OK, "%s", th_error_text());
  cr_assert_eq(count, FOLLOWED_MAX);
  free(jobs);
  th_adapter_close(adapter);
}

Test(system_jobs, a_detached_job_goes_on_and_is_found_again) {
  th_adapter *first = test_adapter_open(&test_host, NULL);
  th_job *job = start(first, "{\"epochs\": 20, \"hidden\": [64]}", true);
  uint64_t number = th_job_number(job);
  th_job_close(job);
  th_adapter_close(first);

  th_adapter *second = test_adapter_open(&test_host, NULL);
  cr_assert_eq(th_job_attach(second, number, &job), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_follow(job, NULL, NULL), TH_OK, "%s", th_error_text());
  th_result result;
  cr_assert_eq(th_job_result(job, &result), TH_OK, "%s", th_error_text());
  cr_assert_gt(result.output_bytes, 0);
  cr_assert(!result.is_checkpoint);
  th_result_fini(&result);
  cr_assert_eq(th_job_forget(job), TH_OK);
  th_job_close(job);
  cr_assert_eq(th_job_attach(second, number, &job), TH_ERR_NOT_FOUND);
  th_adapter_close(second);
}

Test(system_jobs, a_result_not_acknowledged_survives_a_restart_and_a_crash) {
  static const int endings[] = {SIGTERM, SIGKILL};
  th_adapter *adapter = test_adapter_open(&test_host, NULL);
  th_job *job = start(adapter, "{\"epochs\": 2}", false);
  cr_assert_eq(th_job_follow(job, NULL, NULL), TH_OK, "%s", th_error_text());
  th_result before, after;
  cr_assert_eq(th_job_result(job, &before), TH_OK, "%s", th_error_text());
  uint64_t number = th_job_number(job);
  th_job_close(job);
  th_adapter_close(adapter);
  for (size_t i = 0; i < 2; i++) {
    test_host_end(&test_host, endings[i]);
    test_host_restart(&test_host, NULL);
    adapter = test_adapter_open(&test_host, NULL);
    cr_assert_eq(th_job_attach(adapter, number, &job), TH_OK, "%s", th_error_text());
    cr_assert_eq(th_job_follow(job, NULL, NULL), TH_OK, "%s", th_error_text());
    cr_assert_eq(th_job_result(job, &after), TH_OK, "%s", th_error_text());
    cr_assert_eq(after.output_bytes, before.output_bytes);
    cr_assert_eq(memcmp(after.output, before.output, before.output_bytes), 0);
    th_result_fini(&after);
    th_job_close(job);
    th_adapter_close(adapter);
  }
  th_result_fini(&before);
}

#define RESUMED "{\"epochs\": 60, \"hidden\": [64, 64], \"dropout\": 0.2, \"seed\": 5}"

Test(system_jobs, a_stop_leaves_a_checkpoint_that_goes_on_to_bitwise_the_same_model) {
  th_adapter *adapter = test_adapter_open(&test_host, NULL);
  th_job_request request = test_train_request(&test_data, RESUMED);
  th_result whole = test_job_run(adapter, &request);
  th_job *job = start(adapter, RESUMED, false);
  test_job_await(job, TH_PHASE_TRAINING);
  uint64_t number = th_job_number(job);
  cr_assert_eq(test_host_end(&test_host, SIGTERM), 0);
  cr_assert_eq(th_job_follow(job, NULL, NULL), TH_ERR_CANCELED, "%s", th_error_text());
  th_job_close(job);
  th_adapter_close(adapter);

  test_host_restart(&test_host, NULL);
  adapter = test_adapter_open(&test_host, NULL);
  th_job_info *jobs;
  size_t count;
  cr_assert_eq(th_adapter_jobs(adapter, &jobs, &count), TH_OK, "%s", th_error_text());
  cr_assert_eq(count, 1);
  cr_assert(jobs[0].is_checkpoint);
  free(jobs);
  th_result checkpoint;
  cr_assert_eq(th_job_attach(adapter, number, &job), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_result(job, &checkpoint), TH_OK, "%s", th_error_text());
  cr_assert(checkpoint.is_checkpoint);
  th_job_close(job);
  request.model = checkpoint.output;
  request.model_bytes = checkpoint.output_bytes;
  th_result resumed = test_job_run(adapter, &request);
  cr_assert_eq(resumed.output_bytes, whole.output_bytes);
  cr_assert_eq(memcmp(resumed.output, whole.output, whole.output_bytes), 0);
  th_result_fini(&whole);
  th_result_fini(&checkpoint);
  th_result_fini(&resumed);
  th_adapter_close(adapter);
}

Test(system_jobs, another_users_job_is_not_there) {
  if (geteuid() != 0) cr_skip_test("needs root to become another user");
  th_adapter *adapter = test_adapter_open(&test_host, NULL);
  th_job *job = start(adapter, TEST_ENDLESS, true);
  uint64_t number = th_job_number(job);
  cr_assert_eq(chmod(test_host.dir, 0755), 0);
  cr_assert_eq(chmod(test_host.socket_path, 0666), 0);
  pid_t child = fork();
  if (child == 0) {
    if (setuid(65534) != 0) _exit(2);
    th_adapter *stranger = test_adapter_open(&test_host, NULL);
    th_job *theirs;
    th_job_info *jobs;
    size_t count = 1;
    bool is_hidden = th_job_attach(stranger, number, &theirs) == TH_ERR_NOT_FOUND &&
                     th_adapter_jobs(stranger, &jobs, &count) == TH_OK && count == 0;
    _exit(is_hidden ? 0 : 1);
  }
  int status;
  cr_assert_eq(waitpid(child, &status, 0), child);
  cr_assert_eq(status, 0);
  cr_assert_eq(th_job_forget(job), TH_OK);
  th_job_close(job);
  th_adapter_close(adapter);
}

Test(system_jobs, a_result_that_the_disk_refuses_is_served_from_memory) {
  test_host_restart_on_small_disk(&test_host);
  th_adapter *adapter = test_adapter_open(&test_host, NULL);
  th_job_request request =
      test_train_request(&test_data, "{\"epochs\": 2, \"hidden\": [256, 128]}");
  th_result result = test_job_run(adapter, &request);
  cr_assert_gt(result.output_bytes, 32 * 1024);
  th_result_fini(&result);
  th_adapter_close(adapter);
  test_host_end_on_small_disk(&test_host);
}

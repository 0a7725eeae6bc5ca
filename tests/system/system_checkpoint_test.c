/* A training that is interrupted, by whatever, goes on from its newest checkpoint. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/job.h"
#include "tests/support/host.h"

TestSuite(system_checkpoint, .init = test_set_up, .fini = test_tear_down, .timeout = 120);

#define NET "\"hidden\": [64, 64], \"dropout\": 0.2, \"seed\": 5"

/* Long enough to be interrupted after the seventh epoch: sanitizers make all of it ten times
 * slower. */
#ifdef __SANITIZE_ADDRESS__
#define SPEC "{" NET ", \"name\": \"example\", \"epochs\": 20, \"checkpoint_epochs\": 3}"
#else
#define SPEC "{" NET ", \"name\": \"example\", \"epochs\": 60, \"checkpoint_epochs\": 3}"
#endif

#define ENDLESS "{" NET ", \"epochs\": 1000000, \"checkpoint_epochs\": 2}"

static th_job *start(th_adapter *adapter, const char *spec, const th_result *model) {
  th_job_request request = test_train_request(&test_data, spec);
  request.detach = th_adapter_mode(adapter) == TH_MODE_HOST;
  if (model != NULL) {
    request.model = model->output;
    request.model_bytes = model->output_bytes;
  }
  return test_job_start(adapter, &request);
}

/* Take events until that one; later ones stay. */
static void await_epoch(th_job *job, uint32_t epoch) {
  th_event event = {0};
  while (event.kind != TH_EVENT_EPOCH || event.epoch < epoch)
    cr_assert_eq(th_job_next(job, &event, 20 * TH_NS_PER_S), TH_OK, "%s", th_error_text());
}

static th_result result_of(th_job *job) {
  th_result result;
  cr_assert_eq(th_job_result(job, &result), TH_OK, "%s", th_error_text());
  return result;
}

static th_result checkpoint_of(th_job *job) {
  th_result result;
  cr_assert_eq(th_job_checkpoint(job, &result), TH_OK, "%s", th_error_text());
  cr_assert(result.is_checkpoint);
  cr_assert_eq(result.kind, TH_JOB_TRAIN);
  cr_assert_gt(result.output_bytes, 0);
  cr_assert_eq(result.card_bytes, 0);
  return result;
}

static void assert_same(const th_result *a, const th_result *b) {
  cr_assert_eq(a->output_bytes, b->output_bytes);
  cr_assert_eq(memcmp(a->output, b->output, a->output_bytes), 0);
}

/* Go on from the checkpoint to the end, which must be that of a training that nothing interrupted.
 */
static void assert_goes_on(th_adapter *adapter, th_result *checkpoint) {
  th_job_request request = test_train_request(&test_data, SPEC);
  th_result whole = test_job_run(adapter, &request);
  request.model = checkpoint->output;
  request.model_bytes = checkpoint->output_bytes;
  th_result resumed = test_job_run(adapter, &request);
  assert_same(&whole, &resumed);
  th_result_fini(&whole);
  th_result_fini(&resumed);
  th_result_fini(checkpoint);
}

static th_job_info only_job(th_adapter *adapter) {
  th_job_info *jobs;
  size_t count;
  cr_assert_eq(th_adapter_jobs(adapter, &jobs, &count), TH_OK, "%s", th_error_text());
  cr_assert_eq(count, 1);
  th_job_info only = jobs[0];
  free(jobs);
  return only;
}

static void kill_and_restart(th_adapter **adapter) {
  test_host_end(&test_host, SIGKILL);
  th_adapter_close(*adapter);
  test_host_restart(&test_host, NULL);
  *adapter = test_adapter_open(&test_host, NULL);
}

static void forget(th_job *job) {
  cr_assert_eq(th_job_forget(job), TH_OK, "%s", th_error_text());
  th_job_close(job);
}

Test(system_checkpoint, a_killed_daemon_leaves_one_that_goes_on_to_bitwise_the_same_model) {
  th_adapter *adapter = test_adapter_open(&test_host, NULL);
  th_job *job = start(adapter, SPEC, NULL);
  uint64_t number = th_job_number(job);
  await_epoch(job, 7);
  th_job_close(job);
  kill_and_restart(&adapter);

  th_job_info found = only_job(adapter);
  cr_assert_eq(found.progress.job, number);
  cr_assert_eq(found.progress.phase, TH_PHASE_CANCELED);
  cr_assert(found.is_checkpoint);
  cr_assert_str_eq(found.name, "example");
  cr_assert_eq(found.uid, geteuid());
  cr_assert_geq(found.progress.epoch, 6);
  cr_assert_eq(found.progress.epoch % 3, 0, "epoch %u", found.progress.epoch);
  cr_assert_eq(th_job_attach(adapter, number, &job), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_follow(job, NULL, NULL), TH_ERR_CANCELED);
  th_result checkpoint = result_of(job);
  cr_assert(checkpoint.is_checkpoint);
  forget(job);
  assert_goes_on(adapter, &checkpoint);
  th_adapter_close(adapter);
}

/* Between two writes, two renames, two files: wherever the kill comes, the newest is whole. */
Test(system_checkpoint, a_daemon_killed_at_any_moment_leaves_a_whole_one) {
  th_adapter *adapter = test_adapter_open(&test_host, NULL);
  th_result newest = {0};
  uint32_t epoch = 0;
  for (long round = 0; round < 6; round++) {
    th_job *job = start(adapter, ENDLESS, epoch == 0 ? NULL : &newest);
    uint64_t number = th_job_number(job);
    await_epoch(job, epoch + 2);
    nanosleep(&(struct timespec){.tv_nsec = round * 1700000}, NULL);
    th_job_close(job);
    kill_and_restart(&adapter);
    th_job_info found = only_job(adapter);
    cr_assert(found.is_checkpoint);
    cr_assert_geq(found.progress.epoch, epoch + 2, "nothing was gained in round %ld", round);
    epoch = found.progress.epoch;
    cr_assert_eq(th_job_attach(adapter, number, &job), TH_OK, "%s", th_error_text());
    th_result_fini(&newest);
    newest = result_of(job);
    forget(job);
  }
  th_result_fini(&newest);
  th_adapter_close(adapter);
}

static void check_running(th_adapter *adapter) {
  th_result checkpoint;
  th_job *without = start(adapter, TEST_ENDLESS, NULL);
  await_epoch(without, 1);
  cr_assert_eq(th_job_checkpoint(without, &checkpoint), TH_ERR_AGAIN, "%s", th_error_text());
  forget(without);
  th_job *job = start(adapter, ENDLESS, NULL);
  await_epoch(job, 2);
  checkpoint = checkpoint_of(job);
  th_progress progress;
  cr_assert_eq(th_job_progress(job, &progress), TH_OK);
  cr_assert_not(th_phase_is_last(progress.phase));
  th_job *second = start(adapter, ENDLESS, &checkpoint);
  test_job_await(second, TH_PHASE_TRAINING);
  cr_assert_eq(th_job_progress(second, &progress), TH_OK);
  cr_assert_geq(progress.epoch, 2, "it began at the beginning");
  th_result_fini(&checkpoint);
  forget(second);
  forget(job);
  th_adapter_close(adapter);
}

Test(system_checkpoint, that_of_a_running_job_can_be_had_once_its_epoch_is_told) {
  check_running(test_adapter_open(&test_host, NULL));
  check_running(test_adapter_open(NULL, NULL));
}

static void check_stop(th_adapter *adapter) {
  th_job *job = start(adapter, SPEC, NULL);
  test_job_await(job, TH_PHASE_TRAINING);
  cr_assert_eq(th_job_stop(job), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_follow(job, NULL, NULL), TH_ERR_CANCELED);
  cr_assert_not_null(strstr(th_error_text(), "checkpoint"), "%s", th_error_text());
  cr_assert_eq(th_job_stop(job), TH_OK, "it is over: %s", th_error_text());
  th_result checkpoint = checkpoint_of(job), result = result_of(job);
  cr_assert(result.is_checkpoint);
  cr_assert(only_job(adapter).is_checkpoint);
  assert_same(&checkpoint, &result);
  th_result_fini(&result);
  forget(job);
  assert_goes_on(adapter, &checkpoint);
  th_adapter_close(adapter);
}

Test(system_checkpoint, a_stopped_job_ends_with_one_that_goes_on_to_bitwise_the_same_model) {
  check_stop(test_adapter_open(&test_host, NULL));
  check_stop(test_adapter_open(NULL, NULL));
}

static void assert_none_left(th_job *job) {
  th_result result;
  cr_assert_eq(th_job_checkpoint(job, &result), TH_ERR_NOT_FOUND, "%s", th_error_text());
  cr_assert_not_null(strstr(th_error_text(), "no checkpoint"), "%s", th_error_text());
}

static void check_gone(th_adapter *adapter) {
  th_result result;
  th_job *done = start(adapter, SPEC, NULL);
  cr_assert_eq(th_job_follow(done, NULL, NULL), TH_OK, "%s", th_error_text());
  assert_none_left(done);
  result = result_of(done);
  cr_assert_not(result.is_checkpoint, "a model took its place");
  th_result_fini(&result);
  forget(done);
  th_job *canceled = start(adapter, ENDLESS, NULL);
  await_epoch(canceled, 2);
  cr_assert_eq(th_job_cancel(canceled), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_follow(canceled, NULL, NULL), TH_ERR_CANCELED);
  assert_none_left(canceled);
  forget(canceled);
  th_job *forgotten = start(adapter, ENDLESS, NULL);
  await_epoch(forgotten, 2);
  cr_assert_eq(th_job_forget(forgotten), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_checkpoint(forgotten, &result), TH_ERR_NOT_FOUND);
  th_job_close(forgotten);
  th_adapter_close(adapter);
}

static uint32_t stored_count(void) {
  char path[128];
  snprintf(path, sizeof path, "%s/state/jobs", test_host.dir);
  DIR *directory = opendir(path);
  cr_assert_not_null(directory);
  uint32_t count = 0;
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
    count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
  closedir(directory);
  return count;
}

Test(system_checkpoint, a_model_a_cancel_or_a_forget_leaves_none) {
  check_gone(test_adapter_open(&test_host, NULL));
  check_gone(test_adapter_open(NULL, NULL));
  cr_assert_eq(test_host_end(&test_host, SIGTERM), 0);
  cr_assert_eq(stored_count(), 0);
}

static uint32_t log_count(const char *words) {
  char line[1024];
  uint32_t count = 0;
  FILE *log = fopen(test_host.log_path, "r");
  cr_assert_not_null(log);
  while (fgets(line, sizeof line, log) != NULL) count += strstr(line, words) != NULL;
  fclose(log);
  return count;
}

Test(system_checkpoint, a_full_disk_is_told_once_and_costs_no_training) {
  test_host_restart_on_small_disk(&test_host);
  th_adapter *adapter = test_adapter_open(&test_host, NULL);
  th_job_request request = test_train_request(&test_data, SPEC);
  th_result result = test_job_run(adapter, &request);
  cr_assert_not(result.is_checkpoint);
  cr_assert_gt(result.output_bytes, 0);
  cr_assert_eq(log_count("no checkpoint of epoch 3: "), 1);
  cr_assert_eq(log_count("no checkpoint of epoch"), 1);
  th_result_fini(&result);
  th_adapter_close(adapter);
  test_host_end_on_small_disk(&test_host);
}

/* Many jobs on one data set, which is sent and held once, in host and in local mode. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/support/host.h"

enum { JOBS = 8, ROWS = 2000, WIDTH = 16 };

#define DATA_BYTES (ROWS * WIDTH * sizeof(float) + ROWS * sizeof(int32_t))
#define SPEC "{\"hidden\": [16], \"epochs\": 4, \"seed\": 11}"

static th_test_host host;
static th_test_data data;

static void setup(void) {
  test_host_start(&host, NULL);
  data = test_data_create(ROWS, WIDTH, 1);
}

static void teardown(void) {
  test_data_free(&data);
  test_host_stop(&host);
}

TestSuite(system_share, .init = setup, .fini = teardown, .timeout = 120);

static th_job *start_owner(th_adapter *adapter, const char *spec) {
  th_job_request request = test_train_request(&data, spec);
  request.keep_data = true;
  return test_job_start(adapter, &request);
}

static th_error start_sharer(th_adapter *adapter, const th_job *owner, th_job **job) {
  const th_job_request request = {.kind = TH_JOB_TRAIN, .spec = SPEC, .data_of = owner};
  return th_job_start(adapter, &request, job);
}

static void assert_model(th_job *job, const th_result *expected) {
  th_result result;
  cr_assert_eq(th_job_follow(job, NULL, NULL), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_result(job, &result), TH_OK, "%s", th_error_text());
  cr_assert_eq(result.output_bytes, expected->output_bytes);
  cr_assert_eq(memcmp(result.output, expected->output, expected->output_bytes), 0,
               "another model than of data of its own");
  th_result_fini(&result);
}

/* By the other side's count. */
static uint64_t received_bytes(th_adapter *adapter) {
  th_session_info *sessions;
  size_t count;
  cr_assert_eq(th_adapter_sessions(adapter, &sessions, &count), TH_OK, "%s", th_error_text());
  cr_assert_eq(count, 1);
  uint64_t bytes = sessions[0].received_bytes;
  free(sessions);
  return bytes;
}

static void share_in(const th_test_host *way) {
  th_adapter *adapter = test_adapter_open(way, NULL);
  th_job_request request = test_train_request(&data, SPEC);
  th_result alone = test_job_run(adapter, &request);
  cr_assert_eq(received_bytes(adapter), DATA_BYTES);
  th_job *jobs[JOBS];
  jobs[0] = start_owner(adapter, SPEC);
  for (int i = 1; i < JOBS; i++)
    cr_assert_eq(start_sharer(adapter, jobs[0], &jobs[i]), TH_OK, "%s", th_error_text());
  for (int i = 0; i < JOBS; i++) assert_model(jobs[i], &alone);
  cr_assert_eq(received_bytes(adapter), 2 * DATA_BYTES, "eight jobs sent more than one data set");
  th_health health;
  cr_assert_eq(th_adapter_health(adapter, &health), TH_OK);
  cr_assert_eq(health.data_bytes, DATA_BYTES, "the one that keeps them holds them");
  cr_assert_eq(th_job_forget(jobs[0]), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_adapter_health(adapter, &health), TH_OK);
  cr_assert_eq(health.data_bytes, 0);
  th_job *late;
  cr_assert_eq(start_sharer(adapter, jobs[0], &late), TH_ERR_NOT_FOUND, "%s", th_error_text());
  for (int i = 0; i < JOBS; i++) th_job_close(jobs[i]);
  th_result_fini(&alone);
  th_adapter_close(adapter);
}

/* ---- in one call ---- */

static th_error start_many(th_adapter *adapter, const char *const *specs, th_job **jobs) {
  th_job_request request = test_train_request(&data, NULL);
  return th_jobs_start(adapter, &request, specs, JOBS, jobs);
}

static void many_in(const th_test_host *way) {
  th_adapter *adapter = test_adapter_open(way, NULL);
  th_job_request request = test_train_request(&data, SPEC);
  th_result alone = test_job_run(adapter, &request);
  const char *const specs[JOBS] = {"{\"epochs\": 1}", SPEC, NULL, SPEC, SPEC, NULL, SPEC, SPEC};
  th_job *jobs[JOBS];
  cr_assert_eq(start_many(adapter, specs, jobs), TH_OK, "%s", th_error_text());
  for (int i = 0; i < JOBS; i++) {
    if (specs[i] != NULL && strcmp(specs[i], SPEC) == 0) assert_model(jobs[i], &alone);
    cr_assert_eq(th_job_follow(jobs[i], NULL, NULL), TH_OK, "%s", th_error_text());
  }
  cr_assert_eq(received_bytes(adapter), 2 * DATA_BYTES, "one call sent more than one data set");
  for (int i = JOBS; i-- > 0;) {
    cr_assert_eq(th_job_forget(jobs[i]), TH_OK, "%s", th_error_text());
    th_job_close(jobs[i]);
  }
  th_health health;
  cr_assert_eq(th_adapter_health(adapter, &health), TH_OK);
  cr_assert_eq(health.data_bytes, 0, "the data outlive the last job");
  th_result_fini(&alone);
  th_adapter_close(adapter);
}

Test(system_share, one_call_starts_eight_jobs_on_one_data_set) {
  many_in(&host);
  many_in(NULL);
}

/* The one that trains holds them until the end of its step. */
static void await_no_data(th_adapter *adapter) {
  th_health health = {.data_bytes = 1};
  for (int tries = 0; health.data_bytes != 0; tries++) {
    cr_assert_lt(tries, 5000, "%lu bytes are still held", (unsigned long)health.data_bytes);
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    cr_assert_eq(th_adapter_health(adapter, &health), TH_OK, "%s", th_error_text());
  }
}

/* The sixth is refused when five are there, one of which would train for ever. */
static void none_in(const th_test_host *way) {
  th_adapter *adapter = test_adapter_open(way, NULL);
  const char *const specs[JOBS] = {SPEC, TEST_ENDLESS, SPEC, SPEC, SPEC, "{\"epoch\": 1}", SPEC};
  th_job *jobs[JOBS];
  th_job_info *listed;
  size_t count;
  cr_assert_eq(start_many(adapter, specs, jobs), TH_ERR_USAGE);
  cr_assert_not_null(strstr(th_error_text(), "job 6 of 8: "), "%s", th_error_text());
  cr_assert_not_null(strstr(th_error_text(), "\"epochs\""), "%s", th_error_text());
  cr_assert_eq(th_adapter_jobs(adapter, &listed, &count), TH_OK, "%s", th_error_text());
  cr_assert_eq(count, 0, "%zu jobs are left", count);
  free(listed);
  await_no_data(adapter);
  th_adapter_close(adapter);
}

Test(system_share, one_call_with_a_wrong_specification_leaves_no_job_and_no_data) {
  none_in(&host);
  none_in(NULL);
}

Test(system_share, one_call_needs_a_count_and_specifications_in_one_place) {
  th_adapter *adapter = test_adapter_open(NULL, NULL);
  th_job_request request = test_train_request(&data, SPEC);
  const char *const specs[] = {SPEC};
  th_job *job;
  cr_assert_eq(th_jobs_start(adapter, &request, specs, 1, &job), TH_ERR_USAGE);
  cr_assert_not_null(strstr(th_error_text(), "spec"), "%s", th_error_text());
  request.spec = NULL;
  cr_assert_eq(th_jobs_start(adapter, &request, specs, 0, &job), TH_ERR_USAGE);
  cr_assert_not_null(strstr(th_error_text(), "count"), "%s", th_error_text());
  th_adapter_close(adapter);
}

Test(system_share, eight_jobs_send_one_data_set_to_the_host) {
  share_in(&host);
}

Test(system_share, eight_jobs_copy_one_data_set_in_local_mode) {
  share_in(NULL);
}

static void outlive_in(const th_test_host *way) {
  th_adapter *adapter = test_adapter_open(way, NULL);
  th_job *owner = start_owner(adapter, TEST_ENDLESS), *sharer;
  test_job_await(owner, TH_PHASE_TRAINING);
  cr_assert_eq(start_sharer(adapter, owner, &sharer), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_cancel(owner), TH_OK);
  cr_assert_eq(th_job_follow(owner, NULL, NULL), TH_ERR_CANCELED);
  cr_assert_eq(th_job_forget(owner), TH_OK);
  cr_assert_eq(th_job_follow(sharer, NULL, NULL), TH_OK, "%s", th_error_text());
  th_job_close(owner);
  th_job_close(sharer);
  th_adapter_close(adapter);
}

Test(system_share, a_job_goes_on_when_the_one_whose_data_it_shares_is_canceled) {
  outlive_in(&host);
  outlive_in(NULL);
}

Test(system_share, a_job_of_another_adapter_shares_nothing) {
  th_adapter *adapter = test_adapter_open(&host, NULL), *other = test_adapter_open(&host, NULL);
  th_job *owner = start_owner(adapter, SPEC), *job;
  cr_assert_eq(start_sharer(other, owner, &job), TH_ERR_USAGE);
  cr_assert_not_null(strstr(th_error_text(), "data_of"), "%s", th_error_text());
  th_job_close(owner);
  th_adapter_close(other);
  th_adapter_close(adapter);
}

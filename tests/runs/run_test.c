#include "runs/run.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "fixture.h"

/* The n-th call from now on fails, counted over both; 0: none does. */
static int fails_at;

static bool call_fails(void) {
  return fails_at > 0 && --fails_at == 0;
}

void *__real_calloc(size_t count, size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes) {
  errno = ENOMEM;
  return call_fails() ? NULL : __real_calloc(count, bytes);
}

void *__real_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset) {
  errno = ENOMEM;
  return call_fails() ? MAP_FAILED : __real_mmap(at, bytes, protection, flags, fd, offset);
}

/* ten rows of four features, to train */
static th_run_request small_request(void) {
  return (th_run_request){.kind = TH_JOB_TRAIN,
                          .rows = 10,
                          .width = 4,
                          .array_bytes = {[TH_ARRAY_FEATURES] = 160, [TH_ARRAY_LABELS] = 40}};
}

static th_error create_and_destroy(const th_run_request *request) {
  th_run *run = NULL;
  th_error error = th_run_create(7, request, cpu(), NULL, NULL, &run);
  cr_assert_eq(run == NULL, error != TH_OK);
  th_run_destroy(run);
  return error;
}

static void assert_refused(const th_run_request *request, th_error wanted, const char *word) {
  th_error error = create_and_destroy(request);
  cr_assert_eq(error, wanted, "%s: %s", th_error_name(error), th_error_text());
  cr_assert_not_null(strstr(th_error_text(), word), "\"%s\" is not in \"%s\"", word,
                     th_error_text());
}

Test(run, destroy_takes_null) {
  th_run_destroy(NULL);
}

Test(run, create_refuses_data_of_no_size) {
  th_run_request request = small_request();
  request.rows = 0;
  assert_refused(&request, TH_ERR_DATA, "no rows");
  request = small_request();
  request.width = 0;
  assert_refused(&request, TH_ERR_DATA, "no features");
}

Test(run, create_refuses_sizes_that_overflow) {
  th_run_request request = small_request();
  request.rows = UINT64_MAX;
  request.width = UINT32_MAX;
  assert_refused(&request, TH_ERR_DATA, "counted");
  /* 2^62 rows of one feature are 2^64 bytes, which would wrap to none. */
  request = small_request();
  request.rows = UINT64_C(1) << 62;
  request.width = 1;
  request.array_bytes[TH_ARRAY_FEATURES] = 0;
  assert_refused(&request, TH_ERR_DATA, "counted");
  request = small_request();
  request.array_bytes[TH_ARRAY_MODEL] = UINT64_MAX;
  assert_refused(&request, TH_ERR_DATA, "counted");
}

Test(run, create_names_the_bytes_that_the_system_refuses) {
  th_run_request request = small_request();
  request.array_bytes[TH_ARRAY_MODEL] = UINT64_C(1) << 62;
  assert_refused(&request, TH_ERR_SYSTEM, "4611686018427387904 bytes for the model of job 7");
}

Test(run, create_refuses_arrays_that_do_not_fit_the_rows) {
  for (int array = TH_ARRAY_FEATURES; array <= TH_ARRAY_LABELS; array++) {
    for (int off = -1; off <= 1; off += 2) {
      th_run_request request = small_request();
      request.array_bytes[array] += (uint64_t)off;
      assert_refused(&request, TH_ERR_DATA, array == TH_ARRAY_FEATURES ? "features" : "labels");
    }
    th_run_request request = small_request();
    request.array_bytes[array] = 0;
    assert_refused(&request, TH_ERR_DATA, "missing");
  }
}

Test(run, create_wants_the_arrays_of_its_kind) {
  th_run_request request = small_request();
  request.kind = TH_JOB_EVALUATE;
  assert_refused(&request, TH_ERR_DATA, "model");
  request.kind = TH_JOB_PREDICT;
  assert_refused(&request, TH_ERR_DATA, "no labels");
  request.array_bytes[TH_ARRAY_LABELS] = 0;
  assert_refused(&request, TH_ERR_DATA, "model");
  request.array_bytes[TH_ARRAY_MODEL] = 8;
  cr_assert_eq(create_and_destroy(&request), TH_OK, "%s", th_error_text());
}

/* Two targets a row instead of labels, and the arrays that may be left out. */
static th_run_request full_request(void) {
  th_run_request request = small_request();
  request.target_width = 2;
  request.array_bytes[TH_ARRAY_LABELS] = 0;
  request.array_bytes[TH_ARRAY_TARGETS] = 80;
  request.array_bytes[TH_ARRAY_WEIGHTS] = 40;
  request.array_bytes[TH_ARRAY_GROUPS] = 40;
  return request;
}

Test(run, create_takes_targets_weights_and_groups_that_fit) {
  th_run_request request = full_request();
  cr_assert_eq(create_and_destroy(&request), TH_OK, "%s", th_error_text());
  for (int array = TH_ARRAY_TARGETS; array <= TH_ARRAY_GROUPS; array++)
    for (int off = -1; off <= 1; off += 2) {
      request = full_request();
      request.array_bytes[array] += (uint64_t)off;
      assert_refused(&request, TH_ERR_DATA, th_array_name((th_array)array));
    }
  request = full_request();
  request.target_width = UINT32_MAX;
  assert_refused(&request, TH_ERR_DATA, "targets");
  request.rows = UINT64_C(1) << 30;
  request.array_bytes[TH_ARRAY_FEATURES] = UINT64_C(1) << 34;
  assert_refused(&request, TH_ERR_DATA, "targets");
}

Test(run, create_wants_labels_or_targets_and_not_both) {
  th_run_request request = full_request();
  request.array_bytes[TH_ARRAY_LABELS] = 40;
  assert_refused(&request, TH_ERR_DATA, "both");
  request = full_request();
  request.target_width = 0;
  assert_refused(&request, TH_ERR_DATA, "target_width");
  request = small_request();
  request.target_width = 1;
  assert_refused(&request, TH_ERR_DATA, "target_width is 1, and targets are not sent");
  request = small_request();
  request.array_bytes[TH_ARRAY_LABELS] = 0;
  assert_refused(&request, TH_ERR_DATA, "labels and targets are both missing");
}

Test(run, a_prediction_takes_groups_and_nothing_to_compare_with) {
  th_run_request request = small_request();
  request.kind = TH_JOB_PREDICT;
  request.array_bytes[TH_ARRAY_LABELS] = 0;
  request.array_bytes[TH_ARRAY_GROUPS] = 40;
  request.array_bytes[TH_ARRAY_MODEL] = 8;
  cr_assert_eq(create_and_destroy(&request), TH_OK, "%s", th_error_text());
  request.array_bytes[TH_ARRAY_WEIGHTS] = 40;
  assert_refused(&request, TH_ERR_DATA, "no weights");
  request.array_bytes[TH_ARRAY_WEIGHTS] = 0;
  request.target_width = 1;
  assert_refused(&request, TH_ERR_DATA, "target_width");
  request.array_bytes[TH_ARRAY_TARGETS] = 40;
  assert_refused(&request, TH_ERR_DATA, "no targets");
}

Test(run, create_refuses_an_unknown_kind) {
  const int kinds[] = {0, -1, 4, INT32_MAX};
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    th_run_request request = small_request();
    request.kind = (th_job_kind)kinds[i];
    assert_refused(&request, TH_ERR_USAGE, "kind");
  }
}

Test(run, create_refuses_a_wrong_specification) {
  th_run_request request = small_request();
  request.spec = "{\"epoch\": 3}";
  request.spec_bytes = strlen(request.spec);
  assert_refused(&request, TH_ERR_USAGE, "epochs");
}

Test(run, create_fails_cleanly_at_every_allocation) {
  th_run_request request = small_request();
  int failures = 0;
  for (int n = 1; failures == n - 1; n++) {
    fails_at = n;
    th_error error = create_and_destroy(&request);
    fails_at = 0;
    if (error == TH_OK) break;
    cr_assert_eq(error, TH_ERR_SYSTEM, "call %d: %s", n, th_error_text());
    failures = n;
  }
  /* The run, its history, two arrays. */
  cr_assert_geq(failures, 4);
}

Test(run, begins_with_nothing_known) {
  th_run_request request = small_request();
  request.spec = "{\"epochs\": 3, \"name\": \"iris\"}";
  request.spec_bytes = strlen(request.spec);
  th_run *run;
  cr_assert_eq(th_run_create(7, &request, cpu(), NULL, NULL, &run), TH_OK);
  th_progress progress;
  th_run_progress(run, &progress);
  cr_assert_eq(progress.job, 7);
  cr_assert_eq(progress.phase, TH_PHASE_RECEIVING);
  cr_assert_eq(progress.expected_bytes, 200);
  cr_assert_eq(progress.received_bytes, 0);
  cr_assert_eq(progress.epochs, 3);
  cr_assert(progress.loss != progress.loss, "a loss before there is one");
  cr_assert(progress.eta_seconds != progress.eta_seconds);
  cr_assert_eq(th_run_phases(run), 1U << TH_PHASE_RECEIVING);
  cr_assert_eq(th_run_bytes(run), 200);
  cr_assert_str_eq(th_run_name(run), "iris");
  th_epoch epoch;
  cr_assert_eq(th_run_epoch_after(run, 0, &epoch), TH_ERR_AGAIN);
  th_run_destroy(run);
}

Test(run, receives_in_order_and_nothing_else) {
  th_run_request request = small_request();
  const unsigned char bytes[200] = {0};
  th_run *run;
  cr_assert_eq(th_run_create(7, &request, cpu(), NULL, NULL, &run), TH_OK);
  cr_assert_eq(th_run_receive(run, TH_ARRAY_FEATURES, 0, bytes, 100), TH_OK);
  cr_assert_eq(th_run_receive(run, TH_ARRAY_FEATURES, 0, bytes, 100), TH_ERR_PROTOCOL);
  cr_assert_eq(th_run_receive(run, TH_ARRAY_FEATURES, 101, bytes, 1), TH_ERR_PROTOCOL);
  cr_assert_eq(th_run_receive(run, TH_ARRAY_FEATURES, 100, bytes, 61), TH_ERR_PROTOCOL);
  cr_assert_eq(th_run_receive(run, TH_ARRAY_FEATURES, 100, bytes, SIZE_MAX), TH_ERR_PROTOCOL);
  cr_assert_eq(th_run_receive(run, TH_ARRAY_FEATURES, UINT64_MAX, bytes, 2), TH_ERR_PROTOCOL);
  cr_assert_eq(th_run_receive(run, TH_ARRAY_MODEL, 0, bytes, 1), TH_ERR_PROTOCOL);
  cr_assert_eq(th_run_receive(run, (th_array)TH_ARRAY_COUNT, 0, bytes, 1), TH_ERR_PROTOCOL);
  cr_assert_eq(th_run_receive(run, (th_array)-1, 0, bytes, 1), TH_ERR_PROTOCOL);
  cr_assert_eq(th_run_receive(run, TH_ARRAY_LABELS, 0, bytes, 40), TH_OK);
  cr_assert_not(th_run_is_received(run));
  cr_assert_eq(th_run_receive(run, TH_ARRAY_FEATURES, 100, bytes, 60), TH_OK);
  cr_assert(th_run_is_received(run));
  th_progress progress;
  th_run_progress(run, &progress);
  cr_assert_eq(progress.received_bytes, 200);
  th_run_destroy(run);
}

Test(run, canceled_while_it_receives_is_over_at_once) {
  struct witness witness;
  witness_init(&witness);
  th_run_request request = small_request();
  const unsigned char bytes[200] = {0};
  th_run *run;
  cr_assert_eq(th_run_create(7, &request, cpu(), witness_observe, &witness, &run), TH_OK);
  cr_assert_eq(th_run_receive(run, TH_ARRAY_FEATURES, 0, bytes, 100), TH_OK);
  th_run_cancel(run);
  cr_assert(th_run_is_over(run));
  th_run_cancel(run);
  cr_assert_eq(witness.calls, 1);
  cr_assert_eq(witness.newest.phase, TH_PHASE_CANCELED);
  cr_assert_eq(witness.newest.error, TH_ERR_CANCELED);
  cr_assert_eq(th_run_bytes(run), 0);
  cr_assert_eq(th_run_outcome(run)->error, TH_ERR_CANCELED);
  cr_assert_str_eq(th_run_outcome(run)->text, "job 7 was canceled at epoch 0, step 0");
  /* Its bytes were on their way. */
  cr_assert_eq(th_run_receive(run, TH_ARRAY_FEATURES, 100, bytes, 60), TH_OK);
  cr_assert_not(th_run_is_received(run));
  th_run_destroy(run);
}

/* Runs that share the data of another. */
#include <criterion/criterion.h>
#include <string.h>

#include "fixture.h"

#define SPEC "{\"hidden\": [8], \"epochs\": 3, \"seed\": 5}"

static struct set set;

static void setup(void) {
  set_fill(&set);
}

TestSuite(data, .init = setup);

static th_run_request own_request(void) {
  return (th_run_request){
      .kind = TH_JOB_TRAIN,
      .spec = SPEC,
      .spec_bytes = strlen(SPEC),
      .rows = SET_ROWS,
      .width = SET_WIDTH,
      .array_bytes = {
          [TH_ARRAY_FEATURES] = sizeof set.features, [TH_ARRAY_LABELS] = sizeof set.labels}};
}

static th_run_request sharing_request(th_run *other) {
  return (th_run_request){
      .kind = TH_JOB_TRAIN, .spec = SPEC, .spec_bytes = strlen(SPEC), .data_of = other};
}

static th_run *create(uint64_t job, const th_run_request *request, struct witness *witness) {
  th_run *run;
  th_run_observer *observer = witness != NULL ? witness_observe : NULL;
  cr_assert_eq(th_run_create(job, request, cpu(), observer, witness, &run), TH_OK, "%s",
               th_error_text());
  return run;
}

static void receive_all(th_run *run) {
  cr_assert_eq(th_run_receive(run, TH_ARRAY_FEATURES, 0, set.features, sizeof set.features), TH_OK);
  cr_assert_eq(th_run_receive(run, TH_ARRAY_LABELS, 0, set.labels, sizeof set.labels), TH_OK);
}

static void assert_refused(const th_run_request *request, th_error wanted, const char *word) {
  th_run *run;
  cr_assert_eq(th_run_create(9, request, cpu(), NULL, NULL, &run), wanted, "%s", th_error_text());
  cr_assert_not_null(strstr(th_error_text(), word), "%s", th_error_text());
}

Test(data, shared_ones_are_whole_when_the_others_are) {
  th_run_request request = own_request();
  th_run *owner = create(1, &request, NULL);
  request = sharing_request(owner);
  th_run *sharer = create(2, &request, NULL);
  cr_assert_not(th_run_is_received(sharer));
  cr_assert_eq(th_run_receive(sharer, TH_ARRAY_FEATURES, 0, set.features, 4), TH_ERR_PROTOCOL,
               "the owner's bytes come from the owner");
  receive_all(owner);
  cr_assert(th_run_is_received(owner));
  cr_assert(th_run_is_received(sharer));
  cr_assert_not(th_run_is_lost(sharer));
  th_run_destroy(owner);
  cr_assert(th_run_is_received(sharer), "whole data are kept by whoever holds them");
  th_run_destroy(sharer);
}

Test(data, shared_ones_count_once) {
  const uint64_t all = sizeof set.features + sizeof set.labels;
  th_run_request request = own_request();
  th_run *owner = create(1, &request, NULL);
  request = sharing_request(owner);
  th_run *first = create(2, &request, NULL), *second = create(3, &request, NULL);
  uint64_t held = th_run_bytes(owner) + th_run_bytes(first) + th_run_bytes(second);
  cr_assert(held >= all && held < all + 3, "%lu of %lu bytes", held, all);
  th_run_destroy(owner);
  th_run_destroy(first);
  cr_assert_eq(th_run_bytes(second), all);
  th_run_destroy(second);
}

/* Every array but the model, and no labels. */
static th_run_request full_request(void) {
  th_run_request request = own_request();
  request.target_width = 1;
  for (int array = TH_ARRAY_LABELS; array < TH_ARRAY_DATA_COUNT; array++)
    request.array_bytes[array] = array == TH_ARRAY_LABELS ? 0 : SET_ROWS * 4;
  return request;
}

Test(data, all_arrays_but_the_model_are_shared) {
  static const float ones[SET_ROWS];
  th_run_request request = full_request();
  const uint64_t all = sizeof set.features + 3 * sizeof ones;
  th_run *owner = create(1, &request, NULL);
  request = sharing_request(owner);
  th_run *sharer = create(2, &request, NULL);
  cr_assert_eq(th_run_bytes(owner) + th_run_bytes(sharer), all);
  cr_assert_eq(th_run_receive(owner, TH_ARRAY_FEATURES, 0, set.features, sizeof set.features),
               TH_OK);
  for (int array = TH_ARRAY_TARGETS; array <= TH_ARRAY_GROUPS; array++) {
    cr_assert_not(th_run_is_received(sharer), "without %s", th_array_name((th_array)array));
    cr_assert_eq(th_run_receive(owner, (th_array)array, 0, ones, sizeof ones), TH_OK);
  }
  cr_assert(th_run_is_received(sharer));
  for (int array = TH_ARRAY_FEATURES; array < TH_ARRAY_DATA_COUNT; array++) {
    request = sharing_request(owner);
    request.array_bytes[array] = 4;
    assert_refused(&request, TH_ERR_DATA, th_array_name((th_array)array));
  }
  request = sharing_request(owner);
  request.target_width = 2;
  assert_refused(&request, TH_ERR_DATA, "2 targets");
  th_run_destroy(sharer);
  th_run_destroy(owner);
}

Test(data, a_request_that_does_not_fit_them_is_refused) {
  th_run_request request = own_request();
  th_run *owner = create(1, &request, NULL);
  request = sharing_request(owner);
  request.rows = SET_ROWS + 1;
  assert_refused(&request, TH_ERR_DATA, "257 rows");
  request = sharing_request(owner);
  request.width = UINT32_MAX;
  assert_refused(&request, TH_ERR_DATA, "rows of 4294967295");
  request = sharing_request(owner);
  request.array_bytes[TH_ARRAY_LABELS] = 4;
  assert_refused(&request, TH_ERR_DATA, "leave them out");
  request = sharing_request(owner);
  request.kind = TH_JOB_PREDICT;
  assert_refused(&request, TH_ERR_DATA, "model");
  request.array_bytes[TH_ARRAY_MODEL] = UINT64_MAX;
  assert_refused(&request, TH_ERR_SYSTEM, "model");
  cr_assert_eq(th_run_bytes(owner), sizeof set.features + sizeof set.labels,
               "a refusal holds the data still");
  th_run_destroy(owner);
}

Test(data, without_labels_none_can_train_on_them) {
  th_run_request request = own_request();
  request.kind = TH_JOB_PREDICT;
  request.array_bytes[TH_ARRAY_LABELS] = 0;
  request.array_bytes[TH_ARRAY_MODEL] = 8;
  th_run *owner = create(1, &request, NULL);
  request = sharing_request(owner);
  assert_refused(&request, TH_ERR_DATA, "no labels");
  th_run_destroy(owner);
}

Test(data, of_a_job_that_is_over_are_gone) {
  th_run_request request = own_request();
  th_run *owner = create(1, &request, NULL);
  receive_all(owner);
  th_run_cancel(owner);
  request = sharing_request(owner);
  assert_refused(&request, TH_ERR_NOT_FOUND, "job 1 are gone");
  th_run_destroy(owner);
}

Test(data, that_a_job_keeps_can_be_shared_when_it_is_over) {
  th_run_request request = own_request();
  request.keeps_data = true;
  th_run *owner = create(1, &request, NULL);
  receive_all(owner);
  th_run_cancel(owner);
  request = sharing_request(owner);
  th_run *sharer = create(2, &request, NULL);
  cr_assert(th_run_is_received(sharer));
  th_run_destroy(sharer);
  th_run_drop_data(owner);
  cr_assert_eq(th_run_bytes(owner), 0);
  assert_refused(&request, TH_ERR_NOT_FOUND, "gone");
  th_run_destroy(owner);
}

Test(data, lost_on_their_way_fail_the_run_that_waits_for_them) {
  struct witness witness;
  witness_init(&witness);
  th_run_request request = own_request();
  request.keeps_data = true;
  th_run *owner = create(1, &request, NULL);
  request = sharing_request(owner);
  th_run *sharer = create(2, &request, &witness);
  cr_assert_eq(th_run_receive(owner, TH_ARRAY_LABELS, 0, set.labels, sizeof set.labels), TH_OK);
  th_run_cancel(owner);
  cr_assert_eq(th_run_outcome(owner)->error, TH_ERR_CANCELED);
  cr_assert_eq(th_run_bytes(owner), 0, "what is not whole is not worth keeping");
  cr_assert_not(th_run_is_received(sharer));
  cr_assert(th_run_is_lost(sharer));
  th_run_cancel(sharer);
  cr_assert_eq(th_run_outcome(sharer)->error, TH_ERR_DATA);
  cr_assert_not_null(strstr(th_run_outcome(sharer)->text, "data of its own"));
  cr_assert_eq(witness.newest.phase, TH_PHASE_FAILED);
  cr_assert_eq(th_run_bytes(sharer), 0);
  th_run_destroy(sharer);
  th_run_destroy(owner);
}

Test(data, shared_ones_train_to_the_same_model_as_ones_own) {
  th_buffer alone = model_train(SPEC, &set, 2);
  enum { SHARERS = 4 };
  struct witness witnesses[SHARERS];
  th_run *runs[SHARERS];
  th_scheduler *scheduler;
  cr_assert_eq(th_scheduler_create(2, 2, 3, &scheduler), TH_OK);
  th_run_request request = own_request();
  th_run *owner = create(1, &request, NULL);
  request = sharing_request(owner);
  for (int i = 0; i < SHARERS; i++) {
    witness_init(&witnesses[i]);
    runs[i] = create(2 + (uint64_t)i, &request, &witnesses[i]);
  }
  receive_all(owner);
  th_run_destroy(owner);
  for (int i = 0; i < SHARERS; i++) th_scheduler_add(scheduler, runs[i], 0);
  for (int i = 0; i < SHARERS; i++) {
    witness_wait_over(&witnesses[i]);
    const th_outcome *outcome = th_run_outcome(runs[i]);
    cr_assert_eq(outcome->error, TH_OK, "%s", outcome->text);
    cr_assert_eq(outcome->output.bytes, alone.bytes);
    cr_assert_eq(memcmp(outcome->output.data, alone.data, alone.bytes), 0);
    cr_assert_eq(th_run_bytes(runs[i]), 0);
  }
  th_scheduler_destroy(scheduler);
  for (int i = 0; i < SHARERS; i++) th_run_destroy(runs[i]);
  th_buffer_fini(&alone);
}

Test(data, a_prediction_shares_data_and_leaves_their_labels) {
  th_buffer model = model_train(SPEC, &set, 1);
  struct witness witness;
  witness_init(&witness);
  th_scheduler *scheduler;
  cr_assert_eq(th_scheduler_create(1, 1, 1, &scheduler), TH_OK);
  th_run_request request = own_request();
  th_run *owner = create(1, &request, NULL);
  request = sharing_request(owner);
  request.kind = TH_JOB_PREDICT;
  request.array_bytes[TH_ARRAY_MODEL] = model.bytes;
  th_run *run = create(2, &request, &witness);
  cr_assert_eq(th_run_receive(run, TH_ARRAY_MODEL, 0, model.data, model.bytes), TH_OK);
  cr_assert_not(th_run_is_received(run));
  receive_all(owner);
  cr_assert(th_run_is_received(run));
  th_scheduler_add(scheduler, run, 0);
  witness_wait_over(&witness);
  cr_assert_eq(th_run_outcome(run)->error, TH_OK, "%s", th_run_outcome(run)->text);
  cr_assert_gt(th_run_outcome(run)->output.bytes, 0);
  th_scheduler_destroy(scheduler);
  th_run_destroy(run);
  th_run_destroy(owner);
  th_buffer_fini(&model);
}

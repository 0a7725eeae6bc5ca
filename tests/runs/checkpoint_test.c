/* A training saves itself as it goes, and ends with a checkpoint when it is stopped. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "fixture.h"

#define FIELDS "\"hidden\": [12], \"epochs\": 7, \"validation_split\": 0.25, \"dropout\": 0.1"
#define SPEC "{" FIELDS ", \"checkpoint_epochs\": 2}"
#define ENDLESS "{\"hidden\": [12], \"epochs\": 1000000, \"checkpoint_epochs\": 1}"

static struct set data;
static bool has_no_memory; /* for checkpoints */

th_error __real_th_trainer_checkpoint(const th_trainer *trainer, th_buffer *checkpoint);
th_error __wrap_th_trainer_checkpoint(const th_trainer *trainer, th_buffer *checkpoint);
th_error __wrap_th_trainer_checkpoint(const th_trainer *trainer, th_buffer *checkpoint) {
  if (has_no_memory) return th_fail(TH_ERR_SYSTEM, "no memory for a checkpoint");
  return __real_th_trainer_checkpoint(trainer, checkpoint);
}

static void setup(void) {
  set_fill(&data);
}

TestSuite(run_checkpoint, .init = setup, .timeout = 120);

enum { SAVED_MAX = 8 };

/* What the saver was given. */
struct saved {
  th_buffer checkpoints[SAVED_MAX];
  th_progress ends[SAVED_MAX];
  uint32_t count;
  uint32_t told_too_early; /* epochs that the observer knew of before they were safe */
};

static void keep(void *user, th_run *run, th_outcome *outcome, const th_progress *end) {
  struct witness *witness = user;
  struct saved *saved = witness->act_user;
  th_epoch epoch;
  cr_assert_lt(saved->count, SAVED_MAX);
  cr_assert(outcome->is_checkpoint, "%s", outcome->text);
  cr_assert_eq(outcome->error, TH_ERR_CANCELED);
  cr_assert_not_null(strstr(outcome->text, "was stopped at epoch"), "%s", outcome->text);
  if (th_run_epoch_after(run, end->epoch - 1, &epoch) == TH_OK) saved->told_too_early++;
  saved->ends[saved->count] = *end;
  saved->checkpoints[saved->count++] = outcome->output;
  outcome->output = (th_buffer){0};
}

/* Train to the end. @return the model, which is the run's. */
static const th_buffer *run_train(th_run *run, struct witness *witness) {
  th_scheduler *scheduler;
  cr_assert_eq(th_scheduler_create(2, 2, 1, &scheduler), TH_OK, "%s", th_error_text());
  th_scheduler_add(scheduler, run, 0);
  witness_wait_over(witness);
  th_scheduler_destroy(scheduler);
  cr_assert_eq(th_run_outcome(run)->error, TH_OK, "%s", th_run_outcome(run)->text);
  return &th_run_outcome(run)->output;
}

static bool is_same_bytes(const th_buffer *a, const th_buffer *b) {
  return a->bytes == b->bytes && memcmp(a->data, b->data, a->bytes) == 0;
}

Test(run_checkpoint, is_taken_on_the_beat_before_its_epoch_is_told_and_leads_to_the_same_model) {
  static const uint32_t epochs[] = {2, 4, 6};
  struct saved saved = {.count = 0};
  struct witness witness, second;
  witness_init(&witness);
  witness_init(&second);
  witness.act_user = &saved;
  witness.saver = keep;
  th_run *run = run_make(5, TH_JOB_TRAIN, SPEC, &data, NULL, &witness);
  const th_buffer *whole = run_train(run, &witness);
  cr_assert_eq(saved.count, 3);
  cr_assert_eq(saved.told_too_early, 0);
  cr_assert_eq(witness.fraction_lost, 0);
  for (uint32_t i = 0; i < saved.count; i++) {
    const th_progress *end = &saved.ends[i];
    cr_assert_eq(end->epoch, epochs[i]);
    cr_assert_eq(end->job, 5);
    cr_assert_eq(end->phase, TH_PHASE_CANCELED);
    cr_assert_eq(end->error, TH_ERR_CANCELED);
    cr_assert(isfinite(end->validation_loss), "of this epoch, and not of one before the first");
    th_run *resumed = run_make(6, TH_JOB_TRAIN, SPEC, &data, &saved.checkpoints[i], &second);
    cr_assert(is_same_bytes(run_train(resumed, &second), whole), "from epoch %u", epochs[i]);
    th_run_destroy(resumed);
    witness_init(&second);
    th_buffer_fini(&saved.checkpoints[i]);
  }
  th_run_destroy(run);
}

Test(run_checkpoint, is_not_taken_where_nobody_saves_it_and_every_epoch_is_told_all_the_same) {
  struct witness witness;
  witness_init(&witness);
  th_run *run = run_make(1, TH_JOB_TRAIN, SPEC, &data, NULL, &witness);
  (void)run_train(run, &witness);
  for (uint32_t epoch = 0; epoch < 7; epoch++) {
    th_epoch next;
    cr_assert_eq(th_run_epoch_after(run, epoch, &next), TH_OK);
    cr_assert_eq(next.epoch, epoch + 1);
  }
  th_run_destroy(run);
}

static void miss(void *user, th_run *run, th_outcome *outcome, const th_progress *end) {
  struct witness *witness = user;
  (void)run;
  cr_assert_not(outcome->is_checkpoint);
  cr_assert_eq(outcome->error, TH_ERR_SYSTEM);
  cr_assert_str_eq(outcome->text, "no memory for a checkpoint");
  cr_assert_eq(outcome->output.bytes, 0);
  *(uint32_t *)witness->act_user += end->epoch;
}

Test(run_checkpoint, that_there_is_no_memory_for_ends_no_training) {
  uint32_t epochs = 0;
  struct witness witness;
  witness_init(&witness);
  witness.act_user = &epochs;
  witness.saver = miss;
  has_no_memory = true;
  th_run *run = run_make(1, TH_JOB_TRAIN, SPEC, &data, NULL, &witness);
  (void)run_train(run, &witness);
  cr_assert_eq(epochs, 2 + 4 + 6);
  th_run_destroy(run);
}

static void stop(void *user, th_run *run, th_outcome *outcome, const th_progress *end) {
  struct witness *witness = user;
  (*(uint32_t *)witness->act_user)++;
  (void)outcome;
  if (end->epoch == 3) th_run_stop(run);
}

Test(run_checkpoint, is_what_a_stopped_training_ends_with) {
  uint32_t calls = 0;
  struct witness witness;
  witness_init(&witness);
  witness.act_user = &calls;
  witness.saver = stop;
  th_scheduler *scheduler;
  cr_assert_eq(th_scheduler_create(1, 1, 1, &scheduler), TH_OK, "%s", th_error_text());
  th_run *run = run_make(1, TH_JOB_TRAIN, ENDLESS, &data, NULL, &witness);
  th_scheduler_add(scheduler, run, 0);
  witness_wait_over(&witness);
  const th_outcome *outcome = th_run_outcome(run);
  cr_assert_eq(outcome->error, TH_ERR_CANCELED);
  cr_assert(outcome->is_checkpoint);
  cr_assert_gt(outcome->output.bytes, 0);
  cr_assert_eq(calls, 3, "a last one is taken instead");
  cr_assert_eq(witness.newest.epoch, 3);
  th_scheduler_destroy(scheduler);
  th_run_destroy(run);
}

Test(run_checkpoint, is_nothing_of_a_run_that_was_stopped_before_it_began) {
  struct witness witness;
  witness_init(&witness);
  th_run *run = run_make(1, TH_JOB_TRAIN, ENDLESS, &data, NULL, &witness);
  th_run_stop(run);
  cr_assert(th_run_is_over(run));
  cr_assert_eq(th_run_outcome(run)->error, TH_ERR_CANCELED);
  cr_assert_not(th_run_outcome(run)->is_checkpoint);
  cr_assert_not_null(strstr(th_run_outcome(run)->text, "start it again"));
  th_run_destroy(run);
}

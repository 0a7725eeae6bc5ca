#include "runs/scheduler.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "fixture.h"

/* Short: a few hundred steps. */
#define SHORT "{\"hidden\": [16], \"epochs\": 12, \"batch_size\": 32, \"validation_split\": 0.25}"
/* Longer than any test: to be canceled. */
#define ENDLESS "{\"hidden\": [16], \"epochs\": 1000000000, \"batch_size\": 64}"

static struct set data;

static th_scheduler *scheduler_make(uint32_t threads, uint32_t active_max) {
  th_scheduler *scheduler;
  cr_assert_eq(th_scheduler_create(threads, threads, active_max, &scheduler), TH_OK, "%s",
               th_error_text());
  set_fill(&data);
  return scheduler;
}

static th_run *run_add(th_scheduler *scheduler, uint64_t job, uint64_t owner, const char *spec,
                       struct witness *witness) {
  witness_init(witness);
  th_run *run = run_make(job, TH_JOB_TRAIN, spec, &data, NULL, witness);
  th_scheduler_add(scheduler, run, owner);
  return run;
}

static void cancel_and_destroy(th_run *run, struct witness *witness) {
  th_run_cancel(run);
  witness_wait_over(witness);
  th_run_destroy(run);
}

Test(scheduler, a_training_passes_its_phases_in_order_to_a_model) {
  th_scheduler *scheduler = scheduler_make(2, 2);
  struct witness witness;
  th_run *run = run_add(scheduler, 5, 0, SHORT, &witness);
  witness_wait_over(&witness);
  const th_phase begin[] = {TH_PHASE_QUEUED, TH_PHASE_PREPARING, TH_PHASE_TRAINING,
                            TH_PHASE_VALIDATING};
  cr_assert_eq(memcmp(witness.phases, begin, sizeof begin), 0);
  cr_assert_eq(witness.phases[witness.phase_count - 2], TH_PHASE_SAVING);
  cr_assert_eq(witness.phases[witness.phase_count - 1], TH_PHASE_DONE);
  cr_assert_not(witness.was_entered_twice);
  cr_assert_eq(witness.fraction_lost, 0);
  cr_assert_eq(witness.newest.fraction, 1);
  cr_assert_eq(witness.newest.job, 5);
  cr_assert_eq(witness.newest.epoch, 12);
  cr_assert_eq(witness.newest.stop_reason, TH_STOP_EPOCHS);
  cr_assert_eq(witness.newest.received_bytes, sizeof data);
  const th_outcome *outcome = th_run_outcome(run);
  cr_assert_eq(outcome->error, TH_OK);
  cr_assert_gt(outcome->output.bytes, 8);
  cr_assert_not_null(strstr(outcome->card.data, "\"seed\""));
  cr_assert_not(outcome->is_checkpoint);
  cr_assert_eq(th_run_bytes(run), 0, "the data are kept after the end");
  th_scheduler_destroy(scheduler);
  th_run_destroy(run);
}

Test(scheduler, the_history_has_every_epoch_once_and_stays) {
  th_scheduler *scheduler = scheduler_make(1, 1);
  struct witness witness;
  th_run *run = run_add(scheduler, 1, 0, SHORT, &witness);
  witness_wait_over(&witness);
  th_epoch epoch = {0};
  for (uint32_t i = 1; i <= 12; i++) {
    cr_assert_eq(th_run_epoch_after(run, i - 1, &epoch), TH_OK);
    cr_assert_eq(epoch.epoch, i);
    cr_assert(isfinite(epoch.loss) && isfinite(epoch.validation_accuracy));
  }
  cr_assert_eq(th_run_epoch_after(run, 12, &epoch), TH_ERR_AGAIN);
  th_scheduler_destroy(scheduler);
  th_run_destroy(run);
}

Test(scheduler, a_thinned_history_keeps_its_stride_and_the_last_epoch) {
  th_scheduler *scheduler = scheduler_make(1, 1);
  struct witness witness;
  enum { EPOCHS = 2 * TH_HISTORY_EPOCHS_MAX + 2 };
  char spec[128];
  snprintf(spec, sizeof spec, "{\"hidden\": [], \"epochs\": %d, \"batch_size\": 256}", EPOCHS);
  th_run *run = run_add(scheduler, 1, 0, spec, &witness);
  witness_wait_over(&witness);
  uint32_t stride = witness.newest.history_stride;
  cr_assert_gt(stride, 1);
  th_epoch epoch = {0};
  uint32_t count = 0;
  for (; th_run_epoch_after(run, epoch.epoch, &epoch) == TH_OK; count++)
    cr_assert(epoch.epoch == EPOCHS || epoch.epoch == 1 + count * stride, "epoch %u", epoch.epoch);
  cr_assert_eq(epoch.epoch, EPOCHS);
  cr_assert_leq(count, TH_HISTORY_EPOCHS_MAX);
  th_scheduler_destroy(scheduler);
  th_run_destroy(run);
}

Test(scheduler, the_same_model_comes_out_on_any_number_of_threads) {
  set_fill(&data);
  th_buffer one = model_train(SHORT, &data, 1);
  for (uint32_t threads = 2; threads <= 4; threads++) {
    th_buffer more = model_train(SHORT, &data, threads);
    cr_assert_eq(more.bytes, one.bytes);
    cr_assert_eq(memcmp(more.data, one.data, one.bytes), 0, "%u threads differ", threads);
    th_buffer_fini(&more);
  }
  th_buffer_fini(&one);
}

Test(scheduler, the_same_model_comes_out_alone_and_in_company) {
  enum { COMPANY = 3 };
  th_scheduler *scheduler = scheduler_make(2, COMPANY + 1);
  th_buffer alone = model_train(SHORT, &data, 2);
  struct witness others[COMPANY], witness;
  th_run *company[COMPANY];
  for (uint32_t i = 0; i < COMPANY; i++)
    company[i] = run_add(scheduler, i + 1, i, ENDLESS, &others[i]);
  th_run *run = run_add(scheduler, 9, 9, SHORT, &witness);
  witness_wait_over(&witness);
  const th_outcome *outcome = th_run_outcome(run);
  cr_assert_eq(outcome->output.bytes, alone.bytes);
  cr_assert_eq(memcmp(outcome->output.data, alone.data, alone.bytes), 0);
  for (int i = 0; i < COMPANY; i++) cancel_and_destroy(company[i], &others[i]);
  th_scheduler_destroy(scheduler);
  th_run_destroy(run);
  th_buffer_fini(&alone);
}

/* ---- fairness ---- */

enum { STREAKS_MAX = 64 };

/* Whose steps followed each other, on one training thread. */
static struct {
  pthread_mutex_t lock;
  uint64_t jobs[STREAKS_MAX];
  uint32_t count;
} streaks = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void streak_note(struct witness *witness, th_run *run, const th_progress *progress) {
  (void)witness;
  (void)run;
  if (progress->phase != TH_PHASE_TRAINING) return;
  pthread_mutex_lock(&streaks.lock);
  bool is_new = streaks.count == 0 || streaks.jobs[streaks.count - 1] != progress->job;
  if (is_new && streaks.count < STREAKS_MAX) streaks.jobs[streaks.count++] = progress->job;
  pthread_mutex_unlock(&streaks.lock);
}

static uint32_t streaks_count(void) {
  pthread_mutex_lock(&streaks.lock);
  uint32_t count = streaks.count;
  pthread_mutex_unlock(&streaks.lock);
  return count;
}

Test(scheduler, owners_take_turns_however_many_runs_they_have) {
  enum { RUNS = 3, SETTLED = 8, SEEN = 20 };
  th_scheduler *scheduler = scheduler_make(1, RUNS);
  const uint64_t owners[RUNS] = {1, 1, 2};
  struct witness witnesses[RUNS];
  th_run *runs[RUNS];
  for (uint32_t i = 0; i < RUNS; i++) {
    witness_init(&witnesses[i]);
    witnesses[i].act = streak_note;
    runs[i] = run_make(i + 1, TH_JOB_TRAIN, ENDLESS, &data, NULL, &witnesses[i]);
  }
  for (uint32_t i = 0; i < RUNS; i++) th_scheduler_add(scheduler, runs[i], owners[i]);
  while (streaks_count() < SEEN) nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
  for (int i = 0; i < RUNS; i++) cancel_and_destroy(runs[i], &witnesses[i]);
  /* Job 3 is its owner's only one: it has every second turn, the others every fourth. */
  uint32_t turns[RUNS + 1] = {0};
  for (int i = SETTLED; i < SEEN; i++) turns[streaks.jobs[i]]++;
  cr_assert_eq(turns[3], (SEEN - SETTLED) / 2);
  cr_assert_eq(turns[1], (SEEN - SETTLED) / 4);
  cr_assert_eq(turns[2], (SEEN - SETTLED) / 4);
  th_scheduler_destroy(scheduler);
}

Test(scheduler, the_queue_is_fair_between_owners_and_in_order_within_one) {
  enum { RUNS = 6 };
  th_scheduler *scheduler = scheduler_make(1, 1);
  /* The first occupies the one place. Owner 1 asks for three more before owners 2 and 3 come. */
  const uint64_t owners[RUNS] = {1, 1, 1, 1, 2, 3};
  const uint32_t positions[RUNS] = {0, 3, 4, 5, 1, 2};
  struct witness witnesses[RUNS];
  th_run *runs[RUNS];
  for (uint32_t i = 0; i < RUNS; i++) {
    runs[i] = run_add(scheduler, i + 1, owners[i], ENDLESS, &witnesses[i]);
    if (i == 0) witness_wait(&witnesses[0], has_phase, TH_PHASE_TRAINING);
  }
  for (int i = 1; i < RUNS; i++) witness_wait(&witnesses[i], has_position, positions[i]);
  /* Who leaves the queue moves up those behind, and nobody else. */
  cancel_and_destroy(runs[1], &witnesses[1]);
  witness_wait(&witnesses[2], has_position, 3);
  witness_wait(&witnesses[3], has_position, 4);
  witness_wait(&witnesses[4], has_position, 1);
  /* Who ends lets the first of them start. */
  cancel_and_destroy(runs[0], &witnesses[0]);
  witness_wait(&witnesses[4], has_phase, TH_PHASE_TRAINING);
  th_progress started;
  th_run_progress(runs[4], &started);
  cr_assert_eq(started.queue_position, 0);
  witness_wait(&witnesses[5], has_position, 1);
  for (int i = 2; i < RUNS; i++) cancel_and_destroy(runs[i], &witnesses[i]);
  th_scheduler_destroy(scheduler);
}

/* ---- failures ---- */

static void assert_fails(const char *spec, th_error wanted, const char *word) {
  th_scheduler *scheduler;
  cr_assert_eq(th_scheduler_create(2, 2, 2, &scheduler), TH_OK);
  struct witness witness;
  th_run *run = run_add(scheduler, 1, 0, spec, &witness);
  witness_wait_over(&witness);
  const th_outcome *outcome = th_run_outcome(run);
  cr_assert_eq(witness.newest.phase, TH_PHASE_FAILED);
  cr_assert_eq(witness.newest.error, wanted, "%s", outcome->text);
  cr_assert_eq(outcome->error, wanted);
  cr_assert_not_null(strstr(outcome->text, word), "%s", outcome->text);
  cr_assert_null(outcome->output.data);
  cr_assert_eq(th_run_bytes(run), 0);
  th_scheduler_destroy(scheduler);
  th_run_destroy(run);
}

Test(scheduler, a_nan_fails_the_run_and_names_its_row_and_column) {
  set_fill(&data);
  data.features[17 * SET_WIDTH + 5] = NAN;
  assert_fails(SHORT, TH_ERR_DATA, "row 17");
}

Test(scheduler, a_label_out_of_range_fails_the_run) {
  set_fill(&data);
  data.labels[200] = -1;
  assert_fails(SHORT, TH_ERR_DATA, "row 200");
}

Test(scheduler, a_training_that_diverges_fails) {
  set_fill(&data);
  assert_fails("{\"learning_rate\": 1e30, \"optimizer\": \"sgd\", \"epochs\": 50}", TH_ERR_DIVERGED,
               "epoch");
}

Test(scheduler, a_failure_does_not_touch_other_runs) {
  th_scheduler *scheduler = scheduler_make(2, 2);
  th_buffer alone = model_train(SHORT, &data, 1);
  static struct set broken;
  set_fill(&broken);
  broken.features[0] = INFINITY;
  struct witness bad, good;
  witness_init(&bad);
  th_run *failing = run_make(1, TH_JOB_TRAIN, SHORT, &broken, NULL, &bad);
  th_scheduler_add(scheduler, failing, 1);
  th_run *run = run_add(scheduler, 2, 2, SHORT, &good);
  witness_wait_over(&bad);
  witness_wait_over(&good);
  cr_assert_eq(bad.newest.phase, TH_PHASE_FAILED);
  cr_assert_eq(memcmp(th_run_outcome(run)->output.data, alone.data, alone.bytes), 0);
  th_scheduler_destroy(scheduler);
  th_run_destroy(failing);
  th_run_destroy(run);
  th_buffer_fini(&alone);
}

/* ---- models applied ---- */

static th_run *model_apply(th_job_kind kind, const th_buffer *model, struct witness *witness) {
  th_scheduler *scheduler = scheduler_make(2, 2);
  witness_init(witness);
  th_run *run = run_make(3, kind, "", &data, model, witness);
  th_scheduler_add(scheduler, run, 0);
  witness_wait_over(witness);
  th_scheduler_destroy(scheduler);
  return run;
}

Test(scheduler, evaluates_and_predicts_with_a_model) {
  set_fill(&data);
  th_buffer model = model_train(SHORT, &data, 2);
  struct witness witness;
  th_run *run = model_apply(TH_JOB_EVALUATE, &model, &witness);
  cr_assert_eq(th_run_outcome(run)->error, TH_OK, "%s", th_run_outcome(run)->text);
  cr_assert_not_null(strstr(th_run_outcome(run)->card.data, "\"accuracy\""));
  cr_assert_eq(th_run_outcome(run)->output.bytes, 0);
  cr_assert_gt(witness.newest.validation_accuracy, 0.5);
  cr_assert_eq(witness.newest.fraction, 1);
  th_run_destroy(run);
  run = model_apply(TH_JOB_PREDICT, &model, &witness);
  cr_assert_eq(th_run_outcome(run)->error, TH_OK, "%s", th_run_outcome(run)->text);
  cr_assert_eq(memcmp(th_run_outcome(run)->output.data, "\x93NUMPY", 6), 0);
  th_run_destroy(run);
  th_buffer_fini(&model);
}

Test(scheduler, refuses_to_apply_what_is_no_model) {
  char bytes[64] = "no model at all, just some text";
  struct witness witness;
  th_run *run =
      model_apply(TH_JOB_EVALUATE, &(th_buffer){.data = bytes, .bytes = sizeof bytes}, &witness);
  cr_assert_eq(th_run_outcome(run)->error, TH_ERR_DATA, "%s", th_run_outcome(run)->text);
  th_run_destroy(run);
}

/* ---- idle ---- */

static double cpu_seconds(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

Test(scheduler, costs_nothing_while_there_is_nothing_to_do) {
  th_scheduler *scheduler = scheduler_make(4, 4);
  struct witness witness;
  th_run *run = run_add(scheduler, 1, 0, SHORT, &witness);
  witness_wait_over(&witness);
  /* The BLAS wakes threads of its own as it is loaded, which take about 100 ms to fall asleep. */
  nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL);
  double before = cpu_seconds();
  nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL);
  cr_assert_lt(cpu_seconds() - before, 0.02);
  th_scheduler_destroy(scheduler);
  th_run_destroy(run);
}

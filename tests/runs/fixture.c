#include "fixture.h"
#include "base/job.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/clock.h"

/* A small generator of our own, so that the data are the same everywhere. */
static float noise(uint32_t *state) {
  *state = *state * 1664525U + 1013904223U;
  return (float)(*state >> 8) / (float)(1U << 24) - 0.5F;
}

void set_fill(struct set *set) {
  uint32_t state = 1;
  for (int row = 0; row < SET_ROWS; row++) {
    set->labels[row] = row % SET_CLASSES;
    for (int column = 0; column < SET_WIDTH; column++)
      set->features[row * SET_WIDTH + column] =
          noise(&state) + (column % SET_CLASSES == set->labels[row] ? 1.0F : 0.0F);
  }
}

void witness_init(struct witness *witness) {
  *witness = (struct witness){0};
  pthread_mutex_init(&witness->lock, NULL);
  pthread_cond_init(&witness->changed, NULL);
}

static bool is_over(const th_progress *progress) {
  return th_phase_is_last(progress->phase);
}

static void witness_note(struct witness *witness, const th_progress *progress) {
  if (witness->is_inside) witness->was_entered_twice = true;
  if (is_over(&witness->newest)) witness->calls_after_the_end++;
  double lost = witness->newest.fraction - progress->fraction;
  if (lost > witness->fraction_lost) witness->fraction_lost = lost;
  bool is_new = progress->phase != witness->newest.phase;
  if (is_new && witness->phase_count < WITNESS_PHASES_MAX)
    witness->phases[witness->phase_count++] = (th_phase)progress->phase;
  witness->is_inside = true;
  witness->calls++;
}

void witness_observe(void *user, th_run *run, const th_progress *progress) {
  struct witness *witness = user;
  pthread_mutex_lock(&witness->lock);
  witness_note(witness, progress);
  pthread_mutex_unlock(&witness->lock);
  if (witness->act != NULL) witness->act(witness, run, progress);
  pthread_mutex_lock(&witness->lock);
  witness->newest = *progress;
  witness->is_inside = false;
  pthread_cond_broadcast(&witness->changed);
  pthread_mutex_unlock(&witness->lock);
}

void witness_wait(struct witness *witness,
                  bool (*holds)(const th_progress *progress, uint32_t number), uint32_t number) {
  int64_t deadline_ns = th_clock_deadline_ns(WITNESS_TIMEOUT_NS);
  struct timespec until = {.tv_sec = deadline_ns / TH_NS_PER_S,
                           .tv_nsec = deadline_ns % TH_NS_PER_S};
  int error = 0;
  pthread_mutex_lock(&witness->lock);
  while (error == 0 && !is_over(&witness->newest) && !holds(&witness->newest, number))
    error = pthread_cond_clockwait(&witness->changed, &witness->lock, CLOCK_MONOTONIC, &until);
  bool held = holds(&witness->newest, number);
  th_progress newest = witness->newest;
  pthread_mutex_unlock(&witness->lock);
  cr_assert(held, "waited for %u in vain; phase %u, epoch %u, position %u", number, newest.phase,
            newest.epoch, newest.queue_position);
}

static bool has_ended(const th_progress *progress, uint32_t unused) {
  (void)unused;
  return is_over(progress);
}

void witness_wait_over(struct witness *witness) {
  witness_wait(witness, has_ended, 0);
}

bool has_epoch(const th_progress *progress, uint32_t epoch) {
  return progress->epoch >= epoch;
}

bool has_position(const th_progress *progress, uint32_t position) {
  return progress->phase == TH_PHASE_QUEUED && progress->queue_position == position;
}

bool has_phase(const th_progress *progress, uint32_t phase) {
  return progress->phase == phase;
}

const th_device *cpu(void) {
  static th_device device;
  if (device.backend == NULL)
    cr_assert_eq(th_device_open("cpu", &device), TH_OK, "%s", th_error_text());
  return &device;
}

th_run *run_make(uint64_t job, th_job_kind kind, const char *spec, const struct set *set,
                 const th_buffer *model, struct witness *witness) {
  const void *arrays[TH_ARRAY_COUNT] = {[TH_ARRAY_FEATURES] = set->features,
                                        [TH_ARRAY_LABELS] = set->labels,
                                        [TH_ARRAY_MODEL] = model != NULL ? model->data : NULL};
  th_run_request request = {.kind = kind,
                            .spec = spec,
                            .spec_bytes = strlen(spec),
                            .rows = SET_ROWS,
                            .width = SET_WIDTH,
                            .array_bytes = {[TH_ARRAY_FEATURES] = sizeof set->features,
                                            [TH_ARRAY_LABELS] = sizeof set->labels,
                                            [TH_ARRAY_MODEL] = model != NULL ? model->bytes : 0},
                            .saver = witness != NULL ? witness->saver : NULL};
  if (kind == TH_JOB_PREDICT) request.array_bytes[TH_ARRAY_LABELS] = 0;
  th_run *run = NULL;
  cr_assert_eq(
      th_run_create(job, &request, cpu(), witness != NULL ? witness_observe : NULL, witness, &run),
      TH_OK, "%s", th_error_text());
  for (int i = 0; i < TH_ARRAY_COUNT; i++)
    cr_assert_eq(th_run_receive(run, (th_array)i, 0, arrays[i], request.array_bytes[i]), TH_OK);
  cr_assert(th_run_is_received(run));
  return run;
}

th_buffer model_train(const char *spec, const struct set *set, uint32_t threads) {
  struct witness witness;
  witness_init(&witness);
  th_scheduler *scheduler;
  cr_assert_eq(th_scheduler_create(threads, threads, 1, &scheduler), TH_OK, "%s", th_error_text());
  th_run *run = run_make(1, TH_JOB_TRAIN, spec, set, NULL, &witness);
  th_scheduler_add(scheduler, run, 0);
  witness_wait_over(&witness);
  const th_outcome *outcome = th_run_outcome(run);
  cr_assert_eq(outcome->error, TH_OK, "%s", outcome->text);
  th_buffer model = {.data = malloc(outcome->output.bytes), .bytes = outcome->output.bytes};
  memcpy(model.data, outcome->output.data, model.bytes);
  th_scheduler_destroy(scheduler);
  th_run_destroy(run);
  return model;
}

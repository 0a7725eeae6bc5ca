/* The work of a run: prepare, train or apply a model, save. By the thread that drives it. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "runs/run_state.h"

/* A wish to end waits for one piece of work at most: this long, or one step where that is more. */
#define PIECE_NS (2 * TH_NS_PER_MS)

static bool run_is_prepared(const th_run *run) {
  return run->trainer != NULL || run->inference != NULL;
}

/* The trainer tells of steps alone; what a restore or the end changed is asked for. */
static void report_trainer(th_run *run) {
  th_progress progress;
  th_trainer_progress(run->trainer, &progress);
  th_run_observe(run, &progress);
}

static th_error training_prepare(th_run *run) {
  const th_run_array *begin = &run->model;
  th_trainer *trainer;
  th_error error =
      th_trainer_create(&run->spec, &run->data, run->device, th_run_observe, run, &trainer);
  if (error != TH_OK) return error;
  /* Known to the run only from here on: th_run_observe asks it for its history. */
  run->trainer = trainer;
  if (begin->bytes > 0) error = th_trainer_continue(trainer, begin->data, (size_t)begin->bytes);
  if (error != TH_OK) return error;
  report_trainer(run);
  th_run_enter(run, TH_PHASE_TRAINING);
  return TH_OK;
}

static th_error inference_prepare(th_run *run) {
  const th_run_array *model = &run->model;
  th_error error = th_inference_create(model->data, (size_t)model->bytes, &run->data, run->device,
                                       th_run_observe, run, &run->inference);
  if (error != TH_OK) return error;
  /* Rows go through a model and nothing is learned, as in a validation. */
  th_run_enter(run, TH_PHASE_VALIDATING);
  return TH_OK;
}

/* Mapped memory is aligned to a page, so the bytes received can be read as numbers. A prediction
 * that shares its data has nothing to do with what tells right from wrong. */
static th_data data_view(const th_run_data *source, th_job_kind kind) {
  const void *arrays[TH_ARRAY_DATA_COUNT];
  for (int i = 0; i < TH_ARRAY_DATA_COUNT; i++) arrays[i] = source->arrays[i].data;
  th_data data = {.features = arrays[TH_ARRAY_FEATURES],
                  .groups = arrays[TH_ARRAY_GROUPS],
                  .rows = source->rows,
                  .width = source->width};
  if (kind == TH_JOB_PREDICT) return data;
  data.labels = arrays[TH_ARRAY_LABELS];
  data.targets = arrays[TH_ARRAY_TARGETS];
  data.weights = arrays[TH_ARRAY_WEIGHTS];
  data.target_width = source->target_width;
  return data;
}

static th_error run_prepare(th_run *run) {
  run->data = data_view(run->source, run->kind);
  return run->kind == TH_JOB_TRAIN ? training_prepare(run) : inference_prepare(run);
}

static th_error run_piece(th_run *run, th_team *team, int64_t now_ns) {
  return run->trainer != NULL ? th_trainer_advance(run->trainer, team, now_ns + PIECE_NS)
                              : th_inference_advance(run->inference, team, now_ns + PIECE_NS);
}

/* What the run ends with if it goes no further. @return the error of the outcome. */
static th_error checkpoint_take(const th_run *run, th_outcome *outcome) {
  th_error error = th_trainer_checkpoint(run->trainer, &outcome->output);
  if (error != TH_OK) return error;
  th_progress at;
  th_trainer_progress(run->trainer, &at);
  outcome->is_checkpoint = true;
  return th_fail(TH_ERR_CANCELED,
                 "job %" PRIu64
                 " was stopped at epoch %u, step %u; its checkpoint is kept: start the job again "
                 "with it as the model to go on",
                 run->job, at.epoch, at.step);
}

/* Between two epochs. What only the run knows is taken over from it, as everywhere. */
static void checkpoint_save(th_run *run) {
  th_outcome outcome = {0};
  th_progress now, end;
  th_run_progress(run, &now);
  th_trainer_progress(run->trainer, &end);
  outcome.error = checkpoint_take(run, &outcome);
  snprintf(outcome.text, sizeof outcome.text, "%s", th_error_text());
  end.job = now.job;
  end.elapsed_seconds = now.elapsed_seconds;
  end.phase = TH_PHASE_CANCELED;
  end.error = outcome.error;
  end.eta_seconds = NAN;
  run->saver(run->user, run, &outcome, &end);
  th_buffer_fini(&outcome.output);
}

/* An epoch with a checkpoint is told when that is safe. Of a run that is to end there will be a
 * last one, or none is wanted. */
static void checkpoint_look(th_run *run) {
  if (run->trainer == NULL || !th_trainer_wants_checkpoint(run->trainer)) return;
  if (run->saver != NULL && th_run_wished(run) == TH_WISH_NONE) checkpoint_save(run);
  report_trainer(run);
}

/* Preparing cannot be cut into pieces; if it used up the slice, the others' turn comes first. */
static th_error run_work(th_run *run, th_team *team, int64_t until_ns) {
  if (!run_is_prepared(run)) {
    th_error error = run_prepare(run);
    if (error != TH_OK) return error;
  }
  th_error error = TH_ERR_AGAIN;
  int64_t now_ns = th_clock_now_ns();
  while (error == TH_ERR_AGAIN && now_ns < until_ns && th_run_wished(run) == TH_WISH_NONE) {
    error = run_piece(run, team, now_ns);
    if (error == TH_ERR_AGAIN) checkpoint_look(run);
    now_ns = th_clock_now_ns();
  }
  return error;
}

/* The history must be whole before the phase says that training is over. */
static th_error run_save(th_run *run) {
  if (run->trainer != NULL) report_trainer(run);
  th_run_enter(run, TH_PHASE_SAVING);
  th_outcome *outcome = &run->outcome;
  return run->trainer != NULL
             ? th_trainer_result(run->trainer, &outcome->output, &outcome->card)
             : th_inference_result(run->inference, &outcome->output, &outcome->card);
}

/* Keep what there is if it was stopped; drop it if the user wanted an end. */
static th_error run_break_off(th_run *run) {
  uint64_t job = run->job;
  if (th_run_is_lost(run))
    return th_fail(TH_ERR_DATA,
                   "job %" PRIu64
                   " shares the data of a job that ended before they were whole; start it again "
                   "with data of its own",
                   job);
  th_progress at;
  th_run_progress(run, &at);
  if (th_run_wished(run) == TH_WISH_CANCEL)
    return th_fail(TH_ERR_CANCELED, "job %" PRIu64 " was canceled at epoch %u, step %u", job,
                   at.epoch, at.step);
  if (run->trainer == NULL)
    return th_fail(TH_ERR_CANCELED,
                   "job %" PRIu64 " was stopped before there was anything to keep; start it again",
                   job);
  return checkpoint_take(run, &run->outcome);
}

/* The outcome stays; all else is given back at once, as it may be many times larger. */
static void run_settle(th_run *run, th_error error) {
  run->outcome.error = error;
  if (error != TH_OK) snprintf(run->outcome.text, sizeof run->outcome.text, "%s", th_error_text());
  th_inference_destroy(run->inference);
  run->inference = NULL;
  th_trainer_destroy(run->trainer);
  run->trainer = NULL;
  th_run_release_arrays(run);
}

/* A wish that comes when the last step is done comes too late: the result is there. */
bool th_run_advance(th_run *run, th_team *team, int64_t until_ns) {
  th_error error = TH_ERR_AGAIN;
  if (th_run_wished(run) == TH_WISH_NONE) error = run_work(run, team, until_ns);
  if (error == TH_ERR_AGAIN && th_run_wished(run) == TH_WISH_NONE) return false;
  if (error == TH_OK) error = run_save(run);
  if (error == TH_ERR_AGAIN) error = run_break_off(run);
  run_settle(run, error);
  return true;
}

void th_run_abandon(th_run *run) {
  run_settle(run, run_break_off(run));
}

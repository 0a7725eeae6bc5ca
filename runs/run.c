#include "runs/run.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/job.h"
#include "runs/run_state.h"

/* ---- sharing the data of another run ---- */

/* Held before it is judged: the other run may end at any moment. */
static th_error source_share(th_run *run, const th_run_request *request) {
  th_run *other = request->data_of;
  pthread_mutex_lock(&other->lock);
  if (other->source != NULL) run->source = th_run_data_take(other->source);
  pthread_mutex_unlock(&other->lock);
  run->is_sharer = true;
  if (run->source == NULL)
    return th_fail(TH_ERR_NOT_FOUND,
                   "the data of job %" PRIu64 " are gone; send them with this job", other->job);
  return th_run_request_judge_shared(request, run->source);
}

/* ---- the arrays ---- */

static th_error arrays_reserve(th_run *run, const th_run_request *request) {
  for (int i = 0; i < TH_ARRAY_COUNT; i++)
    if (__builtin_add_overflow(run->expected_bytes, request->array_bytes[i], &run->expected_bytes))
      return th_fail(TH_ERR_DATA,
                     "the arrays of job %" PRIu64 " are more bytes than can be counted", run->job);
  th_error error = request->data_of != NULL ? source_share(run, request)
                                            : th_run_data_create(run->job, request, &run->source);
  if (error != TH_OK) return error;
  return th_run_array_reserve(&run->model, TH_ARRAY_MODEL, request->array_bytes[TH_ARRAY_MODEL],
                              run->job);
}

static void source_release_locked(th_run *run) {
  if (run->source == NULL) return;
  if (!run->is_sharer) th_run_data_close(run->source);
  th_run_data_put(run->source);
  run->source = NULL;
}

void th_run_release_arrays(th_run *run) {
  pthread_mutex_lock(&run->lock);
  th_run_array_fini(&run->model);
  bool stays = run->keeps_data && run->source != NULL &&
               th_run_data_get_state(run->source) == TH_RUN_DATA_WHOLE;
  if (!stays) source_release_locked(run);
  pthread_mutex_unlock(&run->lock);
}

void th_run_drop_data(th_run *run) {
  pthread_mutex_lock(&run->lock);
  source_release_locked(run);
  pthread_mutex_unlock(&run->lock);
}

/* ---- making a run ---- */

static void progress_init(th_run *run) {
  run->progress = (th_progress){.job = run->job,
                                .phase = TH_PHASE_RECEIVING,
                                .history_stride = 1,
                                .loss = NAN,
                                .accuracy = NAN,
                                .validation_loss = NAN,
                                .validation_accuracy = NAN,
                                .eta_seconds = NAN};
  run->phases = 1U << TH_PHASE_RECEIVING;
}

/* The whole copy is allocated now, so that an epoch's end never fails for want of memory. */
static th_error history_reserve(th_run *run) {
  if (run->kind != TH_JOB_TRAIN) return TH_OK;
  run->progress.epochs = run->spec.epochs;
  uint32_t max = run->spec.epochs;
  run->history_max = max < TH_HISTORY_EPOCHS_MAX ? max : TH_HISTORY_EPOCHS_MAX;
  run->history.epochs = calloc(run->history_max, sizeof *run->history.epochs);
  run->history.stride = 1;
  if (run->history.epochs != NULL) return TH_OK;
  return th_fail_errno(TH_ERR_SYSTEM, "cannot allocate a history of %u epochs", run->history_max);
}

th_error th_run_create(uint64_t job, const th_run_request *request, const th_device *device,
                       th_run_observer *observer, void *user, th_run **created) {
  th_error error = th_run_request_judge(request);
  if (error != TH_OK) return error;
  th_run *run = calloc(1, sizeof *run);
  if (run == NULL) return th_fail_errno(TH_ERR_SYSTEM, "cannot allocate a run");
  pthread_mutex_init(&run->lock, NULL);
  run->job = job;
  run->kind = request->kind;
  run->device = device;
  run->observer = observer;
  run->saver = request->saver;
  run->user = user;
  run->created_ns = th_clock_now_ns();
  run->keeps_data = request->keeps_data;
  progress_init(run);
  error = th_spec_parse(request->spec, request->spec_bytes, &run->spec);
  if (error == TH_OK) error = history_reserve(run);
  if (error == TH_OK) error = arrays_reserve(run, request);
  if (error != TH_OK) goto fail;
  *created = run;
  return TH_OK;
fail:
  th_run_destroy(run);
  return error;
}

void th_run_destroy(th_run *run) {
  if (run == NULL) return;
  th_inference_destroy(run->inference);
  th_trainer_destroy(run->trainer);
  th_run_release_arrays(run);
  th_run_drop_data(run);
  th_buffer_fini(&run->outcome.output);
  th_buffer_fini(&run->outcome.card);
  free(run->history.epochs);
  pthread_mutex_destroy(&run->lock);
  free(run);
}

/* ---- receiving ---- */

/* With the lock, because a cancel may give the arrays back at any moment. */
static th_error receive_locked(th_run *run, th_array array, uint64_t offset, const void *bytes,
                               size_t count) {
  /* What was on its way when the run was canceled is not the sender's mistake. */
  if (run->is_held) return TH_OK;
  /* Shared data are the other run's to receive; none of them is due here. */
  th_run_array none = {0};
  th_error error;
  if (array == TH_ARRAY_MODEL)
    error = th_run_array_receive(&run->model, array, offset, bytes, count);
  else if (run->is_sharer)
    error = th_run_array_receive(&none, array, offset, bytes, count);
  else
    error = th_run_data_receive(run->source, array, offset, bytes, count);
  if (error == TH_OK) run->received_bytes += count;
  return error;
}

th_error th_run_receive(th_run *run, th_array array, uint64_t offset, const void *bytes,
                        size_t count) {
  if ((unsigned)array >= TH_ARRAY_COUNT)
    return th_fail(TH_ERR_PROTOCOL, "there is no array %d; they are 0 to %d", (int)array,
                   TH_ARRAY_COUNT - 1);
  pthread_mutex_lock(&run->lock);
  th_error error = receive_locked(run, array, offset, bytes, count);
  pthread_mutex_unlock(&run->lock);
  return error;
}

/* A run that was canceled has let go of its source, and waits for nothing. */
bool th_run_is_received(th_run *run) {
  pthread_mutex_lock(&run->lock);
  bool has_source = run->source == NULL || th_run_data_get_state(run->source) == TH_RUN_DATA_WHOLE;
  bool is_received = has_source && run->received_bytes == run->expected_bytes;
  pthread_mutex_unlock(&run->lock);
  return is_received;
}

bool th_run_is_lost(th_run *run) {
  pthread_mutex_lock(&run->lock);
  bool is_lost = run->source != NULL && th_run_data_get_state(run->source) == TH_RUN_DATA_LOST;
  pthread_mutex_unlock(&run->lock);
  return is_lost;
}

/* ---- what others may ask ---- */

uint64_t th_run_job(const th_run *run) {
  return run->job;
}

th_job_kind th_run_kind(const th_run *run) {
  return run->kind;
}

const char *th_run_name(const th_run *run) {
  return run->spec.name;
}

uint64_t th_run_bytes(th_run *run) {
  pthread_mutex_lock(&run->lock);
  uint64_t bytes = run->model.bytes;
  if (run->source != NULL) bytes += th_run_data_part_bytes(run->source);
  pthread_mutex_unlock(&run->lock);
  return bytes;
}

static double seconds_since(int64_t start_ns) {
  return (double)(th_clock_now_ns() - start_ns) / (double)TH_NS_PER_S;
}

/* Time goes on between two reports of the trainer, and while there is no trainer at all. */
static void snapshot_locked(const th_run *run, th_progress *progress) {
  *progress = run->progress;
  progress->received_bytes = run->received_bytes;
  progress->expected_bytes = run->expected_bytes;
  if (!th_phase_is_last(progress->phase))
    progress->elapsed_seconds = seconds_since(run->created_ns);
}

void th_run_progress(th_run *run, th_progress *progress) {
  pthread_mutex_lock(&run->lock);
  snapshot_locked(run, progress);
  pthread_mutex_unlock(&run->lock);
}

uint32_t th_run_phases(th_run *run) {
  pthread_mutex_lock(&run->lock);
  uint32_t phases = run->phases;
  pthread_mutex_unlock(&run->lock);
  return phases;
}

/* The index of the first epoch newer than `after`; count if there is none. By halving: a reader who
 * comes late asks once for each of thousands. */
static uint32_t history_find(const th_history *history, uint32_t after) {
  uint32_t low = 0, high = history->count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (history->epochs[middle].epoch > after)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

th_error th_run_epoch_after(th_run *run, uint32_t after, th_epoch *epoch) {
  pthread_mutex_lock(&run->lock);
  uint32_t index = history_find(&run->history, after);
  bool found = index < run->history.count;
  if (found) *epoch = run->history.epochs[index];
  pthread_mutex_unlock(&run->lock);
  return found ? TH_OK : TH_ERR_AGAIN;
}

bool th_run_is_over(th_run *run) {
  pthread_mutex_lock(&run->lock);
  bool is_over = th_phase_is_last(run->progress.phase);
  pthread_mutex_unlock(&run->lock);
  return is_over;
}

/* Needs no lock: it is written before the last phase is set, under the lock, and never again. */
const th_outcome *th_run_outcome(const th_run *run) {
  return &run->outcome;
}

/* ---- phases ---- */

/* The one place where a phase changes. What a phase implies for the snapshot is set with it, so
 * that no reader ever sees the two disagree. */
static void phase_set(th_run *run, th_phase phase) {
  th_progress *progress = &run->progress;
  th_check(!th_phase_is_last(progress->phase));
  switch (phase) {
    case TH_PHASE_RECEIVING:
    case TH_PHASE_QUEUED:
    case TH_PHASE_TRAINING:
    case TH_PHASE_VALIDATING:
      break;
    case TH_PHASE_PREPARING:
      progress->queue_position = 0;
      break;
    case TH_PHASE_SAVING:
      progress->eta_seconds = 0;
      break;
    case TH_PHASE_DONE:
      progress->fraction = 1;
      break;
    case TH_PHASE_FAILED:
    case TH_PHASE_CANCELED:
      progress->queue_position = 0;
      progress->error = run->outcome.error;
      progress->eta_seconds = NAN;
      break;
  }
  progress->phase = phase;
  run->phases |= 1U << phase;
  if (!th_phase_is_last(phase)) return;
  progress->elapsed_seconds = seconds_since(run->created_ns);
  /* Whoever held the run has let go of it: a cancel has nobody to wake. */
  run->wake = NULL;
}

/* Without the lock: the observer may ask the run anything. After a last phase was set another
 * thread may destroy the run, so what is needed then is read before. */
void th_run_enter(th_run *run, th_phase phase) {
  th_run_observer *observer = run->observer;
  void *user = run->user;
  th_progress progress;
  pthread_mutex_lock(&run->lock);
  phase_set(run, phase);
  snapshot_locked(run, &progress);
  pthread_mutex_unlock(&run->lock);
  if (observer != NULL) observer(user, run, &progress);
}

/* Every run is queued for a moment at least, so that its story is the same however full the host.
 */
void th_run_queue(th_run *run, uint32_t position) {
  th_progress progress;
  pthread_mutex_lock(&run->lock);
  bool is_news = run->progress.queue_position != position;
  run->progress.queue_position = position;
  if (run->progress.phase != TH_PHASE_QUEUED) phase_set(run, TH_PHASE_QUEUED);
  snapshot_locked(run, &progress);
  pthread_mutex_unlock(&run->lock);
  if (is_news && run->observer != NULL) run->observer(run->user, run, &progress);
}

void th_run_end(th_run *run) {
  switch (run->outcome.error) {
    case TH_OK:
      th_run_enter(run, TH_PHASE_DONE);
      return;
    case TH_ERR_CANCELED:
      th_run_enter(run, TH_PHASE_CANCELED);
      return;
    default:
      th_run_enter(run, TH_PHASE_FAILED);
  }
}

/* ---- what trainer and inference report ---- */

static bool phase_is_work(uint32_t phase) {
  return phase == TH_PHASE_TRAINING || phase == TH_PHASE_VALIDATING;
}

/* The last of the copy is looked at again: the trainer replaces its newest epoch when that is not
 * on the stride. After thinning, which is rare, everything is. */
static void history_copy(th_run *run) {
  if (run->trainer == NULL) return;
  const th_history *from = th_trainer_history(run->trainer);
  th_history *to = &run->history;
  th_check(from->count <= run->history_max);
  if (from->count == 0) return;
  bool is_current = to->count == from->count && to->stride == from->stride &&
                    to->epochs[to->count - 1].epoch == from->epochs[from->count - 1].epoch;
  if (is_current) return;
  uint32_t same = to->stride == from->stride && to->count > 0 ? to->count - 1 : 0;
  memcpy(to->epochs + same, from->epochs + same, (from->count - same) * sizeof *to->epochs);
  to->count = from->count;
  to->stride = from->stride;
}

/* What only the run knows stays; what the trainer knows is taken; a fraction never falls. */
static void progress_merge(th_run *run, const th_progress *reported) {
  th_progress merged = *reported;
  merged.job = run->job;
  merged.phase = run->progress.phase;
  merged.error = run->progress.error;
  merged.queue_position = run->progress.queue_position;
  merged.fraction = fmax(reported->fraction, run->progress.fraction);
  run->progress = merged;
}

/* The trainer's phase counts only while the run is at work: what is before and after, the run
 * decides. */
void th_run_observe(void *observed, const th_progress *reported) {
  th_run *run = observed;
  th_progress progress;
  pthread_mutex_lock(&run->lock);
  progress_merge(run, reported);
  history_copy(run);
  bool is_change = run->progress.phase != reported->phase;
  if (is_change && phase_is_work(run->progress.phase) && phase_is_work(reported->phase))
    phase_set(run, (th_phase)reported->phase);
  snapshot_locked(run, &progress);
  pthread_mutex_unlock(&run->lock);
  if (run->observer != NULL) run->observer(run->user, run, &progress);
}

/* ---- the wish to end ---- */

/* Relaxed: a wish guards no other memory. Whoever must hear of it soon is woken through a lock. */
void th_run_wish(th_run *run, th_wish wish) {
  int none = TH_WISH_NONE;
  atomic_compare_exchange_strong_explicit(&run->wish, &none, wish, memory_order_relaxed,
                                          memory_order_relaxed);
}

th_wish th_run_wished(const th_run *run) {
  return (th_wish)atomic_load_explicit(&run->wish, memory_order_relaxed);
}

bool th_run_hold(th_run *run, void (*wake)(void *), void *user) {
  pthread_mutex_lock(&run->lock);
  bool is_free = !run->is_held;
  if (is_free) {
    run->is_held = true;
    run->wake = wake;
    run->wake_user = user;
  }
  pthread_mutex_unlock(&run->lock);
  return is_free;
}

static void run_wish_end(th_run *run, th_wish wish) {
  th_run_wish(run, wish);
  /* A run that nobody drives yet is ended here; th_run_hold decides the race for it. */
  if (th_run_hold(run, NULL, NULL)) {
    th_run_abandon(run);
    th_run_end(run);
    return;
  }
  /* With the lock, so that the scheduler is still there: it lets go of a run under this lock. */
  pthread_mutex_lock(&run->lock);
  if (run->wake != NULL) run->wake(run->wake_user);
  pthread_mutex_unlock(&run->lock);
}

void th_run_cancel(th_run *run) {
  run_wish_end(run, TH_WISH_CANCEL);
}

void th_run_stop(th_run *run) {
  run_wish_end(run, TH_WISH_STOP);
}

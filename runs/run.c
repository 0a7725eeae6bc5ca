#include "runs/run.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"
#include "base/clock.h"
#include "runs/run_state.h"

/* ---- judging a request ---- */

static const char *const array_names[TH_ARRAY_COUNT] = {"features", "labels", "model"};

static th_error shape_judge(const th_run_request *request) {
  if (request->rows == 0)
    return th_fail(TH_ERR_DATA, "the data have no rows; at least one is needed");
  if (request->width == 0)
    return th_fail(TH_ERR_DATA, "the rows have no features; a width of at least 1 is needed");
  return TH_OK;
}

/* An array of `columns` four-byte elements a row must have exactly that size: from here on rows and
 * width are all that anyone asks about it. */
static th_error array_judge(const th_run_request *request, th_array array, uint64_t columns) {
  uint64_t wanted;
  if (__builtin_mul_overflow(request->rows, columns * 4, &wanted))
    return th_fail(TH_ERR_DATA,
                   "%s of %" PRIu64 " rows and %" PRIu64
                   " columns are more bytes than can be counted",
                   array_names[array], request->rows, columns);
  uint64_t given = request->array_bytes[array];
  if (given == wanted) return TH_OK;
  if (given == 0)
    return th_fail(TH_ERR_DATA,
                   "the %s are missing: send %" PRIu64 " bytes, or ask for another kind of job",
                   array_names[array], wanted);
  return th_fail(TH_ERR_DATA,
                 "the %s have %" PRIu64 " bytes, but %" PRIu64 " rows of %" PRIu64
                 " four-byte elements are %" PRIu64,
                 array_names[array], given, request->rows, columns, wanted);
}

/* Labels that would be ignored are a misunderstanding worth an error. */
static th_error labels_judge(const th_run_request *request) {
  if (request->kind != TH_JOB_PREDICT) return array_judge(request, TH_ARRAY_LABELS, 1);
  if (request->array_bytes[TH_ARRAY_LABELS] == 0) return TH_OK;
  return th_fail(TH_ERR_DATA, "a prediction takes no labels; evaluate, or leave them out");
}

/* A training may begin anew or go on from a checkpoint; the others have nothing to do without. */
static th_error model_judge(const th_run_request *request) {
  if (request->kind == TH_JOB_TRAIN || request->array_bytes[TH_ARRAY_MODEL] > 0) return TH_OK;
  return th_fail(TH_ERR_DATA, "the model is missing: send the safetensors file to %s with",
                 request->kind == TH_JOB_EVALUATE ? "evaluate" : "predict");
}

static th_error request_judge(const th_run_request *request) {
  if (request->kind != TH_JOB_TRAIN && request->kind != TH_JOB_EVALUATE &&
      request->kind != TH_JOB_PREDICT)
    return th_fail(TH_ERR_USAGE, "there is no job kind %d; train is %d, evaluate %d, predict %d",
                   (int)request->kind, TH_JOB_TRAIN, TH_JOB_EVALUATE, TH_JOB_PREDICT);
  th_error error = shape_judge(request);
  if (error == TH_OK) error = array_judge(request, TH_ARRAY_FEATURES, request->width);
  if (error == TH_OK) error = labels_judge(request);
  if (error == TH_OK) error = model_judge(request);
  return error;
}

/* ---- the arrays ---- */

/* Mapped and not allocated: the heap would keep the pages of large arrays for itself when they are
 * freed, and mapped memory is aligned for any element. */
static th_error array_reserve(th_run *run, th_array array, uint64_t bytes) {
  if (bytes == 0) return TH_OK;
  void *data = MAP_FAILED;
  if (bytes <= SIZE_MAX)
    data = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED)
    return th_fail_errno(TH_ERR_SYSTEM,
                         "cannot reserve %" PRIu64 " bytes for the %s of job %" PRIu64, bytes,
                         array_names[array], run->job);
  run->arrays[array] = (th_run_array){.data = data, .bytes = bytes};
  atomic_fetch_add_explicit(&run->held_bytes, bytes, memory_order_relaxed);
  return TH_OK;
}

static th_error arrays_reserve(th_run *run, const uint64_t bytes[TH_ARRAY_COUNT]) {
  for (int i = 0; i < TH_ARRAY_COUNT; i++) {
    if (__builtin_add_overflow(run->expected_bytes, bytes[i], &run->expected_bytes))
      return th_fail(TH_ERR_DATA,
                     "the arrays of job %" PRIu64 " are more bytes than can be counted", run->job);
    th_error error = array_reserve(run, (th_array)i, bytes[i]);
    if (error != TH_OK) return error;
  }
  return TH_OK;
}

void th_run_release_arrays(th_run *run) {
  pthread_mutex_lock(&run->lock);
  for (int i = 0; i < TH_ARRAY_COUNT; i++) {
    th_run_array *array = &run->arrays[i];
    if (array->data != NULL) munmap(array->data, (size_t)array->bytes);
    *array = (th_run_array){0};
  }
  atomic_store_explicit(&run->held_bytes, 0, memory_order_relaxed);
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
  th_error error = request_judge(request);
  if (error != TH_OK) return error;
  th_run *run = calloc(1, sizeof *run);
  if (run == NULL) return th_fail_errno(TH_ERR_SYSTEM, "cannot allocate a run");
  pthread_mutex_init(&run->lock, NULL);
  run->job = job;
  run->kind = request->kind;
  run->device = device;
  run->observer = observer;
  run->user = user;
  run->created_ns = th_clock_now_ns();
  run->data = (th_data){.rows = request->rows, .width = request->width};
  progress_init(run);
  error = th_spec_parse(request->spec, request->spec_bytes, &run->spec);
  if (error == TH_OK) error = history_reserve(run);
  if (error == TH_OK) error = arrays_reserve(run, request->array_bytes);
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
  th_buffer_fini(&run->outcome.output);
  th_buffer_fini(&run->outcome.card);
  free(run->history.epochs);
  pthread_mutex_destroy(&run->lock);
  free(run);
}

/* ---- receiving ---- */

/* With the lock, because a cancel may give the arrays back at any moment. The sizes are compared by
 * subtraction from our own, which cannot overflow. */
static th_error receive_locked(th_run *run, th_array array, uint64_t offset, const void *bytes,
                               size_t count) {
  /* What was on its way when the run was canceled is not the sender's mistake. */
  if (run->is_held) return TH_OK;
  th_run_array *into = &run->arrays[array];
  if (offset != into->received)
    return th_fail(TH_ERR_PROTOCOL,
                   "bytes for the %s at offset %" PRIu64 ", where %" PRIu64 " was due",
                   array_names[array], offset, into->received);
  if (count > into->bytes - into->received)
    return th_fail(TH_ERR_PROTOCOL, "%zu bytes for the %s, of which only %" PRIu64 " are missing",
                   count, array_names[array], (into->bytes - into->received));
  if (count > 0) memcpy(into->data + into->received, bytes, count);
  into->received += count;
  run->received_bytes += count;
  return TH_OK;
}

th_error th_run_receive(th_run *run, th_array array, uint64_t offset, const void *bytes,
                        size_t count) {
  if ((unsigned)array >= TH_ARRAY_COUNT)
    return th_fail(TH_ERR_PROTOCOL, "there is no array %d; features are 0, labels 1, a model 2",
                   (int)array);
  pthread_mutex_lock(&run->lock);
  th_error error = receive_locked(run, array, offset, bytes, count);
  pthread_mutex_unlock(&run->lock);
  return error;
}

/* Without the lock, like the asking for number, kind and name: the one thread that may ask is the
 * one that receives. */
bool th_run_is_received(const th_run *run) {
  return run->received_bytes == run->expected_bytes;
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

uint64_t th_run_bytes(const th_run *run) {
  return atomic_load_explicit(&run->held_bytes, memory_order_relaxed);
}

static bool phase_is_over(uint32_t phase) {
  return phase >= TH_PHASE_DONE;
}

static double seconds_since(int64_t start_ns) {
  return (double)(th_clock_now_ns() - start_ns) / (double)TH_NS_PER_S;
}

/* Time goes on between two reports of the trainer, and while there is no trainer at all. */
static void snapshot_locked(const th_run *run, th_progress *progress) {
  *progress = run->progress;
  progress->received_bytes = run->received_bytes;
  progress->expected_bytes = run->expected_bytes;
  if (!phase_is_over(progress->phase)) progress->elapsed_seconds = seconds_since(run->created_ns);
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
  bool is_over = phase_is_over(run->progress.phase);
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
  th_check(!phase_is_over(progress->phase));
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
  if (!phase_is_over(phase)) return;
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

void th_run_cancel(th_run *run) {
  th_run_wish(run, TH_WISH_CANCEL);
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

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/safetensors.h"
#include "kernels/optimizer.h"
#include "kernels/trainer_state.h"

#define FORMAT "trainhost-checkpoint-1"

/* The columns of a history's epoch beside its number. */
enum { EPOCH_NUMBERS = 6 };

/* th_place as two arrays, so that every double comes back bit for bit. */
enum { PLACE_COUNTERS = 11, PLACE_NUMBERS = 5 + 2 + EPOCH_NUMBERS };

enum { TENSORS_MAX = 8 };

/* The checkpoint's arrays, on their way to or from a file. */
typedef struct th_snapshot {
  th_engine_state state;
  int64_t counters[PLACE_COUNTERS];
  double numbers[PLACE_NUMBERS];
  int64_t *history_epochs; /* [count] */
  double *history_numbers; /* [count, EPOCH_NUMBERS] */
  uint32_t history_count;
} th_snapshot;

static void snapshot_fini(th_snapshot *snapshot) {
  free(snapshot->state.parameters);
  free(snapshot->state.moment1);
  free(snapshot->state.moment2);
  free(snapshot->state.best);
  free(snapshot->history_epochs);
  free(snapshot->history_numbers);
}

static bool has_best(const th_spec *spec, uint32_t best_epoch) {
  return spec->restore_best && best_epoch > 0;
}

/* Room for what that training has: no moments of a plain SGD, no best parameters before any. */
static th_error snapshot_init(th_snapshot *snapshot, const th_trainer *trainer, uint32_t best_epoch,
                              uint32_t history_count) {
  *snapshot = (th_snapshot){.history_count = history_count};
  uint64_t count = trainer->model.parameters;
  th_real **arrays[] = {&snapshot->state.parameters, &snapshot->state.moment1,
                        &snapshot->state.moment2, &snapshot->state.best};
  uint32_t moments = th_optimizer_moments(&trainer->spec);
  bool wanted[] = {true, moments > 0, moments > 1, has_best(&trainer->spec, best_epoch)};
  bool failed = false;
  for (int i = 0; i < 4; i++) {
    if (!wanted[i]) continue;
    *arrays[i] = malloc(count * sizeof(th_real));
    failed |= *arrays[i] == NULL;
  }
  snapshot->history_epochs = calloc(history_count + 1, sizeof *snapshot->history_epochs);
  snapshot->history_numbers =
      calloc(history_count + 1, EPOCH_NUMBERS * sizeof *snapshot->history_numbers);
  if (!failed && snapshot->history_epochs != NULL && snapshot->history_numbers != NULL)
    return TH_OK;
  snapshot_fini(snapshot);
  return th_fail(TH_ERR_SYSTEM, "no memory for a checkpoint of %" PRIu64 " parameters", count);
}

static void epoch_to_numbers(const th_epoch *epoch, double *numbers) {
  numbers[0] = epoch->loss;
  numbers[1] = epoch->accuracy;
  numbers[2] = epoch->validation_loss;
  numbers[3] = epoch->validation_accuracy;
  numbers[4] = epoch->learning_rate;
  numbers[5] = epoch->seconds;
}

static th_epoch epoch_from_numbers(int64_t epoch, const double *numbers) {
  return (th_epoch){.epoch = (uint32_t)epoch,
                    .loss = numbers[0],
                    .accuracy = numbers[1],
                    .validation_loss = numbers[2],
                    .validation_accuracy = numbers[3],
                    .learning_rate = numbers[4],
                    .seconds = numbers[5]};
}

static void snapshot_take_place(th_snapshot *snapshot, const th_place *place, uint32_t stride) {
  int64_t counters[PLACE_COUNTERS] = {
      place->epoch,
      place->step,
      place->phase,
      place->stop_reason,
      (int64_t)place->training.correct,
      (int64_t)place->training.rows,
      (int64_t)place->validation.correct,
      (int64_t)place->validation.rows,
      place->best.epoch,
      place->waited,
      stride,
  };
  double numbers[PLACE_NUMBERS] = {
      place->training.loss,   place->validation.loss,
      place->validation_loss, place->validation_accuracy,
      place->stop_loss,       place->epoch_seconds,
      place->seconds,
  };
  epoch_to_numbers(&place->best, numbers + PLACE_NUMBERS - EPOCH_NUMBERS);
  memcpy(snapshot->counters, counters, sizeof counters);
  memcpy(snapshot->numbers, numbers, sizeof numbers);
}

static th_place snapshot_place(const th_snapshot *snapshot) {
  const int64_t *counters = snapshot->counters;
  const double *numbers = snapshot->numbers;
  return (th_place){
      .epoch = (uint32_t)counters[0],
      .step = (uint32_t)counters[1],
      .phase = (uint32_t)counters[2],
      .stop_reason = (uint32_t)counters[3],
      .training = {.loss = numbers[0],
                   .correct = (uint64_t)counters[4],
                   .rows = (uint64_t)counters[5]},
      .validation = {.loss = numbers[1],
                     .correct = (uint64_t)counters[6],
                     .rows = (uint64_t)counters[7]},
      .validation_loss = numbers[2],
      .validation_accuracy = numbers[3],
      .stop_loss = numbers[4],
      .epoch_seconds = numbers[5],
      .seconds = numbers[6],
      .best = epoch_from_numbers(counters[8], numbers + PLACE_NUMBERS - EPOCH_NUMBERS),
      .waited = (uint32_t)counters[9],
  };
}

static void tensor_add(th_tensor *tensors, uint32_t *count, const char *name, th_tensor_type type,
                       uint64_t rows, uint64_t width, const void *data) {
  if (data == NULL) return;
  size_t element_bytes = type == TH_TENSOR_F32 ? sizeof(float) : sizeof(double);
  th_tensor *tensor = &tensors[(*count)++];
  *tensor = (th_tensor){.type = type,
                        .rank = width == 1 ? 1 : 2,
                        .shape = {rows, width},
                        .data = data,
                        .bytes = rows * width * element_bytes};
  snprintf(tensor->name, sizeof tensor->name, "%s", name);
}

/* The tensors of a checkpoint, which are the same for writing and for reading. */
static uint32_t snapshot_describe(const th_snapshot *snapshot, uint64_t parameters,
                                  th_tensor *tensors) {
  const th_engine_state *state = &snapshot->state;
  uint32_t count = 0;
  tensor_add(tensors, &count, "parameters", TH_TENSOR_F32, parameters, 1, state->parameters);
  tensor_add(tensors, &count, "moment1", TH_TENSOR_F32, parameters, 1, state->moment1);
  tensor_add(tensors, &count, "moment2", TH_TENSOR_F32, parameters, 1, state->moment2);
  tensor_add(tensors, &count, "best", TH_TENSOR_F32, parameters, 1, state->best);
  tensor_add(tensors, &count, "place.counters", TH_TENSOR_I64, PLACE_COUNTERS, 1,
             snapshot->counters);
  tensor_add(tensors, &count, "place.numbers", TH_TENSOR_F64, PLACE_NUMBERS, 1, snapshot->numbers);
  tensor_add(tensors, &count, "history.epochs", TH_TENSOR_I64, snapshot->history_count, 1,
             snapshot->history_epochs);
  tensor_add(tensors, &count, "history.numbers", TH_TENSOR_F64, snapshot->history_count,
             EPOCH_NUMBERS, snapshot->history_numbers);
  return count;
}

static th_error snapshot_encode(const th_snapshot *snapshot, const th_trainer *trainer,
                                th_buffer *file) {
  th_buffer spec = {0};
  th_error error = th_spec_format(&trainer->spec, &spec);
  if (error != TH_OK) return error;
  th_metadata metadata[] = {
      {"format", FORMAT}, {"spec", spec.data}, {"digest", trainer->facts.digest}};
  th_tensor tensors[TENSORS_MAX];
  uint32_t count = snapshot_describe(snapshot, trainer->model.parameters, tensors);
  error = th_safetensors_encode(tensors, count, metadata, sizeof metadata / sizeof *metadata, file);
  th_buffer_fini(&spec);
  return error;
}

th_error th_trainer_checkpoint(const th_trainer *trainer, th_buffer *checkpoint) {
  const th_history *history = &trainer->history;
  th_snapshot snapshot;
  th_error error = snapshot_init(&snapshot, trainer, trainer->place.best.epoch, history->count);
  if (error != TH_OK) return error;
  snapshot_take_place(&snapshot, &trainer->place, history->stride);
  for (uint32_t i = 0; i < history->count; i++) {
    snapshot.history_epochs[i] = history->epochs[i].epoch;
    epoch_to_numbers(&history->epochs[i], snapshot.history_numbers + (size_t)i * EPOCH_NUMBERS);
  }
  error = trainer->device.backend->read(trainer->engine, &snapshot.state);
  if (error == TH_OK) error = snapshot_encode(&snapshot, trainer, checkpoint);
  snapshot_fini(&snapshot);
  return error;
}

/* A checkpoint fits one training only: the same specification over the same data. */
static th_error identity_check(const th_trainer *trainer, const th_safetensors *file) {
  const char *format = th_safetensors_metadata(file, "format");
  const char *text = th_safetensors_metadata(file, "spec");
  const char *digest = th_safetensors_metadata(file, "digest");
  if (format == NULL || strcmp(format, FORMAT) != 0 || text == NULL || digest == NULL)
    return th_fail(TH_ERR_DATA, "the checkpoint is no %s file", FORMAT);
  if (strcmp(digest, trainer->facts.digest) != 0)
    return th_fail(TH_ERR_DATA, "the checkpoint is of other data: %s, not %s", digest,
                   trainer->facts.digest);
  th_buffer spec = {0};
  th_error error = th_spec_format(&trainer->spec, &spec);
  if (error != TH_OK) return error;
  if (strcmp(text, spec.data) != 0)
    error = th_fail(TH_ERR_DATA, "the checkpoint is of another specification than this training");
  th_buffer_fini(&spec);
  return error;
}

/* Copies a tensor out if the file has it in that type and size. */
static th_error tensor_copy(const th_safetensors *file, const th_tensor *wanted, void *copy) {
  const th_tensor *found = th_safetensors_find(file, wanted->name);
  if (found == NULL || found->type != wanted->type || found->bytes != wanted->bytes)
    return th_fail(TH_ERR_DATA, "the checkpoint's tensor \"%s\" is %s", wanted->name,
                   found == NULL ? "missing" : "of the wrong type or size");
  if (found->bytes > 0) memcpy(copy, found->data, found->bytes);
  return TH_OK;
}

static bool within(int64_t value, int64_t low, int64_t high) {
  return low <= value && value <= high;
}

/* Every counter within what this training can have reached: all later arithmetic, and the engine,
 * rely on it. */
static bool counters_are_possible(const th_trainer *trainer, const int64_t *counters) {
  int64_t epoch = counters[0];
  int64_t step = counters[1];
  int64_t trained =
      step == trainer->steps ? trainer->training_rows : step * (int64_t)trainer->spec.batch_size;
  bool validating = counters[2] == TH_PHASE_VALIDATING;
  if (!within(epoch, 0, trainer->spec.epochs) || !within(step, 0, trainer->steps)) return false;
  if (!validating && counters[2] != TH_PHASE_TRAINING) return false;
  if (!within(counters[3], TH_STOP_NONE, TH_STOP_EARLY)) return false;
  bool is_between_epochs = !validating && step == trainer->steps;
  /* Before the first epoch stands the end of the one before it; after the last one, a reason. */
  if (epoch == 0 && (!is_between_epochs || counters[3] != TH_STOP_NONE)) return false;
  if (epoch == trainer->spec.epochs && is_between_epochs && counters[3] == TH_STOP_NONE)
    return false;
  if (counters[3] != TH_STOP_NONE && !is_between_epochs) return false;
  if (validating && (step != trainer->steps || counters[7] >= trainer->validation_rows))
    return false;
  return counters[5] == (epoch == 0 ? 0 : trained) && within(counters[4], 0, counters[5]) &&
         within(counters[7], 0, trainer->validation_rows) && within(counters[6], 0, counters[7]) &&
         within(counters[8], 0, epoch) && within(counters[9], 0, epoch) &&
         within(counters[10], 1, UINT32_MAX);
}

static bool history_is_possible(const th_snapshot *snapshot) {
  int64_t before = 0;
  for (uint32_t i = 0; i < snapshot->history_count; i++) {
    if (!within(snapshot->history_epochs[i], before + 1, snapshot->counters[0])) return false;
    before = snapshot->history_epochs[i];
  }
  return true;
}

/* The counters first: they tell which arrays there are, and how long. */
static th_error snapshot_decode(th_snapshot *snapshot, const th_trainer *trainer,
                                const th_safetensors *file) {
  int64_t counters[PLACE_COUNTERS];
  th_tensor wanted = {.name = "place.counters", .type = TH_TENSOR_I64, .bytes = sizeof counters};
  th_error error = tensor_copy(file, &wanted, counters);
  if (error != TH_OK) return error;
  const th_tensor *epochs = th_safetensors_find(file, "history.epochs");
  uint64_t history_count = epochs == NULL ? 0 : epochs->bytes / sizeof(int64_t);
  if (!counters_are_possible(trainer, counters) || history_count > TH_HISTORY_EPOCHS_MAX ||
      history_count > trainer->spec.epochs)
    return th_fail(TH_ERR_DATA, "the checkpoint's counters are none of this training");
  error = snapshot_init(snapshot, trainer, (uint32_t)counters[8], (uint32_t)history_count);
  if (error != TH_OK) return error;
  th_tensor tensors[TENSORS_MAX];
  uint32_t count = snapshot_describe(snapshot, trainer->model.parameters, tensors);
  for (uint32_t i = 0; i < count && error == TH_OK; i++)
    error = tensor_copy(file, &tensors[i], (void *)(uintptr_t)tensors[i].data);
  if (error == TH_OK && !history_is_possible(snapshot))
    error = th_fail(TH_ERR_DATA, "the checkpoint's history is out of order");
  if (error != TH_OK) snapshot_fini(snapshot);
  return error;
}

static th_error snapshot_restore(const th_snapshot *snapshot, th_trainer *trainer) {
  th_error error = trainer->device.backend->write(trainer->engine, &snapshot->state);
  if (error != TH_OK) return error;
  trainer->place = snapshot_place(snapshot);
  trainer->history.stride = (uint32_t)snapshot->counters[10];
  trainer->history.count = snapshot->history_count;
  for (uint32_t i = 0; i < snapshot->history_count; i++)
    trainer->history.epochs[i] = epoch_from_numbers(
        snapshot->history_epochs[i], snapshot->history_numbers + (size_t)i * EPOCH_NUMBERS);
  return TH_OK;
}

th_error th_trainer_restore(th_trainer *trainer, const void *checkpoint, size_t bytes) {
  th_safetensors file;
  th_error error = th_safetensors_decode(checkpoint, bytes, &file);
  if (error != TH_OK) return error;
  th_snapshot snapshot;
  error = identity_check(trainer, &file);
  if (error == TH_OK) error = snapshot_decode(&snapshot, trainer, &file);
  if (error == TH_OK) {
    error = snapshot_restore(&snapshot, trainer);
    snapshot_fini(&snapshot);
  }
  th_safetensors_fini(&file);
  return error;
}

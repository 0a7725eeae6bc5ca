#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/safetensors.h"
#include "kernels/optimizer.h"
#include "kernels/trainer_state.h"

/* The columns of a history's epoch beside its number. */
enum { EPOCH_NUMBERS = 10 };

/* th_place and the history's stride as two arrays, so that every double comes back bit for bit. */
enum {
  EPOCH,
  STEP,
  PHASE,
  STOP_REASON,
  TRAINING_CORRECT,
  TRAINING_ROWS,
  VALIDATION_CORRECT,
  VALIDATION_ROWS,
  BEST_EPOCH,
  WAITED,
  STRIDE,
  PLATEAU_WAITED,
  PLACE_COUNTERS,
};

enum {
  TRAINING_LOSS,
  TRAINING_WEIGHT,
  TRAINING_ABSOLUTE,
  TRAINING_SQUARES,
  TRAINING_UNEXPLAINED,
  VALIDATION_LOSS,
  VALIDATION_WEIGHT,
  VALIDATION_ABSOLUTE,
  VALIDATION_SQUARES,
  VALIDATION_UNEXPLAINED,
  NEWEST_VALIDATION_LOSS,
  NEWEST_VALIDATION_ACCURACY,
  STOP_SCORE,
  EPOCH_SECONDS,
  SECONDS,
  PLATEAU_RATE,
  PLATEAU_BEST,
  BEST_NUMBERS, /* EPOCH_NUMBERS of them */
  PLACE_NUMBERS = BEST_NUMBERS + EPOCH_NUMBERS,
};

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

/* Both ways by one list, or a column could come back as another. */
#define EPOCH_COLUMNS(X)                                                                        \
  X(loss)                                                                                       \
  X(accuracy)                                                                                   \
  X(mae) X(rmse) X(validation_loss) X(validation_accuracy) X(validation_mae) X(validation_rmse) \
      X(learning_rate) X(seconds)

static void epoch_to_numbers(const th_epoch *epoch, double *numbers) {
#define WRITE(column) *numbers++ = epoch->column;
  EPOCH_COLUMNS(WRITE)
}

static th_epoch epoch_from_numbers(int64_t number, const double *numbers) {
  th_epoch epoch = {.epoch = (uint32_t)number};
#define READ(column) epoch.column = *numbers++;
  EPOCH_COLUMNS(READ)
  return epoch;
}

static void snapshot_take_place(th_snapshot *snapshot, const th_trainer *trainer) {
  const th_place *place = &trainer->place;
  const th_schedule *schedule = &trainer->schedule;
  int64_t counters[PLACE_COUNTERS] = {
      [EPOCH] = place->epoch,
      [STEP] = place->step,
      [PHASE] = place->phase,
      [STOP_REASON] = place->stop_reason,
      [TRAINING_CORRECT] = (int64_t)place->training.correct,
      [TRAINING_ROWS] = (int64_t)place->training.rows,
      [VALIDATION_CORRECT] = (int64_t)place->validation.correct,
      [VALIDATION_ROWS] = (int64_t)place->validation.rows,
      [BEST_EPOCH] = place->best.epoch,
      [WAITED] = place->waited,
      [STRIDE] = trainer->history.stride,
      [PLATEAU_WAITED] = schedule->plateau_waited,
  };
  double numbers[PLACE_NUMBERS] = {
      [TRAINING_LOSS] = place->training.loss,
      [TRAINING_WEIGHT] = place->training.weight,
      [TRAINING_ABSOLUTE] = place->training.absolute,
      [TRAINING_SQUARES] = place->training.squares,
      [TRAINING_UNEXPLAINED] = place->training.unexplained,
      [VALIDATION_LOSS] = place->validation.loss,
      [VALIDATION_WEIGHT] = place->validation.weight,
      [VALIDATION_ABSOLUTE] = place->validation.absolute,
      [VALIDATION_SQUARES] = place->validation.squares,
      [VALIDATION_UNEXPLAINED] = place->validation.unexplained,
      [NEWEST_VALIDATION_LOSS] = place->validation_loss,
      [NEWEST_VALIDATION_ACCURACY] = place->validation_accuracy,
      [STOP_SCORE] = place->stop_score,
      [EPOCH_SECONDS] = place->epoch_seconds,
      [SECONDS] = place->seconds,
      [PLATEAU_RATE] = schedule->plateau_rate,
      [PLATEAU_BEST] = schedule->plateau_best,
  };
  epoch_to_numbers(&place->best, numbers + BEST_NUMBERS);
  memcpy(snapshot->counters, counters, sizeof counters);
  memcpy(snapshot->numbers, numbers, sizeof numbers);
}

static th_place snapshot_place(const th_snapshot *snapshot) {
  const int64_t *counters = snapshot->counters;
  const double *numbers = snapshot->numbers;
  return (th_place){
      .epoch = (uint32_t)counters[EPOCH],
      .step = (uint32_t)counters[STEP],
      .phase = (uint32_t)counters[PHASE],
      .stop_reason = (uint32_t)counters[STOP_REASON],
      .training = {.loss = numbers[TRAINING_LOSS],
                   .weight = numbers[TRAINING_WEIGHT],
                   .absolute = numbers[TRAINING_ABSOLUTE],
                   .squares = numbers[TRAINING_SQUARES],
                   .unexplained = numbers[TRAINING_UNEXPLAINED],
                   .correct = (uint64_t)counters[TRAINING_CORRECT],
                   .rows = (uint64_t)counters[TRAINING_ROWS]},
      .validation = {.loss = numbers[VALIDATION_LOSS],
                     .weight = numbers[VALIDATION_WEIGHT],
                     .absolute = numbers[VALIDATION_ABSOLUTE],
                     .squares = numbers[VALIDATION_SQUARES],
                     .unexplained = numbers[VALIDATION_UNEXPLAINED],
                     .correct = (uint64_t)counters[VALIDATION_CORRECT],
                     .rows = (uint64_t)counters[VALIDATION_ROWS]},
      .validation_loss = numbers[NEWEST_VALIDATION_LOSS],
      .validation_accuracy = numbers[NEWEST_VALIDATION_ACCURACY],
      .best = epoch_from_numbers(counters[BEST_EPOCH], numbers + BEST_NUMBERS),
      .stop_score = numbers[STOP_SCORE],
      .waited = (uint32_t)counters[WAITED],
      .epoch_seconds = numbers[EPOCH_SECONDS],
      .seconds = numbers[SECONDS],
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
  /* The wide numbers first, or an odd count of floats before them would put them off their
   * alignment. */
  tensor_add(tensors, &count, "place.counters", TH_TENSOR_I64, PLACE_COUNTERS, 1,
             snapshot->counters);
  tensor_add(tensors, &count, "place.numbers", TH_TENSOR_F64, PLACE_NUMBERS, 1, snapshot->numbers);
  tensor_add(tensors, &count, "history.epochs", TH_TENSOR_I64, snapshot->history_count, 1,
             snapshot->history_epochs);
  tensor_add(tensors, &count, "history.numbers", TH_TENSOR_F64, snapshot->history_count,
             EPOCH_NUMBERS, snapshot->history_numbers);
  tensor_add(tensors, &count, "parameters", TH_TENSOR_F32, parameters, 1, state->parameters);
  tensor_add(tensors, &count, "moment1", TH_TENSOR_F32, parameters, 1, state->moment1);
  tensor_add(tensors, &count, "moment2", TH_TENSOR_F32, parameters, 1, state->moment2);
  tensor_add(tensors, &count, "best", TH_TENSOR_F32, parameters, 1, state->best);
  return count;
}

static th_error snapshot_encode(const th_snapshot *snapshot, const th_trainer *trainer,
                                th_buffer *file) {
  th_buffer spec = {0};
  th_error error = th_spec_format(&trainer->spec, &spec);
  if (error != TH_OK) return error;
  th_metadata metadata[] = {
      {"format", TH_CHECKPOINT_FORMAT}, {"spec", spec.data}, {"digest", trainer->facts.digest}};
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
  snapshot_take_place(&snapshot, trainer);
  for (uint32_t i = 0; i < history->count; i++) {
    snapshot.history_epochs[i] = history->epochs[i].epoch;
    epoch_to_numbers(&history->epochs[i], snapshot.history_numbers + (size_t)i * EPOCH_NUMBERS);
  }
  error = trainer->device.backend->read(trainer->engine, &snapshot.state);
  if (error == TH_OK) error = snapshot_encode(&snapshot, trainer, checkpoint);
  snapshot_fini(&snapshot);
  return error;
}

/* The label, and how often a training is saved, change nothing of what is trained. */
static th_error specification_check(const th_trainer *trainer, const char *text) {
  th_spec spec;
  th_error error = th_spec_parse(text, strlen(text), &spec);
  if (error != TH_OK) return th_fail(TH_ERR_DATA, "the checkpoint: %s", th_error_text());
  memcpy(spec.name, trainer->spec.name, sizeof spec.name);
  spec.checkpoint_epochs = trainer->spec.checkpoint_epochs;
  error = th_spec_judge_same(&spec, &trainer->spec);
  if (error == TH_ERR_DATA)
    return th_fail(error, "the checkpoint is of another specification: its %s", th_error_text());
  return error;
}

/* A checkpoint fits one training only: the same specification over the same data. */
static th_error identity_check(const th_trainer *trainer, const th_safetensors *file) {
  const char *format = th_safetensors_metadata(file, "format");
  const char *text = th_safetensors_metadata(file, "spec");
  const char *digest = th_safetensors_metadata(file, "digest");
  if (format == NULL || strcmp(format, TH_CHECKPOINT_FORMAT) != 0 || text == NULL || digest == NULL)
    return th_fail(TH_ERR_DATA, "the checkpoint is no %s file", TH_CHECKPOINT_FORMAT);
  if (strcmp(digest, trainer->facts.digest) != 0)
    return th_fail(TH_ERR_DATA, "the checkpoint is of other data: %s, not %s", digest,
                   trainer->facts.digest);
  return specification_check(trainer, text);
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

/* Each counter by itself. */
static bool counters_are_in_range(const th_trainer *trainer, const int64_t *counters) {
  return within(counters[EPOCH], 0, trainer->spec.epochs) &&
         within(counters[STEP], 0, trainer->steps) &&
         within(counters[PHASE], TH_PHASE_TRAINING, TH_PHASE_VALIDATING) &&
         within(counters[STOP_REASON], TH_STOP_NONE, TH_STOP_EARLY) &&
         within(counters[TRAINING_ROWS], 0, trainer->split.training_rows) &&
         within(counters[TRAINING_CORRECT], 0, counters[TRAINING_ROWS]) &&
         within(counters[VALIDATION_ROWS], 0, trainer->split.validation_rows) &&
         within(counters[VALIDATION_CORRECT], 0, counters[VALIDATION_ROWS]) &&
         within(counters[BEST_EPOCH], 0, counters[EPOCH]) &&
         within(counters[WAITED], 0, counters[EPOCH]) &&
         within(counters[PLATEAU_WAITED], 0, counters[EPOCH]) &&
         within(counters[STRIDE], 1, UINT32_MAX);
}

/* All counters together: a place that this training can be at. What follows, and the engine, rely
 * on it. */
static bool counters_are_possible(const th_trainer *trainer, const int64_t *counters) {
  if (!counters_are_in_range(trainer, counters)) return false;
  bool is_whole = counters[STEP] == trainer->steps;
  bool is_validated = counters[VALIDATION_ROWS] == trainer->split.validation_rows;
  bool is_over = counters[STOP_REASON] != TH_STOP_NONE;
  int64_t rows =
      is_whole ? trainer->split.training_rows : counters[STEP] * (int64_t)trainer->spec.batch_size;
  /* Before the first epoch stands the end of one that trained nothing. */
  if (counters[EPOCH] == 0)
    return is_whole && !is_over && counters[PHASE] == TH_PHASE_TRAINING &&
           counters[TRAINING_ROWS] == 0 && counters[VALIDATION_ROWS] == 0;
  if (counters[TRAINING_ROWS] != rows) return false;
  if (counters[PHASE] == TH_PHASE_VALIDATING) return is_whole && !is_validated && !is_over;
  if (!is_whole) return counters[VALIDATION_ROWS] == 0 && !is_over;
  /* Between two epochs, or after the last, which leaves a reason and nothing more to do. */
  return is_validated && counters[BEST_EPOCH] > 0 &&
         (is_over || counters[EPOCH] < trainer->spec.epochs);
}

static uint32_t epochs_ended(const th_trainer *trainer, const int64_t *counters) {
  bool is_under_way =
      counters[PHASE] == TH_PHASE_VALIDATING || counters[STEP] < (int64_t)trainer->steps;
  return (uint32_t)counters[EPOCH] - (is_under_way ? 1 : 0);
}

/* Epochs 1, 1 + stride, … and the last that has ended: what has room in a history, and for what is
 * still to be appended. */
static bool history_is_possible(const th_snapshot *snapshot, uint32_t ended) {
  uint32_t stride = (uint32_t)snapshot->counters[STRIDE];
  if (ended == 0) return snapshot->history_count == 0;
  uint32_t regular = (ended - 1) / stride + 1;
  bool is_last_extra = (ended - 1) % stride != 0;
  if (snapshot->history_count != regular + is_last_extra) return false;
  for (uint32_t i = 0; i < regular; i++)
    if (snapshot->history_epochs[i] != 1 + (int64_t)i * stride) return false;
  return snapshot->history_epochs[snapshot->history_count - 1] == ended;
}

/* The counters first: they tell which arrays there are, and how long. */
static th_error snapshot_decode(th_snapshot *snapshot, const th_trainer *trainer,
                                const th_safetensors *file) {
  int64_t counters[PLACE_COUNTERS] = {0};
  th_tensor wanted = {.name = "place.counters", .type = TH_TENSOR_I64, .bytes = sizeof counters};
  th_error error = tensor_copy(file, &wanted, counters);
  if (error != TH_OK) return error;
  const th_tensor *epochs = th_safetensors_find(file, "history.epochs");
  uint64_t history_count = epochs == NULL ? 0 : epochs->bytes / sizeof(int64_t);
  if (!counters_are_possible(trainer, counters) || history_count > TH_HISTORY_EPOCHS_MAX ||
      history_count > trainer->spec.epochs)
    return th_fail(TH_ERR_DATA, "the checkpoint's counters are none of this training");
  error = snapshot_init(snapshot, trainer, (uint32_t)counters[BEST_EPOCH], (uint32_t)history_count);
  if (error != TH_OK) return error;
  th_tensor tensors[TENSORS_MAX];
  uint32_t count = snapshot_describe(snapshot, trainer->model.parameters, tensors);
  for (uint32_t i = 0; i < count && error == TH_OK; i++)
    error = tensor_copy(file, &tensors[i], (void *)(uintptr_t)tensors[i].data);
  if (error == TH_OK && !history_is_possible(snapshot, epochs_ended(trainer, counters)))
    error = th_fail(TH_ERR_DATA, "the checkpoint's history is out of order");
  if (error != TH_OK) snapshot_fini(snapshot);
  return error;
}

static th_error snapshot_restore(const th_snapshot *snapshot, th_trainer *trainer) {
  th_error error = trainer->device.backend->write(trainer->engine, &snapshot->state);
  if (error != TH_OK) return error;
  trainer->place = snapshot_place(snapshot);
  trainer->schedule.plateau_rate = snapshot->numbers[PLATEAU_RATE];
  trainer->schedule.plateau_best = snapshot->numbers[PLATEAU_BEST];
  trainer->schedule.plateau_waited = (uint32_t)snapshot->counters[PLATEAU_WAITED];
  trainer->history.stride = (uint32_t)snapshot->counters[STRIDE];
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

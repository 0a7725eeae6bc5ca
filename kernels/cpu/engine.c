#include "kernels/cpu/engine.h"

#include <inttypes.h>
#include <stdlib.h>

#include "kernels/cpu/cpu.h"

#define ALIGNMENT_BYTES 64

/* Zeroed, aligned to a cache line; NULL without memory or if the size overflows. */
static void *array_allocate(uint64_t rows, uint64_t width, size_t element_bytes) {
  size_t bytes;
  if (__builtin_mul_overflow(rows, width, &bytes) ||
      __builtin_mul_overflow(bytes, element_bytes, &bytes) ||
      __builtin_add_overflow(bytes, ALIGNMENT_BYTES - 1, &bytes))
    return NULL;
  bytes -= bytes % ALIGNMENT_BYTES;
  void *array = aligned_alloc(ALIGNMENT_BYTES, bytes == 0 ? ALIGNMENT_BYTES : bytes);
  if (array != NULL) memset(array, 0, bytes);
  return array;
}

static bool blocks_allocate(th_engine *engine) {
  const th_model *model = engine->model;
  for (uint32_t l = 0; l < model->layer_count; l++)
    engine->block_count += (model->layers[l].outputs + TH_BLOCK_OUTPUTS - 1) / TH_BLOCK_OUTPUTS;
  engine->blocks = array_allocate(engine->block_count, 1, sizeof *engine->blocks);
  if (engine->blocks == NULL) return false;
  th_block *block = engine->blocks;
  for (uint32_t l = 0; l < model->layer_count; l++)
    for (uint32_t first = 0; first < model->layers[l].outputs; first += TH_BLOCK_OUTPUTS) {
      uint32_t left = model->layers[l].outputs - first;
      *block++ = (th_block){
          .layer = l, .first = first, .outputs = left < TH_BLOCK_OUTPUTS ? left : TH_BLOCK_OUTPUTS};
    }
  return true;
}

/* What only training needs: gradients, moments, the deltas and masks of hidden layers. */
static bool training_allocate(th_engine *engine, uint64_t batch_rows) {
  const th_model *model = engine->model;
  uint32_t moments = th_optimizer_moments(engine->spec);
  engine->gradients = array_allocate(model->parameters, 1, sizeof(th_real));
  if (engine->gradients == NULL) return false;
  if (moments > 0) engine->moment1 = array_allocate(model->parameters, 1, sizeof(th_real));
  if (moments > 0 && engine->moment1 == NULL) return false;
  if (moments > 1) engine->moment2 = array_allocate(model->parameters, 1, sizeof(th_real));
  if (moments > 1 && engine->moment2 == NULL) return false;
  for (uint32_t l = 0; l + 1 < model->layer_count; l++) {
    uint32_t outputs = model->layers[l].outputs;
    engine->deltas[l] = array_allocate(batch_rows, outputs, sizeof(th_real));
    if (engine->deltas[l] == NULL) return false;
    if (engine->nonlinearity.drop_threshold == 0) continue;
    engine->kept[l] = array_allocate(batch_rows, outputs, sizeof(uint8_t));
    if (engine->kept[l] == NULL) return false;
  }
  return blocks_allocate(engine);
}

static bool forward_allocate(th_engine *engine, uint64_t rows) {
  const th_model *model = engine->model;
  uint32_t last = model->layer_count - 1;
  engine->parameters = array_allocate(model->parameters, 1, sizeof(th_real));
  engine->deltas[last] = array_allocate(rows, model->classes, sizeof(th_real));
  engine->slice_sums =
      array_allocate((rows + TH_SLICE_ROWS - 1) / TH_SLICE_ROWS, 1, sizeof *engine->slice_sums);
  for (uint32_t l = 0; l < model->layer_count; l++) {
    engine->inputs[l] = array_allocate(rows, model->layers[l].inputs, sizeof(th_real));
    if (engine->inputs[l] == NULL) return false;
  }
  return engine->parameters != NULL && engine->deltas[last] != NULL && engine->slice_sums != NULL;
}

static void engine_destroy(th_engine *engine) {
  if (engine == NULL) return;
  for (uint32_t l = 0; l < TH_MODEL_LAYERS_MAX; l++) {
    free(engine->inputs[l]);
    free(engine->deltas[l]);
    free(engine->kept[l]);
  }
  free(engine->slice_sums);
  free(engine->blocks);
  free(engine->best);
  free(engine->moment2);
  free(engine->moment1);
  free(engine->gradients);
  free(engine->parameters);
  free(engine);
}

static uint64_t min_u64(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

static th_error engine_create(const th_engine_plan *plan, th_engine **engine) {
  const th_spec *spec = plan->spec;
  uint64_t batch_rows = min_u64(spec->batch_size, plan->training_rows);
  uint64_t evaluate_rows = min_u64(plan->data->rows - plan->training_rows, TH_EVALUATE_ROWS);
  th_engine *made = calloc(1, sizeof *made);
  if (made == NULL) goto no_memory;
  *made = (th_engine){
      .spec = spec,
      .model = plan->model,
      .data = plan->data,
      .split = plan->split,
      .training_rows = plan->training_rows,
      .nonlinearity = {.kind = spec->activation,
                       .negative_slope = (th_real)spec->negative_slope,
                       .drop_threshold = th_dropout_threshold(spec->dropout),
                       .keep = (th_real)(1.0 - spec->dropout)},
  };
  if (!forward_allocate(made, batch_rows > evaluate_rows ? batch_rows : evaluate_rows))
    goto no_memory;
  if (plan->training_rows > 0 && !training_allocate(made, batch_rows)) goto no_memory;
  *engine = made;
  return TH_OK;

no_memory:
  engine_destroy(made);
  return th_fail(TH_ERR_SYSTEM,
                 "no memory for a net of %" PRIu64
                 " parameters with batches of %u rows of %u; make the net or the batch smaller",
                 plan->model->parameters, spec->batch_size, plan->data->width);
}

static void array_read(const th_engine *engine, const th_real *array, th_real *copy) {
  size_t bytes = engine->model->parameters * sizeof *copy;
  if (copy == NULL) return;
  if (array == NULL)
    memset(copy, 0, bytes);
  else
    memcpy(copy, array, bytes);
}

static th_error engine_read(const th_engine *engine, const th_engine_state *state) {
  array_read(engine, engine->parameters, state->parameters);
  array_read(engine, engine->moment1, state->moment1);
  array_read(engine, engine->moment2, state->moment2);
  array_read(engine, engine->best, state->best);
  return TH_OK;
}

static void array_write(const th_engine *engine, const th_real *copy, th_real *array) {
  if (copy != NULL && array != NULL) memcpy(array, copy, engine->model->parameters * sizeof *copy);
}

/* The best parameters have memory from the first time that there are any. */
static th_error best_allocate(th_engine *engine) {
  if (engine->best == NULL)
    engine->best = array_allocate(engine->model->parameters, 1, sizeof(th_real));
  if (engine->best != NULL) return TH_OK;
  return th_fail(TH_ERR_SYSTEM, "no memory to keep the best of %" PRIu64 " parameters",
                 engine->model->parameters);
}

static th_error engine_write(th_engine *engine, const th_engine_state *state) {
  th_error error = state->best == NULL ? TH_OK : best_allocate(engine);
  if (error != TH_OK) return error;
  array_write(engine, state->parameters, engine->parameters);
  array_write(engine, state->moment1, engine->moment1);
  array_write(engine, state->moment2, engine->moment2);
  array_write(engine, state->best, engine->best);
  return TH_OK;
}

static th_error engine_keep_best(th_engine *engine) {
  th_error error = best_allocate(engine);
  if (error == TH_OK) array_write(engine, engine->parameters, engine->best);
  return error;
}

static th_error engine_restore_best(th_engine *engine) {
  array_write(engine, engine->best, engine->parameters);
  return TH_OK;
}

const th_backend th_cpu_backend = {
    .name = "cpu",
    .steps_at_once = 1,
    .rows_at_once = TH_EVALUATE_ROWS,
    .create = engine_create,
    .train = th_engine_train,
    .evaluate = th_engine_evaluate,
    .read = engine_read,
    .write = engine_write,
    .keep_best = engine_keep_best,
    .restore_best = engine_restore_best,
    .destroy = engine_destroy,
};

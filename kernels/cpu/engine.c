#include "kernels/cpu/engine.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/check.h"
#include "kernels/activation.h"
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

static uint32_t block_inputs_max(const th_linear *layer) {
  return layer->is_wide ? TH_BLOCK_INPUTS_WIDE : TH_BLOCK_INPUTS;
}

static bool blocks_allocate(th_engine *engine) {
  uint32_t layers = engine->model->layer_count;
  for (uint32_t l = 0; l < layers; l++) {
    uint32_t largest = block_inputs_max(&engine->layers[l]);
    engine->block_count += (engine->layers[l].inputs + largest - 1) / largest;
  }
  engine->blocks = array_allocate(engine->block_count, 1, sizeof *engine->blocks);
  engine->block_squares = array_allocate(engine->block_count, 1, sizeof *engine->block_squares);
  if (engine->blocks == NULL || engine->block_squares == NULL) return false;
  th_block *block = engine->blocks;
  for (uint32_t l = 0; l < layers; l++) {
    uint32_t largest = block_inputs_max(&engine->layers[l]);
    for (uint32_t first = 0; first < engine->layers[l].inputs; first += largest) {
      uint32_t left = engine->layers[l].inputs - first;
      *block++ = (th_block){.layer = l, .first = first, .inputs = left < largest ? left : largest};
    }
  }
  return true;
}

/* What the way back through a hidden layer needs. */
static bool hidden_allocate(th_engine *engine, uint32_t l, uint64_t batch_rows) {
  const th_linear *above = &engine->layers[l + 1];
  const th_nonlinearity *f = &engine->nonlinearities[l];
  uint32_t width = above->input_stride;
  bool keeps_slopes = !th_activation_tells_slope(f->kind);
  bool drops = f->drop_threshold > 0;
  engine->deltas[l] = array_allocate(batch_rows, width, sizeof(th_real));
  if (!above->is_wide)
    engine->transposed[l + 1] = array_allocate(above->outputs, width, sizeof(th_real));
  if (keeps_slopes) engine->slopes[l] = array_allocate(batch_rows, width, sizeof(th_real));
  if (drops) engine->kept[l] = array_allocate(batch_rows, width, sizeof(uint8_t));
  return engine->deltas[l] != NULL && (above->is_wide || engine->transposed[l + 1] != NULL) &&
         (!keeps_slopes || engine->slopes[l] != NULL) && (!drops || engine->kept[l] != NULL);
}

/* What only training needs: gradients, moments, and what hidden layers need. */
static bool training_allocate(th_engine *engine, uint64_t batch_rows) {
  uint32_t moments = th_optimizer_moments(engine->spec);
  uint64_t count = engine->parameter_count;
  engine->gradients = array_allocate(count, 1, sizeof(th_real));
  engine->rows_ahead = array_allocate(batch_rows, 1, sizeof *engine->rows_ahead);
  if (engine->gradients == NULL || engine->rows_ahead == NULL) return false;
  if (moments > 0) engine->moment1 = array_allocate(count, 1, sizeof(th_real));
  if (moments > 0 && engine->moment1 == NULL) return false;
  if (moments > 1) engine->moment2 = array_allocate(count, 1, sizeof(th_real));
  if (moments > 1 && engine->moment2 == NULL) return false;
  for (uint32_t l = 0; l + 1 < engine->model->layer_count; l++)
    if (!hidden_allocate(engine, l, batch_rows)) return false;
  return blocks_allocate(engine);
}

static bool forward_allocate(th_engine *engine, uint64_t rows) {
  uint32_t last = engine->model->layer_count - 1;
  engine->parameters = array_allocate(engine->parameter_count, 1, sizeof(th_real));
  engine->deltas[last] = array_allocate(rows, engine->layers[last].output_stride, sizeof(th_real));
  engine->slice_sums = array_allocate((rows + engine->slice_rows - 1) / engine->slice_rows, 1,
                                      sizeof *engine->slice_sums);
  for (uint32_t l = 0; l <= last; l++) {
    engine->inputs[l] = array_allocate(rows, engine->layers[l].input_stride, sizeof(th_real));
    if (engine->inputs[l] == NULL) return false;
  }
  return engine->parameters != NULL && engine->deltas[last] != NULL && engine->slice_sums != NULL;
}

static th_nonlinearity nonlinearity_of(const th_spec *spec, uint32_t layer) {
  th_activation kind = th_spec_activation(spec, layer);
  return (th_nonlinearity){
      .kind = kind,
      .shape = (th_real)(kind == TH_ACTIVATION_ELU ? spec->elu_alpha : spec->negative_slope),
      .drop_threshold = th_dropout_threshold(spec->dropout),
      .keep = (th_real)(1.0 - spec->dropout),
  };
}

static void layers_init(th_engine *engine) {
  engine->slice_rows = TH_SLICE_ROWS;
  for (uint32_t l = 0; l < engine->model->layer_count; l++) {
    th_linear *layer = &engine->layers[l];
    *layer = th_linear_init(&engine->model->layers[l], engine->parameter_count);
    engine->parameter_count = layer->biases + layer->output_stride;
    if (layer->is_wide) engine->slice_rows = TH_SLICE_ROWS_WIDE;
  }
  for (uint32_t l = 0; l + 1 < engine->model->layer_count; l++)
    engine->nonlinearities[l] = nonlinearity_of(engine->spec, l);
}

/* Weights matter to data with labels only; th_weighting_settle has made numbers of them. */
static bool rule_init(th_engine *engine) {
  const th_spec *spec = engine->spec;
  engine->rule = (th_loss_rule){.kind = spec->loss,
                                .smoothing = (th_real)spec->label_smoothing,
                                .gamma = (th_real)spec->focal_gamma,
                                .weight_sum = (th_real)engine->model->classes};
  if (spec->weighting == TH_WEIGHTING_NONE || engine->data->labels == NULL) return true;
  uint32_t classes = engine->model->classes;
  th_check(spec->weighting == TH_WEIGHTING_LISTED && spec->class_weight_count == classes);
  engine->class_weights = array_allocate(classes, 1, sizeof(th_real));
  if (engine->class_weights == NULL) return false;
  double sum = 0;
  for (uint32_t c = 0; c < classes; c++) {
    engine->class_weights[c] = (th_real)spec->class_weights[c];
    sum += spec->class_weights[c];
  }
  engine->rule.weights = engine->class_weights;
  engine->rule.weight_sum = (th_real)sum;
  return true;
}

static void engine_destroy(th_engine *engine) {
  if (engine == NULL) return;
  for (uint32_t l = 0; l < TH_MODEL_LAYERS_MAX; l++) {
    free(engine->inputs[l]);
    free(engine->deltas[l]);
    free(engine->slopes[l]);
    free(engine->kept[l]);
    free(engine->transposed[l]);
  }
  free(engine->class_weights);
  free(engine->rows_ahead);
  free(engine->slice_sums);
  free(engine->block_squares);
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
  if (spec->normalization != TH_NORMALIZATION_NONE || spec->residual || plan->model->groups > 0 ||
      plan->model->cell_count > 0)
    return th_fail(TH_ERR_USAGE,
                   "normalization, residual, embedding and recurrent are not trained "
                   "by the CPU engine yet");
  uint64_t batch_rows = min_u64(spec->batch_size, plan->training_rows);
  uint64_t evaluate_rows = min_u64(plan->data->rows - plan->training_rows, TH_EVALUATE_ROWS);
  th_engine *made = calloc(1, sizeof *made);
  if (made == NULL) goto no_memory;
  *made = (th_engine){
      .spec = spec,
      .model = plan->model,
      .data = plan->data,
      .loops = th_loops_choose(),
      .split = plan->split,
      .rows = plan->rows,
      .shift = plan->shift,
      .scale = plan->scale,
      .schedule = plan->schedule,
      .training_rows = plan->training_rows,
  };
  layers_init(made);
  /* The losses are taken of whole groups of rows. */
  uint64_t rows = batch_rows > evaluate_rows ? batch_rows : evaluate_rows;
  rows = (rows + TH_LOSS_ROWS - 1) / TH_LOSS_ROWS * TH_LOSS_ROWS;
  if (!rule_init(made) || !forward_allocate(made, rows)) goto no_memory;
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
  if (copy == NULL) return;
  if (array == NULL) {
    memset(copy, 0, engine->model->parameters * sizeof *copy);
    return;
  }
  for (uint32_t l = 0; l < engine->model->layer_count; l++)
    th_linear_read(&engine->layers[l], &engine->model->layers[l], array, copy);
}

static th_error engine_read(const th_engine *engine, const th_engine_state *state) {
  array_read(engine, engine->parameters, state->parameters);
  array_read(engine, engine->moment1, state->moment1);
  array_read(engine, engine->moment2, state->moment2);
  array_read(engine, engine->best, state->best);
  return TH_OK;
}

static void array_write(const th_engine *engine, const th_real *copy, th_real *array) {
  if (copy == NULL || array == NULL) return;
  for (uint32_t l = 0; l < engine->model->layer_count; l++)
    th_linear_write(&engine->layers[l], &engine->model->layers[l], copy, array);
}

/* The best parameters have memory from the first time that there are any. */
static th_error best_allocate(th_engine *engine) {
  if (engine->best == NULL)
    engine->best = array_allocate(engine->parameter_count, 1, sizeof(th_real));
  if (engine->best != NULL) return TH_OK;
  return th_fail(TH_ERR_SYSTEM, "no memory to keep the best of %" PRIu64 " parameters",
                 engine->model->parameters);
}

static void engine_transpose(const th_engine *engine) {
  for (uint32_t l = 0; l < engine->model->layer_count; l++)
    th_linear_transpose(&engine->layers[l], engine->loops, 0, engine->layers[l].inputs,
                        engine->parameters, engine->transposed[l]);
}

static th_error engine_write(th_engine *engine, const th_engine_state *state) {
  th_error error = state->best == NULL ? TH_OK : best_allocate(engine);
  if (error != TH_OK) return error;
  array_write(engine, state->parameters, engine->parameters);
  array_write(engine, state->moment1, engine->moment1);
  array_write(engine, state->moment2, engine->moment2);
  array_write(engine, state->best, engine->best);
  engine_transpose(engine);
  return TH_OK;
}

static th_error engine_keep_best(th_engine *engine) {
  th_error error = best_allocate(engine);
  if (error == TH_OK)
    memcpy(engine->best, engine->parameters, engine->parameter_count * sizeof *engine->best);
  return error;
}

static th_error engine_restore_best(th_engine *engine) {
  if (engine->best == NULL) return TH_OK;
  memcpy(engine->parameters, engine->best, engine->parameter_count * sizeof *engine->best);
  engine_transpose(engine);
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

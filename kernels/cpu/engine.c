#include "kernels/cpu/engine.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/check.h"
#include "kernels/activation.h"
#include "kernels/cpu/cpu.h"
#include "kernels/weighting.h"

#define ALIGNMENT_BYTES 64

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

void *th_engine_array(th_engine *engine, uint64_t rows, uint64_t width, size_t element_bytes) {
  th_check(engine->array_count < TH_ARRAYS_MAX);
  void *array = array_allocate(rows, width, element_bytes);
  if (array == NULL)
    engine->lacks_memory = true;
  else
    engine->arrays[engine->array_count++] = array;
  return array;
}

/* ---- the net ---- */

static th_nonlinearity nonlinearity_of(const th_spec *spec, uint32_t layer) {
  th_activation kind = th_spec_activation(spec, layer);
  return (th_nonlinearity){
      .kind = kind,
      .shape = (th_real)(kind == TH_ACTIVATION_ELU ? spec->elu_alpha : spec->negative_slope),
      .drop_threshold = th_dropout_threshold(spec->dropout),
      .keep = (th_real)(1.0 - spec->dropout),
  };
}

static uint64_t round_up(uint64_t count, uint64_t whole) {
  return (count + whole - 1) / whole * whole;
}

static uint32_t clamp_u32(uint32_t count, uint32_t least, uint32_t most) {
  return count < least ? least : count > most ? most : count;
}

/* Those of the embedding. */
static uint64_t table_numbers(const th_engine *engine) {
  return (uint64_t)engine->model->groups * engine->spec->embedding;
}

static void dense_init(th_engine *engine, const th_layer *layer, uint32_t times) {
  th_dense *dense = &engine->denses[engine->dense_count++];
  *dense = (th_dense){.layer = layer,
                      .linear = th_linear_init(layer, engine->parameter_count),
                      .times = times,
                      .vectors = 1};
  engine->parameter_count = dense->linear.biases + dense->linear.output_stride;
  engine->row_flops += 2.0 * times * (layer->inputs + 1.0) * layer->outputs;
  if (dense->linear.is_wide) engine->slice_rows = TH_SLICE_ROWS_WIDE;
}

static void hidden_init(th_engine *engine, uint32_t l) {
  engine->hidden[l] = (th_hidden){.f = nonlinearity_of(engine->spec, l),
                                  .shift = engine->denses[l].linear.biases,
                                  .skips = th_model_skips(engine->model, engine->spec, l)};
  if (th_engine_is_normalized(engine)) th_norm_init(engine, l);
}

static void net_init(th_engine *engine) {
  const th_model *model = engine->model;
  uint32_t window = engine->spec->window;
  engine->slice_rows = model->cell_count > 0 ? TH_SLICE_ROWS_RECURRENT : TH_SLICE_ROWS;
  for (uint32_t l = 0; l < model->layer_count; l++) {
    dense_init(engine, &model->layers[l], 1);
    if (l < engine->spec->hidden_count) hidden_init(engine, l);
  }
  for (uint32_t c = 0; c < model->cell_count; c++) {
    dense_init(engine, &model->cells[c].input, window);
    dense_init(engine, &model->cells[c].state, window);
  }
  engine->evaluate_rows = TH_EVALUATE_ROWS;
  if (model->cell_count > 0)
    engine->evaluate_rows =
        clamp_u32(TH_EVALUATE_WINDOW_ROWS / window, TH_LOSS_ROWS, TH_EVALUATE_ROWS);
  engine->recurrent_drop = (th_nonlinearity){
      .drop_threshold = th_dropout_threshold(engine->spec->dropout),
      .keep = (th_real)(1.0 - engine->spec->dropout),
  };
  engine->embedding = engine->parameter_count;
  engine->parameter_count += round_up(table_numbers(engine), TH_PANEL);
}

/* ---- what only training needs ---- */

static uint32_t block_inputs_max(const th_linear *linear) {
  return linear->is_wide ? TH_BLOCK_INPUTS_WIDE : TH_BLOCK_INPUTS;
}

static uint32_t blocks_of(uint32_t count, uint32_t largest) {
  return (count + largest - 1) / largest;
}

static uint32_t min_u32(uint32_t a, uint32_t b) {
  return a < b ? a : b;
}

static th_block *weights_divide(const th_engine *engine, uint32_t d, th_block *block) {
  const th_linear *linear = &engine->denses[d].linear;
  uint32_t largest = block_inputs_max(linear);
  for (uint32_t first = 0; first < linear->inputs; first += largest, block++) {
    uint32_t count = min_u32(linear->inputs - first, largest);
    bool is_last = first + count == linear->inputs;
    *block = (th_block){.kind = TH_BLOCK_WEIGHTS,
                        .dense = d,
                        .first = first,
                        .count = count,
                        .start = linear->weights + (uint64_t)first * linear->output_stride,
                        .numbers = (uint64_t)(count + (is_last ? engine->denses[d].vectors : 0)) *
                                   linear->output_stride};
  }
  return block;
}

static void embedding_divide(const th_engine *engine, th_block *block) {
  uint32_t groups = engine->model->groups;
  uint64_t width = engine->spec->embedding;
  for (uint32_t first = 0; first < groups; first += TH_BLOCK_GROUPS, block++) {
    uint32_t count = min_u32(groups - first, TH_BLOCK_GROUPS);
    *block = (th_block){.kind = TH_BLOCK_EMBEDDING,
                        .first = first,
                        .count = count,
                        .start = engine->embedding + first * width,
                        .numbers = round_up(count * width, TH_PANEL)};
  }
}

static void blocks_allocate(th_engine *engine) {
  engine->block_count = blocks_of(engine->model->groups, TH_BLOCK_GROUPS);
  for (uint32_t d = 0; d < engine->dense_count; d++) {
    const th_linear *linear = &engine->denses[d].linear;
    engine->block_count += blocks_of(linear->inputs, block_inputs_max(linear));
  }
  engine->blocks = th_engine_array(engine, engine->block_count, 1, sizeof *engine->blocks);
  engine->block_squares =
      th_engine_array(engine, engine->block_count, 1, sizeof *engine->block_squares);
  th_block *block = engine->blocks;
  if (block == NULL) return;
  for (uint32_t d = 0; d < engine->dense_count; d++) block = weights_divide(engine, d, block);
  embedding_divide(engine, block);
}

/* What the way back to the embedding needs. */
static void embedding_allocate(th_engine *engine, uint64_t batch_rows) {
  if (engine->model->groups == 0) return;
  const th_dense *first = th_engine_first(engine);
  engine->input_deltas =
      th_engine_reals(engine, batch_rows * first->times, first->linear.input_stride);
}

/* Whether something below the layer learns: all but the first have a layer there. */
static bool teaches_below(const th_engine *engine, const th_dense *dense) {
  return dense != th_engine_first(engine) || engine->model->groups > 0;
}

static void transposed_allocate(th_engine *engine) {
  for (uint32_t d = 0; d < engine->dense_count; d++) {
    th_dense *dense = &engine->denses[d];
    const th_linear *linear = &dense->linear;
    if (teaches_below(engine, dense) && !linear->is_wide)
      dense->transposed = th_engine_reals(engine, linear->outputs, linear->input_stride);
  }
}

/* What the way back through a hidden layer needs. */
static void hidden_allocate_training(th_engine *engine, uint32_t l, uint64_t batch_rows) {
  th_hidden *hidden = &engine->hidden[l];
  uint32_t width = engine->denses[l].linear.output_stride;
  engine->denses[l].deltas = th_engine_reals(engine, batch_rows, width);
  if (!th_activation_tells_slope(hidden->f.kind))
    hidden->slopes = th_engine_reals(engine, batch_rows, width);
  if (hidden->f.drop_threshold > 0)
    hidden->kept = th_engine_array(engine, batch_rows, width, sizeof *hidden->kept);
  if (hidden->skips && teaches_below(engine, &engine->denses[l]))
    hidden->passed = th_engine_reals(engine, batch_rows, width);
  if (th_engine_is_normalized(engine)) th_norm_allocate_training(engine, l, batch_rows);
}

static void training_allocate(th_engine *engine, uint64_t batch_rows) {
  uint32_t moments = th_optimizer_moments(engine->spec);
  uint64_t count = engine->parameter_count;
  engine->gradients = th_engine_reals(engine, count, 1);
  engine->rows_ahead = th_engine_array(engine, batch_rows, 1, sizeof *engine->rows_ahead);
  if (moments > 0) engine->moment1 = th_engine_reals(engine, count, 1);
  if (moments > 1) engine->moment2 = th_engine_reals(engine, count, 1);
  for (uint32_t l = 0; l < engine->spec->hidden_count; l++)
    hidden_allocate_training(engine, l, batch_rows);
  th_recurrent_allocate_training(engine, batch_rows);
  transposed_allocate(engine);
  embedding_allocate(engine, batch_rows);
  blocks_allocate(engine);
}

static void hidden_allocate(th_engine *engine, uint32_t l, uint64_t rows) {
  th_hidden *hidden = &engine->hidden[l];
  const th_dense *above = &engine->denses[l + 1];
  hidden->values =
      hidden->skips ? th_engine_reals(engine, rows, above->linear.input_stride) : above->inputs;
  if (th_engine_is_normalized(engine)) th_norm_allocate(engine, l, rows);
}

static void forward_allocate(th_engine *engine, uint64_t rows) {
  th_dense *last = &engine->denses[engine->model->layer_count - 1];
  engine->parameters = th_engine_reals(engine, engine->parameter_count, 1);
  last->deltas = th_engine_reals(engine, rows, last->linear.output_stride);
  engine->slice_sums = th_engine_array(engine, (rows + engine->slice_rows - 1) / engine->slice_rows,
                                       1, sizeof *engine->slice_sums);
  for (uint32_t l = 0; l < engine->model->layer_count; l++)
    engine->denses[l].inputs = th_engine_reals(engine, rows, engine->denses[l].linear.input_stride);
  for (uint32_t l = 0; l < engine->spec->hidden_count; l++) hidden_allocate(engine, l, rows);
  th_recurrent_allocate(engine, rows);
  if (engine->model->groups > 0)
    engine->groups = th_engine_array(engine, rows, 1, sizeof *engine->groups);
}

static void rule_init(th_engine *engine, const th_engine_plan *plan) {
  th_real *weights = NULL;
  if (th_weighting_is_settled(plan)) weights = th_engine_reals(engine, plan->model->classes, 1);
  engine->rule = th_weighting_rule(plan, weights);
}

static void engine_destroy(th_engine *engine) {
  if (engine == NULL) return;
  for (uint32_t i = 0; i < engine->array_count; i++) free(engine->arrays[i]);
  free(engine);
}

static uint64_t min_u64(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

/* Of a batch that is trained on or evaluated. The losses are taken of whole groups of rows. */
static uint64_t rows_at_once(const th_engine *engine, uint64_t batch_rows) {
  uint64_t others = engine->data->rows - engine->training_rows;
  uint64_t evaluated = min_u64(others, engine->evaluate_rows);
  return round_up(batch_rows > evaluated ? batch_rows : evaluated, TH_LOSS_ROWS);
}

static th_error engine_create(const th_engine_plan *plan, th_engine **engine) {
  const th_spec *spec = plan->spec;
  uint64_t batch_rows = min_u64(spec->batch_size, plan->training_rows);
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
      .sampling = plan->sampling,
      .row_weights = th_weighting_rows(plan),
      .training_shares = plan->training_shares,
      .validation_shares = plan->validation_shares,
      .training_rows = plan->training_rows,
  };
  net_init(made);
  uint64_t rows = rows_at_once(made, batch_rows);
  if (rows * th_engine_first(made)->times > INT32_MAX) goto too_long;
  rule_init(made, plan);
  forward_allocate(made, rows);
  if (plan->training_rows > 0) training_allocate(made, batch_rows);
  if (made->lacks_memory) goto no_memory;
  *engine = made;
  return TH_OK;

too_long:
  engine_destroy(made);
  return th_fail(TH_ERR_USAGE,
                 "batch_size is %u and window %u: a step would go over more than %d rows; make one "
                 "of them smaller",
                 spec->batch_size, spec->window, INT32_MAX);
no_memory:
  engine_destroy(made);
  return th_fail(TH_ERR_SYSTEM,
                 "no memory for a net of %" PRIu64
                 " parameters with batches of %u rows of %u and a window of %u; make the net, the "
                 "batch or the window smaller",
                 plan->model->parameters, spec->batch_size, plan->data->width, spec->window);
}

static void array_read(const th_engine *engine, const th_real *array, th_real *copy) {
  if (copy == NULL) return;
  if (array == NULL) {
    memset(copy, 0, engine->model->parameters * sizeof *copy);
    return;
  }
  for (uint32_t d = 0; d < engine->dense_count; d++)
    th_linear_read(&engine->denses[d].linear, engine->denses[d].layer, array, copy);
  for (uint32_t l = 0; l < engine->spec->hidden_count && th_engine_is_normalized(engine); l++)
    th_norm_read(engine, l, array, copy);
  memcpy(copy + engine->model->embedding, array + engine->embedding,
         table_numbers(engine) * sizeof *copy);
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
  for (uint32_t d = 0; d < engine->dense_count; d++)
    th_linear_write(&engine->denses[d].linear, engine->denses[d].layer, copy, array);
  for (uint32_t l = 0; l < engine->spec->hidden_count && th_engine_is_normalized(engine); l++)
    th_norm_write(engine, l, copy, array);
  memcpy(array + engine->embedding, copy + engine->model->embedding,
         table_numbers(engine) * sizeof *copy);
}

/* The best parameters have memory from the first time that there are any. */
static th_error best_allocate(th_engine *engine) {
  if (engine->best == NULL) engine->best = th_engine_reals(engine, engine->parameter_count, 1);
  if (engine->best != NULL) return TH_OK;
  return th_fail(TH_ERR_SYSTEM, "no memory to keep the best of %" PRIu64 " parameters",
                 engine->model->parameters);
}

static void engine_transpose(const th_engine *engine) {
  for (uint32_t d = 0; d < engine->dense_count; d++)
    th_linear_transpose(&engine->denses[d].linear, engine->loops, 0,
                        engine->denses[d].linear.inputs, engine->parameters,
                        engine->denses[d].transposed);
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

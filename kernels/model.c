#include "kernels/model.h"

#include <inttypes.h>
#include <math.h>

#include "kernels/random.h"

/* ---- where everything lies ---- */

static uint64_t numbers_take(th_model *model, uint64_t count) {
  uint64_t first = model->parameters;
  model->parameters += count;
  return first;
}

static th_error size_judge(const th_model *model, const char *field, uint32_t number) {
  if (model->parameters <= TH_MODEL_PARAMETERS_MAX) return TH_OK;
  return th_fail(TH_ERR_USAGE,
                 "%s: layer %u makes the net larger than %" PRIu64 " parameters; make it narrower",
                 field, number, TH_MODEL_PARAMETERS_MAX);
}

static uint64_t weights_count(const th_layer *layer) {
  return (uint64_t)layer->outputs * layer->inputs;
}

static th_error embedding_lay(th_model *model, const th_spec *spec, uint32_t groups) {
  if (spec->embedding == 0) return TH_OK;
  if (groups == 0)
    return th_fail(TH_ERR_DATA,
                   "embedding is %u and the rows have no groups for it to tell apart: give groups, "
                   "or set embedding to 0",
                   spec->embedding);
  model->groups = groups;
  model->embedding = numbers_take(model, (uint64_t)groups * spec->embedding);
  if (model->parameters <= TH_MODEL_PARAMETERS_MAX) return TH_OK;
  return th_fail(TH_ERR_USAGE,
                 "embedding: %u numbers for each of %u groups make the net larger than %" PRIu64
                 " parameters; make it narrower",
                 spec->embedding, groups, TH_MODEL_PARAMETERS_MAX);
}

static uint32_t gates_count(th_recurrent_kind kind) {
  return kind == TH_RECURRENT_LSTM ? 4 : 3;
}

/* In the order of nn.LSTM's state: both weights, then both biases. */
static th_error cells_lay(th_model *model, const th_spec *spec) {
  if (spec->recurrent == TH_RECURRENT_NONE) return TH_OK;
  uint32_t width = spec->recurrent_width;
  uint32_t outputs = gates_count(spec->recurrent) * width;
  uint32_t inputs = th_model_inputs(model, spec);
  th_error error = TH_OK;
  for (uint32_t i = 0; i < spec->recurrent_layers && error == TH_OK; i++, inputs = width) {
    th_cell *cell = &model->cells[model->cell_count++];
    *cell = (th_cell){.width = width,
                      .input = {.inputs = inputs, .outputs = outputs},
                      .state = {.inputs = width, .outputs = outputs}};
    cell->input.weights = numbers_take(model, weights_count(&cell->input));
    cell->state.weights = numbers_take(model, weights_count(&cell->state));
    cell->input.biases = numbers_take(model, outputs);
    cell->state.biases = numbers_take(model, outputs);
    error = size_judge(model, "recurrent_width", i + 1);
  }
  return error;
}

static th_norm norm_lay(th_model *model, th_normalization kind, uint32_t width) {
  th_norm norm = {.scale = numbers_take(model, width), .shift = numbers_take(model, width)};
  if (kind != TH_NORMALIZATION_BATCH) return norm;
  norm.mean = numbers_take(model, width);
  norm.variance = numbers_take(model, width);
  return norm;
}

static th_error stack_lay(th_model *model, const th_spec *spec) {
  uint32_t inputs = model->cell_count > 0 ? spec->recurrent_width : th_model_inputs(model, spec);
  th_error error = TH_OK;
  for (uint32_t l = 0; l < model->layer_count && error == TH_OK; l++) {
    th_layer *layer = &model->layers[l];
    bool is_hidden = l < spec->hidden_count;
    *layer = (th_layer){.inputs = inputs, .outputs = is_hidden ? spec->hidden[l] : model->outputs};
    layer->weights = numbers_take(model, weights_count(layer));
    layer->biases = numbers_take(model, layer->outputs);
    if (is_hidden && spec->normalization != TH_NORMALIZATION_NONE)
      model->norms[l] = norm_lay(model, spec->normalization, layer->outputs);
    error = size_judge(model, "hidden", l + 1);
    inputs = layer->outputs;
  }
  return error;
}

static th_error residual_judge(const th_model *model, const th_spec *spec) {
  bool skips = !spec->residual;
  for (uint32_t l = 0; l < spec->hidden_count; l++) skips |= th_model_skips(model, spec, l);
  if (skips) return TH_OK;
  return th_fail(TH_ERR_USAGE,
                 "residual is true and no hidden layer has as many outputs as inputs, of which the "
                 "first has %u: give hidden a width twice in a row",
                 model->layers[0].inputs);
}

th_error th_model_init(th_model *model, const th_spec *spec, const th_model_sizes *sizes) {
  bool is_binary = spec->loss == TH_LOSS_BINARY_CROSS_ENTROPY;
  *model = (th_model){.width = sizes->width,
                      .classes = is_binary ? 2 : sizes->classes,
                      .outputs = is_binary             ? 1
                                 : sizes->classes == 0 ? sizes->targets
                                                       : sizes->classes,
                      .layer_count = spec->hidden_count + 1};
  th_error error = embedding_lay(model, spec, sizes->groups);
  if (error == TH_OK) error = cells_lay(model, spec);
  if (error == TH_OK) error = stack_lay(model, spec);
  if (error == TH_OK) error = residual_judge(model, spec);
  return error;
}

/* ---- initial parameters ---- */

/* What is drawn from counters of its own, beside the stack's layers, which count from 0. */
enum { DRAW_EMBEDDING = 0x10000, DRAW_CELLS = 0x20000 };

static th_philox block_draw(uint64_t seed, uint32_t what, uint64_t block) {
  return th_philox_at(seed, (uint32_t)block, (uint32_t)(block >> 32), what, TH_RANDOM_PARAMETERS);
}

/* From U(±1/√width). */
static void uniform_draw(uint64_t seed, uint32_t what, uint32_t width, uint64_t count,
                         float *numbers) {
  float bound = (float)(1.0 / sqrt((double)width));
  for (uint64_t i = 0; i < count; i += 4) {
    th_philox bits = block_draw(seed, what, i / 4);
    for (uint64_t j = i; j < count && j < i + 4; j++)
      numbers[j] = bound * (2.0F * th_random_unit(bits.word[j - i]) - 1.0F);
  }
}

/* From N(0, 1), in pairs (Box and Muller 1958). One minus the first keeps the logarithm finite. */
static void normal_draw(uint64_t seed, uint32_t what, uint64_t count, float *numbers) {
  for (uint64_t i = 0; i < count; i++) {
    th_philox bits = block_draw(seed, what, i / 4);
    uint32_t pair = i % 4 / 2 * 2;
    double length = sqrt(-2 * log(1.0 - th_random_unit(bits.word[pair])));
    double angle = 2 * M_PI * th_random_unit(bits.word[pair + 1]);
    numbers[i] = (float)(length * (i % 2 == 0 ? cos(angle) : sin(angle)));
  }
}

static void fill(float number, uint32_t count, float *numbers) {
  for (uint32_t i = 0; i < count; i++) numbers[i] = number;
}

static void norm_begin(const th_norm *norm, th_normalization kind, uint32_t width,
                       float *parameters) {
  fill(1, width, parameters + norm->scale);
  fill(0, width, parameters + norm->shift);
  if (kind != TH_NORMALIZATION_BATCH) return;
  fill(0, width, parameters + norm->mean);
  fill(1, width, parameters + norm->variance);
}

void th_model_draw(const th_model *model, const th_spec *spec, uint64_t seed, float *parameters) {
  if (model->groups > 0)
    normal_draw(seed, DRAW_EMBEDDING, (uint64_t)model->groups * spec->embedding,
                parameters + model->embedding);
  for (uint32_t i = 0; i < model->cell_count; i++) {
    const th_cell *cell = &model->cells[i];
    uint64_t end = cell->state.biases + cell->state.outputs;
    uniform_draw(seed, DRAW_CELLS + i, cell->width, end - cell->input.weights,
                 parameters + cell->input.weights);
  }
  for (uint32_t l = 0; l < model->layer_count; l++) {
    const th_layer *layer = &model->layers[l];
    uniform_draw(seed, l, layer->inputs, weights_count(layer) + layer->outputs,
                 parameters + layer->weights);
    if (l < spec->hidden_count && spec->normalization != TH_NORMALIZATION_NONE)
      norm_begin(&model->norms[l], spec->normalization, layer->outputs, parameters);
  }
}

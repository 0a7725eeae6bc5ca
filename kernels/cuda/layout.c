#include "kernels/cuda/layout.h"

#include <string.h>

#include "base/check.h"

static uint32_t tile_round(uint32_t width) {
  return th_tiles_over(width) * TH_TILE;
}

/* ---- where everything lies ---- */

static th_cuda_layer layer_of(const th_engine_plan *plan, uint32_t l) {
  const th_spec *spec = plan->spec;
  const th_layer *layer = &plan->model->layers[l];
  bool is_hidden = l < spec->hidden_count;
  th_activation kind = is_hidden ? th_spec_activation(spec, l) : TH_ACTIVATION_RELU;
  return (th_cuda_layer){
      .inputs = layer->inputs,
      .outputs = layer->outputs,
      .input_stride = tile_round(layer->inputs),
      .output_stride = tile_round(layer->outputs),
      .unit = layer->outputs,
      .unit_stride = tile_round(layer->outputs),
      .times = 1,
      .normalization = is_hidden ? spec->normalization : TH_NORMALIZATION_NONE,
      .skips = is_hidden && th_model_skips(plan->model, spec, l),
      .activation = kind,
      .shape = (float)(kind == TH_ACTIVATION_ELU ? spec->elu_alpha : spec->negative_slope),
  };
}

/* Vectors after the weights, and how many of them are learnt. */
static uint32_t vectors_of(th_normalization kind, uint32_t *learnt) {
  *learnt = kind == TH_NORMALIZATION_NONE ? TH_CUDA_BIAS + 1 : TH_CUDA_SHIFT + 1;
  return kind == TH_NORMALIZATION_BATCH ? TH_CUDA_VARIANCE + 1 : *learnt;
}

static uint32_t area_take(th_cuda_net *net, uint32_t width) {
  uint32_t place = net->area_width;
  net->area_width += width;
  return place;
}

static void parameters_place(th_cuda_net *net, th_cuda_layer *layer) {
  uint32_t vectors = vectors_of(layer->normalization, &layer->vectors);
  layer->weights = net->parameters;
  net->parameters += (uint64_t)(layer->input_stride + vectors) * layer->output_stride;
  layer->first_tile = net->tiles;
  net->tiles += (layer->input_stride / TH_TILE + layer->vectors) * (layer->output_stride / TH_TILE);
}

static void layer_place(th_cuda_net *net, th_cuda_layer *layer) {
  parameters_place(net, layer);
  layer->inputs_at = area_take(net, layer->input_stride);
  layer->deltas_at = area_take(net, layer->output_stride);
  layer->slopes_at = area_take(net, layer->output_stride);
  if (layer->skips) layer->skips_at = area_take(net, layer->output_stride);
  if (layer->normalization == TH_NORMALIZATION_NONE) return;
  layer->normed_at = area_take(net, layer->output_stride);
  layer->measures_at = area_take(net, TH_TILE);
  layer->columns_at = net->area_columns;
  net->area_columns += TH_TILE * layer->output_stride;
}

/* The gates of a unit lie a padded width apart. */
static th_cuda_layer gates_of(const th_cuda_net *net, const th_layer *layer, uint32_t width) {
  uint32_t stride = tile_round(width);
  return (th_cuda_layer){.inputs = layer->inputs,
                         .outputs = layer->outputs,
                         .input_stride = tile_round(layer->inputs),
                         .output_stride = layer->outputs / width * stride,
                         .unit = width,
                         .unit_stride = stride,
                         .times = net->window};
}

static void cell_place(th_cuda_net *net, const th_cell *given) {
  th_cuda_cell *cell = &net->cells[net->cell_count];
  cell->input = net->layer_count + 2 * net->cell_count++;
  cell->state = cell->input + 1;
  th_cuda_layer *input = &net->layers[cell->input];
  th_cuda_layer *state = &net->layers[cell->state];
  *input = gates_of(net, &given->input, given->width);
  *state = gates_of(net, &given->state, given->width);
  state->lag = 1;
  parameters_place(net, input);
  parameters_place(net, state);
  uint32_t width = input->unit_stride;
  uint32_t gates = net->window * input->output_stride;
  input->inputs_at = area_take(net, net->window * input->input_stride);
  input->deltas_at = area_take(net, gates);
  cell->states_at = area_take(net, net->window * width);
  cell->handed_at = area_take(net, net->window * width);
  cell->state_deltas_at = area_take(net, width);
  cell->output_deltas_at = area_take(net, net->window * width);
  state->inputs_at = cell->states_at;
  state->deltas_at = net->is_lstm ? input->deltas_at : area_take(net, gates);
  if (!net->is_lstm) return;
  cell->memories_at = area_take(net, net->window * width);
  cell->memory_deltas_at = area_take(net, width);
}

static void table_place(th_cuda_net *net, const th_engine_plan *plan) {
  net->table_tile = net->tiles;
  if (plan->model->groups == 0) return;
  net->embedding = plan->spec->embedding;
  net->embedding_stride = tile_round(net->embedding);
  net->group_count = plan->model->groups;
  net->table = net->parameters;
  net->parameters += (uint64_t)net->group_count * net->embedding_stride;
  net->tiles += th_tiles_over(net->group_count) * (net->embedding_stride / TH_TILE);
  net->embedded_at = area_take(net, net->embedding_stride);
}

/* ---- programs ---- */

static void phase_add(th_cuda_program *program, th_cuda_phase_kind kind, uint32_t layer) {
  th_check(program->count < TH_CUDA_PHASES_MAX);
  program->phases[program->count++] =
      (th_cuda_phase){.kind = (uint8_t)kind, .layer = (uint8_t)layer};
}

static void forward_add(const th_cuda_net *net, th_cuda_program *program) {
  phase_add(program, TH_CUDA_FIND, 0);
  phase_add(program, TH_CUDA_GATHER, 0);
  phase_add(program, TH_CUDA_WEIGH, 0);
  for (uint32_t c = 0; c < net->cell_count; c++) {
    phase_add(program, TH_CUDA_RECUR, c);
    phase_add(program, TH_CUDA_AGAIN, 1);
  }
  for (uint32_t l = 0; l < net->layer_count; l++) {
    phase_add(program, TH_CUDA_FORWARD, l);
    if (net->layers[l].normalization == TH_NORMALIZATION_NONE) continue;
    phase_add(program, TH_CUDA_MEASURE, l);
    phase_add(program, TH_CUDA_NORMALIZE, l);
  }
}

static void backward_add(const th_cuda_net *net, th_cuda_program *program) {
  for (uint32_t l = net->layer_count - 1; l > 0; l--) {
    phase_add(program, TH_CUDA_BACKWARD, l);
    if (net->layers[l - 1].normalization == TH_NORMALIZATION_NONE) continue;
    phase_add(program, TH_CUDA_STRETCH, l - 1);
    phase_add(program, TH_CUDA_UNNORMALIZE, l - 1);
  }
  if (net->cell_count > 0) phase_add(program, TH_CUDA_RETURN, 0);
  for (uint32_t c = net->cell_count; c-- > 0;) {
    phase_add(program, TH_CUDA_UNROLL, c);
    phase_add(program, TH_CUDA_CARRY, c);
    phase_add(program, TH_CUDA_AGAIN, 2);
  }
  if (net->embedding > 0) phase_add(program, TH_CUDA_EMBEDDED, 0);
}

static void programs_write(th_cuda_net *net) {
  forward_add(net, &net->judging);
  phase_add(&net->judging, TH_CUDA_REPORT, 0);
  phase_add(&net->judging, TH_CUDA_JUDGE, 0);
  phase_add(&net->judging, TH_CUDA_COLLECT, 0);
  forward_add(net, &net->step);
  phase_add(&net->step, TH_CUDA_JUDGE, 0);
  backward_add(net, &net->step);
  if (net->clip_norm == 0) {
    phase_add(&net->step, TH_CUDA_UPDATE, 0);
    return;
  }
  phase_add(&net->step, TH_CUDA_DIFFERENTIATE, 0);
  phase_add(&net->step, TH_CUDA_SQUARE, 0);
  phase_add(&net->step, TH_CUDA_UPDATE_CLIPPED, 0);
}

th_cuda_net th_cuda_layout(const th_engine_plan *plan) {
  const th_spec *spec = plan->spec;
  th_cuda_net net = {
      .layer_count = plan->model->layer_count,
      .window = spec->window,
      .is_lstm = spec->recurrent == TH_RECURRENT_LSTM,
      .moments = th_optimizer_moments(spec),
      .seed = spec->seed,
      .drop_threshold = th_dropout_threshold(spec->dropout),
      .keep = (float)(1.0 - spec->dropout),
      .clip_norm = (float)spec->clip_norm,
      .clip_value = (float)spec->clip_value,
      .width = plan->data->width,
      .split = plan->split,
      .training_rows = plan->training_rows,
      .batch_size = spec->batch_size,
  };
  for (uint32_t l = 0; l < net.layer_count; l++) {
    net.layers[l] = layer_of(plan, l);
    layer_place(&net, &net.layers[l]);
  }
  for (uint32_t c = 0; c < plan->model->cell_count; c++) cell_place(&net, &plan->model->cells[c]);
  table_place(&net, plan);
  programs_write(&net);
  return net;
}

/* ---- a model's order and the device's ---- */

/* Told of each run of numbers that lie together on both sides, `step` apart on the device's. */
typedef void run_function(float *model, float *device, uint32_t count, uint32_t step);

static void run_write(float *model, float *device, uint32_t count, uint32_t step) {
  for (uint32_t i = 0; i < count; i++) device[(size_t)i * step] = model[i];
}

static void run_read(float *model, float *device, uint32_t count, uint32_t step) {
  for (uint32_t i = 0; i < count; i++) model[i] = device[(size_t)i * step];
}

static void norm_go(const th_cuda_layer *layer, const th_norm *norm, float *model, float *device,
                    run_function *run) {
  const uint64_t places[] = {norm->scale, norm->shift, norm->mean, norm->variance};
  uint32_t learnt;
  uint32_t vectors = vectors_of(layer->normalization, &learnt);
  for (uint32_t v = TH_CUDA_SCALE; v < vectors; v++)
    run(model + places[v - TH_CUDA_SCALE], device + th_cuda_vector_at(layer, v), layer->outputs, 1);
}

static void layer_go(const th_cuda_layer *layer, const th_layer *given, float *numbers,
                     float *device, run_function *run) {
  for (uint32_t o = 0; o < layer->outputs; o++) {
    uint32_t column = o / layer->unit * layer->unit_stride + o % layer->unit;
    run(numbers + given->weights + (size_t)o * layer->inputs, device + layer->weights + column,
        layer->inputs, layer->output_stride);
    run(numbers + given->biases + o, device + th_cuda_vector_at(layer, TH_CUDA_BIAS) + column, 1,
        1);
  }
}

static void all_go(const th_cuda_net *net, const th_model *model, float *numbers, float *device,
                   run_function *run) {
  for (uint32_t l = 0; l < net->layer_count; l++) {
    layer_go(&net->layers[l], &model->layers[l], numbers, device, run);
    if (net->layers[l].normalization != TH_NORMALIZATION_NONE)
      norm_go(&net->layers[l], &model->norms[l], numbers, device, run);
  }
  for (uint32_t c = 0; c < net->cell_count; c++) {
    layer_go(&net->layers[net->cells[c].input], &model->cells[c].input, numbers, device, run);
    layer_go(&net->layers[net->cells[c].state], &model->cells[c].state, numbers, device, run);
  }
  for (uint32_t g = 0; g < net->group_count; g++)
    run(numbers + model->embedding + (size_t)g * net->embedding,
        device + net->table + (size_t)g * net->embedding_stride, net->embedding, 1);
}

void th_cuda_layout_write(const th_cuda_net *net, const th_model *model, float *parameters,
                          float *numbers) {
  memset(numbers, 0, net->parameters * sizeof *numbers);
  all_go(net, model, parameters, numbers, run_write);
}

void th_cuda_layout_read(const th_cuda_net *net, const th_model *model, float *numbers,
                         float *parameters) {
  all_go(net, model, parameters, numbers, run_read);
}

#include "kernels/cuda/layout.h"

#include <string.h>

static uint32_t tile_round(uint32_t width) {
  return th_tiles_over(width) * TH_TILE;
}

static th_cuda_layer layer_of(const th_spec *spec, const th_layer *layer, uint32_t l) {
  bool is_hidden = l < spec->hidden_count;
  th_activation kind = is_hidden ? th_spec_activation(spec, l) : TH_ACTIVATION_RELU;
  return (th_cuda_layer){
      .inputs = layer->inputs,
      .outputs = layer->outputs,
      .input_stride = tile_round(layer->inputs),
      .output_stride = tile_round(layer->outputs),
      .activation = kind,
      .shape = (float)(kind == TH_ACTIVATION_ELU ? spec->elu_alpha : spec->negative_slope),
  };
}

static void layer_place(th_cuda_net *net, th_cuda_layer *layer) {
  layer->weights = net->parameters;
  net->parameters += (uint64_t)(layer->input_stride + 1) * layer->output_stride;
  layer->first_tile = net->tiles;
  net->tiles += th_layer_tiles(layer);
  layer->inputs_at = net->area_width;
  layer->deltas_at = layer->inputs_at + layer->input_stride;
  layer->slopes_at = layer->deltas_at + layer->output_stride;
  net->area_width = layer->slopes_at + layer->output_stride;
}

th_cuda_net th_cuda_layout(const th_engine_plan *plan) {
  const th_spec *spec = plan->spec;
  th_cuda_net net = {
      .layer_count = plan->model->layer_count,
      .moments = th_optimizer_moments(spec),
      .seed = spec->seed,
      .drop_threshold = th_dropout_threshold(spec->dropout),
      .keep = (float)(1.0 - spec->dropout),
      .clip_norm = (float)spec->clip_norm,
      .clip_value = (float)spec->clip_value,
      .rule = {.kind = spec->loss,
               .smoothing = (float)spec->label_smoothing,
               .gamma = (float)spec->focal_gamma,
               .delta = (float)spec->huber_delta,
               .weight_sum = (float)plan->model->classes},
      .width = plan->data->width,
      .split = plan->split,
      .training_rows = plan->training_rows,
      .batch_size = spec->batch_size,
  };
  for (uint32_t l = 0; l < net.layer_count; l++) {
    net.layers[l] = layer_of(spec, &plan->model->layers[l], l);
    layer_place(&net, &net.layers[l]);
  }
  return net;
}

void th_cuda_layout_write(const th_cuda_net *net, const th_model *model, const float *parameters,
                          float *numbers) {
  memset(numbers, 0, net->parameters * sizeof *numbers);
  for (uint32_t l = 0; l < net->layer_count; l++) {
    const th_cuda_layer *layer = &net->layers[l];
    const float *weights = parameters + model->layers[l].weights;
    float *to = numbers + layer->weights;
    for (uint32_t o = 0; o < layer->outputs; o++)
      for (uint32_t i = 0; i < layer->inputs; i++)
        to[(size_t)i * layer->output_stride + o] = *weights++;
    memcpy(to + (size_t)layer->input_stride * layer->output_stride,
           parameters + model->layers[l].biases, layer->outputs * sizeof *to);
  }
}

void th_cuda_layout_read(const th_cuda_net *net, const th_model *model, const float *numbers,
                         float *parameters) {
  for (uint32_t l = 0; l < net->layer_count; l++) {
    const th_cuda_layer *layer = &net->layers[l];
    float *weights = parameters + model->layers[l].weights;
    const float *from = numbers + layer->weights;
    for (uint32_t o = 0; o < layer->outputs; o++)
      for (uint32_t i = 0; i < layer->inputs; i++)
        *weights++ = from[(size_t)i * layer->output_stride + o];
    memcpy(parameters + model->layers[l].biases,
           from + (size_t)layer->input_stride * layer->output_stride,
           layer->outputs * sizeof *from);
  }
}

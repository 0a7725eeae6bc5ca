/** A net: where its parameters lie, and the file that holds them. */
#ifndef TH_KERNELS_MODEL_H
#define TH_KERNELS_MODEL_H

#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "kernels/spec.h"
#include "kernels/standard.h"

#define TH_MODEL_LAYERS_MAX (TH_HIDDEN_LAYERS_MAX + 1)
#define TH_MODEL_PARAMETERS_MAX (UINT64_C(1) << 31)

/** What the shape of a net depends on beside its specification. */
typedef struct th_model_sizes {
  uint32_t width; /**< features of a row */
  uint32_t classes; /**< labels lie below it; 0: a regression */
  uint32_t targets; /**< of a row; 0: a classification */
  uint32_t groups; /**< ids lie below it; matters to an embedding alone */
} th_model_sizes;

/** One linear layer. Its weights are [outputs, inputs], row-major, as nn.Linear's. */
typedef struct th_layer {
  uint32_t inputs, outputs;
  uint64_t weights; /**< index of the first weight among all parameters */
  uint64_t biases; /**< index of the first bias */
} th_layer;

/** Normalization of a hidden layer's products, as nn.LayerNorm and nn.BatchNorm1d have it. All
 * arrays are [outputs] of that layer, and are told by the index of their first number. */
typedef struct th_norm {
  uint64_t scale, shift; /**< learnt */
  uint64_t mean, variance; /**< of batch normalization: running, not learnt */
} th_norm;

/** A recurrent layer: both products give all gates of it, in the order of nn.LSTM (input, forget,
 * cell, output) and nn.GRU (reset, update, new). */
typedef struct th_cell {
  uint32_t width; /**< of the state */
  th_layer input; /**< weight_ih and bias_ih: from what comes in */
  th_layer state; /**< weight_hh and bias_hh: from the state before */
} th_cell;

/**
 * The shape of a net. A row of features, its group's numbers beside it if there is an embedding,
 * goes through the recurrent layers with the rows before it if there are some, and then through a
 * stack of linear ones. All parameters are one flat array in the order of the file's tensors.
 */
typedef struct th_model {
  uint32_t width; /**< features of a row */
  uint32_t classes; /**< labels lie below it; 0: a regression */
  uint32_t outputs; /**< of the last layer */
  uint32_t groups; /**< rows of the embedding's table; 0: there is none */
  uint64_t embedding; /**< index of the table's first number: [groups, spec->embedding] */
  th_cell cells[TH_RECURRENT_LAYERS_MAX];
  uint32_t cell_count;
  th_layer layers[TH_MODEL_LAYERS_MAX];
  uint32_t layer_count;
  th_norm norms[TH_HIDDEN_LAYERS_MAX]; /**< of hidden layers, if the specification says so */
  uint64_t parameters; /**< numbers in all, with those that are not learnt */
} th_model;

/** Numbers predicted of a row: a logit of each class, or the outputs of a regression. */
static inline uint32_t th_model_columns(const th_model *model) {
  return model->classes > 0 ? model->classes : model->outputs;
}

/**
 * Lay out the net of a specification. Loss binary_cross_entropy has one output for two classes,
 * other losses one for each class, a regression one for each target of a row.
 *
 * @return TH_OK; TH_ERR_USAGE if it would have more than TH_MODEL_PARAMETERS_MAX parameters, or
 *         residual layers are asked for and none can be one.
 */
th_error th_model_init(th_model *model, const th_spec *spec, const th_model_sizes *sizes);

/** Whether hidden layer `l` adds its inputs to its outputs. */
static inline bool th_model_skips(const th_model *model, const th_spec *spec, uint32_t l) {
  return spec->residual && model->layers[l].inputs == model->layers[l].outputs;
}

/** Inputs of the net at each row: its features and its group's numbers. */
static inline uint32_t th_model_inputs(const th_model *model, const th_spec *spec) {
  return model->width + spec->embedding;
}

/**
 * Draw initial parameters as PyTorch does: of linear layers from U(±1/√inputs), of recurrent ones
 * from U(±1/√width), of an embedding from N(0, 1); normalization begins as none.
 */
void th_model_draw(const th_model *model, const th_spec *spec, uint64_t seed, float *parameters);

/**
 * Python that rebuilds the net in PyTorch: "nn.Sequential(nn.Linear(784, 256), nn.ReLU(),
 * nn.Linear(256, 10))", or the source of a class Net where nn.Sequential cannot say it.
 *
 * @param text  [out] owned by the caller, NUL-terminated.
 * @return TH_OK; TH_ERR_SYSTEM without memory.
 */
th_error th_model_constructor(const th_model *model, const th_spec *spec, th_buffer *text);

/** Told of each module of the net in order. */
typedef th_error th_model_module(void *user, const char *text);

/** Go through the modules as PyTorch prints them: "Linear(in_features=784, out_features=256,
 * bias=True)". @return TH_OK, or what `each` returned first. */
th_error th_model_modules(const th_model *model, const th_spec *spec, th_model_module *each,
                          void *user);

/**
 * Encode parameters as a safetensors file that PyTorch's net (th_model_constructor) can load by
 * name, and whose metadata rebuild the net without anything else.
 *
 * @param standard  its means and deviations are two more tensors, input.mean and input.std, if the
 *                  specification says standardize.
 * @return TH_OK; TH_ERR_SYSTEM without memory.
 */
th_error th_model_encode(const th_model *model, const th_spec *spec, const float *parameters,
                         const th_standard *standard, th_buffer *file);

/**
 * Decode what th_model_encode wrote.
 *
 * @param parameters  [out] [model->parameters], owned by the caller (free).
 * @param standard    [out] owned by the caller (th_standard_fini); empty unless the specification
 *                    says standardize.
 * @return TH_OK; TH_ERR_DATA naming what is missing, of the wrong shape or a variance below 0;
 *         TH_ERR_SYSTEM.
 */
th_error th_model_decode(const void *file, size_t bytes, th_model *model, th_spec *spec,
                         float **parameters, th_standard *standard);

/**
 * Read the parameters of a net whose shape is known already.
 *
 * The tensors have the names that th_model_encode gives them; where dropout stands between layers
 * is told by the file's own specification, or else by this one.
 *
 * @param parameters  [out] [model->parameters].
 * @return TH_OK; TH_ERR_DATA naming the tensor that is missing, of another shape or a variance
 *         below 0.
 */
th_error th_model_read(const th_model *model, const th_spec *spec, const void *file, size_t bytes,
                       float *parameters);

#endif

/** A multilayer perceptron: where its parameters lie, and the file that holds them. */
#ifndef TH_KERNELS_MODEL_H
#define TH_KERNELS_MODEL_H

#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "kernels/spec.h"
#include "kernels/standard.h"

#define TH_MODEL_LAYERS_MAX (TH_HIDDEN_LAYERS_MAX + 1)
#define TH_MODEL_PARAMETERS_MAX (UINT64_C(1) << 31)

/** One linear layer. Its weights are [outputs, inputs], row-major, as nn.Linear's. */
typedef struct th_layer {
  uint32_t inputs, outputs;
  uint64_t weights; /**< index of the first weight among all parameters */
  uint64_t biases; /**< index of the first bias */
} th_layer;

/** The shape of a net. All parameters are one flat array: each layer's weights, then its biases. */
typedef struct th_model {
  th_layer layers[TH_MODEL_LAYERS_MAX];
  uint32_t layer_count;
  uint32_t width; /**< inputs of the first layer */
  uint32_t outputs; /**< of the last: its logits */
  uint32_t classes; /**< labels lie below it */
  uint64_t parameters;
} th_model;

/**
 * Lay out the net of a specification. Loss binary_cross_entropy has one output for two classes,
 * every other loss one for each class.
 *
 * @return TH_OK; TH_ERR_USAGE if it would have more than TH_MODEL_PARAMETERS_MAX parameters.
 */
th_error th_model_init(th_model *model, const th_spec *spec, uint32_t width, uint32_t classes);

/** Draw initial parameters as nn.Linear does: weights and biases from U(±1/√inputs). */
void th_model_draw(const th_model *model, uint64_t seed, float *parameters);

/**
 * The constructor that rebuilds the net in PyTorch:
 * "nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))".
 *
 * @param text  [out] owned by the caller, NUL-terminated.
 * @return TH_OK; TH_ERR_SYSTEM without memory.
 */
th_error th_model_constructor(const th_model *model, const th_spec *spec, th_buffer *text);

/** Told of each module of the net in order. */
typedef th_error th_model_module(void *user, const char *text);

/** How a module is written. */
typedef enum th_module_style {
  TH_MODULE_PRINTED, /**< as PyTorch prints it: "Linear(in_features=784, out_features=256,
                        bias=True)" */
  TH_MODULE_CODE, /**< as a person writes it: "Linear(784, 256)" */
} th_module_style;

/** Go through the modules of nn.Sequential. @return TH_OK, or what `each` returned first. */
th_error th_model_modules(const th_model *model, const th_spec *spec, th_module_style style,
                          th_model_module *each, void *user);

/**
 * Encode parameters as a safetensors file that torch.nn.Sequential can load by name, and whose
 * metadata rebuild the net without anything else.
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
 * @return TH_OK; TH_ERR_DATA naming what is missing or of the wrong shape; TH_ERR_SYSTEM.
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
 * @return TH_OK; TH_ERR_DATA naming the tensor that is missing or of another shape.
 */
th_error th_model_read(const th_model *model, const th_spec *spec, const void *file, size_t bytes,
                       float *parameters);

#endif

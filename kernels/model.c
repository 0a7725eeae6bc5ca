#include "kernels/model.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/safetensors.h"
#include "kernels/random.h"

#define FORMAT_KEY "format"
#define FORMAT "trainhost-model-1"
#define SPEC_KEY "spec"
#define ARCHITECTURE_KEY "architecture"

#define MODULE_TEXT_BYTES_MAX 96
#define MEAN_NAME "input.mean"
#define DEVIATION_NAME "input.std"
#define TENSORS_MAX (2 * TH_MODEL_LAYERS_MAX + 2)

th_error th_model_init(th_model *model, const th_spec *spec, uint32_t width, uint32_t classes) {
  bool is_binary = spec->loss == TH_LOSS_BINARY_CROSS_ENTROPY;
  *model = (th_model){.width = width,
                      .outputs = is_binary ? 1 : classes,
                      .classes = is_binary ? 2 : classes,
                      .layer_count = spec->hidden_count + 1};
  uint32_t inputs = width;
  for (uint32_t l = 0; l < model->layer_count; l++) {
    uint32_t outputs = l < spec->hidden_count ? spec->hidden[l] : model->outputs;
    /* Cannot overflow: the left side is bounded by the limit checked in the round before. */
    uint64_t added = (uint64_t)outputs * inputs + outputs;
    model->layers[l] = (th_layer){.inputs = inputs,
                                  .outputs = outputs,
                                  .weights = model->parameters,
                                  .biases = model->parameters + (uint64_t)outputs * inputs};
    if (added > TH_MODEL_PARAMETERS_MAX - model->parameters)
      return th_fail(TH_ERR_USAGE,
                     "hidden: layer %u of %u × %u parameters makes the net larger than %" PRIu64
                     " parameters; make it narrower",
                     l + 1, outputs, inputs, TH_MODEL_PARAMETERS_MAX);
    model->parameters += added;
    inputs = outputs;
  }
  return TH_OK;
}

static void layer_draw(const th_layer *layer, uint32_t index, uint64_t seed, float *parameters) {
  float bound = (float)(1.0 / sqrt((double)layer->inputs));
  uint64_t count = (uint64_t)layer->outputs * (layer->inputs + UINT64_C(1));
  for (uint64_t i = 0; i < count; i += 4) {
    uint64_t block = i / 4;
    th_philox bits =
        th_philox_at(seed, (uint32_t)block, (uint32_t)(block >> 32), index, TH_RANDOM_PARAMETERS);
    for (uint64_t j = i; j < count && j < i + 4; j++)
      parameters[j] = bound * (2.0F * th_random_unit(bits.word[j - i]) - 1.0F);
  }
}

void th_model_draw(const th_model *model, uint64_t seed, float *parameters) {
  for (uint32_t l = 0; l < model->layer_count; l++)
    layer_draw(&model->layers[l], l, seed, parameters + model->layers[l].weights);
}

static void linear_print(const th_layer *layer, th_module_style style, char *text, size_t bytes) {
  snprintf(text, bytes,
           style == TH_MODULE_CODE ? "Linear(%u, %u)"
                                   : "Linear(in_features=%u, out_features=%u, bias=True)",
           layer->inputs, layer->outputs);
}

static void activation_print(const th_spec *spec, uint32_t layer, th_module_style style, char *text,
                             size_t bytes) {
  switch (th_spec_activation(spec, layer)) {
    case TH_ACTIVATION_RELU:
      snprintf(text, bytes, "ReLU()");
      return;
    case TH_ACTIVATION_LEAKY_RELU:
      snprintf(text, bytes, "LeakyReLU(negative_slope=%.15g)", spec->negative_slope);
      return;
    case TH_ACTIVATION_TANH:
      snprintf(text, bytes, "Tanh()");
      return;
    case TH_ACTIVATION_SIGMOID:
      snprintf(text, bytes, "Sigmoid()");
      return;
    case TH_ACTIVATION_ELU:
      snprintf(text, bytes, "ELU(alpha=%.15g)", spec->elu_alpha);
      return;
    case TH_ACTIVATION_GELU:
      snprintf(text, bytes, style == TH_MODULE_CODE ? "GELU()" : "GELU(approximate='none')");
      return;
    case TH_ACTIVATION_GELU_TANH:
      snprintf(text, bytes, "GELU(approximate='tanh')");
      return;
    case TH_ACTIVATION_SILU:
      snprintf(text, bytes, "SiLU()");
      return;
  }
}

static void dropout_print(const th_spec *spec, th_module_style style, char *text, size_t bytes) {
  snprintf(text, bytes,
           style == TH_MODULE_CODE ? "Dropout(%.15g)" : "Dropout(p=%.15g, inplace=False)",
           spec->dropout);
}

th_error th_model_modules(const th_model *model, const th_spec *spec, th_module_style style,
                          th_model_module *each, void *user) {
  char text[MODULE_TEXT_BYTES_MAX];
  for (uint32_t l = 0; l < model->layer_count; l++) {
    linear_print(&model->layers[l], style, text, sizeof text);
    th_error error = each(user, text);
    if (error != TH_OK || l + 1 == model->layer_count) return error;
    activation_print(spec, l, style, text, sizeof text);
    error = each(user, text);
    if (error == TH_OK && spec->dropout > 0) {
      dropout_print(spec, style, text, sizeof text);
      error = each(user, text);
    }
    if (error != TH_OK) return error;
  }
  return TH_OK;
}

static th_error constructor_append(void *user, const char *text) {
  FILE *stream = user;
  if (fputs(ftell(stream) > 0 ? ", nn." : "nn.Sequential(nn.", stream) < 0 ||
      fputs(text, stream) < 0)
    return th_fail(TH_ERR_SYSTEM, "no memory for the constructor of a net");
  return TH_OK;
}

th_error th_model_constructor(const th_model *model, const th_spec *spec, th_buffer *text) {
  char *data = NULL;
  size_t bytes = 0;
  FILE *stream = open_memstream(&data, &bytes);
  if (stream == NULL) return th_fail(TH_ERR_SYSTEM, "no memory for the constructor of a net");
  th_error error = th_model_modules(model, spec, TH_MODULE_CODE, constructor_append, stream);
  if (error == TH_OK && fputc(')', stream) == EOF)
    error = th_fail(TH_ERR_SYSTEM, "no memory for the constructor of a net");
  if (fclose(stream) != 0 && error == TH_OK)
    error = th_fail(TH_ERR_SYSTEM, "no memory for the constructor of a net");
  if (error == TH_OK)
    *text = (th_buffer){.data = data, .bytes = bytes};
  else
    free(data);
  return error;
}

/* nn.Sequential counts every module; dropout, where there is any, is one more between layers. */
static uint32_t module_index(const th_spec *spec, uint32_t layer) {
  return layer * (spec->dropout == 0 ? 2 : 3);
}

/* The names and shapes of a net's tensors; what they hold is the caller's to fill in. */
static uint32_t tensors_describe(const th_model *model, const th_spec *spec, th_tensor *tensors) {
  for (uint32_t l = 0; l < model->layer_count; l++) {
    const th_layer *layer = &model->layers[l];
    uint64_t weights = (uint64_t)layer->outputs * layer->inputs;
    tensors[2 * l] = (th_tensor){.type = TH_TENSOR_F32,
                                 .rank = 2,
                                 .shape = {layer->outputs, layer->inputs},
                                 .bytes = weights * sizeof(float)};
    tensors[2 * l + 1] = (th_tensor){.type = TH_TENSOR_F32,
                                     .rank = 1,
                                     .shape = {layer->outputs},
                                     .bytes = layer->outputs * sizeof(float)};
    uint32_t index = module_index(spec, l);
    snprintf(tensors[2 * l].name, sizeof tensors->name, "%u.weight", index);
    snprintf(tensors[2 * l + 1].name, sizeof tensors->name, "%u.bias", index);
  }
  return 2 * model->layer_count;
}

static th_tensor vector_describe(const char *name, const float *numbers, uint32_t width) {
  th_tensor tensor = {.type = TH_TENSOR_F32,
                      .rank = 1,
                      .shape = {width},
                      .data = numbers,
                      .bytes = width * sizeof *numbers};
  snprintf(tensor.name, sizeof tensor.name, "%s", name);
  return tensor;
}

th_error th_model_encode(const th_model *model, const th_spec *spec, const float *parameters,
                         const th_standard *standard, th_buffer *file) {
  th_tensor tensors[TENSORS_MAX];
  uint32_t count = tensors_describe(model, spec, tensors);
  for (uint32_t l = 0; l < model->layer_count; l++) {
    tensors[2 * l].data = parameters + model->layers[l].weights;
    tensors[2 * l + 1].data = parameters + model->layers[l].biases;
  }
  if (spec->standardize) {
    tensors[count++] = vector_describe(MEAN_NAME, standard->mean, model->width);
    tensors[count++] = vector_describe(DEVIATION_NAME, standard->deviation, model->width);
  }
  th_buffer text = {0};
  th_buffer constructor = {0};
  th_error error = th_spec_format(spec, &text);
  if (error == TH_OK) error = th_model_constructor(model, spec, &constructor);
  if (error == TH_OK) {
    th_metadata metadata[] = {
        {FORMAT_KEY, FORMAT}, {SPEC_KEY, text.data}, {ARCHITECTURE_KEY, constructor.data}};
    error =
        th_safetensors_encode(tensors, count, metadata, sizeof metadata / sizeof *metadata, file);
  }
  th_buffer_fini(&constructor);
  th_buffer_fini(&text);
  return error;
}

static th_error spec_decode(const th_safetensors *file, th_spec *spec) {
  const char *format = th_safetensors_metadata(file, FORMAT_KEY);
  const char *text = th_safetensors_metadata(file, SPEC_KEY);
  if (format == NULL || strcmp(format, FORMAT) != 0 || text == NULL)
    return th_fail(TH_ERR_DATA,
                   "the model is no %s file: its metadata have format \"%s\" and %s specification",
                   FORMAT, format == NULL ? "" : format, text == NULL ? "no" : "a");
  if (th_spec_parse(text, strlen(text), spec) == TH_OK) return TH_OK;
  return th_fail(TH_ERR_DATA, "the model's specification: %s", th_error_text());
}

/* The first layer's inputs and the last one's outputs are told by the file's shapes alone. */
static th_error shape_decode(const th_safetensors *file, const th_spec *spec, th_model *model) {
  char first[TH_TENSOR_NAME_BYTES_MAX];
  char last[TH_TENSOR_NAME_BYTES_MAX];
  snprintf(first, sizeof first, "%u.weight", module_index(spec, 0));
  snprintf(last, sizeof last, "%u.bias", module_index(spec, spec->hidden_count));
  const th_tensor *weights = th_safetensors_find(file, first);
  const th_tensor *biases = th_safetensors_find(file, last);
  if (weights == NULL || biases == NULL)
    return th_fail(TH_ERR_DATA, "the model has no tensor \"%s\"", weights == NULL ? first : last);
  if (weights->rank != 2 || weights->shape[1] == 0 || weights->shape[1] > INT32_MAX)
    return th_fail(TH_ERR_DATA, "the model's tensor \"%s\" must be [outputs, inputs]", first);
  if (biases->rank != 1 || biases->shape[0] == 0 || biases->shape[0] > INT32_MAX)
    return th_fail(TH_ERR_DATA, "the model's tensor \"%s\" must be [outputs]", last);
  if (th_model_init(model, spec, (uint32_t)weights->shape[1], (uint32_t)biases->shape[0]) == TH_OK)
    return TH_OK;
  return th_fail(TH_ERR_DATA, "the model: %s", th_error_text());
}

static bool tensor_fits(const th_tensor *found, const th_tensor *wanted) {
  return found->type == wanted->type && found->rank == wanted->rank &&
         memcmp(found->shape, wanted->shape, wanted->rank * sizeof *wanted->shape) == 0 &&
         found->bytes == wanted->bytes;
}

enum { SHAPE_TEXT_BYTES_MAX = 96 };

/* "[64, 20]" */
static void shape_print(const th_tensor *tensor, char text[SHAPE_TEXT_BYTES_MAX]) {
  size_t used = (size_t)snprintf(text, SHAPE_TEXT_BYTES_MAX, "[");
  for (uint32_t d = 0; d < tensor->rank; d++)
    used += (size_t)snprintf(text + used, SHAPE_TEXT_BYTES_MAX - used, "%s%" PRIu64,
                             d > 0 ? ", " : "", tensor->shape[d]);
  snprintf(text + used, SHAPE_TEXT_BYTES_MAX - used, "]");
}

static th_error fail_shape(const th_tensor *found, const th_tensor *wanted) {
  char is[SHAPE_TEXT_BYTES_MAX];
  char must_be[SHAPE_TEXT_BYTES_MAX];
  shape_print(found, is);
  shape_print(wanted, must_be);
  return th_fail(TH_ERR_DATA, "the model's tensor \"%s\" is %s%s; it must be float32 %s",
                 wanted->name, found->type == wanted->type ? "" : "of another type, ", is, must_be);
}

static th_error tensors_decode(const th_safetensors *file, const th_tensor *wanted, uint32_t count,
                               float *parameters) {
  for (uint32_t i = 0; i < count; i++) {
    const th_tensor *found = th_safetensors_find(file, wanted[i].name);
    if (found == NULL)
      return th_fail(TH_ERR_DATA, "the model has no tensor \"%s\"", wanted[i].name);
    if (!tensor_fits(found, &wanted[i])) return fail_shape(found, &wanted[i]);
    memcpy(parameters, found->data, found->bytes);
    parameters += found->bytes / sizeof *parameters;
  }
  return TH_OK;
}

static th_error standard_decode(const th_safetensors *file, uint32_t width, th_standard *standard) {
  th_error error = th_standard_init(standard, width);
  if (error != TH_OK) return error;
  th_tensor mean = vector_describe(MEAN_NAME, NULL, width);
  th_tensor deviation = vector_describe(DEVIATION_NAME, NULL, width);
  error = tensors_decode(file, &mean, 1, standard->mean);
  if (error == TH_OK) error = tensors_decode(file, &deviation, 1, standard->deviation);
  if (error == TH_OK) error = th_standard_judge(standard, width);
  if (error != TH_OK) th_standard_fini(standard);
  return error;
}

static th_error file_decode(const th_safetensors *file, th_model *model, th_spec *spec,
                            float **parameters, th_standard *standard) {
  th_error error = spec_decode(file, spec);
  if (error == TH_OK) error = shape_decode(file, spec, model);
  if (error == TH_OK && spec->standardize) error = standard_decode(file, model->width, standard);
  if (error != TH_OK) return error;
  th_tensor wanted[TENSORS_MAX];
  uint32_t count = tensors_describe(model, spec, wanted);
  float *made = malloc(model->parameters * sizeof *made);
  if (made == NULL)
    return th_fail(TH_ERR_SYSTEM, "no memory for %" PRIu64 " parameters", model->parameters);
  error = tensors_decode(file, wanted, count, made);
  if (error == TH_OK)
    *parameters = made;
  else
    free(made);
  return error;
}

th_error th_model_decode(const void *file, size_t bytes, th_model *model, th_spec *spec,
                         float **parameters, th_standard *standard) {
  *standard = (th_standard){0};
  th_safetensors decoded;
  th_error error = th_safetensors_decode(file, bytes, &decoded);
  if (error != TH_OK) return error;
  error = file_decode(&decoded, model, spec, parameters, standard);
  if (error != TH_OK) th_standard_fini(standard);
  th_safetensors_fini(&decoded);
  return error;
}

th_error th_model_read(const th_model *model, const th_spec *spec, const void *file, size_t bytes,
                       float *parameters) {
  th_safetensors decoded;
  th_error error = th_safetensors_decode(file, bytes, &decoded);
  if (error != TH_OK) return error;
  th_spec own = *spec;
  if (th_safetensors_metadata(&decoded, SPEC_KEY) != NULL) error = spec_decode(&decoded, &own);
  if (error == TH_OK) {
    th_tensor wanted[TENSORS_MAX];
    uint32_t count = tensors_describe(model, &own, wanted);
    error = tensors_decode(&decoded, wanted, count, parameters);
  }
  th_safetensors_fini(&decoded);
  return error;
}

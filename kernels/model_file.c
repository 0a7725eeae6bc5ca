/* The file of a model: its tensors, named as PyTorch names them, and the metadata that rebuild it.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "formats/safetensors.h"
#include "kernels/model_names.h"

#define FORMAT_KEY "format"
#define FORMAT "trainhost-model-1"
#define SPEC_KEY "spec"
#define ARCHITECTURE_KEY "architecture"

#define MEAN_NAME "input.mean"
#define DEVIATION_NAME "input.std"
#define EMBEDDING_NAME "embedding.weight"
/* Weight and bias of each layer, four arrays of each normalization and recurrent layer, an
 * embedding, and two of standardization. */
#define TENSORS_MAX \
  (2 * TH_MODEL_LAYERS_MAX + 4 * TH_HIDDEN_LAYERS_MAX + 4 * TH_RECURRENT_LAYERS_MAX + 3)

/* ---- what tensors there are ---- */

/* What they hold is the caller's to fill in. */
typedef struct tensor_list {
  th_tensor tensors[TENSORS_MAX];
  uint32_t count;
} tensor_list;

static void matrix_append(tensor_list *list, uint32_t rows, uint32_t columns, const char *module,
                          const char *name) {
  th_tensor *tensor = &list->tensors[list->count++];
  *tensor = (th_tensor){.type = TH_TENSOR_F32,
                        .rank = 2,
                        .shape = {rows, columns},
                        .bytes = (uint64_t)rows * columns * sizeof(float)};
  snprintf(tensor->name, sizeof tensor->name, "%s.%s", module, name);
}

static void vector_append(tensor_list *list, uint32_t width, const char *module, const char *name) {
  th_tensor *tensor = &list->tensors[list->count++];
  *tensor = (th_tensor){
      .type = TH_TENSOR_F32, .rank = 1, .shape = {width}, .bytes = width * sizeof(float)};
  snprintf(tensor->name, sizeof tensor->name, "%s.%s", module, name);
}

static void cell_append(tensor_list *list, const th_cell *cell, uint32_t index) {
  static const char *const names[] = {"weight_ih_l", "weight_hh_l", "bias_ih_l", "bias_hh_l"};
  const th_layer *products[] = {&cell->input, &cell->state, &cell->input, &cell->state};
  for (uint32_t i = 0; i < 4; i++) {
    char name[TH_MODULE_NAME_BYTES_MAX];
    snprintf(name, sizeof name, "%s%u", names[i], index);
    if (i < 2)
      matrix_append(list, products[i]->outputs, products[i]->inputs, "recurrent", name);
    else
      vector_append(list, products[i]->outputs, "recurrent", name);
  }
}

static void layer_append(tensor_list *list, const th_model *model, const th_spec *spec,
                         uint32_t l) {
  const th_layer *layer = &model->layers[l];
  char name[TH_MODULE_NAME_BYTES_MAX];
  th_model_module_name(spec, l, 0, name);
  matrix_append(list, layer->outputs, layer->inputs, name, "weight");
  vector_append(list, layer->outputs, name, "bias");
  if (l == spec->hidden_count || spec->normalization == TH_NORMALIZATION_NONE) return;
  th_model_module_name(spec, l, 1, name);
  vector_append(list, layer->outputs, name, "weight");
  vector_append(list, layer->outputs, name, "bias");
  if (spec->normalization != TH_NORMALIZATION_BATCH) return;
  vector_append(list, layer->outputs, name, "running_mean");
  vector_append(list, layer->outputs, name, "running_var");
}

/* In the order in which their numbers lie among all parameters. */
static void tensors_describe(const th_model *model, const th_spec *spec, tensor_list *list) {
  list->count = 0;
  if (model->groups > 0) matrix_append(list, model->groups, spec->embedding, "embedding", "weight");
  for (uint32_t i = 0; i < model->cell_count; i++) cell_append(list, &model->cells[i], i);
  for (uint32_t l = 0; l < model->layer_count; l++) layer_append(list, model, spec, l);
}

static void tensors_fill(tensor_list *list, const float *parameters) {
  for (uint32_t i = 0; i < list->count; i++) {
    list->tensors[i].data = parameters;
    parameters += list->tensors[i].bytes / sizeof *parameters;
  }
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
  tensor_list list;
  tensors_describe(model, spec, &list);
  tensors_fill(&list, parameters);
  if (spec->standardize) {
    list.tensors[list.count++] = vector_describe(MEAN_NAME, standard->mean, model->width);
    list.tensors[list.count++] = vector_describe(DEVIATION_NAME, standard->deviation, model->width);
  }
  th_buffer text = {0};
  th_buffer constructor = {0};
  th_error error = th_spec_format(spec, &text);
  if (error == TH_OK) error = th_model_constructor(model, spec, &constructor);
  if (error == TH_OK) {
    th_metadata metadata[] = {
        {FORMAT_KEY, FORMAT}, {SPEC_KEY, text.data}, {ARCHITECTURE_KEY, constructor.data}};
    error = th_safetensors_encode(list.tensors, list.count, metadata,
                                  sizeof metadata / sizeof *metadata, file);
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

/* A tensor of that name, and its dimension d. */
static th_error size_read(const th_safetensors *file, const char *name, uint32_t rank, uint32_t d,
                          uint32_t *size) {
  const th_tensor *tensor = th_safetensors_find(file, name);
  if (tensor == NULL) return th_fail(TH_ERR_DATA, "the model has no tensor \"%s\"", name);
  if (tensor->rank != rank || tensor->shape[d] == 0 || tensor->shape[d] > INT32_MAX)
    return th_fail(TH_ERR_DATA, "the model's tensor \"%s\" must have %u dimensions, none of them 0",
                   name, rank);
  *size = (uint32_t)tensor->shape[d];
  return TH_OK;
}

/* The net's inputs, groups and outputs are told by the file's shapes alone. */
static th_error sizes_decode(const th_safetensors *file, const th_spec *spec,
                             th_model_sizes *sizes) {
  char module[TH_MODULE_NAME_BYTES_MAX];
  char first[TH_TENSOR_NAME_BYTES_MAX] = "recurrent.weight_ih_l0";
  char last[TH_TENSOR_NAME_BYTES_MAX];
  *sizes = (th_model_sizes){0};
  if (spec->recurrent == TH_RECURRENT_NONE) {
    th_model_module_name(spec, 0, 0, module);
    snprintf(first, sizeof first, "%s.weight", module);
  }
  th_model_module_name(spec, spec->hidden_count, 0, module);
  snprintf(last, sizeof last, "%s.bias", module);
  uint32_t *outputs = th_loss_is_regression(spec->loss) ? &sizes->targets : &sizes->classes;
  th_error error = size_read(file, first, 2, 1, &sizes->width);
  if (error == TH_OK) error = size_read(file, last, 1, 0, outputs);
  if (error == TH_OK && spec->embedding > 0)
    error = size_read(file, EMBEDDING_NAME, 2, 0, &sizes->groups);
  if (error != TH_OK) return error;
  if (sizes->width <= spec->embedding)
    return th_fail(
        TH_ERR_DATA,
        "the model's tensor \"%s\" takes %u numbers, %u of an embedding: none is left for features",
        first, sizes->width, spec->embedding);
  sizes->width -= spec->embedding;
  return TH_OK;
}

static th_error shape_decode(const th_safetensors *file, const th_spec *spec, th_model *model) {
  th_model_sizes sizes;
  th_error error = sizes_decode(file, spec, &sizes);
  if (error != TH_OK || th_model_init(model, spec, &sizes) == TH_OK) return error;
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

/* Of a negative one there would be no root. */
static th_error variances_judge(const th_model *model, const th_spec *spec,
                                const float *parameters) {
  if (spec->normalization != TH_NORMALIZATION_BATCH) return TH_OK;
  for (uint32_t l = 0; l < spec->hidden_count; l++)
    for (uint32_t o = 0; o < model->layers[l].outputs; o++) {
      float variance = parameters[model->norms[l].variance + o];
      if (!(variance >= 0))
        return th_fail(TH_ERR_DATA,
                       "the model's running_var %u of hidden layer %u is %g; a variance is 0 or "
                       "above",
                       o, l + 1, (double)variance);
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
  tensor_list wanted;
  tensors_describe(model, spec, &wanted);
  float *made = malloc(model->parameters * sizeof *made);
  if (made == NULL)
    return th_fail(TH_ERR_SYSTEM, "no memory for %" PRIu64 " parameters", model->parameters);
  error = tensors_decode(file, wanted.tensors, wanted.count, made);
  if (error == TH_OK) error = variances_judge(model, spec, made);
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
  th_spec found = *spec;
  if (th_safetensors_metadata(&decoded, SPEC_KEY) != NULL) error = spec_decode(&decoded, &found);
  own.dropout = found.dropout;
  if (error == TH_OK) {
    tensor_list wanted;
    tensors_describe(model, &own, &wanted);
    error = tensors_decode(&decoded, wanted.tensors, wanted.count, parameters);
  }
  if (error == TH_OK) error = variances_judge(model, spec, parameters);
  th_safetensors_fini(&decoded);
  return error;
}

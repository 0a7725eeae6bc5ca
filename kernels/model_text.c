/* A net in PyTorch's words: module by module as PyTorch prints it, and as Python that builds it. */
#include <stdlib.h>

#include "kernels/model_names.h"

#define MODULE_TEXT_BYTES_MAX 160

typedef enum module_style {
  MODULE_PRINTED, /* as PyTorch prints it: "Linear(in_features=784, out_features=256, bias=True)" */
  MODULE_CODE, /* as a person writes it: "Linear(784, 256)" */
} module_style;

/* ---- one module ---- */

static void linear_print(const th_layer *layer, module_style style, char *text, size_t bytes) {
  snprintf(text, bytes,
           style == MODULE_CODE ? "Linear(%u, %u)"
                                : "Linear(in_features=%u, out_features=%u, bias=True)",
           layer->inputs, layer->outputs);
}

static void norm_print(th_normalization kind, uint32_t width, module_style style, char *text,
                       size_t bytes) {
  bool is_batch = kind == TH_NORMALIZATION_BATCH;
  if (style == MODULE_CODE)
    snprintf(text, bytes, "%s(%u)", is_batch ? "BatchNorm1d" : "LayerNorm", width);
  else if (is_batch)
    snprintf(text, bytes,
             "BatchNorm1d(%u, eps=1e-05, momentum=0.1, affine=True, bias=True, "
             "track_running_stats=True)",
             width);
  else
    snprintf(text, bytes, "LayerNorm((%u,), eps=1e-05, elementwise_affine=True, bias=True)", width);
}

static void activation_print(const th_spec *spec, uint32_t layer, module_style style, char *text,
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
      snprintf(text, bytes, style == MODULE_CODE ? "GELU()" : "GELU(approximate='none')");
      return;
    case TH_ACTIVATION_GELU_TANH:
      snprintf(text, bytes, "GELU(approximate='tanh')");
      return;
    case TH_ACTIVATION_SILU:
      snprintf(text, bytes, "SiLU()");
      return;
  }
}

static void dropout_print(const th_spec *spec, module_style style, char *text, size_t bytes) {
  snprintf(text, bytes, style == MODULE_CODE ? "Dropout(%.15g)" : "Dropout(p=%.15g, inplace=False)",
           spec->dropout);
}

static void embedding_print(const th_model *model, const th_spec *spec, char *text, size_t bytes) {
  snprintf(text, bytes, "Embedding(%u, %u)", model->groups, spec->embedding);
}

/* All recurrent layers are one module. PyTorch drops between them, and warns where there is one. */
static void recurrent_print(const th_model *model, const th_spec *spec, char *text, size_t bytes) {
  char dropout[32] = "";
  if (spec->dropout > 0 && model->cell_count > 1)
    snprintf(dropout, sizeof dropout, ", dropout=%.15g", spec->dropout);
  snprintf(text, bytes, "%s(%u, %u, num_layers=%u, batch_first=True%s)",
           spec->recurrent == TH_RECURRENT_LSTM ? "LSTM" : "GRU", model->cells[0].input.inputs,
           spec->recurrent_width, model->cell_count, dropout);
}

/* ---- a layer of the stack ---- */

static th_error layer_modules(const th_model *model, const th_spec *spec, uint32_t l,
                              module_style style, th_model_module *each, void *user) {
  char text[MODULE_TEXT_BYTES_MAX];
  linear_print(&model->layers[l], style, text, sizeof text);
  th_error error = each(user, text);
  if (error != TH_OK || l == spec->hidden_count) return error;
  if (spec->normalization != TH_NORMALIZATION_NONE) {
    norm_print(spec->normalization, model->layers[l].outputs, style, text, sizeof text);
    error = each(user, text);
  }
  activation_print(spec, l, style, text, sizeof text);
  if (error == TH_OK) error = each(user, text);
  if (error != TH_OK || spec->dropout == 0) return error;
  dropout_print(spec, style, text, sizeof text);
  return each(user, text);
}

th_error th_model_modules(const th_model *model, const th_spec *spec, th_model_module *each,
                          void *user) {
  char text[MODULE_TEXT_BYTES_MAX];
  th_error error = TH_OK;
  if (model->groups > 0) {
    embedding_print(model, spec, text, sizeof text);
    error = each(user, text);
  }
  if (error == TH_OK && model->cell_count > 0) {
    recurrent_print(model, spec, text, sizeof text);
    error = each(user, text);
  }
  for (uint32_t l = 0; l < model->layer_count && error == TH_OK; l++)
    error = layer_modules(model, spec, l, MODULE_PRINTED, each, user);
  return error;
}

/* ---- the whole as Python ---- */

typedef struct list {
  FILE *stream;
  bool has_begun;
} list;

static th_error list_append(void *user, const char *text) {
  list *modules = user;
  fprintf(modules->stream, "%snn.%s", modules->has_begun ? ", " : "", text);
  modules->has_begun = true;
  return TH_OK;
}

static void sequential_print(const th_model *model, const th_spec *spec, uint32_t first,
                             uint32_t end, FILE *stream) {
  list modules = {.stream = stream};
  fputs("nn.Sequential(", stream);
  for (uint32_t l = first; l < end; l++)
    (void)layer_modules(model, spec, l, MODULE_CODE, list_append, &modules);
  fputc(')', stream);
}

static void class_init_print(const th_model *model, const th_spec *spec, FILE *stream) {
  char text[MODULE_TEXT_BYTES_MAX];
  fputs("class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n", stream);
  if (model->groups > 0) {
    embedding_print(model, spec, text, sizeof text);
    fprintf(stream, "        self.embedding = nn.%s\n", text);
  }
  if (model->cell_count > 0) {
    recurrent_print(model, spec, text, sizeof text);
    fprintf(stream, "        self.recurrent = nn.%s\n", text);
    if (spec->dropout > 0)
      fprintf(stream, "        self.dropout = nn.Dropout(%.15g)\n", spec->dropout);
  }
  fputs("        self.hidden = nn.ModuleList([", stream);
  for (uint32_t l = 0; l < spec->hidden_count; l++) {
    fputs(l > 0 ? ", " : "", stream);
    sequential_print(model, spec, l, l + 1, stream);
  }
  linear_print(&model->layers[spec->hidden_count], MODULE_CODE, text, sizeof text);
  fprintf(stream, "])\n        self.output = nn.%s\n", text);
}

/* x is [rows, features], or [rows, window, features] of a recurrent net; group is [rows]. */
static void class_forward_print(const th_model *model, const th_spec *spec, FILE *stream) {
  fprintf(stream, "    def forward(self, x%s):\n", model->groups > 0 ? ", group" : "");
  if (model->groups > 0)
    fprintf(stream, "        x = torch.cat([x, self.embedding(group)%s], -1)\n",
            model->cell_count > 0 ? "[:, None].expand(-1, x.shape[1], -1)" : "");
  if (model->cell_count > 0)
    fprintf(stream, "        x = %sself.recurrent(x)[0][:, -1]%s\n",
            spec->dropout > 0 ? "self.dropout(" : "", spec->dropout > 0 ? ")" : "");
  fputs("        for layer in self.hidden:\n", stream);
  fputs(spec->residual
            ? "            y = layer(x)\n            x = x + y if x.shape == y.shape else y\n"
            : "            x = layer(x)\n",
        stream);
  fputs("        return self.output(x)\n", stream);
}

th_error th_model_constructor(const th_model *model, const th_spec *spec, th_buffer *text) {
  char *data = NULL;
  size_t bytes = 0;
  FILE *stream = open_memstream(&data, &bytes);
  if (stream == NULL) return th_fail(TH_ERR_SYSTEM, "no memory for the constructor of a net");
  if (th_model_is_sequential(spec)) {
    sequential_print(model, spec, 0, model->layer_count, stream);
  } else {
    class_init_print(model, spec, stream);
    class_forward_print(model, spec, stream);
  }
  /* A stream in memory fails for want of memory alone, and remembers. */
  bool failed = ferror(stream) != 0;
  failed |= fclose(stream) != 0;
  if (!failed) {
    *text = (th_buffer){.data = data, .bytes = bytes};
    return TH_OK;
  }
  free(data);
  return th_fail(TH_ERR_SYSTEM, "no memory for the constructor of a net");
}

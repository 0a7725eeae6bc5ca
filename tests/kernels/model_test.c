/* What a model says of itself, and how a net of each loss is laid out. */
#include "kernels/model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Five hidden layers, each with another activation. */
static th_spec varied_spec(void) {
  static const th_activation kinds[] = {TH_ACTIVATION_ELU, TH_ACTIVATION_GELU,
                                        TH_ACTIVATION_GELU_TANH, TH_ACTIVATION_SILU,
                                        TH_ACTIVATION_LEAKY_RELU};
  th_spec spec;
  th_spec_init(&spec);
  spec.hidden_count = spec.activation_count = 5;
  for (uint32_t l = 0; l < 5; l++) {
    spec.hidden[l] = l + 2;
    spec.activation[l] = kinds[l];
  }
  spec.elu_alpha = 0.5;
  return spec;
}

Test(model, constructor_is_what_a_person_would_write_in_pytorch) {
  th_spec spec = varied_spec();
  th_model model;
  th_buffer text;
  cr_assert_eq(th_model_init(&model, &spec, &(th_model_sizes){.width = 9, .classes = 3}), TH_OK);
  cr_assert_eq(th_model_constructor(&model, &spec, &text), TH_OK);
  cr_assert_str_eq(text.data,
                   "nn.Sequential(nn.Linear(9, 2), nn.ELU(alpha=0.5), nn.Linear(2, 3), nn.GELU(), "
                   "nn.Linear(3, 4), nn.GELU(approximate='tanh'), nn.Linear(4, 5), nn.SiLU(), "
                   "nn.Linear(5, 6), nn.LeakyReLU(negative_slope=0.01), nn.Linear(6, 3))");
  th_buffer_fini(&text);
}

static th_error module_count(void *user, const char *text) {
  uint32_t *printed = user;
  *printed += strcmp(text, "GELU(approximate='none')") == 0;
  return TH_OK;
}

Test(model, modules_are_as_pytorch_prints_them) {
  th_spec spec = varied_spec();
  th_model model;
  uint32_t printed = 0;
  cr_assert_eq(th_model_init(&model, &spec, &(th_model_sizes){.width = 9, .classes = 3}), TH_OK);
  cr_assert_eq(th_model_modules(&model, &spec, module_count, &printed), TH_OK);
  cr_assert_eq(printed, 1);
}

Test(model, decode_reads_back_activations_loss_and_weights) {
  th_spec spec = varied_spec(), read;
  th_model model, found;
  th_buffer file;
  float *parameters;
  th_standard standard;
  spec.loss = TH_LOSS_BINARY_CROSS_ENTROPY;
  spec.weighting = TH_WEIGHTING_LISTED;
  spec.class_weight_count = 2;
  spec.class_weights[0] = 0.1;
  spec.class_weights[1] = 1.9;
  cr_assert_eq(th_model_init(&model, &spec, &(th_model_sizes){.width = 9, .classes = 2}), TH_OK);
  cr_assert(model.outputs == 1 && model.classes == 2, "one logit for two classes");
  float *drawn = malloc(model.parameters * sizeof *drawn);
  th_model_draw(&model, &spec, 1, drawn);
  cr_assert_eq(th_model_encode(&model, &spec, drawn, NULL, &file), TH_OK);
  cr_assert_eq(th_model_decode(file.data, file.bytes, &found, &read, &parameters, &standard), TH_OK,
               "%s", th_error_text());
  cr_assert_eq(found.parameters, model.parameters);
  cr_assert(found.outputs == 1 && found.classes == 2);
  cr_assert_eq(memcmp(parameters, drawn, model.parameters * sizeof *drawn), 0);
  for (uint32_t l = 0; l < 5; l++)
    cr_assert_eq(th_spec_activation(&read, l), th_spec_activation(&spec, l));
  cr_assert_eq(read.loss, spec.loss);
  cr_assert_eq(read.class_weights[1], 1.9);
  free(parameters);
  free(drawn);
  th_buffer_fini(&file);
}

/* A file says what it likes. */
Test(model, decode_and_read_refuse_a_negative_running_variance) {
  static const float hostile[] = {-1, -INFINITY, NAN};
  th_spec spec = varied_spec(), read;
  th_model model, found;
  th_standard standard;
  spec.normalization = TH_NORMALIZATION_BATCH;
  cr_assert_eq(th_model_init(&model, &spec, &(th_model_sizes){.width = 9, .classes = 3}), TH_OK);
  float *drawn = malloc(model.parameters * sizeof *drawn);
  float *parameters = NULL;
  th_model_draw(&model, &spec, 1, drawn);
  for (size_t h = 0; h < sizeof hostile / sizeof *hostile; h++) {
    th_buffer file;
    drawn[model.norms[1].variance + 2] = hostile[h];
    cr_assert_eq(th_model_encode(&model, &spec, drawn, NULL, &file), TH_OK);
    cr_expect_eq(th_model_decode(file.data, file.bytes, &found, &read, &parameters, &standard),
                 TH_ERR_DATA);
    cr_expect_not_null(strstr(th_error_text(), "running_var 2 of hidden layer 2"));
    cr_expect_eq(th_model_read(&model, &spec, file.data, file.bytes, drawn), TH_ERR_DATA);
    th_buffer_fini(&file);
  }
  free(drawn);
}

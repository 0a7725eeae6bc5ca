#include "kernels/inference.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "kernels/model.h"

/* More rows than are applied at once, and no multiple of a slice. */
enum { ROWS_MANY = 2500 };

static th_buffer trained_model(const th_spec *spec) {
  th_data data = fixture_data();
  th_buffer model;
  th_buffer card;
  th_trainer *trainer = fixture_trainer(spec, &data);
  fixture_finish(trainer);
  cr_assert_eq(th_trainer_result(trainer, &model, &card), TH_OK);
  th_buffer_fini(&card);
  th_trainer_destroy(trainer);
  return model;
}

static th_error create(const th_buffer *model, const th_data *data, th_inference **inference) {
  th_device device;
  *inference = NULL;
  cr_assert_eq(th_device_open("cpu", &device), TH_OK);
  return th_inference_create(model->data, model->bytes, data, &device, NULL, NULL, inference);
}

static void apply(const th_buffer *model, const th_data *data, uint32_t threads, th_buffer *output,
                  th_buffer *card) {
  th_team *team;
  th_inference *inference;
  cr_assert_eq(th_team_create(threads, &team), TH_OK);
  cr_assert_eq(create(model, data, &inference), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_inference_advance(inference, team, INT64_MAX), TH_OK);
  cr_assert_eq(th_inference_result(inference, output, card), TH_OK);
  th_inference_destroy(inference);
  th_team_destroy(team);
}

static th_data many_rows(void) {
  static float features[ROWS_MANY * FIXTURE_WIDTH];
  static int32_t labels[ROWS_MANY];
  th_data data = fixture_data();
  for (uint32_t r = 0; r < ROWS_MANY; r++) {
    uint32_t from = r % FIXTURE_ROWS;
    labels[r] = data.labels[from];
    memcpy(features + r * FIXTURE_WIDTH, data.features + from * FIXTURE_WIDTH,
           FIXTURE_WIDTH * sizeof *features);
  }
  return (th_data){
      .features = features, .labels = labels, .rows = ROWS_MANY, .width = FIXTURE_WIDTH};
}

static double activation_reference(const th_spec *spec, double x) {
  switch (spec->activation[0]) {
    case TH_ACTIVATION_RELU:
      return fmax(x, 0);
    case TH_ACTIVATION_LEAKY_RELU:
      return x > 0 ? x : x * spec->negative_slope;
    case TH_ACTIVATION_TANH:
      return tanh(x);
    case TH_ACTIVATION_SIGMOID:
      return 1 / (1 + exp(-x));
    case TH_ACTIVATION_ELU:
      return x > 0 ? x : spec->elu_alpha * expm1(x);
    case TH_ACTIVATION_GELU:
      return x / 2 * erfc(-x / sqrt(2));
    case TH_ACTIVATION_GELU_TANH:
      return x / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * pow(x, 3))));
    case TH_ACTIVATION_SILU:
      return x / (1 + exp(-x));
  }
  return NAN;
}

/* The net once more, row by row in double, from the definition. */
static void logits_reference(const th_model *model, const th_spec *spec, const float *parameters,
                             const th_standard *standard, const float *row, double *logits) {
  double values[2][256];
  for (uint32_t c = 0; c < model->width; c++)
    values[0][c] = !spec->standardize ? (double)row[c]
                                      : ((double)row[c] - (double)standard->mean[c]) /
                                            (double)standard->deviation[c];
  for (uint32_t l = 0; l < model->layer_count; l++) {
    const th_layer *layer = &model->layers[l];
    const double *inputs = values[l % 2];
    double *outputs = l + 1 == model->layer_count ? logits : values[(l + 1) % 2];
    for (uint32_t o = 0; o < layer->outputs; o++) {
      double sum = (double)parameters[layer->biases + o];
      for (uint32_t i = 0; i < layer->inputs; i++)
        sum += (double)parameters[layer->weights + o * layer->inputs + i] * inputs[i];
      outputs[o] = l + 1 == model->layer_count ? sum : activation_reference(spec, sum);
    }
  }
}

Test(inference, predicts_the_logits_of_the_definition) {
  for (th_activation a = TH_ACTIVATION_RELU; a <= TH_ACTIVATION_SILU; a++) {
    th_spec spec = fixture_spec();
    th_data data = fixture_data();
    spec.activation[0] = a;
    spec.dropout = 0.3; /* must not act here */
    spec.standardize = a % 2 == 1;
    th_buffer file = trained_model(&spec);
    th_buffer output;
    th_buffer card;
    data.labels = NULL;
    apply(&file, &data, 1, &output, &card);
    th_model model;
    float *parameters;
    th_standard standard;
    cr_assert_eq(th_model_decode(file.data, file.bytes, &model, &spec, &parameters, &standard),
                 TH_OK);
    cr_assert_eq(standard.mean != NULL, spec.standardize);
    size_t logits_bytes = FIXTURE_ROWS * FIXTURE_CLASSES * sizeof(float);
    const char *logits = (const char *)output.data + output.bytes - logits_bytes;
    for (uint32_t r = 0; r < FIXTURE_ROWS; r++) {
      double expected[FIXTURE_CLASSES];
      float found[FIXTURE_CLASSES];
      memcpy(found, logits + r * sizeof found, sizeof found);
      logits_reference(&model, &spec, parameters, &standard, data.features + r * FIXTURE_WIDTH,
                       expected);
      for (uint32_t c = 0; c < FIXTURE_CLASSES; c++)
        cr_assert_float_eq((double)found[c], expected[c], 1e-5);
    }
    free(parameters);
    th_standard_fini(&standard);
    th_buffer_fini(&file);
    th_buffer_fini(&output);
    th_buffer_fini(&card);
  }
}

static double card_number(json_t *card, const char *key) {
  return json_number_value(json_object_get(card, key));
}

Test(inference, evaluates_loss_accuracy_and_confusion) {
  th_spec spec = fixture_spec();
  th_data data = many_rows();
  th_buffer file = trained_model(&spec);
  th_buffer output;
  th_buffer text;
  apply(&file, &data, 1, &output, &text);
  cr_assert_eq(output.bytes, 0);
  json_t *card = json_loadb(text.data, text.bytes, 0, NULL);
  cr_assert_eq(card_number(card, "rows"), ROWS_MANY);
  cr_assert_eq(card_number(card, "classes"), FIXTURE_CLASSES);
  json_t *confusion = json_object_get(card, "confusion");
  uint32_t labels[FIXTURE_CLASSES] = {0};
  for (uint32_t r = 0; r < ROWS_MANY; r++) labels[data.labels[r]]++;
  double hits = 0;
  for (uint32_t label = 0; label < FIXTURE_CLASSES; label++) {
    json_t *row = json_array_get(confusion, label);
    double rows = 0;
    for (uint32_t said = 0; said < FIXTURE_CLASSES; said++)
      rows += json_number_value(json_array_get(row, said));
    cr_assert_eq(rows, labels[label]);
    hits += json_number_value(json_array_get(row, label));
  }
  cr_assert_float_eq(card_number(card, "accuracy"), hits / ROWS_MANY, 1e-12);
  cr_assert_gt(card_number(card, "accuracy"), 0.9);
  cr_assert_gt(card_number(card, "loss"), 0);
  json_decref(card);
  th_buffer_fini(&file);
  th_buffer_fini(&text);
}

Test(inference, gives_the_same_for_any_number_of_threads_and_slices_of_time) {
  th_spec spec = fixture_spec();
  th_data data = many_rows();
  th_buffer file = trained_model(&spec);
  th_buffer outputs[2];
  th_buffer cards[2];
  data.labels = NULL;
  apply(&file, &data, 1, &outputs[0], &cards[0]);
  th_team *team;
  th_inference *inference;
  cr_assert_eq(th_team_create(3, &team), TH_OK);
  cr_assert_eq(create(&file, &data, &inference), TH_OK);
  uint32_t slices = 1;
  while (th_inference_advance(inference, team, 0) == TH_ERR_AGAIN) slices++;
  cr_assert_gt(slices, 1);
  cr_assert_eq(th_inference_result(inference, &outputs[1], &cards[1]), TH_OK);
  cr_assert_eq(outputs[0].bytes, outputs[1].bytes);
  cr_assert_eq(memcmp(outputs[0].data, outputs[1].data, outputs[0].bytes), 0);
  cr_assert_str_eq(cards[0].data, cards[1].data);
  th_inference_destroy(inference);
  th_team_destroy(team);
  for (int i = 0; i < 2; i++) {
    th_buffer_fini(&outputs[i]);
    th_buffer_fini(&cards[i]);
  }
  th_buffer_fini(&file);
}

Test(inference, refuses_data_that_the_model_does_not_take) {
  static int32_t labels[FIXTURE_ROWS];
  th_spec spec = fixture_spec();
  th_data data = fixture_data();
  th_inference *inference;
  th_buffer file = trained_model(&spec);
  data.width--;
  cr_assert_eq(create(&file, &data, &inference), TH_ERR_DATA);
  cr_assert_not_null(strstr(th_error_text(), "19 columns, but the model takes 20"));
  data.width++;
  memcpy(labels, data.labels, sizeof labels);
  labels[17] = FIXTURE_CLASSES;
  data.labels = labels;
  cr_assert_eq(create(&file, &data, &inference), TH_ERR_DATA);
  cr_assert_not_null(strstr(th_error_text(), "row 17"));
  cr_assert_null(inference);
  th_buffer_fini(&file);
}

Test(inference, refuses_what_is_no_model) {
  th_spec spec = fixture_spec();
  th_data data = fixture_data();
  th_inference *inference;
  th_buffer checkpoint;
  th_buffer file = trained_model(&spec);
  th_trainer *trainer = fixture_trainer(&spec, &data);
  cr_assert_eq(th_trainer_checkpoint(trainer, &checkpoint), TH_OK);
  cr_assert_eq(create(&checkpoint, &data, &inference), TH_ERR_DATA);
  for (size_t bytes = 0; bytes < file.bytes; bytes += file.bytes / 53 + 1) {
    th_buffer part = {file.data, bytes};
    cr_assert_eq(create(&part, &data, &inference), TH_ERR_DATA);
  }
  th_trainer_destroy(trainer);
  th_buffer_fini(&checkpoint);
  th_buffer_fini(&file);
}

static void note_progress(void *user, const th_progress *progress) {
  th_progress *last = user;
  cr_expect_geq(progress->fraction, last->fraction);
  *last = *progress;
}

Test(inference, tells_how_far_it_is) {
  th_spec spec = fixture_spec();
  th_data data = many_rows();
  th_device device;
  th_team *team;
  th_inference *inference;
  th_progress last = {0};
  th_buffer file = trained_model(&spec);
  cr_assert_eq(th_device_open("cpu", &device), TH_OK);
  cr_assert_eq(th_team_create(1, &team), TH_OK);
  cr_assert_eq(
      th_inference_create(file.data, file.bytes, &data, &device, note_progress, &last, &inference),
      TH_OK);
  cr_assert_eq(last.phase, TH_PHASE_PREPARING);
  cr_assert_eq(th_inference_advance(inference, team, 0), TH_ERR_AGAIN);
  cr_assert_eq(last.phase, TH_PHASE_VALIDATING);
  cr_assert(last.fraction > 0 && last.fraction < 1);
  cr_assert_eq(th_inference_advance(inference, team, INT64_MAX), TH_OK);
  cr_assert_eq(last.fraction, 1.0);
  th_inference_destroy(inference);
  th_team_destroy(team);
  th_buffer_fini(&file);
}

Test(inference, destroy_takes_null) {
  th_inference_destroy(NULL);
}

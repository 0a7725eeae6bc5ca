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
  return fixture_trained_model(spec, &data);
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
  th_device device = fixture_cpu();
  for (th_activation a = TH_ACTIVATION_RELU; a <= TH_ACTIVATION_SILU; a++) {
    th_spec spec = fixture_spec();
    th_data data = fixture_data();
    spec.activation[0] = a;
    spec.dropout = 0.3; /* must not act here */
    spec.standardize = a % 2 == 1;
    th_buffer file = trained_model(&spec);
    th_numbers logits = fixture_predict(&device, &file, &data, NULL);
    cr_assert_eq(logits.rows, FIXTURE_ROWS);
    cr_assert_eq(logits.width, FIXTURE_CLASSES);
    th_model model;
    float *parameters;
    th_standard standard;
    cr_assert_eq(th_model_decode(file.data, file.bytes, &model, &spec, &parameters, &standard),
                 TH_OK);
    cr_assert_eq(standard.mean != NULL, spec.standardize);
    for (uint32_t r = 0; r < FIXTURE_ROWS; r++) {
      double expected[FIXTURE_CLASSES];
      const float *found = logits.values + (size_t)r * FIXTURE_CLASSES;
      logits_reference(&model, &spec, parameters, &standard, data.features + r * FIXTURE_WIDTH,
                       expected);
      for (uint32_t c = 0; c < FIXTURE_CLASSES; c++)
        cr_assert_float_eq((double)found[c], expected[c], 1e-5);
    }
    free(parameters);
    th_standard_fini(&standard);
    th_buffer_fini(&file);
    th_numbers_fini(&logits);
  }
}

static double card_number(json_t *card, const char *key) {
  return json_number_value(json_object_get(card, key));
}

Test(inference, evaluates_loss_accuracy_and_confusion) {
  th_spec spec = fixture_spec();
  th_data data = many_rows();
  th_buffer file = trained_model(&spec);
  th_buffer text = fixture_evaluate(&file, &data);
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

/* Each call has that long, 0: for one slice. @return how many calls it took. */
static uint32_t apply(const th_buffer *model, const th_data *data, uint32_t threads,
                      int64_t moment_ns, th_buffer *output, th_buffer *card) {
  th_device device = fixture_cpu();
  th_team *team;
  th_inference *inference;
  uint32_t calls = 1;
  cr_assert_eq(th_team_create(threads, &team), TH_OK);
  cr_assert_eq(
      th_inference_create(model->data, model->bytes, data, &device, NULL, NULL, &inference), TH_OK,
      "%s", th_error_text());
  while (th_inference_advance(inference, team, moment_ns) == TH_ERR_AGAIN) calls++;
  cr_assert_eq(th_inference_result(inference, output, card), TH_OK);
  th_inference_destroy(inference);
  th_team_destroy(team);
  return calls;
}

Test(inference, gives_the_same_for_any_number_of_threads_and_slices_of_time) {
  th_spec spec = fixture_spec();
  th_data data = many_rows();
  th_buffer file = trained_model(&spec);
  th_buffer outputs[2];
  th_buffer cards[2];
  data.labels = NULL;
  cr_assert_eq(apply(&file, &data, 1, INT64_MAX, &outputs[0], &cards[0]), 1);
  cr_assert_gt(apply(&file, &data, 3, 0, &outputs[1], &cards[1]), 1);
  cr_assert_eq(outputs[0].bytes, outputs[1].bytes);
  cr_assert_eq(memcmp(outputs[0].data, outputs[1].data, outputs[0].bytes), 0);
  cr_assert_str_eq(cards[0].data, cards[1].data);
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
  th_buffer file = trained_model(&spec);
  data.width--;
  fixture_assert_not_applied(&file, &data, "19 columns, but the model takes 20");
  data.width++;
  memcpy(labels, data.labels, sizeof labels);
  labels[17] = FIXTURE_CLASSES;
  data.labels = labels;
  fixture_assert_not_applied(&file, &data, "row 17");
  th_buffer_fini(&file);
}

Test(inference, refuses_what_is_no_model) {
  th_spec spec = fixture_spec();
  th_data data = fixture_data();
  th_buffer checkpoint;
  th_buffer file = trained_model(&spec);
  th_trainer *trainer = fixture_trainer(&spec, &data);
  cr_assert_eq(th_trainer_checkpoint(trainer, &checkpoint), TH_OK);
  fixture_assert_not_applied(&checkpoint, &data, "model");
  for (size_t bytes = 0; bytes < file.bytes; bytes += file.bytes / 53 + 1) {
    th_buffer part = {file.data, bytes};
    fixture_assert_not_applied(&part, &data, "safetensors");
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

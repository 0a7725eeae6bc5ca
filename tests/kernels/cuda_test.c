/* The engine of a GPU, rehearsed: whole trainings through it beside the processor's. With
 * TRAINHOST_TEST_DEVICE=cuda in the environment, on a real one. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "rehearsal.h"

static th_spec spec_of(const char *fields) {
  th_spec spec;
  cr_assert_eq(th_spec_parse(fields, strlen(fields), &spec), TH_OK, "%s: %s", fields,
               th_error_text());
  return spec;
}

enum { TARGETS = 2 };

static const char *real_device(void) {
  return getenv("TRAINHOST_TEST_DEVICE");
}

/* @param lanes  of a rehearsal. */
static th_device device_with(uint32_t lanes) {
  if (real_device() == NULL) return rehearsal_device(lanes);
  th_device device;
  cr_assert_eq(th_device_open(real_device(), &device), TH_OK, "%s", th_error_text());
  return device;
}

/* What loss and sampling want, and weights of rows for a training of that name. */
static th_data data_for(const th_spec *spec) {
  static float targets[FIXTURE_ROWS * TARGETS];
  static float weights[FIXTURE_ROWS];
  static int32_t halves[FIXTURE_ROWS];
  static int32_t groups[FIXTURE_ROWS];
  th_data data = fixture_data();
  for (int r = 0; r < FIXTURE_ROWS; r++) {
    const float *features = data.features + (size_t)r * FIXTURE_WIDTH;
    targets[r * TARGETS] = features[0] - features[1];
    targets[r * TARGETS + 1] = 3 * features[2] * features[3];
    weights[r] = (float)(r % 4);
    halves[r] = data.labels[r] % 2;
    groups[r] = r / 9 % 11;
  }
  if (strcmp(spec->name, "weighed") == 0) data.weights = weights;
  if (spec->loss == TH_LOSS_BINARY_CROSS_ENTROPY) data.labels = halves;
  data.groups = groups;
  if (!th_loss_is_regression(spec->loss)) return data;
  data.labels = NULL;
  data.targets = targets;
  data.target_width = TARGETS;
  return data;
}

static th_trainer *trainer_on(const th_device *device, const th_spec *spec) {
  th_data data = data_for(spec);
  th_trainer *trainer;
  cr_assert_eq(th_trainer_create(spec, &data, device, NULL, NULL, &trainer), TH_OK, "%s",
               th_error_text());
  return trainer;
}

static th_trainer *trained_with(const th_spec *spec, uint32_t lanes) {
  th_device device = device_with(lanes);
  th_trainer *trainer = trainer_on(&device, spec);
  fixture_finish(trainer);
  return trainer;
}

/* 600 rows, so that batches of 64 end in a ragged one; 100 steps. */
#define COMMON "\"hidden\": [17, 10], \"batch_size\": 64, \"epochs\": 10, \"seed\": 3, "

ParameterizedTestParameters(cuda, trains_as_the_processor_does) {
  static char specs[][240] = {
      "{" COMMON "\"activation\": \"relu\", \"optimizer\": \"sgd\", \"learning_rate\": 0.1}",
      "{" COMMON "\"activation\": \"tanh\", \"optimizer\": \"sgd\", \"momentum\": 0.9}",
      "{" COMMON "\"activation\": \"gelu\", \"optimizer\": \"adam\", \"weight_decay\": 0.001}",
      "{" COMMON "\"activation\": \"gelu_tanh\", \"optimizer\": \"adamw\"}",
      "{" COMMON "\"activation\": \"silu\", \"optimizer\": \"rmsprop\"}",
      "{" COMMON "\"activation\": \"elu\", \"optimizer\": \"rmsprop\", \"momentum\": 0.5}",
      "{" COMMON "\"activation\": [\"sigmoid\", \"leaky_relu\"]}",
      "{" COMMON "\"dropout\": 0.3, \"validation_split\": 0.2}",
      "{" COMMON "\"clip_norm\": 0.1, \"standardize\": true}",
      "{" COMMON "\"clip_value\": 0.01, \"split\": \"last\", \"validation_split\": 0.25}",
      "{" COMMON "\"class_weights\": \"balanced\", \"label_smoothing\": 0.1}",
      "{" COMMON "\"loss\": \"focal\", \"class_weights\": [1, 2, 3]}",
      "{" COMMON "\"loss\": \"mean_squared_error\", \"validation_split\": 0.2}",
      "{" COMMON "\"loss\": \"huber\", \"huber_delta\": 0.3, \"name\": \"weighed\"}",
      "{" COMMON "\"class_weights\": [1, 2, 3], \"name\": \"weighed\", \"validation_split\": 0.2}",
      "{" COMMON "\"loss\": \"binary_cross_entropy\", \"validation_split\": 0.2}",
      "{" COMMON "\"normalization\": \"layer\", \"validation_split\": 0.2}",
      "{" COMMON "\"normalization\": \"batch\", \"validation_split\": 0.2}",
      "{" COMMON "\"normalization\": \"batch\", \"clip_norm\": 0.5, \"dropout\": 0.1}",
      "{\"hidden\": [20, 9, 9], \"batch_size\": 64, \"epochs\": 10, \"residual\": true}",
      "{\"hidden\": [20, 9, 9], \"batch_size\": 64, \"epochs\": 10, \"residual\": true, "
      "\"normalization\": \"layer\", \"activation\": \"silu\"}",
      "{" COMMON "\"embedding\": 3, \"validation_split\": 0.2}",
      "{\"hidden\": [25, 9], \"batch_size\": 64, \"epochs\": 10, \"residual\": true, "
      "\"embedding\": 5, \"normalization\": \"batch\", \"optimizer\": \"sgd\"}",
      "{" COMMON "\"sampling\": \"weighted\", \"name\": \"weighed\", \"validation_split\": 0.2}",
      "{" COMMON "\"sampling\": \"balanced\", \"name\": \"weighed\", \"validation_split\": 0.2}",
      "{" COMMON
      "\"recurrent\": \"lstm\", \"recurrent_width\": 7, \"window\": 4, "
      "\"validation_split\": 0.2}",
      "{" COMMON "\"recurrent\": \"gru\", \"recurrent_width\": 7, \"window\": 4}",
      "{" COMMON
      "\"recurrent\": \"lstm\", \"recurrent_width\": 9, \"recurrent_layers\": 3, "
      "\"window\": 3, \"dropout\": 0.2, \"embedding\": 2, \"validation_split\": 0.2}",
      "{\"hidden\": [6, 6], \"residual\": true, \"batch_size\": 64, \"epochs\": 10, "
      "\"recurrent\": \"gru\", \"recurrent_width\": 6, \"recurrent_layers\": 2, \"window\": 5, "
      "\"embedding\": 3, \"clip_norm\": 0.5}",
      "{" COMMON "\"shuffle\": false, \"schedule\": \"one_cycle\"}",
      "{\"hidden\": [], \"batch_size\": 600, \"epochs\": 100}",
      "{\"hidden\": [8], \"batch_size\": 1, \"epochs\": 1, \"folds\": 6}",
  };
  return cr_make_param_array(char[240], specs, sizeof specs / sizeof *specs);
}

ParameterizedTest(char fields[240], cuda, trains_as_the_processor_does) {
  th_spec spec = spec_of(fields);
  th_data data = data_for(&spec);
  th_trainer *expected = fixture_trained(&spec, &data);
  th_trainer *found = trained_with(&spec, 64);
  uint64_t count;
  float *a = fixture_parameters(expected, &count);
  float *b = fixture_parameters(found, &count);
  for (uint64_t i = 0; i < count; i++)
    cr_assert(fabsf(a[i] - b[i]) <= 2e-6F + 2e-6F * fabsf(a[i]), "%s: parameter %lu is %g, not %g",
              fields, i, (double)b[i], (double)a[i]);
  const th_history *ours = th_trainer_history(found);
  const th_history *theirs = th_trainer_history(expected);
  for (uint32_t e = 0; e < ours->count; e++) {
    cr_assert_float_eq(ours->epochs[e].loss, theirs->epochs[e].loss, 1e-5);
    cr_assert_float_eq(ours->epochs[e].accuracy, theirs->epochs[e].accuracy, 0.004);
    if (spec.validation_split > 0)
      cr_assert_float_eq(ours->epochs[e].validation_loss, theirs->epochs[e].validation_loss, 1e-5);
  }
  free(a);
  free(b);
  th_trainer_destroy(expected);
  th_trainer_destroy(found);
  cr_assert_eq(rehearsal_held(), 0);
}

Test(cuda, number_of_lanes_never_changes_a_result) {
  th_spec spec = spec_of("{" COMMON "\"dropout\": 0.2, \"clip_norm\": 1}");
  th_trainer *one = trained_with(&spec, 1);
  th_trainer *some = trained_with(&spec, 37);
  th_trainer *many = trained_with(&spec, REHEARSAL_LANES_MAX);
  cr_assert(fixture_is_same_model(one, some));
  cr_assert(fixture_is_same_model(one, many));
  th_trainer_destroy(one);
  th_trainer_destroy(some);
  th_trainer_destroy(many);
}

Test(cuda, goes_on_from_a_checkpoint_as_if_never_interrupted) {
  th_spec spec = spec_of("{" COMMON "\"dropout\": 0.2, \"validation_split\": 0.2}");
  th_device device = device_with(64);
  th_trainer *whole = trained_with(&spec, 64);
  fixture_expect_resumes(whole, trainer_on(&device, &spec), trainer_on(&device, &spec), 5,
                         "dropout and validation");
  th_trainer_destroy(whole);
}

Test(cuda, tells_the_importance_that_the_processor_tells) {
  th_spec spec = spec_of("{" COMMON "\"importance\": true, \"validation_split\": 0.2}");
  th_data data = fixture_data();
  th_trainer *trainers[] = {fixture_trainer(&spec, &data), trained_with(&spec, 64)};
  char *importances[2];
  fixture_finish(trainers[0]);
  for (int i = 0; i < 2; i++) {
    th_buffer model, card;
    cr_assert_eq(th_trainer_result(trainers[i], &model, &card), TH_OK);
    json_t *json = json_loadb(card.data, card.bytes, 0, NULL);
    importances[i] = json_dumps(json_object_get(json, "importance"), JSON_REAL_PRECISION(6));
    json_decref(json);
    th_buffer_fini(&model);
    th_buffer_fini(&card);
    th_trainer_destroy(trainers[i]);
  }
  cr_assert_gt(strlen(importances[0]), 20);
  cr_assert_str_eq(importances[0], importances[1]);
  free(importances[0]);
  free(importances[1]);
}

Test(cuda, predicts_as_the_processor_does) {
  th_spec spec = spec_of("{" COMMON "\"standardize\": true}");
  th_device cpu = fixture_cpu(), gpu = device_with(64);
  th_trainer *trainer = trained_with(&spec, 64);
  th_buffer model = fixture_model(trainer);
  th_data data = fixture_data();
  th_numbers expected = fixture_predict(&cpu, &model, &data, NULL);
  th_numbers found = fixture_predict(&gpu, &model, &data, NULL);
  cr_assert(found.rows == FIXTURE_ROWS && expected.rows == FIXTURE_ROWS);
  cr_assert(found.width == FIXTURE_CLASSES && expected.width == FIXTURE_CLASSES);
  for (size_t i = 0; i < (size_t)FIXTURE_ROWS * FIXTURE_CLASSES; i++)
    cr_assert_float_eq(found.values[i], expected.values[i], 1e-5F);
  th_numbers_fini(&expected);
  th_numbers_fini(&found);
  th_buffer_fini(&model);
  th_trainer_destroy(trainer);
}

/* Whatever fails says so, is given back, and harms nothing. */
Test(cuda, survives_the_failure_of_every_call) {
  th_spec spec = spec_of(
      "{\"hidden\": [8], \"batch_size\": 300, \"epochs\": 2, \"clip_norm\": 1, "
      "\"validation_split\": 0.2, \"standardize\": true}");
  th_device device = rehearsal_device(8);
  th_data data = fixture_data();
  th_team *team;
  cr_assert_eq(th_team_create(1, &team), TH_OK);
  bool failed = true;
  for (uint32_t call = 1; failed; call++) {
    cr_assert_lt(call, 1000);
    th_trainer *trainer = NULL;
    th_buffer model, card;
    rehearsal_fail_at(call);
    th_error error = th_trainer_create(&spec, &data, &device, NULL, NULL, &trainer);
    if (error == TH_OK) error = th_trainer_advance(trainer, team, INT64_MAX);
    if (error == TH_OK) error = th_trainer_result(trainer, &model, &card);
    failed = error != TH_OK;
    if (failed) {
      cr_assert_eq(error, TH_ERR_DEVICE, "call %u: %s", call, th_error_text());
      cr_assert_neq(strstr(th_error_text(), "cudaErrorIllegalAddress"), NULL, "%s",
                    th_error_text());
    } else {
      th_buffer_fini(&model);
      th_buffer_fini(&card);
    }
    th_trainer_destroy(trainer);
    cr_assert_eq(rehearsal_held(), 0, "call %u", call);
  }
  th_team_destroy(team);
}

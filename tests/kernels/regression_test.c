/* Regressions through whole trainings, and the models they leave. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>

#include "fixture.h"
#include "kernels/regression.h"

enum { TARGETS = 2 };

/* Two functions of the features, one curved, far from 0 and of another scale. */
static th_data regression_data(void) {
  static float targets[FIXTURE_ROWS * TARGETS];
  th_data data = fixture_data();
  for (uint32_t r = 0; r < FIXTURE_ROWS; r++) {
    const float *x = data.features + (size_t)r * FIXTURE_WIDTH;
    targets[r * TARGETS] = x[0] - 2 * x[1] + 0.5F * x[2];
    targets[r * TARGETS + 1] = 5 + x[3] * x[4];
  }
  data.labels = NULL;
  data.targets = targets;
  data.target_width = TARGETS;
  return data;
}

static th_spec regression_spec(th_loss_kind loss) {
  th_spec spec = fixture_spec();
  spec.loss = loss;
  spec.hidden_count = 1;
  spec.hidden[0] = 32;
  spec.batch_size = 20;
  spec.epochs = 30;
  spec.learning_rate = 0.01;
  spec.validation_split = 0.25;
  spec.split = TH_SPLIT_LAST;
  return spec;
}

static json_t *parsed(th_buffer *text) {
  json_t *json = json_loadb(text->data, text->bytes, 0, NULL);
  cr_assert_not_null(json);
  th_buffer_fini(text);
  return json;
}

static json_t *card_of(const th_trainer *trainer, th_buffer *model) {
  th_buffer card;
  cr_assert_eq(th_trainer_result(trainer, model, &card), TH_OK, "%s", th_error_text());
  return parsed(&card);
}

static double number_at(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  cr_assert(json_is_number(value), "no number \"%s\"", key);
  return json_number_value(value);
}

/* Errors and R² by their definitions, in one pass after another. */
typedef struct reference {
  double mae[TARGETS], rmse[TARGETS], r2[TARGETS];
} reference;

static reference judge(const th_numbers *predicted, const th_data *data, uint64_t first) {
  reference scores = {0};
  double rows = (double)(data->rows - first);
  for (uint32_t o = 0; o < TARGETS; o++) {
    double mean = 0, total = 0, squares = 0, absolute = 0;
    for (uint64_t r = first; r < data->rows; r++)
      mean += (double)data->targets[r * TARGETS + o] / rows;
    for (uint64_t r = first; r < data->rows; r++) {
      double target = (double)data->targets[r * TARGETS + o];
      double error = (double)predicted->values[r * TARGETS + o] - target;
      total += (target - mean) * (target - mean);
      squares += error * error;
      absolute += fabs(error);
    }
    scores.mae[o] = absolute / rows;
    scores.rmse[o] = sqrt(squares / rows);
    scores.r2[o] = 1 - squares / total;
  }
  return scores;
}

static void scores_check(const json_t *card, const reference *expected) {
  const json_t *by_output = json_object_get(card, "by_output");
  double squares = 0;
  cr_assert_eq(json_array_size(by_output), TARGETS);
  for (uint32_t o = 0; o < TARGETS; o++) {
    const json_t *output = json_array_get(by_output, o);
    cr_expect_float_eq(number_at(output, "mae"), expected->mae[o], 1e-6);
    cr_expect_float_eq(number_at(output, "rmse"), expected->rmse[o], 1e-6);
    cr_expect_float_eq(number_at(output, "r2"), expected->r2[o], 1e-6);
    squares += expected->rmse[o] * expected->rmse[o] / TARGETS;
  }
  cr_expect_float_eq(number_at(card, "mae"), (expected->mae[0] + expected->mae[1]) / 2, 1e-6);
  cr_expect_float_eq(number_at(card, "rmse"), sqrt(squares), 1e-6);
  cr_expect_float_eq(number_at(card, "r2"), (expected->r2[0] + expected->r2[1]) / 2, 1e-6);
}

/* What the card says of validation, and the newest epoch, against what the model predicts. */
static void training_check(th_loss_kind loss, double loss_of_squares) {
  th_spec spec = regression_spec(loss);
  th_data data = regression_data();
  spec.restore_best = false;
  th_trainer *trainer = fixture_trained(&spec, &data);
  th_buffer model;
  json_t *card = card_of(trainer, &model);
  th_device device = fixture_cpu();
  th_buffer text;
  th_numbers predicted = fixture_predict(&device, &model, &data, &text);
  json_t *predicted_card = parsed(&text);
  cr_assert_eq(predicted.rows, FIXTURE_ROWS);
  cr_assert_eq(predicted.width, TARGETS);
  cr_assert_eq(number_at(predicted_card, "columns"), TARGETS);
  reference expected = judge(&predicted, &data, FIXTURE_ROWS * 3 / 4);
  const json_t *validation = json_object_get(card, "validation");
  scores_check(validation, &expected);
  th_epoch last = fixture_last_epoch(trainer);
  cr_expect_float_eq(last.validation_accuracy, number_at(validation, "r2"), 1e-6);
  cr_expect_float_eq(last.validation_mae, number_at(validation, "mae"), 1e-6);
  cr_expect_float_eq(last.validation_rmse, number_at(validation, "rmse"), 1e-6);
  cr_expect_gt(last.validation_accuracy, 0.8, "%s: %g", th_loss_name(loss),
               last.validation_accuracy);
  cr_expect_gt(last.accuracy, 0.8);
  cr_expect_lt(last.mae, last.rmse);
  if (loss_of_squares > 0)
    cr_expect_float_eq(last.validation_loss,
                       loss_of_squares * last.validation_rmse * last.validation_rmse, 1e-6);
  th_numbers_fini(&predicted);
  json_decref(card);
  json_decref(predicted_card);
  th_buffer_fini(&model);
  th_trainer_destroy(trainer);
}

Test(regression, learns_functions_and_says_how_well) {
  training_check(TH_LOSS_MEAN_SQUARED_ERROR, 1);
  training_check(TH_LOSS_HUBER, 0);
}

Test(regression, huber_far_beyond_all_errors_is_half_of_squared) {
  th_spec spec = regression_spec(TH_LOSS_HUBER);
  th_data data = regression_data();
  spec.huber_delta = 1e6;
  th_trainer *trainer = fixture_trained(&spec, &data);
  th_epoch last = fixture_last_epoch(trainer);
  cr_assert_float_eq(last.loss, last.rmse * last.rmse / 2, 1e-6);
  th_trainer_destroy(trainer);
}

Test(regression, evaluation_of_the_model_is_what_validation_said) {
  th_spec spec = regression_spec(TH_LOSS_HUBER);
  th_data data = regression_data();
  spec.standardize = true;
  spec.restore_best = false;
  th_trainer *trainer = fixture_trained(&spec, &data);
  th_buffer model = fixture_model(trainer);
  uint64_t trained = FIXTURE_ROWS * 3 / 4;
  th_data validated = {.features = data.features + trained * FIXTURE_WIDTH,
                       .targets = data.targets + trained * TARGETS,
                       .rows = FIXTURE_ROWS - trained,
                       .width = FIXTURE_WIDTH,
                       .target_width = TARGETS};
  th_buffer text = fixture_evaluate(&model, &validated);
  json_t *evaluated = parsed(&text);
  th_epoch last = fixture_last_epoch(trainer);
  cr_expect_float_eq(number_at(evaluated, "loss"), last.validation_loss, 1e-9);
  cr_expect_float_eq(number_at(evaluated, "accuracy"), last.validation_accuracy, 1e-9);
  cr_expect_float_eq(number_at(evaluated, "r2"), last.validation_accuracy, 1e-9);
  cr_expect_float_eq(number_at(evaluated, "rmse"), last.validation_rmse, 1e-9);
  json_decref(evaluated);
  th_buffer_fini(&model);
  th_trainer_destroy(trainer);
}

static th_regression survey(const th_data *data) {
  th_regression regression;
  th_split split = {.order = th_permutation_identity((uint32_t)data->rows)};
  cr_assert_eq(th_regression_init(&regression, data, &split, 0, (uint32_t)data->rows), TH_OK);
  return regression;
}

Test(regression, an_output_that_never_varies_explains_nothing) {
  static const float targets[] = {0.1F, 1, 0.1F, 2, 0.1F, 3};
  th_data data = {.targets = targets, .rows = 3, .target_width = 2};
  th_regression regression = survey(&data);
  cr_expect_eq(regression.shares[0], 0, "%g", regression.shares[0]);
  for (int r = 0; r < 3; r++) {
    float outputs[] = {0.2F, targets[2 * r + 1]};
    th_regression_add(&regression, targets + (size_t)2 * r, outputs);
  }
  json_t *card = json_object();
  cr_assert(th_regression_print(&regression, card));
  const json_t *by_output = json_object_get(card, "by_output");
  cr_expect_eq(number_at(json_array_get(by_output, 0), "r2"), 0);
  cr_expect_eq(number_at(json_array_get(by_output, 1), "r2"), 1);
  cr_expect_eq(number_at(card, "r2"), 0.5);
  cr_expect_eq(th_regression_r2(&regression, &(th_sums){.rows = 3}), 0.5, "without any error");
  json_decref(card);
  th_regression_fini(&regression);
}

/* Their squares differ by less than a double holds. */
Test(regression, a_small_variance_far_from_zero_is_not_lost) {
  static const float targets[] = {16777214, 16777215, 16777216};
  th_data data = {.targets = targets, .rows = 3, .target_width = 1};
  th_regression regression = survey(&data);
  cr_assert_float_eq(regression.shares[0], 1.5, 1e-12);
  th_regression_fini(&regression);
}

Test(regression, resumes_to_the_same_bits) {
  th_spec spec = regression_spec(TH_LOSS_HUBER);
  th_data data = regression_data();
  spec.epochs = 3;
  th_trainer *whole = fixture_trained(&spec, &data);
  fixture_expect_resumes(whole, fixture_trainer(&spec, &data), fixture_trainer(&spec, &data), 33,
                         "huber");
  th_trainer_destroy(whole);
}

/* The targets are made of the first five features. */
Test(regression, importance_is_the_r2_that_is_lost) {
  th_spec spec = regression_spec(TH_LOSS_MEAN_SQUARED_ERROR);
  th_data data = regression_data();
  spec.importance = true;
  th_trainer *trainer = fixture_trained(&spec, &data);
  th_buffer model;
  json_t *card = card_of(trainer, &model);
  const json_t *importance = json_object_get(card, "importance");
  cr_assert_eq(json_array_size(importance), FIXTURE_WIDTH);
  double strongest = json_number_value(json_array_get(importance, 1));
  cr_expect_gt(strongest, 0.3);
  for (size_t f = 5; f < FIXTURE_WIDTH; f++)
    cr_expect_lt(json_number_value(json_array_get(importance, f)), strongest / 4, "%zu", f);
  json_decref(card);
  th_buffer_fini(&model);
  th_trainer_destroy(trainer);
}

Test(regression, without_validation_is_judged_by_the_rows_trained_on) {
  th_spec spec = regression_spec(TH_LOSS_MEAN_SQUARED_ERROR);
  th_data data = regression_data();
  data.target_width = 1;
  spec.validation_split = 0;
  spec.epochs = 2;
  th_trainer *trainer = fixture_trained(&spec, &data);
  th_epoch last = fixture_last_epoch(trainer);
  cr_assert(isnan(last.validation_loss) && isnan(last.validation_accuracy));
  cr_assert(isnan(last.validation_mae) && isnan(last.validation_rmse));
  th_regression trained = survey(&data);
  cr_assert_float_eq(last.accuracy, 1 - last.rmse * last.rmse * trained.shares[0], 1e-9);
  cr_assert_lt(last.mae, last.rmse);
  th_regression_fini(&trained);
  th_trainer_destroy(trainer);
}

Test(regression, a_loss_without_what_it_is_measured_by_is_refused) {
  th_spec regression = regression_spec(TH_LOSS_HUBER);
  th_data labeled = fixture_data();
  fixture_assert_refused(&regression, &labeled, TH_ERR_DATA, "targets: loss \"huber\"");
  th_spec classification = fixture_spec();
  th_data targeted = regression_data();
  fixture_assert_refused(&classification, &targeted, TH_ERR_DATA, "labels: loss \"cross_entropy\"");
  targeted.labels = labeled.labels;
  fixture_assert_refused(&classification, &targeted, TH_ERR_DATA, "no targets");
  fixture_assert_refused(&regression, &targeted, TH_ERR_DATA, "no labels");
}

Test(regression, a_model_is_evaluated_on_targets_of_its_width_only) {
  th_spec spec = regression_spec(TH_LOSS_MEAN_SQUARED_ERROR);
  th_data data = regression_data();
  spec.epochs = 1;
  th_buffer model = fixture_trained_model(&spec, &data);
  th_data labeled = fixture_data();
  fixture_assert_not_applied(&model, &labeled, "targets: loss \"mean_squared_error\"");
  th_data narrow = data;
  narrow.target_width = 1;
  fixture_assert_not_applied(&model, &narrow, "targets: 1 columns, but the model gives 2");
  th_buffer_fini(&model);
}

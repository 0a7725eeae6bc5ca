/* Losses beyond plain cross-entropy, through whole trainings and the models they leave. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "fixture.h"
#include "kernels/model.h"
#include "kernels/weighting.h"

static th_spec quick_spec(th_loss_kind loss) {
  th_spec spec = fixture_spec();
  spec.loss = loss;
  spec.hidden_count = 1;
  spec.hidden[0] = 24;
  spec.batch_size = 20;
  spec.epochs = 10;
  spec.learning_rate = 0.01;
  spec.validation_split = 0.25;
  return spec;
}

/* The first class against the two others: one in three. */
static th_data binary_data(void) {
  static int32_t labels[FIXTURE_ROWS];
  th_data data = fixture_data();
  for (uint32_t i = 0; i < FIXTURE_ROWS; i++) labels[i] = data.labels[i] == 0;
  data.labels = labels;
  return data;
}

static th_data data_for(th_loss_kind loss) {
  return loss == TH_LOSS_BINARY_CROSS_ENTROPY ? binary_data() : fixture_data();
}

Test(loss, each_learns_to_tell_classes_apart) {
  for (th_loss_kind loss = TH_LOSS_CROSS_ENTROPY; loss <= TH_LOSS_BINARY_CROSS_ENTROPY; loss++)
    for (int balanced = 0; balanced < 2; balanced++) {
      th_spec spec = quick_spec(loss);
      th_data data = data_for(loss);
      spec.weighting = balanced ? TH_WEIGHTING_BALANCED : TH_WEIGHTING_NONE;
      spec.label_smoothing = loss == TH_LOSS_CROSS_ENTROPY ? 0.1 : 0;
      th_trainer *trainer = fixture_trained(&spec, &data);
      cr_expect_gt(fixture_last_epoch(trainer).validation_accuracy, 0.9, "%s: %g",
                   th_loss_name(loss), fixture_last_epoch(trainer).validation_accuracy);
      th_trainer_destroy(trainer);
    }
}

static double card_number(const th_buffer *card, const char *key) {
  json_t *json = json_loadb(card->data, card->bytes, 0, NULL);
  double number = json_number_value(json_object_get(json, key));
  json_decref(json);
  return number;
}

/* The loss of what was validated on, as the training saw it: with the same weights. */
Test(loss, evaluation_of_the_model_is_what_validation_said) {
  for (th_loss_kind loss = TH_LOSS_CROSS_ENTROPY; loss <= TH_LOSS_BINARY_CROSS_ENTROPY; loss++) {
    th_spec spec = quick_spec(loss);
    th_data data = data_for(loss);
    spec.split = TH_SPLIT_LAST;
    spec.weighting = TH_WEIGHTING_BALANCED;
    spec.restore_best = false;
    th_trainer *trainer = fixture_trained(&spec, &data);
    th_buffer model = fixture_model(trainer);
    uint64_t trained = FIXTURE_ROWS * 3 / 4;
    th_data validated = {.features = data.features + trained * FIXTURE_WIDTH,
                         .labels = data.labels + trained,
                         .rows = FIXTURE_ROWS - trained,
                         .width = FIXTURE_WIDTH};
    th_buffer evaluated = fixture_evaluate(&model, &validated);
    th_epoch last = fixture_last_epoch(trainer);
    cr_expect_float_eq(card_number(&evaluated, "loss"), last.validation_loss, 1e-9, "%s: %g, %g",
                       th_loss_name(loss), card_number(&evaluated, "loss"), last.validation_loss);
    cr_expect_float_eq(card_number(&evaluated, "accuracy"), last.validation_accuracy, 1e-12);
    th_trainer_destroy(trainer);
    th_buffer_fini(&model);
    th_buffer_fini(&evaluated);
  }
}

Test(loss, one_logit_is_predicted_as_two_whose_first_is_zero) {
  th_spec spec = quick_spec(TH_LOSS_BINARY_CROSS_ENTROPY);
  th_data data = binary_data();
  th_device device = fixture_cpu();
  th_buffer model = fixture_trained_model(&spec, &data);
  th_buffer predicted;
  th_numbers logits = fixture_predict(&device, &model, &data, &predicted);
  cr_assert_eq(card_number(&predicted, "classes"), 2);
  cr_assert_eq(logits.width, 2);
  uint32_t correct = 0;
  for (uint32_t i = 0; i < FIXTURE_ROWS; i++) {
    cr_assert_eq(logits.values[2 * i], 0);
    correct += (logits.values[2 * i + 1] > 0) == data.labels[i];
  }
  cr_expect_gt(correct, FIXTURE_ROWS * 9 / 10);
  th_numbers_fini(&logits);
  th_buffer_fini(&model);
  th_buffer_fini(&predicted);
}

/* Settle the weights of six rows of three classes, the first four of which are trained on. */
static th_error settle(th_spec *spec, uint32_t training_rows) {
  static const int32_t labels[] = {0, 0, 0, 2, 1, 1};
  th_model model = {.classes = 3};
  th_data data = {.labels = labels, .rows = 6, .width = 1};
  th_engine_plan plan = {.spec = spec,
                         .model = &model,
                         .data = &data,
                         .split = th_permutation_identity(6),
                         .training_rows = training_rows};
  return th_weighting_settle(&plan, spec);
}

Test(loss, balanced_weights_are_by_rarity_among_the_rows_trained_on) {
  th_spec spec = {.weighting = TH_WEIGHTING_BALANCED};
  cr_assert_eq(settle(&spec, 4), TH_OK);
  cr_assert_eq(spec.weighting, TH_WEIGHTING_LISTED);
  cr_assert_eq(spec.class_weight_count, 3);
  cr_assert_float_eq(spec.class_weights[0], 0.5, 1e-12);
  cr_assert_eq(spec.class_weights[1], 0, "it has no row to train on");
  cr_assert_float_eq(spec.class_weights[2], 1.5, 1e-12);
}

Test(loss, balanced_weights_of_equal_classes_are_one) {
  th_spec spec = {.weighting = TH_WEIGHTING_BALANCED};
  cr_assert_eq(settle(&spec, 0), TH_OK, "all rows, if none is trained on");
  double mean = (spec.class_weights[0] + spec.class_weights[1] + spec.class_weights[2]) / 3;
  cr_assert_float_eq(mean, 1, 1e-12);
  cr_assert_float_eq(spec.class_weights[2] / spec.class_weights[0], 3, 1e-12);
}

Test(loss, weights_that_are_not_one_for_each_class_are_refused) {
  th_spec spec = quick_spec(TH_LOSS_CROSS_ENTROPY);
  th_data data = fixture_data();
  spec.weighting = TH_WEIGHTING_LISTED;
  spec.class_weight_count = 2;
  spec.class_weights[0] = spec.class_weights[1] = 1;
  fixture_assert_refused(&spec, &data, TH_ERR_USAGE, "2 weights for 3");
}

Test(loss, labels_beyond_the_two_of_one_logit_are_refused) {
  th_spec spec = quick_spec(TH_LOSS_BINARY_CROSS_ENTROPY);
  th_data data = fixture_data();
  fixture_assert_refused(&spec, &data, TH_ERR_DATA, "[0, 2)");
}

/* PyTorch divides by the zero weight of such a batch; here it moves nothing. */
Test(loss, a_batch_that_weighs_nothing_teaches_nothing) {
  th_spec spec = quick_spec(TH_LOSS_CROSS_ENTROPY);
  th_data data = fixture_data();
  spec.batch_size = 1;
  spec.epochs = 2;
  spec.weighting = TH_WEIGHTING_LISTED;
  spec.class_weight_count = 3;
  spec.class_weights[1] = spec.class_weights[2] = 1;
  th_trainer *trainer = fixture_trained(&spec, &data);
  cr_assert(isfinite(fixture_last_epoch(trainer).loss));
  th_trainer_destroy(trainer);
}

/* Rows of weight w = row % 4 against w copies of each, in batches of all rows. */
static void weighs_check(th_loss_kind loss, th_weighting weighting) {
  static float weights[FIXTURE_ROWS], features[2 * FIXTURE_ROWS * FIXTURE_WIDTH];
  static int32_t labels[2 * FIXTURE_ROWS];
  th_data weighed = data_for(loss), copied = weighed;
  copied.rows = 0;
  for (uint32_t i = 0; i < FIXTURE_ROWS; i++) {
    weights[i] = (float)(i % 4);
    for (uint32_t copy = 0; copy < i % 4; copy++, copied.rows++) {
      memcpy(features + copied.rows * FIXTURE_WIDTH, weighed.features + (size_t)i * FIXTURE_WIDTH,
             FIXTURE_WIDTH * sizeof *features);
      labels[copied.rows] = weighed.labels[i];
    }
  }
  weighed.weights = weights;
  copied.features = features;
  copied.labels = labels;
  th_spec spec = quick_spec(loss);
  spec.batch_size = 2 * FIXTURE_ROWS;
  spec.validation_split = 0;
  spec.weighting = weighting;
  spec.class_weight_count = loss == TH_LOSS_BINARY_CROSS_ENTROPY ? 2 : FIXTURE_CLASSES;
  for (uint32_t c = 0; c < spec.class_weight_count; c++) spec.class_weights[c] = 1 + c;
  th_trainer *a = fixture_trained(&spec, &weighed), *b = fixture_trained(&spec, &copied);
  for (uint32_t e = 0; e < spec.epochs; e++)
    cr_expect_float_eq(th_trainer_history(a)->epochs[e].loss, th_trainer_history(b)->epochs[e].loss,
                       1e-5, "%s: epoch %u: %g, %g", th_loss_name(loss), e + 1,
                       th_trainer_history(a)->epochs[e].loss,
                       th_trainer_history(b)->epochs[e].loss);
  th_trainer_destroy(a);
  th_trainer_destroy(b);
}

Test(loss, a_row_that_weighs_n_counts_as_n_rows) {
  for (th_loss_kind loss = TH_LOSS_CROSS_ENTROPY; loss <= TH_LOSS_BINARY_CROSS_ENTROPY; loss++) {
    weighs_check(loss, TH_WEIGHTING_NONE);
    weighs_check(loss, TH_WEIGHTING_LISTED);
  }
}

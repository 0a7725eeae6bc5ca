#include "fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/inference.h"
#include "kernels/model.h"
#include "kernels/random.h"

th_data fixture_data(void) {
  static float features[FIXTURE_ROWS * FIXTURE_WIDTH];
  static int32_t labels[FIXTURE_ROWS];
  for (uint32_t r = 0; r < FIXTURE_ROWS; r++) {
    labels[r] = (int32_t)(th_philox_at(1, r, 0, 0, 0).word[0] % FIXTURE_CLASSES);
    for (uint32_t c = 0; c < FIXTURE_WIDTH; c++) {
      float noise = 2 * th_random_unit(th_philox_at(2, r, c, 0, 0).word[0]) - 1;
      features[r * FIXTURE_WIDTH + c] = noise + (c % FIXTURE_CLASSES == (uint32_t)labels[r]);
    }
  }
  return (th_data){
      .features = features, .labels = labels, .rows = FIXTURE_ROWS, .width = FIXTURE_WIDTH};
}

th_data fixture_grouped_data(void) {
  static int32_t groups[FIXTURE_ROWS];
  th_data data = fixture_data();
  for (uint32_t r = 1; r < FIXTURE_ROWS; r++) {
    bool begins = th_philox_at(3, r, 0, 0, 0).word[0] % 8 == 0;
    groups[r] = (groups[r - 1] + begins) % FIXTURE_GROUPS;
  }
  data.groups = groups;
  return data;
}

th_spec fixture_spec(void) {
  th_spec spec;
  th_spec_init(&spec);
  spec.hidden_count = 2;
  spec.hidden[0] = 150;
  spec.hidden[1] = 70;
  spec.epochs = 4;
  spec.batch_size = 130;
  spec.seed = 5;
  return spec;
}

th_device fixture_cpu(void) {
  th_device device;
  cr_assert_eq(th_device_open("cpu", &device), TH_OK);
  return device;
}

static void assert_text(const char *part) {
  cr_assert_not_null(strstr(th_error_text(), part), "\"%s\" is not in \"%s\"", part,
                     th_error_text());
}

/* ---- trainings ---- */

th_trainer *fixture_trainer(const th_spec *spec, const th_data *data) {
  th_device device = fixture_cpu();
  th_trainer *trainer;
  cr_assert_eq(th_trainer_create(spec, data, &device, NULL, NULL, &trainer), TH_OK, "%s",
               th_error_text());
  return trainer;
}

static void finish_by(th_trainer *trainer, uint32_t threads) {
  th_team *team;
  cr_assert_eq(th_team_create(threads, &team), TH_OK);
  cr_assert_eq(th_trainer_advance(trainer, team, INT64_MAX), TH_OK, "%s", th_error_text());
  th_team_destroy(team);
}

void fixture_finish(th_trainer *trainer) {
  finish_by(trainer, 1);
}

th_trainer *fixture_trained(const th_spec *spec, const th_data *data) {
  th_trainer *trainer = fixture_trainer(spec, data);
  fixture_finish(trainer);
  return trainer;
}

th_epoch fixture_last_epoch(const th_trainer *trainer) {
  const th_history *history = th_trainer_history(trainer);
  return history->epochs[history->count - 1];
}

void fixture_assert_refused(const th_spec *spec, const th_data *data, th_error expected,
                            const char *part) {
  th_device device = fixture_cpu();
  th_trainer *trainer = NULL;
  cr_assert_eq(th_trainer_create(spec, data, &device, NULL, NULL, &trainer), expected);
  cr_assert_null(trainer);
  assert_text(part);
}

/* ---- the same bits ---- */

float *fixture_parameters(const th_trainer *trainer, uint64_t *count) {
  th_buffer file = fixture_model(trainer);
  th_model model;
  th_spec spec;
  float *parameters;
  th_standard standard;
  cr_assert_eq(th_model_decode(file.data, file.bytes, &model, &spec, &parameters, &standard), TH_OK,
               "%s", th_error_text());
  *count = model.parameters;
  th_standard_fini(&standard);
  th_buffer_fini(&file);
  return parameters;
}

bool fixture_is_same_model(const th_trainer *a, const th_trainer *b) {
  uint64_t count_a;
  uint64_t count_b;
  float *parameters_a = fixture_parameters(a, &count_a);
  float *parameters_b = fixture_parameters(b, &count_b);
  bool is_same =
      count_a == count_b && memcmp(parameters_a, parameters_b, count_a * sizeof *parameters_a) == 0;
  free(parameters_a);
  free(parameters_b);
  return is_same;
}

/* NaN is the same as NaN, where there is no validation. */
static bool is_same_epoch(th_epoch a, th_epoch b) {
  const double left[] = {a.loss,           a.accuracy,        a.mae,
                         a.rmse,           a.validation_loss, a.validation_accuracy,
                         a.validation_mae, a.validation_rmse, a.learning_rate};
  const double right[] = {b.loss,           b.accuracy,        b.mae,
                          b.rmse,           b.validation_loss, b.validation_accuracy,
                          b.validation_mae, b.validation_rmse, b.learning_rate};
  return a.epoch == b.epoch && memcmp(left, right, sizeof left) == 0;
}

void fixture_expect_same(const th_trainer *a, const th_trainer *b, const char *what) {
  const th_history *left = th_trainer_history(a);
  const th_history *right = th_trainer_history(b);
  cr_expect(fixture_is_same_model(a, b), "%s", what);
  cr_assert_eq(left->count, right->count, "%s", what);
  for (uint32_t i = 0; i < left->count; i++)
    cr_expect(is_same_epoch(left->epochs[i], right->epochs[i]), "%s: epoch %u", what,
              left->epochs[i].epoch);
}

void fixture_expect_same_by_threads(const th_spec *spec, const th_data *data, const char *what) {
  th_trainer *alone = fixture_trained(spec, data);
  for (uint32_t threads = 2; threads <= 4; threads++) {
    char case_name[64];
    snprintf(case_name, sizeof case_name, "%s, %u threads", what, threads);
    th_trainer *shared = fixture_trainer(spec, data);
    finish_by(shared, threads);
    fixture_expect_same(alone, shared, case_name);
    th_trainer_destroy(shared);
  }
  th_trainer_destroy(alone);
}

th_buffer fixture_interrupt(th_trainer *trainer, uint32_t slices) {
  th_team *team;
  th_buffer checkpoint;
  cr_assert_eq(th_team_create(1, &team), TH_OK);
  /* A moment that has passed: one step each time. */
  th_error error = TH_ERR_AGAIN;
  for (uint32_t i = 0; i < slices && error == TH_ERR_AGAIN; i++)
    error = th_trainer_advance(trainer, team, 0);
  cr_assert(error == TH_OK || error == TH_ERR_AGAIN, "%s", th_error_text());
  cr_assert_eq(th_trainer_checkpoint(trainer, &checkpoint), TH_OK, "%s", th_error_text());
  th_team_destroy(team);
  return checkpoint;
}

static void expect_same_place(const th_trainer *a, const th_trainer *b) {
  th_progress left;
  th_progress right;
  th_trainer_progress(a, &left);
  th_trainer_progress(b, &right);
  cr_expect_eq(left.epoch, right.epoch);
  cr_expect_eq(left.step, right.step);
  cr_expect_eq(left.fraction, right.fraction);
  cr_expect_eq(left.best_epoch, right.best_epoch);
}

void fixture_expect_resumes(const th_trainer *whole, th_trainer *first, th_trainer *second,
                            uint32_t slices, const char *what) {
  char case_name[64];
  snprintf(case_name, sizeof case_name, "%s, interrupted after %u slices", what, slices);
  th_buffer checkpoint = fixture_interrupt(first, slices);
  cr_assert_eq(th_trainer_restore(second, checkpoint.data, checkpoint.bytes), TH_OK, "%s",
               th_error_text());
  expect_same_place(first, second);
  finish_by(second, 2);
  fixture_expect_same(whole, second, case_name);
  th_buffer_fini(&checkpoint);
  th_trainer_destroy(first);
  th_trainer_destroy(second);
}

/* ---- models ---- */

th_buffer fixture_model(const th_trainer *trainer) {
  th_buffer model;
  th_buffer card;
  cr_assert_eq(th_trainer_result(trainer, &model, &card), TH_OK, "%s", th_error_text());
  th_buffer_fini(&card);
  return model;
}

th_buffer fixture_trained_model(const th_spec *spec, const th_data *data) {
  th_trainer *trainer = fixture_trained(spec, data);
  th_buffer model = fixture_model(trainer);
  th_trainer_destroy(trainer);
  return model;
}

static void apply(const th_device *device, const th_buffer *model, const th_data *data,
                  th_buffer *output, th_buffer *card) {
  th_team *team;
  th_inference *inference;
  cr_assert_eq(th_team_create(2, &team), TH_OK);
  cr_assert_eq(th_inference_create(model->data, model->bytes, data, device, NULL, NULL, &inference),
               TH_OK, "%s", th_error_text());
  cr_assert_eq(th_inference_advance(inference, team, INT64_MAX), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_inference_result(inference, output, card), TH_OK, "%s", th_error_text());
  th_inference_destroy(inference);
  th_team_destroy(team);
}

th_numbers fixture_predict(const th_device *device, const th_buffer *model, const th_data *data,
                           th_buffer *card) {
  th_data shown = *data;
  th_buffer output;
  th_buffer text;
  th_numbers predicted;
  shown.labels = NULL;
  shown.targets = NULL;
  apply(device, model, &shown, &output, &text);
  cr_assert_eq(th_numbers_decode("what was predicted", &output, &predicted), TH_OK, "%s",
               th_error_text());
  th_buffer_fini(&output);
  if (card != NULL)
    *card = text;
  else
    th_buffer_fini(&text);
  return predicted;
}

th_buffer fixture_evaluate(const th_buffer *model, const th_data *data) {
  th_device device = fixture_cpu();
  th_buffer output;
  th_buffer card;
  apply(&device, model, data, &output, &card);
  cr_assert_eq(output.bytes, 0, "nothing is predicted where it is known");
  return card;
}

void fixture_assert_not_applied(const th_buffer *model, const th_data *data, const char *part) {
  th_device device = fixture_cpu();
  th_inference *inference = NULL;
  cr_assert_eq(
      th_inference_create(model->data, model->bytes, data, &device, NULL, NULL, &inference),
      TH_ERR_DATA);
  cr_assert_null(inference);
  assert_text(part);
}

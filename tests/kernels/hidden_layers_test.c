/* Trainings of nets whose hidden layers are normalized, or residual. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "kernels/inference.h"
#include "kernels/model.h"

/* The second layer is residual, and where it is as wide as the rows, the first. */
static th_spec layers_spec(th_normalization normalization, bool residual) {
  th_spec spec = fixture_spec();
  spec.hidden_count = 3;
  spec.hidden[0] = spec.hidden[1] = residual ? FIXTURE_WIDTH : 150;
  spec.hidden[2] = 70;
  spec.normalization = normalization;
  spec.residual = residual;
  return spec;
}

Test(hidden_layers, learn_to_tell_classes_apart) {
  for (th_normalization n = TH_NORMALIZATION_NONE; n <= TH_NORMALIZATION_BATCH; n++)
    for (int residual = 0; residual < 2; residual++) {
      th_spec spec = layers_spec(n, residual);
      th_data data = fixture_data();
      spec.batch_size = 20;
      spec.epochs = 10;
      spec.validation_split = 0.25;
      th_trainer *trainer = fixture_trainer(&spec, &data);
      fixture_finish(trainer);
      const th_history *history = th_trainer_history(trainer);
      cr_expect_gt(history->epochs[history->count - 1].validation_accuracy, 0.9,
                   "normalization %d, residual %d", (int)n, residual);
      th_trainer_destroy(trainer);
    }
}

/* A batch of eight slices and a ragged one of two. */
Test(hidden_layers, are_the_same_for_any_number_of_threads) {
  for (th_normalization n = TH_NORMALIZATION_NONE; n <= TH_NORMALIZATION_BATCH; n++) {
    th_spec spec = layers_spec(n, true);
    th_data data = fixture_data();
    spec.hidden[1] = spec.hidden[2] = 150;
    spec.batch_size = 500;
    spec.dropout = 0.2;
    spec.clip_norm = 0.1;
    th_trainer *alone = fixture_trainer(&spec, &data);
    fixture_finish(alone);
    for (uint32_t threads = 2; threads <= 4; threads += 2) {
      th_team *team;
      th_trainer *shared = fixture_trainer(&spec, &data);
      cr_assert_eq(th_team_create(threads, &team), TH_OK);
      cr_assert_eq(th_trainer_advance(shared, team, INT64_MAX), TH_OK);
      cr_expect(fixture_is_same_model(alone, shared), "normalization %d, %u threads", (int)n,
                threads);
      th_trainer_destroy(shared);
      th_team_destroy(team);
    }
    th_trainer_destroy(alone);
  }
}

/* ---- a model that is applied ---- */

static th_buffer apply(const th_buffer *model, const th_data *data, th_buffer *output) {
  th_device device;
  th_team *team;
  th_inference *inference;
  th_buffer card;
  cr_assert_eq(th_device_open("cpu", &device), TH_OK);
  cr_assert_eq(th_team_create(1, &team), TH_OK);
  cr_assert_eq(
      th_inference_create(model->data, model->bytes, data, &device, NULL, NULL, &inference), TH_OK,
      "%s", th_error_text());
  cr_assert_eq(th_inference_advance(inference, team, INT64_MAX), TH_OK);
  cr_assert_eq(th_inference_result(inference, output, &card), TH_OK);
  th_inference_destroy(inference);
  th_team_destroy(team);
  return card;
}

static double evaluated_loss(const th_buffer *model, const th_data *data) {
  th_buffer output;
  th_buffer card = apply(model, data, &output);
  json_t *json = json_loadb(card.data, card.bytes, 0, NULL);
  double loss = json_number_value(json_object_get(json, "loss"));
  json_decref(json);
  th_buffer_fini(&card);
  th_buffer_fini(&output);
  return loss;
}

/* The best epoch is not the last one, so its running statistics must have been kept with it. */
Test(hidden_layers, of_the_best_epoch_lose_in_a_file_what_they_lost_in_validation) {
  enum { VALIDATING = FIXTURE_ROWS / 4 };
  for (th_normalization n = TH_NORMALIZATION_LAYER; n <= TH_NORMALIZATION_BATCH; n++) {
    th_spec spec = layers_spec(n, true);
    th_data data = fixture_data();
    th_buffer model;
    th_buffer card;
    th_progress progress;
    spec.split = TH_SPLIT_LAST;
    spec.validation_split = 0.25;
    spec.epochs = 12;
    spec.learning_rate = 0.05;
    th_trainer *trainer = fixture_trainer(&spec, &data);
    fixture_finish(trainer);
    th_trainer_progress(trainer, &progress);
    cr_assert_lt(progress.best_epoch, spec.epochs);
    double validated = th_trainer_history(trainer)->epochs[progress.best_epoch - 1].validation_loss;
    cr_assert_eq(th_trainer_result(trainer, &model, &card), TH_OK);
    data.features += (size_t)(FIXTURE_ROWS - VALIDATING) * FIXTURE_WIDTH;
    data.labels += FIXTURE_ROWS - VALIDATING;
    data.rows = VALIDATING;
    cr_expect_float_eq(evaluated_loss(&model, &data), validated, 1e-9, "normalization %d", (int)n);
    th_buffer_fini(&model);
    th_buffer_fini(&card);
    th_trainer_destroy(trainer);
  }
}

Test(hidden_layers, tell_a_row_the_same_whatever_rows_are_beside_it) {
  enum { FEW = 7 };
  th_spec spec = layers_spec(TH_NORMALIZATION_BATCH, true);
  th_data data = fixture_data();
  th_buffer model;
  th_buffer card;
  th_buffer all;
  th_buffer few;
  th_trainer *trainer = fixture_trainer(&spec, &data);
  fixture_finish(trainer);
  cr_assert_eq(th_trainer_result(trainer, &model, &card), TH_OK);
  th_buffer_fini(&card);
  th_trainer_destroy(trainer);
  data.labels = NULL;
  card = apply(&model, &data, &all);
  th_buffer_fini(&card);
  data.rows = FEW;
  card = apply(&model, &data, &few);
  th_buffer_fini(&card);
  size_t row_bytes = FIXTURE_CLASSES * sizeof(float);
  const char *first_of_all = (const char *)all.data + all.bytes - FIXTURE_ROWS * row_bytes;
  const char *first_of_few = (const char *)few.data + few.bytes - FEW * row_bytes;
  cr_assert_eq(memcmp(first_of_all, first_of_few, FEW * row_bytes), 0);
  th_buffer_fini(&all);
  th_buffer_fini(&few);
  th_buffer_fini(&model);
}

/* ---- a batch of one row ---- */

/* The last batch of the epoch is one row: PyTorch would raise. */
Test(hidden_layers, normalized_by_a_batch_of_one_row_keep_their_running_statistics) {
  th_spec spec = layers_spec(TH_NORMALIZATION_BATCH, false);
  th_data data = fixture_data();
  th_team *team;
  th_model model;
  th_model_sizes sizes = {.width = FIXTURE_WIDTH, .classes = FIXTURE_CLASSES};
  uint64_t count;
  spec.batch_size = FIXTURE_ROWS - 1;
  cr_assert_eq(th_model_init(&model, &spec, &sizes), TH_OK);
  cr_assert_eq(th_team_create(1, &team), TH_OK);
  th_trainer *trainer = fixture_trainer(&spec, &data);
  float *drawn = fixture_parameters(trainer, &count);
  cr_assert_eq(th_trainer_advance(trainer, team, 0), TH_ERR_AGAIN);
  float *before = fixture_parameters(trainer, &count);
  cr_assert_eq(th_trainer_advance(trainer, team, 0), TH_ERR_AGAIN);
  float *after = fixture_parameters(trainer, &count);
  for (uint32_t l = 0; l < spec.hidden_count; l++) {
    size_t bytes = spec.hidden[l] * sizeof(float);
    const th_norm *norm = &model.norms[l];
    cr_expect_neq(memcmp(drawn + norm->mean, before + norm->mean, bytes), 0);
    cr_expect_eq(memcmp(before + norm->mean, after + norm->mean, bytes), 0);
    cr_expect_eq(memcmp(before + norm->variance, after + norm->variance, bytes), 0);
    cr_expect_neq(memcmp(before + norm->shift, after + norm->shift, bytes), 0);
  }
  for (uint64_t i = 0; i < count; i++) cr_assert(isfinite(after[i]), "parameter %u", (unsigned)i);
  free(drawn);
  free(before);
  free(after);
  th_trainer_destroy(trainer);
  th_team_destroy(team);
}

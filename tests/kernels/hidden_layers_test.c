/* Trainings of nets whose hidden layers are normalized, or residual. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
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
      th_trainer *trainer = fixture_trained(&spec, &data);
      cr_expect_gt(fixture_last_epoch(trainer).validation_accuracy, 0.9,
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
    char name[32];
    snprintf(name, sizeof name, "normalization %d", (int)n);
    fixture_expect_same_by_threads(&spec, &data, name);
  }
}

/* ---- a model that is applied ---- */

static double evaluated_loss(const th_buffer *model, const th_data *data) {
  th_buffer card = fixture_evaluate(model, data);
  json_t *json = json_loadb(card.data, card.bytes, 0, NULL);
  double loss = json_number_value(json_object_get(json, "loss"));
  json_decref(json);
  th_buffer_fini(&card);
  return loss;
}

/* The best epoch is not the last one, so its running statistics must have been kept with it. */
Test(hidden_layers, of_the_best_epoch_lose_in_a_file_what_they_lost_in_validation) {
  enum { VALIDATING = FIXTURE_ROWS / 4 };
  for (th_normalization n = TH_NORMALIZATION_LAYER; n <= TH_NORMALIZATION_BATCH; n++) {
    th_spec spec = layers_spec(n, true);
    th_data data = fixture_data();
    th_progress progress;
    spec.split = TH_SPLIT_LAST;
    spec.validation_split = 0.25;
    spec.epochs = 12;
    spec.learning_rate = 0.05;
    th_trainer *trainer = fixture_trained(&spec, &data);
    th_trainer_progress(trainer, &progress);
    cr_assert_lt(progress.best_epoch, spec.epochs);
    double validated = th_trainer_history(trainer)->epochs[progress.best_epoch - 1].validation_loss;
    th_buffer model = fixture_model(trainer);
    data.features += (size_t)(FIXTURE_ROWS - VALIDATING) * FIXTURE_WIDTH;
    data.labels += FIXTURE_ROWS - VALIDATING;
    data.rows = VALIDATING;
    cr_expect_float_eq(evaluated_loss(&model, &data), validated, 1e-9, "normalization %d", (int)n);
    th_buffer_fini(&model);
    th_trainer_destroy(trainer);
  }
}

Test(hidden_layers, tell_a_row_the_same_whatever_rows_are_beside_it) {
  enum { FEW = 7 };
  th_spec spec = layers_spec(TH_NORMALIZATION_BATCH, true);
  th_data data = fixture_data();
  th_device device = fixture_cpu();
  th_buffer model = fixture_trained_model(&spec, &data);
  th_numbers all = fixture_predict(&device, &model, &data, NULL);
  data.rows = FEW;
  th_numbers few = fixture_predict(&device, &model, &data, NULL);
  cr_assert_eq(all.rows, FIXTURE_ROWS);
  cr_assert_eq(few.rows, FEW);
  cr_assert_eq(memcmp(all.values, few.values, FEW * FIXTURE_CLASSES * sizeof *few.values), 0);
  th_numbers_fini(&all);
  th_numbers_fini(&few);
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

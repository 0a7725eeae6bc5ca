#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "fixture.h"
#include "formats/safetensors.h"

/* Everything that has a state: dropout, moments, patience, best parameters, validation. */
static th_spec whole_spec(th_optimizer_kind optimizer) {
  th_spec spec = fixture_spec();
  spec.optimizer = optimizer;
  spec.momentum = optimizer == TH_OPTIMIZER_SGD || optimizer == TH_OPTIMIZER_RMSPROP ? 0.9 : 0;
  spec.learning_rate = optimizer == TH_OPTIMIZER_SGD ? 0.1 : 0.01;
  spec.dropout = 0.1;
  spec.weighting = TH_WEIGHTING_BALANCED;
  spec.validation_split = 0.25;
  spec.early_stopping_patience = 2;
  spec.epochs = 6;
  return spec;
}

static void check_resume_anywhere(const th_spec *spec) {
  th_data data = fixture_data();
  th_trainer *whole = fixture_trained(spec, &data);
  /* An epoch is four steps and one slice of validation: 0 is before all, 4 between the two, 5 and
   * 10 between epochs, 100 after the end. */
  static const uint32_t slices[] = {0, 1, 3, 4, 5, 7, 10, 14, 18, 100};
  for (size_t i = 0; i < sizeof slices / sizeof *slices; i++)
    fixture_expect_resumes(whole, fixture_trainer(spec, &data), fixture_trainer(spec, &data),
                           slices[i], th_optimizer_name(spec->optimizer));
  th_trainer_destroy(whole);
}

Test(checkpoint, resumes_adam_anywhere_to_the_same_bits) {
  th_spec spec = whole_spec(TH_OPTIMIZER_ADAM);
  check_resume_anywhere(&spec);
}

Test(checkpoint, resumes_sgd_with_momentum_anywhere_to_the_same_bits) {
  th_spec spec = whole_spec(TH_OPTIMIZER_SGD);
  check_resume_anywhere(&spec);
}

/* A threshold of 0.01 % is always met at first, so patience 0 and a large step make plateau cut. */
Test(checkpoint, resumes_every_schedule_anywhere_to_the_same_bits) {
  th_spec spec = whole_spec(TH_OPTIMIZER_ADAM);
  spec.hidden_count = 1;
  spec.hidden[0] = 5;
  spec.learning_rate = 0.3;
  spec.plateau_patience = 0;
  spec.early_stopping_patience = 0;
  spec.warmup_steps = 5;
  for (th_schedule_kind s = TH_SCHEDULE_CONSTANT; s <= TH_SCHEDULE_PLATEAU; s++) {
    spec.schedule = s;
    check_resume_anywhere(&spec);
  }
}

Test(checkpoint, resumes_a_monitor_of_accuracy_over_standardized_inputs_to_the_same_bits) {
  th_spec spec = whole_spec(TH_OPTIMIZER_ADAM);
  spec.early_stopping_monitor = TH_MONITOR_ACCURACY;
  spec.split = TH_SPLIT_STRATIFIED;
  spec.standardize = true;
  check_resume_anywhere(&spec);
}

Test(checkpoint, resumes_rmsprop_with_momentum_anywhere_to_the_same_bits) {
  th_spec spec = whole_spec(TH_OPTIMIZER_RMSPROP);
  check_resume_anywhere(&spec);
}

/* Running statistics are part of the state, the present and the best. */
Test(checkpoint, resumes_normalized_residual_layers_anywhere_to_the_same_bits) {
  th_spec spec = whole_spec(TH_OPTIMIZER_ADAM);
  spec.normalization = TH_NORMALIZATION_BATCH;
  spec.residual = true;
  spec.hidden[0] = FIXTURE_WIDTH;
  check_resume_anywhere(&spec);
}

Test(checkpoint, resumes_without_validation_moments_or_best) {
  th_spec spec = fixture_spec();
  th_data data = fixture_data();
  spec.optimizer = TH_OPTIMIZER_SGD;
  spec.learning_rate = 0.1;
  spec.restore_best = false;
  th_trainer *whole = fixture_trained(&spec, &data);
  fixture_expect_resumes(whole, fixture_trainer(&spec, &data), fixture_trainer(&spec, &data), 7,
                         "plain sgd");
  th_trainer_destroy(whole);
}

/* Of a new trainer after so many slices; 7 are in the middle of its second epoch. */
static th_buffer checkpoint_of(const th_spec *spec, uint32_t slices) {
  th_data data = fixture_data();
  th_trainer *trainer = fixture_trainer(spec, &data);
  th_buffer checkpoint = fixture_interrupt(trainer, slices);
  th_trainer_destroy(trainer);
  return checkpoint;
}

/* However much time it is given; and not before the rows that validate an epoch are through. */
Test(checkpoint, is_wanted_after_every_nth_epoch_but_the_last) {
  th_spec spec = whole_spec(TH_OPTIMIZER_ADAM);
  spec.early_stopping_patience = 0;
  spec.checkpoint_epochs = 2;
  th_data data = fixture_data();
  th_trainer *trainer = fixture_trainer(&spec, &data);
  th_team *team;
  cr_assert_eq(th_team_create(1, &team), TH_OK);
  cr_assert_not(th_trainer_wants_checkpoint(trainer), "before the first epoch");
  for (uint32_t epoch = 2; epoch < spec.epochs; epoch += 2) {
    cr_assert_eq(th_trainer_advance(trainer, team, INT64_MAX), TH_ERR_AGAIN);
    cr_assert(th_trainer_wants_checkpoint(trainer));
    cr_assert_eq(fixture_last_epoch(trainer).epoch, epoch);
  }
  cr_assert_eq(th_trainer_advance(trainer, team, INT64_MAX), TH_OK, "%s", th_error_text());
  cr_assert_not(th_trainer_wants_checkpoint(trainer), "what comes now is the model");
  th_team_destroy(team);
  th_trainer_destroy(trainer);
}

Test(checkpoint, goes_on_under_another_label_and_saved_as_often_as_one_likes) {
  th_spec spec = whole_spec(TH_OPTIMIZER_ADAM);
  th_data data = fixture_data();
  th_trainer *whole = fixture_trained(&spec, &data);
  spec.checkpoint_epochs = 5;
  strcpy(spec.name, "first attempt");
  th_buffer checkpoint = checkpoint_of(&spec, 7);
  spec.checkpoint_epochs = 0;
  strcpy(spec.name, "second");
  th_trainer *trainer = fixture_trainer(&spec, &data);
  cr_assert_eq(th_trainer_restore(trainer, checkpoint.data, checkpoint.bytes), TH_OK, "%s",
               th_error_text());
  fixture_finish(trainer);
  cr_assert(fixture_is_same_model(whole, trainer));
  th_trainer_destroy(whole);
  th_trainer_destroy(trainer);
  th_buffer_fini(&checkpoint);
}

Test(checkpoint, refuses_that_of_another_specification) {
  th_spec spec = whole_spec(TH_OPTIMIZER_ADAM);
  th_data data = fixture_data();
  th_buffer checkpoint = checkpoint_of(&spec, 7);
  spec.learning_rate *= 2;
  th_trainer *trainer = fixture_trainer(&spec, &data);
  cr_assert_eq(th_trainer_restore(trainer, checkpoint.data, checkpoint.bytes), TH_ERR_DATA);
  cr_assert_not_null(strstr(th_error_text(), "its learning_rate is 0.01, and 0.02 here"), "%s",
                     th_error_text());
  th_trainer_destroy(trainer);
  th_buffer_fini(&checkpoint);
}

Test(checkpoint, refuses_that_of_other_data) {
  static int32_t labels[FIXTURE_ROWS];
  th_spec spec = whole_spec(TH_OPTIMIZER_ADAM);
  th_data data = fixture_data();
  th_buffer checkpoint = checkpoint_of(&spec, 7);
  memcpy(labels, data.labels, sizeof labels);
  labels[FIXTURE_ROWS - 1] ^= 1;
  data.labels = labels;
  th_trainer *trainer = fixture_trainer(&spec, &data);
  cr_assert_eq(th_trainer_restore(trainer, checkpoint.data, checkpoint.bytes), TH_ERR_DATA);
  cr_assert_not_null(strstr(th_error_text(), "other data"));
  th_trainer_destroy(trainer);
  th_buffer_fini(&checkpoint);
}

Test(checkpoint, refuses_a_model_and_what_is_cut_short) {
  th_spec spec = whole_spec(TH_OPTIMIZER_ADAM);
  th_data data = fixture_data();
  th_trainer *trainer = fixture_trainer(&spec, &data);
  th_buffer model = fixture_model(trainer);
  cr_assert_eq(th_trainer_restore(trainer, model.data, model.bytes), TH_ERR_DATA);
  th_buffer checkpoint = checkpoint_of(&spec, 7);
  for (size_t bytes = 0; bytes < checkpoint.bytes; bytes += checkpoint.bytes / 37 + 1)
    cr_assert_eq(th_trainer_restore(trainer, checkpoint.data, bytes), TH_ERR_DATA);
  th_buffer_fini(&checkpoint);
  th_buffer_fini(&model);
  th_trainer_destroy(trainer);
}

/* Give every counter hostile values: each is refused, or leads to a training that ends. */
static void check_hostile_counters(const th_spec *spec, uint32_t slices) {
  static const int64_t hostile[] = {
      -1,  0,   1,         2,         3,         5,          6,
      100, 450, INT32_MAX, INT64_MAX, INT64_MIN, UINT32_MAX, (int64_t)1 << 32};
  th_data data = fixture_data();
  th_buffer checkpoint = checkpoint_of(spec, slices);
  th_safetensors file;
  cr_assert_eq(th_safetensors_decode(checkpoint.data, checkpoint.bytes, &file), TH_OK);
  const th_tensor *tensor = th_safetensors_find(&file, "place.counters");
  cr_assert_not_null(tensor);
  int64_t *counters = (int64_t *)(uintptr_t)tensor->data;
  for (uint64_t i = 0; i < tensor->shape[0]; i++)
    for (size_t h = 0; h < sizeof hostile / sizeof *hostile; h++) {
      int64_t kept = counters[i];
      counters[i] = hostile[h];
      th_trainer *trainer = fixture_trainer(spec, &data);
      th_error error = th_trainer_restore(trainer, checkpoint.data, checkpoint.bytes);
      cr_expect(error == TH_OK || error == TH_ERR_DATA);
      if (error == TH_OK) fixture_finish(trainer);
      th_trainer_destroy(trainer);
      counters[i] = kept;
    }
  th_safetensors_fini(&file);
  th_buffer_fini(&checkpoint);
}

Test(checkpoint, survives_hostile_counters) {
  th_spec spec = whole_spec(TH_OPTIMIZER_ADAM);
  spec.hidden_count = 1;
  spec.hidden[0] = 5;
  check_hostile_counters(&spec, 0);
  check_hostile_counters(&spec, 7);
  check_hostile_counters(&spec, 9);
  check_hostile_counters(&spec, 100);
}

Test(checkpoint, refuses_a_history_out_of_order) {
  th_spec spec = whole_spec(TH_OPTIMIZER_ADAM);
  th_data data = fixture_data();
  th_buffer checkpoint = checkpoint_of(&spec, 14);
  th_safetensors file;
  th_trainer *trainer = fixture_trainer(&spec, &data);
  cr_assert_eq(th_safetensors_decode(checkpoint.data, checkpoint.bytes, &file), TH_OK);
  int64_t *epochs = (int64_t *)(uintptr_t)th_safetensors_find(&file, "history.epochs")->data;
  static const int64_t hostile[] = {0, -5, 2, 7, INT64_MAX};
  for (size_t h = 0; h < sizeof hostile / sizeof *hostile; h++) {
    epochs[0] = hostile[h];
    cr_assert_eq(th_trainer_restore(trainer, checkpoint.data, checkpoint.bytes), TH_ERR_DATA);
  }
  epochs[0] = 1;
  cr_assert_eq(th_trainer_restore(trainer, checkpoint.data, checkpoint.bytes), TH_OK);
  th_safetensors_fini(&file);
  th_buffer_fini(&checkpoint);
  th_trainer_destroy(trainer);
}

/* Nets that learn numbers for each group. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

static th_spec embedding_spec(void) {
  th_spec spec = fixture_spec();
  spec.hidden[0] = 16;
  spec.hidden_count = 1;
  spec.embedding = 5;
  spec.batch_size = 32;
  spec.learning_rate = 0.02;
  return spec;
}

/* Labels that the features say nothing of, and the groups everything. */
static th_data told_by_groups(void) {
  static int32_t labels[FIXTURE_ROWS];
  th_data data = fixture_grouped_data();
  for (uint32_t r = 0; r < FIXTURE_ROWS; r++) labels[r] = data.groups[r] * 2 % FIXTURE_CLASSES;
  data.labels = labels;
  return data;
}

static double last_accuracy(const th_spec *spec, const th_data *data) {
  th_trainer *trainer = fixture_trained(spec, data);
  double accuracy = fixture_last_epoch(trainer).accuracy;
  th_trainer_destroy(trainer);
  return accuracy;
}

Test(embedding, learns_what_only_the_group_tells) {
  th_spec spec = embedding_spec();
  th_data data = told_by_groups();
  spec.epochs = 20;
  double with = last_accuracy(&spec, &data);
  spec.embedding = 0;
  double without = last_accuracy(&spec, &data);
  cr_expect_gt(with, 0.98);
  cr_expect_lt(without, 0.8, "the features tell %g", without);
}

Test(embedding, is_the_same_for_any_number_of_threads) {
  th_spec spec = embedding_spec();
  th_data data = fixture_grouped_data();
  /* So many groups that the table has several blocks. */
  static int32_t scattered[FIXTURE_ROWS];
  for (uint32_t r = 0; r < FIXTURE_ROWS; r++) scattered[r] = data.groups[r] * 149;
  data.groups = scattered;
  spec.batch_size = 500;
  spec.clip_norm = 0.1;
  spec.weight_decay = 0.01;
  fixture_expect_same_by_threads(&spec, &data, "groups in several blocks");
}

/* No row of group 3: its numbers stay what was drawn, unless weight decay draws them to 0. */
Test(embedding, leaves_a_group_without_rows_to_weight_decay) {
  th_spec spec = embedding_spec();
  th_data data = fixture_grouped_data();
  static int32_t groups[FIXTURE_ROWS];
  for (uint32_t r = 0; r < FIXTURE_ROWS; r++) groups[r] = data.groups[r] == 3 ? 0 : data.groups[r];
  data.groups = groups;
  for (int decays = 0; decays < 2; decays++) {
    spec.optimizer = TH_OPTIMIZER_SGD;
    spec.weight_decay = decays ? 0.1 : 0;
    th_trainer *trainer = fixture_trainer(&spec, &data);
    uint64_t count;
    float *drawn = fixture_parameters(trainer, &count);
    fixture_finish(trainer);
    float *trained = fixture_parameters(trainer, &count);
    for (uint32_t i = 0; i < FIXTURE_GROUPS * spec.embedding; i++) {
      bool is_absent = i / spec.embedding == 3;
      bool shrank = fabsf(trained[i]) < fabsf(drawn[i]);
      if (is_absent && decays)
        cr_expect(shrank, "number %u: %g, then %g", i, drawn[i], trained[i]);
      else
        cr_expect_eq(trained[i] == drawn[i], is_absent, "number %u", i);
    }
    free(drawn);
    free(trained);
    th_trainer_destroy(trainer);
  }
}

Test(embedding, needs_groups_to_train) {
  th_spec spec = embedding_spec();
  th_data data = fixture_data();
  fixture_assert_refused(&spec, &data, TH_ERR_DATA, "give groups");
}

Test(embedding, refuses_groups_that_it_was_not_trained_with) {
  th_spec spec = embedding_spec();
  th_data data = fixture_grouped_data();
  spec.epochs = 1;
  th_buffer model = fixture_trained_model(&spec, &data);
  th_data ungrouped = data;
  ungrouped.groups = NULL;
  fixture_assert_not_applied(&model, &ungrouped, "give each row's group");
  int32_t groups[FIXTURE_ROWS];
  memcpy(groups, data.groups, sizeof groups);
  groups[421] = FIXTURE_GROUPS;
  data.groups = groups;
  fixture_assert_not_applied(&model, &data, "row 421 (from 0) is 7");
  groups[421] = -1;
  fixture_assert_not_applied(&model, &data, "row 421 (from 0) is -1");
  th_buffer_fini(&model);
}

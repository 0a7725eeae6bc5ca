#include "kernels/trainer.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "fixture.h"

static void expect_text(const char *part) {
  cr_expect_not_null(strstr(th_error_text(), part), "\"%s\" is not in \"%s\"", part,
                     th_error_text());
}

Test(trainer, learns_to_tell_classes_apart) {
  for (th_activation a = TH_ACTIVATION_RELU; a <= TH_ACTIVATION_SILU; a++)
    for (th_optimizer_kind o = TH_OPTIMIZER_SGD; o <= TH_OPTIMIZER_RMSPROP; o++) {
      th_spec spec = fixture_spec();
      th_data data = fixture_data();
      spec.activation[0] = a;
      spec.optimizer = o;
      spec.hidden_count = 1;
      spec.hidden[0] = 24;
      spec.batch_size = 20;
      spec.epochs = 10;
      spec.learning_rate = o == TH_OPTIMIZER_SGD ? 0.1 : 0.01;
      spec.momentum = o == TH_OPTIMIZER_SGD ? 0.9 : 0;
      spec.validation_split = 0.25;
      th_trainer *trainer = fixture_trained(&spec, &data);
      cr_expect_gt(fixture_last_epoch(trainer).validation_accuracy, 0.9, "%s, %s: %g",
                   th_activation_name(a), th_optimizer_name(o),
                   fixture_last_epoch(trainer).validation_accuracy);
      th_trainer_destroy(trainer);
    }
}

Test(trainer, gives_the_same_model_for_the_same_seed_only) {
  th_spec spec = fixture_spec();
  th_data data = fixture_data();
  spec.dropout = 0.2;
  th_trainer *first = fixture_trainer(&spec, &data);
  th_trainer *again = fixture_trainer(&spec, &data);
  spec.seed++;
  th_trainer *other = fixture_trainer(&spec, &data);
  fixture_finish(first);
  fixture_finish(again);
  fixture_finish(other);
  cr_assert(fixture_is_same_model(first, again));
  cr_assert_not(fixture_is_same_model(first, other));
  th_trainer_destroy(first);
  th_trainer_destroy(again);
  th_trainer_destroy(other);
}

Test(trainer, gives_the_same_model_for_any_number_of_threads) {
  th_spec spec = fixture_spec();
  th_data data = fixture_data();
  spec.dropout = 0.2;
  spec.validation_split = 0.25;
  spec.clip_norm = 0.1;
  fixture_expect_same_by_threads(&spec, &data, "dropout, validation and clipping");
}

Test(trainer, gives_the_same_model_while_threads_come_and_go) {
  th_spec spec = fixture_spec();
  th_data data = fixture_data();
  th_team *team;
  th_trainer *alone = fixture_trainer(&spec, &data);
  th_trainer *shared = fixture_trainer(&spec, &data);
  cr_assert_eq(th_team_create(3, &team), TH_OK);
  fixture_finish(alone);
  uint32_t step = 0;
  th_team_set_active(team, 1);
  /* A moment that has passed: one step each time. */
  while (th_trainer_advance(shared, team, 0) == TH_ERR_AGAIN)
    th_team_set_active(team, 1 + ++step % 3);
  cr_assert(fixture_is_same_model(alone, shared));
  th_trainer_destroy(alone);
  th_trainer_destroy(shared);
  th_team_destroy(team);
}

Test(trainer, advances_by_one_step_when_the_moment_has_passed) {
  th_spec spec = fixture_spec();
  th_data data = fixture_data();
  th_team *team;
  th_trainer *trainer = fixture_trainer(&spec, &data);
  cr_assert_eq(th_team_create(1, &team), TH_OK);
  uint32_t calls = 1;
  for (; th_trainer_advance(trainer, team, 0) == TH_ERR_AGAIN; calls++) {
    th_progress progress;
    th_trainer_progress(trainer, &progress);
    cr_assert_eq(progress.epoch, (calls - 1) / 5 + 1);
    cr_assert_eq(progress.step, (calls - 1) % 5 + 1);
  }
  /* 600 rows in batches of 130 are four whole ones and one of 80, which is kept. */
  cr_assert_eq(calls, 4 * 5);
  cr_assert_eq(th_trainer_advance(trainer, team, 0), TH_OK, "over stays over");
  th_trainer_destroy(trainer);
  th_team_destroy(team);
}

/* What an observer has seen, and whether it could be believed. */
typedef struct th_witness {
  th_progress last;
  uint32_t calls;
  uint32_t phases; /* bits */
} th_witness;

static void witness_progress(void *user, const th_progress *progress) {
  th_witness *witness = user;
  if (witness->calls > 0) {
    cr_expect_geq(progress->fraction, witness->last.fraction);
    cr_expect_geq(progress->epoch, witness->last.epoch);
    cr_expect_geq(progress->elapsed_seconds, witness->last.elapsed_seconds);
  }
  cr_expect_leq(progress->fraction, 1.0);
  cr_expect_leq(progress->step, progress->steps);
  cr_expect_leq(progress->epoch, progress->epochs);
  cr_expect_leq(progress->best_epoch, progress->epoch);
  witness->phases |= 1U << progress->phase;
  witness->last = *progress;
  witness->calls++;
}

static th_trainer *witnessed_trainer(const th_spec *spec, const th_data *data,
                                     th_witness *witness) {
  th_device device;
  th_trainer *trainer;
  cr_assert_eq(th_device_open("cpu", &device), TH_OK);
  cr_assert_eq(th_trainer_create(spec, data, &device, witness_progress, witness, &trainer), TH_OK);
  return trainer;
}

Test(trainer, tells_every_step_and_a_fraction_that_never_falls) {
  th_spec spec = fixture_spec();
  th_data data = fixture_data();
  th_witness witness = {0};
  spec.validation_split = 0.25;
  th_trainer *trainer = witnessed_trainer(&spec, &data, &witness);
  cr_assert_geq(witness.calls, 1);
  cr_assert_eq(witness.phases, 1U << TH_PHASE_PREPARING);
  cr_assert_eq(witness.last.fraction, 0);
  uint32_t before = witness.calls;
  fixture_finish(trainer);
  /* Of each epoch, 450 rows in four batches and the validation in one go. */
  cr_assert_eq(witness.calls - before, 4 * (4 + 1));
  cr_assert_eq(witness.phases,
               1U << TH_PHASE_PREPARING | 1U << TH_PHASE_TRAINING | 1U << TH_PHASE_VALIDATING);
  cr_assert_eq(witness.last.fraction, 1.0);
  cr_assert_eq(witness.last.stop_reason, TH_STOP_EPOCHS);
  cr_assert_eq(witness.last.eta_seconds, 0);
  cr_assert_gt(witness.last.samples_per_second, 0);
  cr_assert_eq(witness.last.validation_loss, fixture_last_epoch(trainer).validation_loss);
  th_trainer_destroy(trainer);
}

/* Labels without any relation to the features: what is learnt of them makes validation worse. */
static th_data noise_data(void) {
  static int32_t labels[FIXTURE_ROWS];
  th_data data = fixture_data();
  for (uint32_t r = 0; r < FIXTURE_ROWS; r++) labels[r] = (int32_t)(r * 7 % 11 % FIXTURE_CLASSES);
  data.labels = labels;
  return data;
}

static th_spec early_spec(void) {
  th_spec spec = fixture_spec();
  spec.epochs = 100;
  spec.learning_rate = 0.01;
  spec.validation_split = 0.25;
  spec.early_stopping_patience = 3;
  return spec;
}

/* Wherever features lie and however wide they spread, the net sees the same numbers. */
Test(trainer, standardizes_features_away) {
  static float features[FIXTURE_ROWS * FIXTURE_WIDTH];
  th_spec spec = fixture_spec();
  th_data data = fixture_data();
  spec.standardize = true;
  spec.validation_split = 0.25;
  th_trainer *trainer = fixture_trained(&spec, &data);
  th_epoch plain = fixture_last_epoch(trainer);
  th_trainer_destroy(trainer);
  for (uint32_t i = 0; i < FIXTURE_ROWS * FIXTURE_WIDTH; i++)
    features[i] = data.features[i] * (float)(1 << i % FIXTURE_WIDTH) - 100;
  data.features = features;
  trainer = fixture_trained(&spec, &data);
  cr_assert_float_eq(fixture_last_epoch(trainer).loss, plain.loss, 1e-3);
  cr_assert_float_eq(fixture_last_epoch(trainer).validation_loss, plain.validation_loss, 1e-3);
  th_trainer_destroy(trainer);
}

/* Loss and accuracy do not agree about noise, so the two best epochs differ. */
Test(trainer, the_best_epoch_is_the_monitors) {
  uint32_t best[2];
  for (th_monitor monitor = TH_MONITOR_LOSS; monitor <= TH_MONITOR_ACCURACY; monitor++) {
    th_spec spec = early_spec();
    th_data data = noise_data();
    spec.epochs = 30;
    spec.early_stopping_patience = 0;
    spec.early_stopping_monitor = monitor;
    th_trainer *trainer = fixture_trained(&spec, &data);
    const th_history *history = th_trainer_history(trainer);
    uint32_t wanted = 0;
    for (uint32_t i = 1; i < history->count; i++) {
      const th_epoch *epoch = &history->epochs[i], *so_far = &history->epochs[wanted];
      if (monitor == TH_MONITOR_LOSS ? epoch->validation_loss < so_far->validation_loss
                                     : epoch->validation_accuracy > so_far->validation_accuracy)
        wanted = i;
    }
    th_progress progress;
    th_trainer_progress(trainer, &progress);
    cr_assert_eq(progress.best_epoch, history->epochs[wanted].epoch);
    best[monitor] = progress.best_epoch;
    th_trainer_destroy(trainer);
  }
  cr_assert_neq(best[TH_MONITOR_LOSS], best[TH_MONITOR_ACCURACY]);
}

Test(trainer, patience_is_with_the_monitor) {
  th_spec spec = early_spec();
  th_data data = noise_data();
  spec.early_stopping_monitor = TH_MONITOR_ACCURACY;
  th_trainer *trainer = fixture_trained(&spec, &data);
  th_progress progress;
  th_trainer_progress(trainer, &progress);
  cr_assert_eq(progress.stop_reason, TH_STOP_EARLY);
  cr_assert_eq(progress.epoch, progress.best_epoch + spec.early_stopping_patience);
  th_trainer_destroy(trainer);
}

/* Its own model again: what the first epoch sees is what the last one left. */
Test(trainer, begins_with_a_models_parameters) {
  th_spec spec = fixture_spec();
  th_data data = fixture_data();
  spec.validation_split = 0.25;
  th_trainer *trainer = fixture_trained(&spec, &data);
  th_buffer model = fixture_model(trainer);
  spec.seed++; /* other parameters would be drawn */
  spec.dropout = 0.1; /* and the modules would have other numbers */
  th_trainer *next = fixture_trainer(&spec, &data);
  cr_assert(!fixture_is_same_model(trainer, next));
  cr_assert_eq(th_trainer_continue(next, model.data, model.bytes), TH_OK, "%s", th_error_text());
  cr_assert(fixture_is_same_model(trainer, next));
  fixture_finish(next);
  cr_assert_lt(th_trainer_history(next)->epochs[0].loss, 0.5 * log(FIXTURE_CLASSES));
  th_trainer_destroy(next);
  spec.hidden[1]--;
  next = fixture_trainer(&spec, &data);
  cr_assert_eq(th_trainer_continue(next, model.data, model.bytes), TH_ERR_DATA);
  expect_text("\"2.weight\" is [70, 150]; it must be float32 [69, 150]");
  for (size_t bytes = 0; bytes < model.bytes; bytes += model.bytes / 37 + 1)
    cr_assert_eq(th_trainer_continue(next, model.data, bytes), TH_ERR_DATA);
  th_trainer_destroy(next);
  th_trainer_destroy(trainer);
  th_buffer_fini(&model);
}

static json_t *card_of(const th_trainer *trainer) {
  th_buffer model;
  th_buffer card;
  cr_assert_eq(th_trainer_result(trainer, &model, &card), TH_OK);
  cr_assert_eq(strlen(card.data), card.bytes);
  json_t *json = json_loadb(card.data, card.bytes, 0, NULL);
  cr_assert_not_null(json);
  th_buffer_fini(&model);
  th_buffer_fini(&card);
  return json;
}

/* The card's matrix is of the model in the file, which need not be the last epoch's. */
Test(trainer, confuses_the_validation_rows_of_the_best_epoch) {
  th_spec spec = early_spec();
  th_data data = noise_data();
  th_trainer *trainer = fixture_trained(&spec, &data);
  json_t *card = card_of(trainer);
  json_t *validation = json_object_get(card, "validation");
  json_t *matrix = json_object_get(validation, "confusion");
  double hits = 0, rows = 0;
  for (uint32_t label = 0; label < FIXTURE_CLASSES; label++)
    for (uint32_t said = 0; said < FIXTURE_CLASSES; said++) {
      double count = json_number_value(json_array_get(json_array_get(matrix, label), said));
      rows += count;
      hits += label == said ? count : 0;
    }
  cr_assert_eq(rows, 150);
  json_t *metrics = json_object_get(card, "metrics");
  cr_assert_float_eq(json_number_value(json_object_get(metrics, "validation_accuracy")),
                     hits / rows, 1e-12);
  cr_assert_neq(json_number_value(json_object_get(metrics, "epoch")),
                fixture_last_epoch(trainer).epoch);
  json_decref(card);
  th_trainer_destroy(trainer);
}

/* The importances of a training; frees what it was made of. */
static json_t *importances_of(const th_spec *spec, const th_data *data, int64_t slice_ns) {
  th_team *team;
  th_trainer *trainer = fixture_trainer(spec, data);
  cr_assert_eq(th_team_create(2, &team), TH_OK);
  th_error error = TH_ERR_AGAIN;
  while (error == TH_ERR_AGAIN) error = th_trainer_advance(trainer, team, slice_ns);
  cr_assert_eq(error, TH_OK);
  json_t *card = card_of(trainer);
  json_t *importances = json_incref(json_object_get(card, "importance"));
  json_decref(card);
  th_trainer_destroy(trainer);
  th_team_destroy(team);
  return importances;
}

/* Feature 0 alone tells the classes: all accuracy beyond chance is lost with it, none with others.
 */
Test(trainer, knows_which_feature_it_goes_by) {
  static float features[FIXTURE_ROWS * FIXTURE_WIDTH];
  th_spec spec = fixture_spec();
  th_data data = fixture_data();
  for (uint32_t i = 0; i < FIXTURE_ROWS * FIXTURE_WIDTH; i++)
    features[i] = 0.01F * data.features[i];
  for (uint32_t r = 0; r < FIXTURE_ROWS; r++) {
    features[r * FIXTURE_WIDTH] = (float)data.labels[r];
    features[r * FIXTURE_WIDTH + 1] = 7;
  }
  data.features = features;
  spec.hidden[0] = spec.hidden[1] = 16;
  spec.batch_size = 20;
  spec.epochs = 20;
  spec.learning_rate = 0.01;
  spec.validation_split = 0.5;
  spec.standardize = false;
  spec.importance = true;
  json_t *whole = importances_of(&spec, &data, INT64_MAX);
  cr_assert_eq(json_array_size(whole), FIXTURE_WIDTH);
  cr_expect_gt(json_real_value(json_array_get(whole, 0)), 0.5);
  cr_expect_eq(json_real_value(json_array_get(whole, 1)), 0, "equal values, exchanged");
  for (uint32_t c = 2; c < FIXTURE_WIDTH; c++)
    cr_expect_lt(fabs(json_real_value(json_array_get(whole, c))), 0.05, "feature %u", c);
  json_t *sliced = importances_of(&spec, &data, 0);
  cr_expect(json_equal(whole, sliced), "in slices");
  spec.importance = false;
  json_t *none = importances_of(&spec, &data, INT64_MAX);
  cr_expect(json_is_null(none));
  json_decref(whole);
  json_decref(sliced);
  json_decref(none);
}

Test(trainer, stops_early_and_says_so) {
  th_spec spec = early_spec();
  th_data data = noise_data();
  th_witness witness = {0};
  th_trainer *trainer = witnessed_trainer(&spec, &data, &witness);
  fixture_finish(trainer);
  cr_assert_eq(witness.last.stop_reason, TH_STOP_EARLY);
  cr_assert_eq(witness.last.fraction, 1.0);
  cr_assert_lt(witness.last.epoch, 100);
  cr_assert_eq(witness.last.epochs, witness.last.epoch);
  cr_assert_eq(witness.last.best_epoch, witness.last.epoch - spec.early_stopping_patience);
  const th_history *history = th_trainer_history(trainer);
  for (uint32_t i = 0; i < history->count; i++)
    cr_assert_geq(history->epochs[i].validation_loss,
                  history->epochs[witness.last.best_epoch - 1].validation_loss);
  th_trainer_destroy(trainer);
}

Test(trainer, restores_the_best_epoch_and_not_the_last) {
  th_spec spec = early_spec();
  th_data data = noise_data();
  th_progress progress;
  th_trainer *restored = fixture_trained(&spec, &data);
  th_trainer_progress(restored, &progress);
  spec.restore_best = false;
  th_trainer *last = fixture_trained(&spec, &data);
  spec.epochs = progress.best_epoch;
  th_trainer *best = fixture_trained(&spec, &data);
  cr_assert(fixture_is_same_model(restored, best));
  cr_assert_not(fixture_is_same_model(restored, last));
  th_trainer_destroy(restored);
  th_trainer_destroy(last);
  th_trainer_destroy(best);
}

Test(trainer, patience_asks_for_a_loss_lower_by_min_delta) {
  th_spec spec = early_spec();
  th_data data = fixture_data();
  spec.learning_rate = 1e-6;
  spec.early_stopping_min_delta = 1;
  th_progress progress;
  th_trainer *trainer = fixture_trained(&spec, &data);
  th_trainer_progress(trainer, &progress);
  /* The first epoch comes below infinity; the falling losses after it never by enough. */
  cr_assert_eq(progress.stop_reason, TH_STOP_EARLY);
  cr_assert_eq(progress.epoch, 4);
  cr_assert_eq(progress.best_epoch, 4);
  th_trainer_destroy(trainer);
}

Test(trainer, validates_on_the_last_rows_if_told_to) {
  static int32_t labels[FIXTURE_ROWS];
  th_spec spec = fixture_spec();
  th_data data = fixture_data();
  /* Class 1 is seen nowhere but in the last quarter, so nobody can learn it. */
  for (uint32_t r = 0; r < FIXTURE_ROWS; r++) labels[r] = r >= FIXTURE_ROWS * 3 / 4;
  data.labels = labels;
  spec.validation_split = 0.25;
  spec.split = TH_SPLIT_LAST;
  th_trainer *trainer = fixture_trained(&spec, &data);
  cr_assert_eq(fixture_last_epoch(trainer).accuracy, 1);
  cr_assert_eq(fixture_last_epoch(trainer).validation_accuracy, 0);
  th_trainer_destroy(trainer);
  spec.split = TH_SPLIT_RANDOM;
  trainer = fixture_trained(&spec, &data);
  cr_assert_lt(fixture_last_epoch(trainer).accuracy, 1);
  cr_assert_gt(fixture_last_epoch(trainer).validation_accuracy, 0);
  th_trainer_destroy(trainer);
}

Test(trainer, a_loss_that_is_no_number_names_epoch_and_step) {
  th_spec spec = fixture_spec();
  th_data data = fixture_data();
  th_team *team;
  spec.optimizer = TH_OPTIMIZER_SGD;
  spec.learning_rate = 1e30;
  th_trainer *trainer = fixture_trainer(&spec, &data);
  cr_assert_eq(th_team_create(1, &team), TH_OK);
  cr_assert_eq(th_trainer_advance(trainer, team, INT64_MAX), TH_ERR_DIVERGED);
  expect_text("epoch 1, step ");
  expect_text("learning_rate");
  th_trainer_destroy(trainer);
  th_team_destroy(team);
}

Test(trainer, parameters_that_the_last_step_broke_are_no_result) {
  th_spec spec = fixture_spec();
  th_data data = fixture_data();
  th_team *team;
  spec.optimizer = TH_OPTIMIZER_SGD;
  spec.learning_rate = 1e300; /* infinite as a float */
  spec.epochs = 1;
  spec.batch_size = FIXTURE_ROWS;
  th_trainer *trainer = fixture_trainer(&spec, &data);
  cr_assert_eq(th_team_create(1, &team), TH_OK);
  cr_assert_eq(th_trainer_advance(trainer, team, INT64_MAX), TH_ERR_DIVERGED);
  expect_text("a parameter became ");
  expect_text("epoch 1, step 1");
  th_trainer_destroy(trainer);
  th_team_destroy(team);
}

Test(trainer, refuses_features_that_are_no_numbers) {
  static float features[FIXTURE_ROWS * FIXTURE_WIDTH];
  th_spec spec = fixture_spec();
  th_data data = fixture_data();
  memcpy(features, data.features, sizeof features);
  data.features = features;
  features[7 * FIXTURE_WIDTH + 3] = NAN;
  fixture_assert_refused(&spec, &data, TH_ERR_DATA, "row 7, column 3 (from 0) is NaN");
  features[7 * FIXTURE_WIDTH + 3] = -INFINITY;
  fixture_assert_refused(&spec, &data, TH_ERR_DATA, "infinite");
}

Test(trainer, refuses_labels_out_of_range) {
  static int32_t labels[FIXTURE_ROWS];
  th_spec spec = fixture_spec();
  th_data data = fixture_data();
  data.labels = labels;
  labels[9] = -1;
  fixture_assert_refused(&spec, &data, TH_ERR_DATA, "row 9 (from 0) is -1");
  labels[9] = 3;
  spec.classes = 3;
  fixture_assert_refused(&spec, &data, TH_ERR_DATA, "not in [0, 3)");
  labels[9] = INT32_MAX;
  spec.classes = 0;
  fixture_assert_refused(&spec, &data, TH_ERR_DATA, "row 9 (from 0) is 2147483647");
  data.labels = NULL;
  fixture_assert_refused(&spec, &data, TH_ERR_DATA, "labels");
}

Test(trainer, refuses_splits_that_leave_nothing) {
  th_spec spec = fixture_spec();
  th_data data = fixture_data();
  spec.validation_split = 0.0001;
  fixture_assert_refused(&spec, &data, TH_ERR_DATA, "validation_split");
  spec.validation_split = 0.9999;
  fixture_assert_refused(&spec, &data, TH_ERR_DATA, "validation_split");
  spec.validation_split = 0;
  data.rows = 0;
  fixture_assert_refused(&spec, &data, TH_ERR_DATA, "rows");
}

Test(trainer, refuses_a_net_beyond_all_bounds) {
  th_spec spec = fixture_spec();
  th_data data = fixture_data();
  spec.hidden[0] = UINT32_MAX;
  spec.hidden[1] = UINT32_MAX;
  fixture_assert_refused(&spec, &data, TH_ERR_USAGE, "hidden: layer 1");
}

Test(trainer, trains_a_single_row_and_a_net_without_hidden_layers) {
  th_spec spec = fixture_spec();
  th_data data = fixture_data();
  spec.hidden_count = 0;
  data.rows = 1;
  th_trainer *trainer = fixture_trained(&spec, &data);
  cr_assert(isfinite(fixture_last_epoch(trainer).loss));
  th_trainer_destroy(trainer);
}

static const char *card_text(json_t *card, const char *object, const char *key) {
  json_t *holder = object == NULL ? card : json_object_get(card, object);
  return json_string_value(json_object_get(holder, key));
}

Test(trainer, the_card_tells_what_was_trained) {
  th_spec spec = fixture_spec();
  th_data data = fixture_data();
  spec.dropout = 0.25;
  spec.seed = UINT64_MAX;
  th_trainer *trainer = fixture_trained(&spec, &data);
  json_t *card = card_of(trainer);
  cr_assert_str_eq(card_text(card, "architecture", "constructor"),
                   "nn.Sequential(nn.Linear(20, 150), nn.ReLU(), nn.Dropout(0.25), "
                   "nn.Linear(150, 70), nn.ReLU(), nn.Dropout(0.25), nn.Linear(70, 3))");
  json_t *modules = json_object_get(json_object_get(card, "architecture"), "modules");
  cr_assert_eq(json_array_size(modules), 7);
  cr_assert_str_eq(json_string_value(json_array_get(modules, 0)),
                   "Linear(in_features=20, out_features=150, bias=True)");
  cr_assert_str_eq(card_text(card, NULL, "seed"), "18446744073709551615");
  cr_assert_str_eq(card_text(card, NULL, "engine"), "cpu");
  cr_assert_str_eq(card_text(card, NULL, "stop_reason"), "epochs");
  cr_assert_eq(strncmp(card_text(card, "data", "digest"), "blake2b-256:", 12), 0);
  cr_assert_eq(strlen(card_text(card, "data", "digest")), 12 + 64);
  cr_assert_eq(json_integer_value(json_object_get(card, "parameters")),
               21 * 150 + 151 * 70 + 71 * 3);
  json_t *epochs = json_object_get(json_object_get(card, "history"), "epochs");
  cr_assert_eq(json_array_size(epochs), 4);
  /* There is no validation, and JSON has no NaN. */
  cr_assert(json_is_null(json_object_get(json_array_get(epochs, 0), "validation_loss")));
  cr_assert_float_eq(json_real_value(json_object_get(json_array_get(epochs, 3), "loss")),
                     fixture_last_epoch(trainer).loss, 1e-12);
  json_decref(card);
  th_trainer_destroy(trainer);
}

/* Whatever tells seconds is the clock's. */
static void forget_seconds(json_t *json) {
  const char *key;
  void *next;
  json_t *value;
  size_t index;
  json_array_foreach(json, index, value) forget_seconds(value);
  json_object_del(json, "seconds");
  json_object_del(json, "training_seconds");
  json_object_foreach_safe(json, next, key, value) forget_seconds(value);
}

Test(trainer, cards_of_the_same_seed_differ_in_seconds_only) {
  th_spec spec = fixture_spec();
  th_data data = fixture_data();
  json_t *cards[2];
  for (int i = 0; i < 2; i++) {
    th_trainer *trainer = fixture_trained(&spec, &data);
    cards[i] = card_of(trainer);
    forget_seconds(cards[i]);
    th_trainer_destroy(trainer);
  }
  cr_assert(json_equal(cards[0], cards[1]));
  cr_assert_not_null(json_object_get(cards[0], "metrics"));
  json_decref(cards[0]);
  json_decref(cards[1]);
}

Test(trainer, destroy_takes_null) {
  th_trainer_destroy(NULL);
}

/* Nets that see windows of rows. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "kernels/random.h"

/* Two layers, windows that end within groups and beyond, several slices in a batch. */
static th_spec recurrent_spec(th_recurrent_kind kind) {
  th_spec spec = fixture_spec();
  spec.hidden[0] = 10;
  spec.hidden_count = 1;
  spec.recurrent = kind;
  spec.recurrent_width = 12;
  spec.recurrent_layers = 2;
  spec.window = 5;
  spec.epochs = 2;
  spec.dropout = 0.2;
  spec.embedding = 3;
  spec.batch_size = 100;
  return spec;
}

/* ---- what it can learn ---- */

enum { SERIES_ROWS = 1500, BACK = 3 };

/* A row's label is the sign of the number three rows back, and 0 where its group has no such row.
 */
static th_data told_by_the_past(void) {
  static float features[SERIES_ROWS];
  static int32_t labels[SERIES_ROWS];
  static int32_t groups[SERIES_ROWS];
  for (uint32_t r = 0; r < SERIES_ROWS; r++) {
    th_philox bits = th_philox_at(1, r, 0, 0, 0);
    features[r] = 2 * th_random_unit(bits.word[0]) - 1;
    groups[r] = r == 0 ? 0 : groups[r - 1] + (bits.word[1] % 8 == 0);
    bool has_past = r >= BACK && groups[r - BACK] == groups[r];
    labels[r] = has_past && features[r - BACK] > 0;
  }
  return (th_data){
      .features = features, .labels = labels, .groups = groups, .rows = SERIES_ROWS, .width = 1};
}

static double validation_accuracy(const th_spec *spec, const th_data *data) {
  th_trainer *trainer = fixture_trained(spec, data);
  double accuracy = fixture_last_epoch(trainer).validation_accuracy;
  th_trainer_destroy(trainer);
  return accuracy;
}

static void check_learns_the_past(th_recurrent_kind kind) {
  th_spec spec = recurrent_spec(kind);
  th_data data = told_by_the_past();
  spec.embedding = 0;
  spec.dropout = 0;
  spec.recurrent_layers = 1;
  spec.window = BACK + 1;
  spec.batch_size = 16;
  spec.learning_rate = 0.02;
  spec.epochs = 15;
  spec.validation_split = 0.2;
  spec.split = TH_SPLIT_LAST;
  double within = validation_accuracy(&spec, &data);
  spec.window = BACK;
  double beyond = validation_accuracy(&spec, &data);
  cr_expect_gt(within, 0.93);
  cr_expect_lt(beyond, 0.8, "what lies beyond the window is told to %g", beyond);
}

Test(recurrent, lstm_learns_what_only_the_window_tells) {
  check_learns_the_past(TH_RECURRENT_LSTM);
}

Test(recurrent, gru_learns_what_only_the_window_tells) {
  check_learns_the_past(TH_RECURRENT_GRU);
}

/* ---- the same result everywhere ---- */

Test(recurrent, is_the_same_for_any_number_of_threads) {
  th_data data = fixture_grouped_data();
  for (th_recurrent_kind kind = TH_RECURRENT_LSTM; kind <= TH_RECURRENT_GRU; kind++) {
    th_spec spec = recurrent_spec(kind);
    spec.validation_split = 0.25;
    spec.clip_norm = 0.1;
    fixture_expect_same_by_threads(&spec, &data, kind == TH_RECURRENT_LSTM ? "lstm" : "gru");
  }
}

Test(recurrent, goes_on_from_a_checkpoint_to_the_same_bits) {
  th_spec spec = recurrent_spec(TH_RECURRENT_GRU);
  th_data data = fixture_grouped_data();
  spec.validation_split = 0.25;
  th_trainer *whole = fixture_trained(&spec, &data);
  for (uint32_t steps = 1; steps <= 9; steps += 4)
    fixture_expect_resumes(whole, fixture_trainer(&spec, &data), fixture_trainer(&spec, &data),
                           steps, "gru");
  th_trainer_destroy(whole);
}

/* ---- a trained model ---- */

static th_buffer trained_model(const th_spec *spec) {
  th_data data = fixture_grouped_data();
  return fixture_trained_model(spec, &data);
}

/* The logits of all rows. */
static th_numbers predict(const th_buffer *model, const th_data *data) {
  th_device device = fixture_cpu();
  th_numbers logits = fixture_predict(&device, model, data, NULL);
  cr_assert_eq(logits.rows, data->rows);
  cr_assert_eq(logits.width, FIXTURE_CLASSES);
  return logits;
}

static bool is_same_row(const th_numbers *a, const th_numbers *b, uint32_t row) {
  size_t first = (size_t)row * FIXTURE_CLASSES;
  return memcmp(a->values + first, b->values + first, FIXTURE_CLASSES * sizeof *a->values) == 0;
}

/* A number changes in one row: that row and the next four see it, as far as its group goes. */
Test(recurrent, a_row_sees_its_window_and_nothing_else) {
  th_spec spec = recurrent_spec(TH_RECURRENT_LSTM);
  th_data data = fixture_grouped_data();
  th_buffer model = trained_model(&spec);
  th_numbers before = predict(&model, &data);
  static float changed[FIXTURE_ROWS * FIXTURE_WIDTH];
  for (uint32_t row = 0; row < FIXTURE_ROWS; row += 23) {
    memcpy(changed, data.features, sizeof changed);
    changed[row * FIXTURE_WIDTH] += 1;
    th_data other = data;
    other.features = changed;
    th_numbers after = predict(&model, &other);
    bool sees = true;
    for (uint32_t r = 0; r < FIXTURE_ROWS; r++) {
      sees = r >= row && r < row + spec.window && (r == row || sees) &&
             data.groups[r] == data.groups[row];
      cr_expect_eq(!is_same_row(&before, &after, r), sees, "row %u of a change in row %u", r, row);
    }
    th_numbers_fini(&after);
  }
  th_numbers_fini(&before);
  th_buffer_fini(&model);
}

/* Long windows are evaluated in parts of few rows; where a row lies in a part changes nothing. */
Test(recurrent, predicts_a_row_alone_as_among_others) {
  th_spec spec = recurrent_spec(TH_RECURRENT_GRU);
  spec.window = 1500;
  spec.epochs = 1;
  spec.recurrent_layers = 1;
  spec.recurrent_width = 4;
  /* A step goes over 3 rows in their windows: what is trained is of no matter here. */
  spec.batch_size = 3;
  spec.validation_rows = FIXTURE_ROWS - 3;
  th_buffer model = trained_model(&spec);
  th_data data = fixture_grouped_data();
  data.rows = 50;
  th_numbers all = predict(&model, &data);
  for (uint32_t rows = 1; rows < data.rows; rows += 16) {
    th_data first = data;
    first.rows = rows;
    th_numbers some = predict(&model, &first);
    for (uint32_t r = 0; r < rows; r++) cr_expect(is_same_row(&all, &some, r), "%u of %u", r, rows);
    th_numbers_fini(&some);
  }
  th_numbers_fini(&all);
  th_buffer_fini(&model);
}

Test(recurrent, takes_rows_without_groups_for_one_series) {
  th_spec spec = recurrent_spec(TH_RECURRENT_LSTM);
  spec.embedding = 0;
  th_buffer model = trained_model(&spec);
  th_data data = fixture_grouped_data();
  static const int32_t one[FIXTURE_ROWS] = {0};
  data.groups = NULL;
  th_numbers without = predict(&model, &data);
  data.groups = one;
  th_numbers with = predict(&model, &data);
  for (uint32_t r = 0; r < FIXTURE_ROWS; r++)
    cr_expect(is_same_row(&without, &with, r), "row %u", r);
  th_numbers_fini(&without);
  th_numbers_fini(&with);
  th_buffer_fini(&model);
}

Test(recurrent, refuses_a_step_over_too_many_rows) {
  enum { ROWS = 600000 };
  th_spec spec = recurrent_spec(TH_RECURRENT_LSTM);
  float *features = calloc(ROWS, sizeof *features);
  int32_t *labels = calloc(ROWS, sizeof *labels);
  cr_assert(features != NULL && labels != NULL);
  th_data data = {.features = features, .labels = labels, .rows = ROWS, .width = 1};
  spec.embedding = 0;
  spec.window = 4096;
  spec.batch_size = ROWS;
  fixture_assert_refused(&spec, &data, TH_ERR_USAGE, "batch_size is 600000 and window 4096");
  free(features);
  free(labels);
}

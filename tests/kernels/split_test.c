#include "kernels/split.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "kernels/standard.h"

enum { ROWS = 1000, CLASSES = 4 };

/* Classes of very different sizes, mixed: 0 has most rows and 3 has two. */
static th_data labeled_rows(void) {
  static float features[ROWS];
  static int32_t labels[ROWS];
  for (uint32_t r = 0; r < ROWS; r++) {
    features[r] = (float)r;
    labels[r] = r % 400 == 7 ? (r > 7 ? 3 : 0) : r % 10 == 3 ? 2 : r % 4 == 1 ? 1 : 0;
  }
  return (th_data){.features = features, .labels = labels, .rows = ROWS, .width = 1};
}

static th_spec spec_of(th_split_kind kind, double fraction) {
  th_spec spec;
  th_spec_init(&spec);
  spec.split = kind;
  spec.validation_split = fraction;
  return spec;
}

static th_split split_made(const th_spec *spec, const th_data *data) {
  th_split split;
  cr_assert_eq(th_split_init(&split, spec, data, CLASSES), TH_OK, "%s", th_error_text());
  return split;
}

Test(split, has_every_row_once) {
  th_data data = labeled_rows();
  for (th_split_kind kind = TH_SPLIT_RANDOM; kind <= TH_SPLIT_STRATIFIED; kind++) {
    th_spec spec = spec_of(kind, 0.3);
    th_split split = split_made(&spec, &data);
    bool seen[ROWS] = {false};
    cr_assert_eq(split.training_rows, 700);
    cr_assert_eq(split.validation_rows, 300);
    for (uint32_t i = 0; i < ROWS; i++) {
      uint32_t row = th_split_row(&split, i);
      cr_assert(row < ROWS && !seen[row], "kind %d, position %u", kind, i);
      seen[row] = true;
    }
    th_split_fini(&split);
  }
}

Test(split, stratified_gives_each_class_its_share_within_a_row) {
  th_data data = labeled_rows();
  static const double fractions[] = {0.001, 0.1, 0.2, 1.0 / 3, 0.5, 0.9, 0.999};
  for (size_t f = 0; f < sizeof fractions / sizeof *fractions; f++) {
    th_spec spec = spec_of(TH_SPLIT_STRATIFIED, fractions[f]);
    th_split split = split_made(&spec, &data);
    double all[CLASSES] = {0}, validating[CLASSES] = {0};
    for (uint32_t r = 0; r < ROWS; r++) all[data.labels[r]]++;
    for (uint32_t i = split.training_rows; i < ROWS; i++)
      validating[data.labels[th_split_row(&split, i)]]++;
    cr_assert_eq(all[3], 2);
    for (uint32_t c = 0; c < CLASSES; c++)
      cr_expect_lt(fabs(validating[c] - fractions[f] * all[c]), 1, "%g of class %u: %g of %g",
                   fractions[f], c, validating[c], all[c]);
    th_split_fini(&split);
  }
}

static th_spec fold_of(th_split_kind kind, uint32_t folds, uint32_t fold) {
  th_spec spec = spec_of(kind, 0);
  spec.folds = folds;
  spec.fold = fold;
  return spec;
}

Test(split, every_row_validates_in_one_fold_and_trains_in_all_others) {
  th_data data = labeled_rows();
  static const uint32_t counts[] = {2, 3, 7, 10, ROWS};
  static const th_split_kind kinds[] = {TH_SPLIT_RANDOM, TH_SPLIT_STRATIFIED};
  for (size_t k = 0; k < 2; k++)
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
      uint32_t validated[ROWS] = {0}, trained[ROWS] = {0};
      for (uint32_t fold = 1; fold <= counts[c]; fold++) {
        th_spec spec = fold_of(kinds[k], counts[c], fold);
        th_split split = split_made(&spec, &data);
        cr_assert_eq(split.training_rows + split.validation_rows, ROWS);
        cr_assert_geq(split.validation_rows, ROWS / counts[c]);
        cr_assert_leq(split.validation_rows, ROWS / counts[c] + 1);
        for (uint32_t i = 0; i < ROWS; i++)
          (i < split.training_rows ? trained : validated)[th_split_row(&split, i)]++;
        th_split_fini(&split);
      }
      for (uint32_t r = 0; r < ROWS; r++) {
        cr_assert_eq(validated[r], 1, "row %u of %u folds", r, counts[c]);
        cr_assert_eq(trained[r], counts[c] - 1);
      }
    }
}

Test(split, stratified_folds_have_each_class_within_a_row_of_its_share) {
  th_data data = labeled_rows();
  for (uint32_t fold = 1; fold <= 7; fold++) {
    th_spec spec = fold_of(TH_SPLIT_STRATIFIED, 7, fold);
    th_split split = split_made(&spec, &data);
    double all[CLASSES] = {0}, validating[CLASSES] = {0};
    for (uint32_t r = 0; r < ROWS; r++) all[data.labels[r]]++;
    for (uint32_t i = split.training_rows; i < ROWS; i++)
      validating[data.labels[th_split_row(&split, i)]]++;
    for (uint32_t c = 0; c < CLASSES; c++)
      cr_expect_lt(fabs(validating[c] - all[c] / 7), 1, "fold %u, class %u", fold, c);
    th_split_fini(&split);
  }
}

Test(split, walking_forward_never_trains_on_what_comes_after_its_validation) {
  th_data data = labeled_rows();
  uint32_t end = 0;
  for (uint32_t fold = 1; fold <= 6; fold++) {
    th_spec spec = fold_of(TH_SPLIT_LAST, 6, fold);
    th_split split = split_made(&spec, &data);
    cr_assert_gt(split.training_rows, 0);
    if (fold > 1) cr_assert_eq(split.training_rows, end, "trained on all that was validated on");
    end = split.training_rows + split.validation_rows;
    for (uint32_t i = 0; i < end; i++) cr_assert_eq(th_split_row(&split, i), i);
    th_split_fini(&split);
  }
  cr_assert_eq(end, ROWS, "the last fold ends with the data");
}

Test(split, refuses_more_folds_than_rows) {
  th_data data = labeled_rows();
  th_split split;
  th_spec spec = fold_of(TH_SPLIT_RANDOM, ROWS + 1, 1);
  cr_assert_eq(th_split_init(&split, &spec, &data, CLASSES), TH_ERR_DATA);
  spec = fold_of(TH_SPLIT_LAST, ROWS, 1);
  cr_assert_eq(th_split_init(&split, &spec, &data, CLASSES), TH_ERR_DATA);
  spec = fold_of(TH_SPLIT_LAST, UINT32_MAX, 1);
  cr_assert_eq(th_split_init(&split, &spec, &data, CLASSES), TH_ERR_DATA);
}

Test(split, draws_on_the_seed_alone) {
  th_data data = labeled_rows();
  for (th_split_kind kind = TH_SPLIT_RANDOM; kind <= TH_SPLIT_STRATIFIED; kind++) {
    if (kind == TH_SPLIT_LAST) continue;
    th_spec spec = spec_of(kind, 0.3);
    th_split first = split_made(&spec, &data), again = split_made(&spec, &data);
    spec.seed++;
    th_split other = split_made(&spec, &data);
    uint32_t same = 0;
    for (uint32_t i = 0; i < ROWS; i++) {
      cr_assert_eq(th_split_row(&first, i), th_split_row(&again, i));
      same += th_split_row(&first, i) == th_split_row(&other, i);
    }
    cr_assert_lt(same, ROWS / 10, "kind %d: another seed, %u rows at the same place", kind, same);
    th_split_fini(&first);
    th_split_fini(&again);
    th_split_fini(&other);
  }
}

/* Data in time order: what validates comes after all that was trained on. */
Test(split, the_last_rows_stay_in_order) {
  th_data data = labeled_rows();
  th_spec spec = spec_of(TH_SPLIT_LAST, 0.25);
  th_split split = split_made(&spec, &data);
  for (uint32_t i = 0; i < ROWS; i++) cr_assert_eq(th_split_row(&split, i), i);
  th_split_fini(&split);
  spec = spec_of(TH_SPLIT_RANDOM, 0);
  spec.validation_rows = 123;
  split = split_made(&spec, &data);
  cr_assert_eq(split.validation_rows, 123);
  cr_assert_eq(split.training_rows, ROWS - 123);
  for (uint32_t i = 0; i < ROWS; i++) cr_assert_eq(th_split_row(&split, i), i);
  th_split_fini(&split);
}

Test(split, refuses_to_leave_nothing_to_train_or_validate_on) {
  th_data data = labeled_rows();
  th_split split;
  th_spec spec = spec_of(TH_SPLIT_STRATIFIED, 0.0001);
  cr_assert_eq(th_split_init(&split, &spec, &data, CLASSES), TH_ERR_DATA);
  spec.validation_split = 0.9999;
  cr_assert_eq(th_split_init(&split, &spec, &data, CLASSES), TH_ERR_DATA);
  spec.validation_split = 0;
  spec.validation_rows = ROWS;
  cr_assert_eq(th_split_init(&split, &spec, &data, CLASSES), TH_ERR_DATA);
  cr_assert_not_null(strstr(th_error_text(), "validation_rows is 1000"));
}

/* ---- standardized inputs ---- */

enum { WIDTH = 4 };

/* Columns: far from 0, constant, constant up to nothing, and one that only validation sees vary. */
static th_data wide_rows(void) {
  static float features[ROWS * WIDTH];
  for (uint32_t r = 0; r < ROWS; r++) {
    float *row = features + (size_t)r * WIDTH;
    row[0] = 1e6F + (float)(r % 7);
    row[1] = 0.1F;
    row[2] = 0;
    row[3] = r < 800 ? 5 : (float)r;
  }
  return (th_data){.features = features, .rows = ROWS, .width = WIDTH};
}

Test(standard, is_of_the_training_rows_alone) {
  th_data data = wide_rows();
  th_spec spec = spec_of(TH_SPLIT_LAST, 0.2);
  th_split split = split_made(&spec, &data);
  th_standard standard;
  cr_assert_eq(th_standard_init(&standard, WIDTH), TH_OK);
  cr_assert_eq(th_standard_fit(&standard, &data, &split), TH_OK);
  double mean = 0, variance = 0;
  for (uint32_t r = 0; r < 800; r++) mean += (r % 7) / 800.0;
  for (uint32_t r = 0; r < 800; r++) variance += (r % 7 - mean) * (r % 7 - mean) / 800;
  cr_expect_float_eq((double)standard.mean[0], 1e6 + mean, 0.04, "float has steps of 0.06 there");
  cr_expect_float_eq((double)standard.deviation[0], sqrt(variance), 1e-6);
  cr_expect_eq(standard.mean[1], 0.1F);
  cr_expect_eq(standard.mean[3], 5.0F);
  for (uint32_t c = 1; c < WIDTH; c++) cr_expect_eq(standard.deviation[c], 1.0F, "column %u", c);
  th_standard_fini(&standard);
  th_split_fini(&split);
}

Test(standard, refuses_numbers_that_are_none) {
  static const float hostile[] = {0, -1, NAN, INFINITY, 1e-45F};
  th_standard standard;
  cr_assert_eq(th_standard_init(&standard, WIDTH), TH_OK);
  cr_assert_eq(th_standard_judge(&standard, WIDTH), TH_OK);
  for (size_t h = 0; h < sizeof hostile / sizeof *hostile; h++) {
    standard.deviation[2] = hostile[h];
    cr_assert_eq(th_standard_judge(&standard, WIDTH), TH_ERR_DATA, "%g", (double)hostile[h]);
    cr_assert_not_null(strstr(th_error_text(), "feature 2"));
  }
  standard.deviation[2] = 1;
  standard.mean[0] = NAN;
  cr_assert_eq(th_standard_judge(&standard, WIDTH), TH_ERR_DATA);
  th_standard_fini(&standard);
}

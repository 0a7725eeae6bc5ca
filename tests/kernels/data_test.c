#include "kernels/data.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { ROWS = 3, WIDTH = 2, TARGET_WIDTH = 2 };

static float features[ROWS * WIDTH] = {1, 2, 3, 4, 5, 6};
static int32_t labels[ROWS] = {0, 1, 2};
static float targets[ROWS * TARGET_WIDTH] = {0.5F, 1.5F, 2.5F, 3.5F, 4.5F, 5.5F};
static float weights[ROWS] = {0, 1, 2};
static int32_t groups[ROWS] = {0, 0, 4};

static th_data labeled(void) {
  return (th_data){.features = features, .labels = labels, .rows = ROWS, .width = WIDTH};
}

static th_data with_targets(void) {
  return (th_data){.features = features,
                   .targets = targets,
                   .weights = weights,
                   .groups = groups,
                   .rows = ROWS,
                   .width = WIDTH,
                   .target_width = TARGET_WIDTH};
}

static uint32_t listened;

static void listen_to(void *user) {
  cr_assert_eq(user, &listened);
  listened++;
}

static th_error survey(const th_data *data, th_data_facts *facts) {
  return th_data_survey(data, 0, listen_to, &listened, facts);
}

static void assert_refused(const th_data *data, const char *text) {
  th_data_facts facts;
  cr_assert_eq(survey(data, &facts), TH_ERR_DATA, "%s", text);
  cr_assert_not_null(strstr(th_error_text(), text), "\"%s\" is not in \"%s\"", text,
                     th_error_text());
}

/* Against Python: hashlib.blake2b(features + labels, digest_size=32), and for the other
 * hashlib.blake2b(features + b"targets" + targets + b"weights" + weights + b"groups" + groups). */
Test(data, a_survey_counts_and_digests) {
  th_data_facts facts;
  th_data data = labeled();
  cr_assert_eq(survey(&data, &facts), TH_OK, "%s", th_error_text());
  cr_assert_eq(facts.classes, 3);
  cr_assert_eq(facts.groups, 0);
  cr_assert_str_eq(facts.digest,
                   "blake2b-256:"
                   "b57677800201397c80254d1e50f40df616cce31c0bfc30276707aa4c343f0d4d");
  data = with_targets();
  cr_assert_eq(survey(&data, &facts), TH_OK, "%s", th_error_text());
  cr_assert_eq(facts.classes, 0);
  cr_assert_eq(facts.groups, 5);
  cr_assert_str_eq(facts.digest,
                   "blake2b-256:"
                   "4a2e2cd92b3165ec3bdf2520701a0672156d75291055e310304ecbc516897c82");
  cr_assert_gt(listened, 0);
}

/* Zeros are the same bytes in every array. */
Test(data, the_digest_tells_which_array_the_bytes_are_of) {
  static const float no_numbers[ROWS];
  static const int32_t no_indices[ROWS];
  th_data cases[4];
  for (int i = 0; i < 4; i++)
    cases[i] = (th_data){.features = features, .rows = ROWS, .width = WIDTH};
  cases[1].labels = no_indices;
  cases[2].groups = no_indices;
  cases[3].targets = no_numbers;
  cases[3].target_width = 1;
  th_data_facts facts[4];
  for (int i = 0; i < 4; i++) {
    cr_assert_eq(survey(&cases[i], &facts[i]), TH_OK, "%s", th_error_text());
    for (int k = 0; k < i; k++) cr_assert_str_neq(facts[i].digest, facts[k].digest, "%d %d", i, k);
  }
}

Test(data, targets_that_are_no_numbers_are_named_with_their_place) {
  th_data data = with_targets();
  targets[5] = NAN;
  assert_refused(&data, "targets: row 2, column 1 (from 0) is NaN");
  targets[5] = -INFINITY;
  assert_refused(&data, "targets: row 2, column 1 (from 0) is infinite");
  targets[5] = 0;
  data.target_width = 0;
  assert_refused(&data, "targets: there are no columns");
  data.target_width = UINT32_MAX;
  assert_refused(&data, "targets: 4294967295 columns");
}

Test(data, weights_are_finite_none_negative_and_not_all_zero) {
  th_data data = with_targets();
  weights[1] = -1e-30F;
  assert_refused(&data, "weights: row 1 (from 0) is -1e-30");
  weights[1] = NAN;
  assert_refused(&data, "weights: row 1, column 0 (from 0) is NaN");
  weights[1] = INFINITY;
  assert_refused(&data, "infinite");
  weights[1] = -0.0F;
  weights[2] = 0;
  assert_refused(&data, "weights: all are 0");
  weights[2] = 1e-45F;
  th_data_facts facts;
  cr_assert_eq(survey(&data, &facts), TH_OK, "%s", th_error_text());
}

Test(data, groups_are_counted_from_zero) {
  th_data data = with_targets();
  groups[0] = -1;
  assert_refused(&data, "groups: row 0 (from 0) is -1");
  groups[0] = INT32_MAX;
  assert_refused(&data, "groups: row 0 (from 0) is 2147483647");
  groups[0] = INT32_MAX - 1;
  th_data_facts facts;
  cr_assert_eq(survey(&data, &facts), TH_OK, "%s", th_error_text());
  cr_assert_eq(facts.groups, INT32_MAX);
}

#include "kernels/sampling.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "fixture.h"
#include "kernels/data.h"

enum { ROWS = 1000, BATCH = 7 };

static th_spec spec_of(th_sampling_kind kind) {
  return (th_spec){.sampling = kind, .shuffle = true, .seed = 12};
}

/* Every other row of twice as many is trained on, backwards: a position is no row. */
static th_split split_of(uint32_t rows) {
  th_split split = {.training_rows = rows};
  split.rows = calloc(rows, sizeof *split.rows);
  for (uint32_t i = 0; i < rows; i++) split.rows[i] = 2 * (rows - 1 - i);
  return split;
}

static th_sampling sampling_of(const th_spec *spec, const th_data *data, const th_split *split) {
  th_sampling sampling;
  cr_assert_eq(th_sampling_init(&sampling, spec, data, split), TH_OK, "%s", th_error_text());
  return sampling;
}

/* ---- each ---- */

Test(sampling, each_is_the_shuffle_of_the_epoch) {
  th_spec spec = spec_of(TH_SAMPLING_EACH);
  th_sampling none = {0};
  th_order order = th_order_of(&none, &spec, ROWS, 3);
  th_permutation shuffle = th_permutation_draw(ROWS, spec.seed, TH_RANDOM_SHUFFLE, 3);
  for (uint32_t i = 0; i < ROWS; i++)
    cr_assert_eq(th_order_at(&order, i), th_permutation_at(&shuffle, i));
  spec.shuffle = false;
  order = th_order_of(&none, &spec, ROWS, 3);
  for (uint32_t i = 0; i < ROWS; i++) cr_assert_eq(th_order_at(&order, i), i);
}

/* ---- weighted ---- */

/* What the table gives each row, from both sides of every column, against its weight. */
static void alias_check(const float *weights, uint32_t rows) {
  th_spec spec = spec_of(TH_SAMPLING_WEIGHTED);
  th_data data = {.weights = weights, .rows = 2 * (uint64_t)rows};
  th_split split = split_of(rows);
  th_sampling sampling = sampling_of(&spec, &data, &split);
  double *given = calloc(rows, sizeof *given), sum = 0;
  for (uint32_t i = 0; i < rows; i++) {
    double own = sampling.aliases[i].threshold * 0x1p-32;
    given[i] += own / rows;
    given[sampling.aliases[i].other] += (1 - own) / rows;
    sum += (double)weights[split.rows[i]];
  }
  for (uint32_t i = 0; i < rows; i++) {
    double wanted = (double)weights[split.rows[i]] / sum;
    cr_assert_float_eq(given[i], wanted, 0x1p-32 + 1e-9 * wanted, "row %u of %u: %g, not %g", i,
                       rows, given[i], wanted);
    if (wanted == 0) cr_assert_eq(given[i], 0, "row %u weighs nothing and is drawn", i);
  }
  free(given);
  free(split.rows);
  th_sampling_fini(&sampling);
}

Test(sampling, an_alias_table_gives_every_row_its_weight) {
  static float weights[2 * ROWS];
  for (uint32_t rows = 1; rows <= ROWS; rows += rows < 20 ? 1 : 97) {
    for (uint32_t i = 0; i < 2 * rows; i++) weights[i] = 1;
    alias_check(weights, rows);
    for (uint32_t i = 0; i < 2 * rows; i++) weights[i] = 0.1F + (float)(i * i % 31);
    alias_check(weights, rows);
    for (uint32_t i = 0; i < 2 * rows; i++) weights[i] = i % 3 == 0 ? (float)(1 + i) : 0;
    alias_check(weights, rows);
    for (uint32_t i = 0; i < 2 * rows; i++) weights[i] = i == 0 ? 1e30F : 1e-30F;
    alias_check(weights, rows);
  }
}

/* Draws of ten rows; the bound is the 99.99th percentile of chi-square with 8 degrees of freedom,
 * of nine rows that weigh something. */
Test(sampling, weighted_rows_come_in_proportion) {
  enum { FEW = 10, DRAWS = 20000 };
  static const float weights[2 * FEW] = {[0] = 5,  [2] = 1,  [4] = 1,  [6] = 2,     [8] = 0,
                                         [10] = 3, [12] = 4, [14] = 1, [16] = 0.5F, [18] = 9};
  th_spec spec = spec_of(TH_SAMPLING_WEIGHTED);
  th_data data = {.weights = weights, .rows = 2 * FEW};
  th_split split = split_of(FEW);
  th_sampling sampling = sampling_of(&spec, &data, &split);
  uint32_t hits[FEW] = {0};
  for (uint32_t epoch = 1; epoch <= DRAWS / FEW; epoch++) {
    th_order order = th_order_of(&sampling, &spec, FEW, epoch);
    for (uint32_t i = 0; i < FEW; i++) hits[th_order_at(&order, i)]++;
  }
  double chi_square = 0;
  for (uint32_t i = 0; i < FEW; i++) {
    double expected = DRAWS * (double)weights[split.rows[i]] / 26.5;
    if (expected == 0)
      cr_assert_eq(hits[i], 0);
    else
      chi_square += (hits[i] - expected) * (hits[i] - expected) / expected;
  }
  cr_assert_lt(chi_square, 31.8, "chi-square %g", chi_square);
  free(split.rows);
  th_sampling_fini(&sampling);
}

/* ---- balanced ---- */

/* Four groups of very different sizes and far apart. */
static int32_t group_of(uint32_t row) {
  if (row == 4) return INT32_MAX;
  return row % 10 == 0 ? 70 : row % 10 < 5 ? 3 : 1000000;
}

enum { GROUPS = 4 };

static uint32_t group_number(int32_t group) {
  return group == 3 ? 0 : group == 70 ? 1 : group == 1000000 ? 2 : 3;
}

static th_data balanced_data(void) {
  static int32_t groups[2 * ROWS];
  for (uint32_t i = 0; i < 2 * ROWS; i++) groups[i] = group_of(i);
  return (th_data){.groups = groups, .rows = 2 * ROWS};
}

Test(sampling, balanced_batches_have_as_much_of_every_group) {
  static const uint32_t batches[] = {1, 3, 4, 5, 32, 400};
  th_spec spec = spec_of(TH_SAMPLING_BALANCED);
  th_data data = balanced_data();
  th_split split = split_of(ROWS);
  th_sampling sampling = sampling_of(&spec, &data, &split);
  cr_assert_eq(sampling.group_count, GROUPS);
  for (size_t b = 0; b < sizeof batches / sizeof *batches; b++)
    for (uint32_t epoch = 1; epoch <= 3; epoch++) {
      th_order order = th_order_of(&sampling, &spec, ROWS, epoch);
      for (uint32_t first = 0; first < ROWS; first += batches[b]) {
        uint32_t counts[GROUPS] = {0}, rows = ROWS - first < batches[b] ? ROWS - first : batches[b];
        for (uint32_t i = 0; i < rows; i++)
          counts[group_number(group_of(split.rows[th_order_at(&order, first + i)]))]++;
        for (uint32_t g = 0; g < GROUPS; g++)
          cr_assert(counts[g] == rows / GROUPS || counts[g] == (rows + GROUPS - 1) / GROUPS,
                    "%u of group %u in a batch of %u", counts[g], g, rows);
      }
    }
  free(split.rows);
  th_sampling_fini(&sampling);
}

/* The rows of one group as they come, over so many epochs. @return how many. */
static uint32_t group_collect(const th_sampling *sampling, const th_spec *spec,
                              const th_split *split, uint32_t group, uint32_t epochs,
                              uint32_t *rows) {
  uint32_t count = 0;
  for (uint32_t epoch = 1; epoch <= epochs; epoch++) {
    th_order order = th_order_of(sampling, spec, ROWS, epoch);
    for (uint32_t i = 0; i < ROWS; i++) {
      uint32_t row = split->rows[th_order_at(&order, i)];
      if (group_number(group_of(row)) == group) rows[count++] = row;
    }
  }
  return count;
}

Test(sampling, balanced_rows_of_a_group_all_come_before_any_comes_again) {
  enum { EPOCHS = 5 };
  static uint32_t rows[EPOCHS * ROWS];
  th_spec spec = spec_of(TH_SAMPLING_BALANCED);
  th_data data = balanced_data();
  th_split split = split_of(ROWS);
  th_sampling sampling = sampling_of(&spec, &data, &split);
  for (uint32_t g = 0; g < GROUPS; g++) {
    uint32_t size = sampling.groups[g].order.count, same = 0;
    uint32_t count = group_collect(&sampling, &spec, &split, g, EPOCHS, rows);
    cr_assert_eq(count, EPOCHS * ROWS / GROUPS);
    for (uint32_t first = 0; first + size <= count; first += size) {
      bool seen[2 * ROWS] = {false};
      for (uint32_t i = first; i < first + size; i++) {
        cr_assert(!seen[rows[i]], "row %u twice in a round of %u", rows[i], size);
        seen[rows[i]] = true;
        same += first > 0 && rows[i] == rows[i - size];
      }
    }
    /* One a round is where it was before, on average, in another order. */
    if (size > 1) cr_assert_lt(same, 3 * (count / size) + 12, "%u rows: %u stayed", size, same);
  }
  free(split.rows);
  th_sampling_fini(&sampling);
}

/* ---- whole trainings ---- */

static th_data sampled_data(void) {
  static float weights[FIXTURE_ROWS];
  static int32_t groups[FIXTURE_ROWS];
  th_data data = fixture_data();
  for (uint32_t i = 0; i < FIXTURE_ROWS; i++) {
    weights[i] = (float)(i % 5) / 2;
    groups[i] = i % 7 == 0 ? 1 : (int32_t)(i % 3) * 5;
  }
  data.weights = weights;
  data.groups = groups;
  return data;
}

static th_spec sampled_spec(th_sampling_kind kind) {
  th_spec spec = fixture_spec();
  spec.hidden[0] = 20;
  spec.hidden[1] = 10;
  spec.batch_size = 100;
  spec.validation_split = 0.25;
  spec.sampling = kind;
  return spec;
}

Test(sampling, a_training_resumes_to_the_same_bits) {
  th_data data = sampled_data();
  for (th_sampling_kind kind = TH_SAMPLING_EACH; kind <= TH_SAMPLING_BALANCED; kind++) {
    th_spec spec = sampled_spec(kind);
    th_trainer *whole = fixture_trained(&spec, &data);
    char name[32];
    snprintf(name, sizeof name, "sampling %d", (int)kind);
    fixture_expect_resumes(whole, fixture_trainer(&spec, &data), fixture_trainer(&spec, &data), 8,
                           name);
    th_trainer_destroy(whole);
  }
}

/* Twice the weights are the same proportions; in a loss they would be other numbers. */
Test(sampling, weights_that_rows_are_drawn_by_are_in_no_loss) {
  static float doubled[FIXTURE_ROWS];
  th_data data = sampled_data(), twice = sampled_data();
  for (uint32_t i = 0; i < FIXTURE_ROWS; i++) doubled[i] = 2 * data.weights[i];
  twice.weights = doubled;
  th_spec spec = sampled_spec(TH_SAMPLING_WEIGHTED);
  th_trainer *a = fixture_trained(&spec, &data), *b = fixture_trained(&spec, &twice);
  fixture_expect_same(a, b, "weights and twice of them");
  th_trainer_destroy(a);
  th_trainer_destroy(b);
}

Test(sampling, what_rows_are_sampled_by_must_be_there) {
  th_data data = fixture_data();
  th_spec spec = sampled_spec(TH_SAMPLING_WEIGHTED);
  fixture_assert_refused(&spec, &data, TH_ERR_DATA, "weights: sampling is \"weighted\"");
  spec.sampling = TH_SAMPLING_BALANCED;
  fixture_assert_refused(&spec, &data, TH_ERR_DATA, "groups: sampling is \"balanced\"");
}

Test(sampling, rows_that_all_weigh_nothing_are_refused) {
  static float weights[FIXTURE_ROWS];
  th_data data = fixture_data();
  th_spec spec = sampled_spec(TH_SAMPLING_WEIGHTED);
  spec.split = TH_SPLIT_LAST;
  data.weights = weights;
  weights[FIXTURE_ROWS - 1] = 1;
  fixture_assert_refused(&spec, &data, TH_ERR_DATA, "trained on weigh 0");
  weights[FIXTURE_ROWS - 1] = 0;
  weights[0] = 1;
  spec.sampling = TH_SAMPLING_EACH;
  fixture_assert_refused(&spec, &data, TH_ERR_DATA, "validation weigh 0");
}

/* The loops of normalization, for every instruction set that this machine can run, against the
 * definition in double. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "kernels/cpu/loops.h"
#include "kernels/normalization.h"

enum { ROWS = 7, OUTPUTS_MAX = 37, WIDTH_MAX = 48, NUMBERS = ROWS * WIDTH_MAX };

/* Arrays as the engine has them: what lies beyond a row's outputs is 0. */
typedef struct norm_rig {
  uint32_t outputs, width;
  float scales[WIDTH_MAX];
  float values[NUMBERS]; /* before */
  float deltas[NUMBERS]; /* gradients at scales · normalized */
  float scaled[NUMBERS];
  float normalized[NUMBERS];
} norm_rig;

static float random_unit(uint32_t i, uint32_t purpose) {
  return 2 * th_random_unit(th_philox_at(7, i, purpose, 0, 0).word[0]) - 1;
}

static void rig_set(norm_rig *rig, uint32_t outputs, float offset) {
  *rig = (norm_rig){.outputs = outputs, .width = th_panel_round(outputs)};
  for (uint32_t c = 0; c < outputs; c++) rig->scales[c] = 1 + random_unit(c, 1) / 2;
  for (uint32_t r = 0; r < ROWS; r++)
    for (uint32_t c = 0; c < outputs; c++) {
      uint32_t i = r * rig->width + c;
      rig->values[i] = rig->scaled[i] = offset + random_unit(i, 2);
      rig->deltas[i] = random_unit(i, 3);
    }
}

/* Numbers that are normalized together lie `step` apart. */
typedef struct norm_line {
  uint32_t first, step, count;
} norm_line;

static th_moments line_moments(const norm_rig *rig, norm_line line) {
  th_moments moments = {.count = line.count};
  for (uint32_t i = 0; i < line.count; i++)
    moments.mean += (double)rig->values[line.first + i * line.step] / line.count;
  for (uint32_t i = 0; i < line.count; i++)
    moments.squares += pow((double)rig->values[line.first + i * line.step] - moments.mean, 2);
  return moments;
}

static void check_line(const norm_rig *rig, norm_line line, double bound) {
  th_moments moments = line_moments(rig, line);
  for (uint32_t i = 0; i < line.count; i++) {
    uint32_t at = line.first + i * line.step;
    double expected = ((double)rig->values[at] - moments.mean) /
                      sqrt(moments.squares / line.count + TH_NORMALIZATION_EPSILON);
    cr_assert_float_eq((double)rig->normalized[at], expected, bound,
                       "%u outputs, number %u: %g, %g", rig->outputs, at,
                       (double)rig->normalized[at], expected);
    double scale = (double)rig->scales[at % rig->width];
    cr_assert_float_eq((double)rig->scaled[at], expected * scale, 2 * bound);
  }
}

/* The Jacobian of x̂, number by number: (δij − 1/n − x̂i·x̂j/n) / deviation. */
static void check_line_back(const norm_rig *rig, norm_line line, const float *found) {
  th_moments moments = line_moments(rig, line);
  double deviation = sqrt(moments.squares / line.count + TH_NORMALIZATION_EPSILON);
  for (uint32_t j = 0; j < line.count; j++) {
    uint32_t at = line.first + j * line.step;
    double expected = 0;
    for (uint32_t i = 0; i < line.count; i++) {
      uint32_t from = line.first + i * line.step;
      double delta = (double)rig->deltas[from] * (double)rig->scales[from % rig->width];
      double both = (double)rig->normalized[from] * (double)rig->normalized[at];
      expected += delta * ((i == j) - (1 + both) / line.count) / deviation;
    }
    cr_assert_float_eq((double)found[at], expected, 3e-6 * (1 + 1 / deviation));
  }
}

static void check_padding(const norm_rig *rig, const float *numbers) {
  for (uint32_t r = 0; r < ROWS; r++)
    for (uint32_t c = rig->outputs; c < rig->width; c++)
      cr_assert_eq(numbers[r * rig->width + c], 0, "%u outputs, padding %u", rig->outputs, c);
}

static void check_rows(const th_loops *loops, uint32_t outputs, float offset, double bound) {
  static norm_rig rig;
  float inverses[ROWS];
  float back[NUMBERS];
  rig_set(&rig, outputs, offset);
  loops->normalize_rows(ROWS, outputs, rig.width, rig.scales, rig.scaled, rig.normalized, inverses);
  memcpy(back, rig.deltas, sizeof back);
  loops->normalize_rows_back(ROWS, outputs, rig.width, rig.scales, rig.normalized, inverses, back);
  for (uint32_t r = 0; r < ROWS; r++) {
    norm_line row = {.first = r * rig.width, .step = 1, .count = outputs};
    check_line(&rig, row, bound);
    if (offset == 0) check_line_back(&rig, row, back);
  }
  check_padding(&rig, rig.normalized);
  check_padding(&rig, rig.scaled);
  check_padding(&rig, back);
}

Test(normalize, rows_are_those_of_the_definition_at_every_width) {
  const th_loops *loops;
  for (uint32_t v = 0; (loops = th_loops_at(v)) != NULL; v++)
    for (uint32_t outputs = 1; outputs <= OUTPUTS_MAX; outputs++)
      check_rows(loops, outputs, 0, 2e-6);
}

/* A variance taken as the mean of squares less the square of the mean would be all rounding. */
Test(normalize, rows_far_from_zero_keep_their_variance) {
  const th_loops *loops;
  for (uint32_t v = 0; (loops = th_loops_at(v)) != NULL; v++)
    check_rows(loops, OUTPUTS_MAX, 4096, 2e-3);
}

/* All rows as two slices, whose moments and sums are put together. */
static void check_columns(const th_loops *loops, uint32_t outputs) {
  enum { FIRST = 3 };
  static norm_rig rig;
  double means[2][WIDTH_MAX], squares[2][WIDTH_MAX];
  double dots[WIDTH_MAX], sums[WIDTH_MAX];
  float mean[WIDTH_MAX] = {0}, inverses[WIDTH_MAX] = {0};
  float scale_gradients[WIDTH_MAX], shift_gradients[WIDTH_MAX];
  float back[NUMBERS];
  rig_set(&rig, outputs, 2);
  loops->column_moments(FIRST, rig.width, rig.values, means[0], squares[0]);
  loops->column_moments(ROWS - FIRST, rig.width, rig.values + FIRST * rig.width, means[1],
                        squares[1]);
  for (uint32_t c = 0; c < outputs; c++) {
    th_moments all = th_moments_merge((th_moments){FIRST, means[0][c], squares[0][c]},
                                      (th_moments){ROWS - FIRST, means[1][c], squares[1][c]});
    th_moments expected = line_moments(&rig, (norm_line){c, rig.width, ROWS});
    cr_assert_float_eq(all.mean, expected.mean, 1e-14);
    cr_assert_float_eq(all.squares, expected.squares, 1e-13);
    mean[c] = (float)all.mean;
    inverses[c] = th_normalization_inverse(all.squares / ROWS);
  }
  loops->normalize_columns(ROWS, rig.width, mean, inverses, rig.scales, rig.scaled, rig.normalized);
  loops->column_dots(ROWS, rig.width, rig.deltas, rig.normalized, dots, sums);
  for (uint32_t c = 0; c < rig.width; c++) {
    scale_gradients[c] = (float)dots[c];
    shift_gradients[c] = (float)sums[c];
  }
  memcpy(back, rig.deltas, sizeof back);
  loops->normalize_columns_back(ROWS, rig.width, 1.0F / ROWS, rig.scales, inverses, rig.normalized,
                                scale_gradients, shift_gradients, back);
  for (uint32_t c = 0; c < outputs; c++) {
    check_line(&rig, (norm_line){c, rig.width, ROWS}, 5e-6);
    check_line_back(&rig, (norm_line){c, rig.width, ROWS}, back);
  }
  check_padding(&rig, rig.normalized);
  check_padding(&rig, rig.scaled);
  check_padding(&rig, back);
}

Test(normalize, columns_are_those_of_the_definition_at_every_width) {
  const th_loops *loops;
  for (uint32_t v = 0; (loops = th_loops_at(v)) != NULL; v++)
    for (uint32_t outputs = 1; outputs <= OUTPUTS_MAX; outputs++) check_columns(loops, outputs);
}

Test(normalize, what_does_not_vary_becomes_zero) {
  const th_loops *loops;
  for (uint32_t v = 0; (loops = th_loops_at(v)) != NULL; v++) {
    static norm_rig rig;
    float inverses[ROWS];
    rig_set(&rig, OUTPUTS_MAX, 0);
    for (uint32_t r = 0; r < ROWS; r++)
      for (uint32_t c = 0; c < OUTPUTS_MAX; c++) rig.scaled[r * rig.width + c] = (float)r - 2.5F;
    loops->normalize_rows(ROWS, OUTPUTS_MAX, rig.width, rig.scales, rig.scaled, rig.normalized,
                          inverses);
    for (uint32_t i = 0; i < ROWS * rig.width; i++) cr_assert_eq(rig.scaled[i], 0);
  }
}

Test(normalize, add_covers_every_number_and_may_add_in_place) {
  enum { COUNT = 48 };
  const th_loops *loops;
  for (uint32_t v = 0; (loops = th_loops_at(v)) != NULL; v++) {
    float left[COUNT], right[COUNT], result[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
      left[i] = random_unit(i, 5);
      right[i] = random_unit(i, 6);
    }
    loops->add(COUNT, left, right, result);
    for (uint32_t i = 0; i < COUNT; i++) cr_assert_eq(result[i], left[i] + right[i]);
    loops->add(COUNT, left, right, left);
    for (uint32_t i = 0; i < COUNT; i++) cr_assert_eq(left[i], result[i]);
  }
}

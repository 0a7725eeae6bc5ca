/* Every loop, for every instruction set that this machine can run, against the plainest code that
 * does the same. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/activation.h"
#include "kernels/cpu/loops.h"
#include "kernels/loss.h"

#define UNTOUCHED 12345.0F

static float random_unit(uint32_t i, uint32_t purpose) {
  return 2 * th_random_unit(th_philox_at(7, i, purpose, 0, 0).word[0]) - 1;
}

/* Small whole numbers, whose products and sums are exact in any order. */
static float small_whole(uint32_t i, uint32_t purpose) {
  return (float)(th_philox_at(9, i, purpose, 0, 0).word[0] % 15) - 7;
}

Test(loops, best_comes_first_and_portable_last) {
  cr_assert_eq(th_loops_choose(), th_loops_at(0));
  uint32_t count = 0;
  while (th_loops_at(count) != NULL) count++;
  cr_assert_geq(count, 1);
  cr_assert_str_eq(th_loops_at(count - 1)->name, "portable");
  cr_assert_null(th_loops_at(count + 1));
}

enum { WIDTH_MAX = 70, ROWS_MAX = 30, DEPTH_MAX = 33, STRIDE_MAX = 96 };

typedef struct product_rig {
  float left[ROWS_MAX * STRIDE_MAX];
  float right[DEPTH_MAX * STRIDE_MAX];
  float result[(ROWS_MAX + 1) * STRIDE_MAX];
} product_rig;

/* Odd strides; NaN wherever the product must not look, a mark wherever it must not write. */
static th_product product_set(product_rig *rig, uint32_t rows, uint32_t depth, uint32_t width,
                              bool is_transposed) {
  th_product p = {.rows = rows,
                  .depth = depth,
                  .columns = th_panel_round(width),
                  .left = rig->left,
                  .left_row = is_transposed ? 1 : depth + 3,
                  .left_depth = is_transposed ? rows + 3 : 1,
                  .right = rig->right,
                  .right_stride = th_panel_round(width) + 1,
                  .result = rig->result,
                  .result_stride = th_panel_round(width) + 5};
  for (uint32_t i = 0; i < ROWS_MAX * STRIDE_MAX; i++) rig->left[i] = NAN;
  for (uint32_t i = 0; i < DEPTH_MAX * STRIDE_MAX; i++) rig->right[i] = NAN;
  for (uint32_t i = 0; i < (ROWS_MAX + 1) * STRIDE_MAX; i++) rig->result[i] = UNTOUCHED;
  for (uint32_t r = 0; r < rows; r++)
    for (uint32_t k = 0; k < depth; k++)
      rig->left[r * p.left_row + k * p.left_depth] = small_whole(r * DEPTH_MAX + k, 1);
  for (uint32_t k = 0; k < depth; k++)
    for (uint32_t c = 0; c < p.columns; c++)
      rig->right[k * p.right_stride + c] = c < width ? small_whole(k * STRIDE_MAX + c, 2) : 0;
  return p;
}

static void product_check(const th_loops *loops, const th_product *p, uint32_t width) {
  for (uint32_t r = 0; r <= p->rows; r++)
    for (uint32_t c = 0; c < p->result_stride; c++) {
      float expected = r < p->rows && c < p->columns ? 0 : UNTOUCHED;
      for (uint32_t k = 0; k < p->depth && r < p->rows && c < width; k++)
        expected +=
            p->left[r * p->left_row + k * p->left_depth] * p->right[k * p->right_stride + c];
      float found = p->result[r * p->result_stride + c];
      cr_assert_eq(found, expected, "%s: %u × %u × %u, element %u, %u: %g, not %g", loops->name,
                   p->rows, p->depth, width, r, c, (double)found, (double)expected);
    }
}

Test(loops, product_is_the_triple_loop_at_every_width) {
  static product_rig rig;
  const th_loops *loops;
  for (uint32_t v = 0; (loops = th_loops_at(v)) != NULL; v++) {
    for (uint32_t width = 1; width <= WIDTH_MAX; width++)
      for (uint32_t rows = 1; rows <= ROWS_MAX; rows += rows < 9 ? 1 : 7)
        for (int is_transposed = 0; is_transposed < 2; is_transposed++) {
          uint32_t depth = 1 + (width * 7 + rows) % DEPTH_MAX;
          th_product p = product_set(&rig, rows, depth, width, is_transposed);
          loops->product(&p);
          product_check(loops, &p, width);
        }
  }
}

Test(loops, product_of_no_depth_is_zero) {
  static product_rig rig;
  const th_loops *loops;
  for (uint32_t v = 0; (loops = th_loops_at(v)) != NULL; v++) {
    th_product p = product_set(&rig, 7, 0, 20, false);
    loops->product(&p);
    product_check(loops, &p, 20);
  }
}

/* What makes slices of rows independent of each other. */
Test(loops, product_of_a_row_does_not_depend_on_its_neighbours) {
  enum { ROWS = 29, DEPTH = 41, COLUMNS = 112 };
  static float left[ROWS * DEPTH], right[DEPTH * COLUMNS], all[ROWS * COLUMNS], one[COLUMNS];
  const th_loops *loops;
  for (uint32_t i = 0; i < ROWS * DEPTH; i++) left[i] = random_unit(i, 3);
  for (uint32_t i = 0; i < DEPTH * COLUMNS; i++) right[i] = random_unit(i, 4);
  for (uint32_t v = 0; (loops = th_loops_at(v)) != NULL; v++) {
    th_product p = {.rows = ROWS,
                    .depth = DEPTH,
                    .columns = COLUMNS,
                    .left = left,
                    .left_row = DEPTH,
                    .left_depth = 1,
                    .right = right,
                    .right_stride = COLUMNS,
                    .result = all,
                    .result_stride = COLUMNS};
    loops->product(&p);
    for (uint32_t r = 0; r < ROWS; r++) {
      p.rows = 1;
      p.left = left + r * DEPTH;
      p.result = one;
      loops->product(&p);
      cr_assert_arr_eq(one, all + r * COLUMNS, sizeof one, "%s: row %u", loops->name, r);
    }
  }
}

Test(loops, transpose_touches_its_own_columns_alone) {
  enum { ROWS_STRIDE = 40 };
  static float values[24 * ROWS_STRIDE], result[33 * ROWS_STRIDE];
  const th_loops *loops;
  for (uint32_t i = 0; i < 24 * ROWS_STRIDE; i++) values[i] = random_unit(i, 5);
  for (uint32_t v = 0; (loops = th_loops_at(v)) != NULL; v++) {
    for (uint32_t rows = 1; rows <= 24; rows++)
      for (uint32_t columns = 1; columns <= 33; columns++) {
        for (uint32_t i = 0; i < 33 * ROWS_STRIDE; i++) result[i] = UNTOUCHED;
        loops->transpose(rows, columns, values, ROWS_STRIDE - 1, result, ROWS_STRIDE);
        for (uint32_t c = 0; c < 33; c++)
          for (uint32_t r = 0; r < ROWS_STRIDE; r++)
            cr_assert_eq(result[c * ROWS_STRIDE + r],
                         r < rows && c < columns ? values[r * (ROWS_STRIDE - 1) + c] : UNTOUCHED);
      }
  }
}

Test(loops, permute_is_the_permutation_place_by_place) {
  static const uint32_t counts[] = {1, 2, 7, 64, 256, 257, 511, 512, 513, 1000, 20000, 1 << 20};
  const th_loops *loops;
  for (uint32_t v = 0; (loops = th_loops_at(v)) != NULL; v++) {
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
      th_permutation orders[] = {th_permutation_identity(counts[i]),
                                 th_permutation_draw(counts[i], 3, TH_RANDOM_SHUFFLE, 4)};
      for (int o = 0; o < 2; o++) {
        uint32_t places[100], asked = counts[i] < 100 ? counts[i] : 100;
        for (uint32_t p = 0; p < asked; p++) places[p] = counts[i] - 1 - p;
        loops->permute(&orders[o], asked, places);
        for (uint32_t p = 0; p < asked; p++)
          cr_assert_eq(places[p], th_permutation_at(&orders[o], counts[i] - 1 - p), "%s: %u of %u",
                       loops->name, p, counts[i]);
      }
    }
  }
}

Test(loops, drop_follows_the_counters_of_rows_and_columns) {
  static const uint32_t widths[] = {16, 32, 48, 64, 144, 1040};
  enum { ROWS = 9 };
  static float values[ROWS * 1040];
  static uint8_t kept[ROWS * 1040 + 1];
  th_nonlinearity f = {.drop_threshold = th_dropout_threshold(0.3), .keep = 0.7F};
  th_dropout_place place = {.seed = UINT64_C(0x123456789ABCDEF0), .step = 5, .row = 64, .layer = 2};
  const th_loops *loops;
  for (uint32_t v = 0; (loops = th_loops_at(v)) != NULL; v++) {
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
      uint32_t width = widths[w];
      for (uint32_t i = 0; i < ROWS * width; i++) values[i] = random_unit(i, 6);
      kept[ROWS * width] = 77;
      loops->drop(&f, &place, ROWS, width, values, kept);
      for (uint32_t r = 0; r < ROWS; r++)
        for (uint32_t c = 0; c < width; c++) {
          th_philox block = th_philox_at(place.seed, 5, 64 + r, 2, c / TH_DROPOUT_COLUMNS);
          bool stays = th_dropout_bits(block, c % TH_DROPOUT_COLUMNS) >= f.drop_threshold;
          uint32_t i = r * width + c;
          cr_assert_eq(kept[i], stays, "%s: row %u, column %u of %u", loops->name, r, c, width);
          cr_assert_eq(values[i], stays ? random_unit(i, 6) * (1 / f.keep) : 0);
        }
      cr_assert_eq(kept[ROWS * width], 77);
    }
  }
}

enum { ACTIVATED_WIDTH = 48 };

/* Told by the value y of element i, or taken from what went in there. */
static float slope_of(th_activation kind, float y, uint32_t i, const float *biases) {
  float slope;
  if (th_activation_tells_slope(kind)) return th_activation_slope(kind, 0.1F, y);
  th_activation_value_slope(kind, 4 * random_unit(i, 8) + biases[i % ACTIVATED_WIDTH], &slope);
  return slope;
}

Test(loops, activate_and_backward_are_those_of_every_element) {
  enum { ROWS = 3, WIDTH = ACTIVATED_WIDTH };
  float values[ROWS * WIDTH], slopes[ROWS * WIDTH], biases[WIDTH], deltas[ROWS * WIDTH];
  uint8_t kept[ROWS * WIDTH];
  const th_loops *loops;
  for (uint32_t c = 0; c < WIDTH; c++) biases[c] = random_unit(c, 7);
  for (uint32_t v = 0; (loops = th_loops_at(v)) != NULL; v++) {
    for (th_activation kind = TH_ACTIVATION_RELU; kind <= TH_ACTIVATION_SILU; kind++) {
      th_nonlinearity f = {.kind = kind, .shape = 0.1F, .keep = 0.5F};
      for (uint32_t i = 0; i < ROWS * WIDTH; i++) {
        values[i] = 4 * random_unit(i, 8);
        deltas[i] = 1;
        kept[i] = i % 3 != 0;
      }
      loops->activate(&f, ROWS, WIDTH, biases, values, slopes);
      for (uint32_t i = 0; i < ROWS * WIDTH; i++)
        cr_assert_float_eq(
            values[i], th_activation_value(kind, 0.1F, 4 * random_unit(i, 8) + biases[i % WIDTH]),
            1e-6, "%s, %s", loops->name, th_activation_name(kind));
      loops->backward(&f, ROWS * WIDTH, values, slopes, NULL, deltas);
      for (uint32_t i = 0; i < ROWS * WIDTH; i++)
        cr_assert_float_eq(deltas[i], slope_of(kind, values[i], i, biases), 1e-6);
      for (uint32_t i = 0; i < ROWS * WIDTH; i++) deltas[i] = 1;
      loops->backward(&f, ROWS * WIDTH, values, slopes, kept, deltas);
      for (uint32_t i = 0; i < ROWS * WIDTH; i++)
        cr_assert_float_eq(deltas[i], kept[i] ? 2 * slope_of(kind, values[i] / 2, i, biases) : 0,
                           2e-6);
    }
  }
}

Test(loops, drop_backward_scales_what_was_kept) {
  enum { COUNT = 48 };
  const th_loops *loops;
  for (uint32_t v = 0; (loops = th_loops_at(v)) != NULL; v++) {
    float deltas[COUNT];
    uint8_t kept[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
      deltas[i] = small_whole(i, 21);
      kept[i] = i % 3 != 0;
    }
    loops->drop_backward(&(th_nonlinearity){.keep = 0.5F}, COUNT, kept, deltas);
    for (uint32_t i = 0; i < COUNT; i++)
      cr_assert_eq(deltas[i], kept[i] ? 2 * small_whole(i, 21) : 0);
  }
}

enum { LOSS_ROWS_MAX = 37, LOSS_ROWS_ROUND = 48, LOSS_STRIDE = 80 };

/* @param weights  [rows] or NULL. */
static void loss_check(const th_loops *loops, uint32_t rows, uint32_t classes,
                       const float *weights) {
  static float logits[LOSS_ROWS_ROUND * LOSS_STRIDE], plain[LOSS_STRIDE];
  uint32_t labels[LOSS_ROWS_MAX], correct = 0;
  double sum = 0, weight_sum = 0;
  for (uint32_t i = 0; i < LOSS_ROWS_ROUND * LOSS_STRIDE; i++)
    logits[i] = i < rows * LOSS_STRIDE ? 10 * random_unit(i, 10) : NAN;
  for (uint32_t r = 0; r < rows; r++) labels[r] = (r * 5) % classes;
  th_sums sums =
      loops->losses(&(th_loss_rule){0}, rows, classes, LOSS_STRIDE, labels, weights, 0.25F, logits);
  for (uint32_t r = 0; r < rows; r++) {
    float total, weight = weights == NULL ? 1 : weights[r];
    for (uint32_t c = 0; c < classes; c++) plain[c] = 10 * random_unit(r * LOSS_STRIDE + c, 10);
    correct += th_loss_argmax(plain, classes) == labels[r];
    weight_sum += (double)weight;
    sum += (double)(weight * th_loss_cross_entropy(plain, classes, labels[r], &total));
    th_loss_cross_entropy_gradient(plain, classes, labels[r], total, weight * 0.25F);
    for (uint32_t c = 0; c < LOSS_STRIDE; c++) {
      uint32_t i = r * LOSS_STRIDE + c;
      float expected = c < classes ? plain[c] : 10 * random_unit(i, 10);
      cr_assert_float_eq(logits[i], expected, 1e-6, "%s: row %u, class %u of %u: %g, not %g",
                         loops->name, r, c, classes, (double)logits[i], (double)expected);
    }
  }
  cr_assert_eq(sums.correct, correct);
  cr_assert_eq(sums.rows, rows);
  cr_assert_eq(sums.weight, weight_sum);
  cr_assert_float_eq(sums.loss, sum, 1e-6 * (1 + sum), "%s: %u classes: %.9g, not %.9g",
                     loops->name, classes, sums.loss, sum);
}

Test(loops, cross_entropy_is_that_of_every_row) {
  float weights[LOSS_ROWS_MAX];
  for (uint32_t r = 0; r < LOSS_ROWS_MAX; r++) weights[r] = (float)(r % 4) / 2;
  const th_loops *loops;
  for (uint32_t v = 0; (loops = th_loops_at(v)) != NULL; v++) {
    for (uint32_t classes = 1; classes <= WIDTH_MAX; classes++) {
      loss_check(loops, LOSS_ROWS_MAX, classes, NULL);
      loss_check(loops, LOSS_ROWS_MAX, classes, weights);
      loss_check(loops, 1, classes, NULL);
    }
  }
}

Test(loops, cross_entropy_hides_no_diverged_row) {
  static const float bad[] = {NAN, INFINITY};
  const th_loops *loops;
  for (uint32_t v = 0; (loops = th_loops_at(v)) != NULL; v++) {
    for (uint32_t classes = 2; classes <= WIDTH_MAX; classes++)
      for (uint32_t i = 0; i < 2; i++) {
        float logits[TH_LOSS_ROWS * LOSS_STRIDE] = {0};
        logits[3 * LOSS_STRIDE + classes / 2] = bad[i];
        th_sums sums = loops->losses(&(th_loss_rule){0}, 5, classes, LOSS_STRIDE, (uint32_t[5]){0},
                                     NULL, 1, logits);
        cr_assert_not(isfinite(sums.loss), "%s: %g of %u classes gave %g", loops->name,
                      (double)bad[i], classes, sums.loss);
      }
  }
}

/* Rows of which the first output is off by 1 and the others by 3, where Huber is linear from 2. */
static void errors_check(const th_loops *loops, th_loss_kind kind, uint32_t outputs) {
  enum { ROWS = 3 };
  float errors[ROWS * LOSS_STRIDE], weights[ROWS] = {1, 0.5F, 0};
  double shares[LOSS_STRIDE], far = outputs - 1;
  for (uint32_t i = 0; i < ROWS * LOSS_STRIDE; i++)
    errors[i] = (i % 2 == 0 ? 1.0F : -1.0F) * (i % LOSS_STRIDE == 0 ? 1 : 3);
  for (uint32_t o = 0; o < outputs; o++) shares[o] = o == 0 ? 0.5 : 2;
  th_loss_rule rule = {.kind = kind, .delta = 2};
  th_sums sums = loops->errors(&rule, ROWS, outputs, LOSS_STRIDE, weights, shares, 0.25F, errors);
  bool is_squared = kind == TH_LOSS_MEAN_SQUARED_ERROR;
  double loss = is_squared ? 1 + 9 * far : 0.5 + 4 * far;
  cr_assert_float_eq(sums.loss, 1.5 * loss / outputs, 1e-6);
  cr_assert_eq(sums.weight, 1.5);
  cr_assert_eq(sums.rows, ROWS);
  cr_assert_eq(sums.correct, 0);
  cr_assert_float_eq(sums.absolute, ROWS * (1 + 3 * far) / outputs, 1e-6);
  cr_assert_float_eq(sums.squares, ROWS * (1 + 9 * far) / outputs, 1e-6);
  cr_assert_float_eq(sums.unexplained, ROWS * (0.5 + 18 * far), 1e-6);
  for (uint32_t i = 0; i < ROWS * LOSS_STRIDE; i++) {
    uint32_t o = i % LOSS_STRIDE;
    float sign = i % 2 == 0 ? 1 : -1;
    float slope = is_squared ? (o == 0 ? 2 : 6) : (o == 0 ? 1 : 2);
    float gradient = sign * slope * 0.25F * weights[i / LOSS_STRIDE] / (float)outputs;
    float expected = o < outputs ? gradient : sign * 3;
    cr_assert_float_eq(errors[i], expected, 1e-6, "%s: output %u of %u", loops->name, o, outputs);
  }
}

Test(loops, errors_are_those_of_every_output) {
  const th_loops *loops;
  for (uint32_t v = 0; (loops = th_loops_at(v)) != NULL; v++)
    for (uint32_t outputs = 1; outputs <= WIDTH_MAX; outputs++) {
      errors_check(loops, TH_LOSS_MEAN_SQUARED_ERROR, outputs);
      errors_check(loops, TH_LOSS_HUBER, outputs);
    }
}

Test(loops, errors_hide_no_diverged_row) {
  static const float bad[] = {NAN, INFINITY};
  const th_loops *loops;
  for (uint32_t v = 0; (loops = th_loops_at(v)) != NULL; v++)
    for (th_loss_kind kind = TH_LOSS_MEAN_SQUARED_ERROR; kind <= TH_LOSS_HUBER; kind++)
      for (uint32_t i = 0; i < 2; i++) {
        float errors[2 * LOSS_STRIDE] = {[LOSS_STRIDE + 1] = bad[i]};
        th_loss_rule rule = {.kind = kind, .delta = 1};
        th_sums sums = loops->errors(&rule, 2, 3, LOSS_STRIDE, NULL, NULL, 1, errors);
        cr_assert_not(isfinite(sums.loss), "%s: %g gave %g", loops->name, (double)bad[i],
                      sums.loss);
      }
}

Test(loops, bias_and_column_sums_cover_every_column) {
  enum { ROWS = 5, WIDTH = 48 };
  float values[ROWS * WIDTH], biases[WIDTH], sums[WIDTH + 1];
  const th_loops *loops;
  for (uint32_t v = 0; (loops = th_loops_at(v)) != NULL; v++) {
    for (uint32_t i = 0; i < ROWS * WIDTH; i++) values[i] = small_whole(i, 11);
    for (uint32_t c = 0; c < WIDTH; c++) biases[c] = small_whole(c, 12);
    sums[WIDTH] = UNTOUCHED;
    loops->bias(ROWS, WIDTH, biases, values);
    loops->column_sums(ROWS, WIDTH, values, sums);
    for (uint32_t c = 0; c < WIDTH; c++) {
      float expected = ROWS * small_whole(c, 12);
      for (uint32_t r = 0; r < ROWS; r++) expected += small_whole(r * WIDTH + c, 11);
      cr_assert_eq(sums[c], expected);
    }
    cr_assert_eq(sums[WIDTH], UNTOUCHED);
  }
}

static void optimize_plainly(const th_optimizer *o, float gradient, float *parameter,
                             float *moment1, float *moment2) {
  if (o->kind == TH_OPTIMIZER_ADAM)
    th_optimizer_adam(o, gradient, parameter, moment1, moment2);
  else if (o->kind == TH_OPTIMIZER_ADAMW)
    th_optimizer_adamw(o, gradient, parameter, moment1, moment2);
  else if (o->kind == TH_OPTIMIZER_RMSPROP && o->momentum != 0)
    th_optimizer_rmsprop_momentum(o, gradient, parameter, moment1, moment2);
  else if (o->kind == TH_OPTIMIZER_RMSPROP)
    th_optimizer_rmsprop(o, gradient, parameter, moment1);
  else if (o->momentum != 0)
    th_optimizer_sgd_momentum(o, gradient, parameter, moment1);
  else
    th_optimizer_sgd(o, gradient, parameter);
}

Test(loops, optimize_steps_every_parameter_and_leaves_padding_zero) {
  enum { COUNT = 80, PADDING = 16 };
  const th_loops *loops;
  for (uint32_t v = 0; (loops = th_loops_at(v)) != NULL; v++) {
    for (int kind = 0; kind < 8; kind++) {
      bool has_momentum = kind == 4 || kind == 7;
      th_spec spec = {.optimizer = (th_optimizer_kind)(kind % 4),
                      .learning_rate = 0.01,
                      .weight_decay = 0.1,
                      .momentum = has_momentum ? 0.9 : 0,
                      .nesterov = kind == 4,
                      .rho = 0.99,
                      .beta1 = 0.9,
                      .beta2 = 0.999,
                      .epsilon = 1e-8};
      uint32_t moments = th_optimizer_moments(&spec);
      float g[COUNT] = {0}, p[COUNT] = {0}, m1[COUNT] = {0}, m2[COUNT] = {0};
      float plain[COUNT] = {0}, m1_plain[COUNT] = {0}, m2_plain[COUNT] = {0};
      for (uint32_t i = 0; i < COUNT - PADDING; i++) plain[i] = p[i] = random_unit(i, 13);
      for (uint32_t step = 1; step <= 3; step++) {
        th_optimizer o = th_optimizer_at(&spec, spec.learning_rate, step);
        for (uint32_t i = 0; i < COUNT - PADDING; i++) g[i] = random_unit(i, 13 + step);
        loops->optimize(&o, COUNT, g, p, moments > 0 ? m1 : NULL, moments > 1 ? m2 : NULL);
        for (uint32_t i = 0; i < COUNT; i++)
          optimize_plainly(&o, g[i], &plain[i], &m1_plain[i], &m2_plain[i]);
      }
      for (uint32_t i = 0; i < COUNT; i++)
        cr_assert_float_eq(p[i], plain[i], i < COUNT - PADDING ? 1e-6 : 0,
                           "%s, kind %d, %u: %g, %g", loops->name, kind, i, (double)p[i],
                           (double)plain[i]);
    }
  }
}

Test(loops, clamp_scale_and_squares_cover_every_number) {
  enum { COUNT = 48 };
  const th_loops *loops;
  for (uint32_t v = 0; (loops = th_loops_at(v)) != NULL; v++) {
    float values[COUNT], sum = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
      values[i] = small_whole(i, 20);
      sum += values[i] * values[i];
    }
    cr_assert_eq(loops->squares(COUNT, values), (double)sum, "%s", loops->name);
    loops->scale(COUNT, 0.5F, values);
    for (uint32_t i = 0; i < COUNT; i++) cr_assert_eq(values[i], small_whole(i, 20) / 2);
    loops->clamp(COUNT, 2, values);
    for (uint32_t i = 0; i < COUNT; i++)
      cr_assert_eq(values[i], fmaxf(-2, fminf(small_whole(i, 20) / 2, 2)));
  }
}

/* A bound must not make a number of what is none. */
Test(loops, clamp_leaves_nan) {
  const th_loops *loops;
  for (uint32_t v = 0; (loops = th_loops_at(v)) != NULL; v++) {
    float values[] = {NAN, INFINITY, -INFINITY, 1};
    loops->clamp(4, 3, values);
    cr_assert(isnan(values[0]) && values[1] == 3 && values[2] == -3 && values[3] == 1);
  }
}

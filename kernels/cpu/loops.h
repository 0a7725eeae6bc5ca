/**
 * The loops of a step, over arrays: matrix products for small layers, and kernels/activation.h and
 * its like for every element.
 *
 * One source is compiled for each instruction set that pays; th_loops_choose picks once. All rows
 * of an array are padded to whole panels, so no hot loop has a tail: a loop may read and write
 * the padding, which is never looked at, and a product leaves zeros there if `right` has zeros.
 */
#ifndef TH_KERNELS_CPU_LOOPS_H
#define TH_KERNELS_CPU_LOOPS_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/loss.h"
#include "kernels/optimizer.h"
#include "kernels/random.h"
#include "kernels/real.h"
#include "kernels/spec.h"

/** Rows are padded to a multiple of so many numbers: a cache line, the longest vector there is. */
#define TH_PANEL 16

/** A row's length with its padding. */
static inline uint32_t th_panel_round(uint32_t width) {
  return (width + TH_PANEL - 1) / TH_PANEL * TH_PANEL;
}

/**
 * result [rows, columns] = left [rows, depth] · right [depth, columns].
 *
 * Strides are in numbers. Left has two, so that it may be a transposed matrix.
 */
typedef struct th_product {
  uint32_t rows, depth;
  uint32_t columns; /**< a multiple of TH_PANEL */
  const th_real *left;
  size_t left_row, left_depth; /**< from one row to the next, from one of its numbers to the next */
  const th_real *right;
  size_t right_stride;
  th_real *result;
  size_t result_stride;
} th_product;

/** What happens to the outputs of a hidden layer. */
typedef struct th_nonlinearity {
  th_activation kind;
  th_real shape; /**< th_activation_value's */
  uint32_t drop_threshold; /**< th_dropout_threshold; 0: no dropout */
  th_real keep; /**< probability of being kept */
} th_nonlinearity;

/** Where a slice of rows stands, as the counters of dropout have it. */
typedef struct th_dropout_place {
  uint64_t seed;
  uint32_t step;
  uint32_t row; /**< of the slice's first row within its batch */
  uint32_t layer;
} th_dropout_place;

/**
 * A recurrent layer at one time, for some rows (kernels/cell.h). Gates lie side by side, `width`
 * numbers each; a row of them is padded at its end.
 */
typedef struct th_cell_step {
  uint32_t rows, width;
  uint32_t gates_stride, state_stride;
  const th_real *input_biases, *state_biases; /**< one row of gates */
  th_real *gates; /**< the input's products, then the gates, then the gradient at the products */
  th_real *products; /**< the state's; a GRU keeps them, and then the gradient at them */
  const th_real *states_before;
  th_real *states;
  const th_real *memories_before; /**< of an LSTM */
  th_real *memories;
  th_real *state_deltas; /**< backward: the gradient at the states, then past the products */
  th_real *memory_deltas; /**< of an LSTM */
} th_cell_step;

/** Rows whose losses are taken side by side. */
#define TH_LOSS_ROWS 16

/** The loops for one instruction set. Widths are padded ones, multiples of TH_PANEL. */
typedef struct th_loops {
  const char *name; /**< "AVX-512" */

  /** A number's terms are added in the order of depth, whatever the shape around it. */
  void (*product)(const th_product *product);

  /** result [columns, rows] = the transpose of values [rows, columns]. Strides are row lengths. */
  void (*transpose)(uint32_t rows, uint32_t columns, const th_real *values, size_t stride,
                    th_real *result, size_t result_stride);

  /** places[i] = th_permutation_at(order, places[i]). */
  void (*permute)(const th_permutation *order, uint32_t count, uint32_t *places);

  /** values [rows, width] += biases [width]. */
  void (*bias)(uint32_t rows, uint32_t width, const th_real *biases, th_real *values);

  /**
   * values [rows, width] = f(values + biases).
   *
   * @param slopes  [out] [rows, width] f′ there; NULL if not wanted or told by the values.
   */
  void (*activate)(const th_nonlinearity *f, uint32_t rows, uint32_t width, const th_real *biases,
                   th_real *values, th_real *slopes);

  /** values [rows, width]: dropped to 0, or scaled by 1/keep. @param kept  [out] 0 or 1 for each.
   */
  void (*drop)(const th_nonlinearity *f, const th_dropout_place *place, uint32_t rows,
               uint32_t width, th_real *values, uint8_t *kept);

  /**
   * deltas[i] *= the derivative at what `activate` and `drop` made of element i.
   *
   * @param slopes  what `activate` wrote; NULL if the values tell them.
   * @param kept    NULL without dropout.
   */
  void (*backward)(const th_nonlinearity *f, uint64_t count, const th_real *values,
                   const th_real *slopes, const uint8_t *kept, th_real *deltas);

  /** deltas[i] is 0 where it was dropped, else 1/keep of itself: backward through `drop` alone. */
  void (*drop_backward)(const th_nonlinearity *f, uint64_t count, const uint8_t *kept,
                        th_real *deltas);

  /** Gates, memories and states from the products before them. */
  void (*cell_forward)(th_recurrent_kind kind, const th_cell_step *step);

  /** From the gradient at states and memories to that at the products and the memories before. */
  void (*cell_backward)(th_recurrent_kind kind, const th_cell_step *step);

  /**
   * Turn logits into the gradient of the mean loss at them, and add up the losses.
   *
   * @param logits  [rows rounded up to TH_LOSS_ROWS, stride] [in,out]
   * @param labels   [rows], below classes.
   * @param weights  [rows] what each row's loss is multiplied by; NULL: 1.
   * @param scale    1 / weight of the batch.
   */
  th_sums (*losses)(const th_loss_rule *rule, uint32_t rows, uint32_t outputs, uint32_t stride,
                    const uint32_t *labels, const th_real *weights, th_real scale, th_real *logits);

  /**
   * The same of a regression.
   *
   * @param errors  [rows, stride] [in,out] outputs less targets.
   * @param shares  [outputs] what makes error² a share of the unexplained; NULL: not wanted.
   */
  th_sums (*errors)(const th_loss_rule *rule, uint32_t rows, uint32_t outputs, uint32_t stride,
                    const th_real *weights, const double *shares, th_real scale, th_real *errors);

  /**
   * Normalize each row: normalized = (values − mean) · inverse, values = scales · normalized.
   *
   * @param outputs     numbers of a row that count; what is beyond must be 0 in `values` and in
   *                    `normalized`, and stays so.
   * @param normalized  [out] [rows, width].
   * @param inverses    [out] [rows] th_normalization_inverse.
   */
  void (*normalize_rows)(uint32_t rows, uint32_t outputs, uint32_t width, const th_real *scales,
                         th_real *values, th_real *normalized, th_real *inverses);

  /** From the gradient at scales · normalized to that at what was normalized. */
  void (*normalize_rows_back)(uint32_t rows, uint32_t outputs, uint32_t width,
                              const th_real *scales, const th_real *normalized,
                              const th_real *inverses, th_real *deltas);

  /** The same for columns, whose means and inverses [width] are known. */
  void (*normalize_columns)(uint32_t rows, uint32_t width, const th_real *means,
                            const th_real *inverses, const th_real *scales, th_real *values,
                            th_real *normalized);

  /**
   * @param share           1 / rows of all slices together.
   * @param scale_gradients, shift_gradients  [width] their sums.
   */
  void (*normalize_columns_back)(uint32_t rows, uint32_t width, th_real share,
                                 const th_real *scales, const th_real *inverses,
                                 const th_real *normalized, const th_real *scale_gradients,
                                 const th_real *shift_gradients, th_real *deltas);

  /** Of each column of values [rows, width]: its mean, and the squared distances from it. */
  void (*column_moments)(uint32_t rows, uint32_t width, const th_real *values, double *means,
                         double *squares);

  /** Of each column: Σ deltas · normalized, and Σ deltas. */
  void (*column_dots)(uint32_t rows, uint32_t width, const th_real *deltas,
                      const th_real *normalized, double *dots, double *sums);

  /** result[i] = left[i] + right[i]. The result may be one of them. */
  void (*add)(uint64_t count, const th_real *left, const th_real *right, th_real *result);

  /** sums [width] of values [rows, width], taken in double. */
  void (*column_sums)(uint32_t rows, uint32_t width, const th_real *values, th_real *sums);

  /** Bring every value into [−bound, bound]; NaN stays NaN. */
  void (*clamp)(uint64_t count, th_real bound, th_real *values);

  /** values[i] *= factor. */
  void (*scale)(uint64_t count, th_real factor, th_real *values);

  /** The sum of the squares, taken in double. @param count  a multiple of TH_PANEL. */
  double (*squares)(uint64_t count, const th_real *values);

  /** One optimizer step over `count` parameters. Moments that the kind does not use may be NULL. */
  void (*optimize)(const th_optimizer *optimizer, uint64_t count, const th_real *gradients,
                   th_real *parameters, th_real *moment1, th_real *moment2);
} th_loops;

#define th_loops_at TH_REAL_SYMBOL(th_loops_at)
#define th_loops_choose TH_REAL_SYMBOL(th_loops_choose)

/** The index'th of those that this processor can run, the best first; NULL after the last. */
const th_loops *th_loops_at(uint32_t index);

/** The best one. */
const th_loops *th_loops_choose(void);

#endif

/** The element-wise loops of a step: kernels/activation.h and its like, over arrays. */
#ifndef TH_KERNELS_CPU_LOOPS_H
#define TH_KERNELS_CPU_LOOPS_H

#include "kernels/optimizer.h"
#include "kernels/random.h"
#include "kernels/real.h"
#include "kernels/spec.h"

#define th_loops_bias TH_REAL_SYMBOL(th_loops_bias)
#define th_loops_activate TH_REAL_SYMBOL(th_loops_activate)
#define th_loops_drop TH_REAL_SYMBOL(th_loops_drop)
#define th_loops_backward TH_REAL_SYMBOL(th_loops_backward)
#define th_loops_column_sums TH_REAL_SYMBOL(th_loops_column_sums)
#define th_loops_optimize TH_REAL_SYMBOL(th_loops_optimize)

/** What happens to the outputs of a hidden layer. */
typedef struct th_nonlinearity {
  th_activation kind;
  th_real negative_slope;
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

/** values [rows, width] += biases [width]. */
void th_loops_bias(uint32_t rows, uint32_t width, const th_real *biases, th_real *values);

/** values [rows, width] = f(values + biases). */
void th_loops_activate(const th_nonlinearity *f, uint32_t rows, uint32_t width,
                       const th_real *biases, th_real *values);

/** values [rows, width]: dropped to 0, or scaled by 1/keep. @param kept  [out] 0 or 1 for each. */
void th_loops_drop(const th_nonlinearity *f, const th_dropout_place *place, uint32_t rows,
                   uint32_t width, th_real *values, uint8_t *kept);

/**
 * deltas[i] *= the derivative at what th_loops_activate and th_loops_drop made of element i.
 *
 * @param kept  NULL without dropout.
 */
void th_loops_backward(const th_nonlinearity *f, uint64_t count, const th_real *values,
                       const uint8_t *kept, th_real *deltas);

/** The columns' sums are taken in double. This is the most columns of one call. */
#define TH_COLUMN_SUMS_MAX 64

/** sums [columns] of values [rows, columns], a part of rows that are `stride` long. */
void th_loops_column_sums(uint32_t rows, uint32_t columns, uint32_t stride, const th_real *values,
                          th_real *sums);

/** One optimizer step over `count` parameters. Moments that the kind does not use may be NULL. */
void th_loops_optimize(const th_optimizer *optimizer, uint64_t count, const th_real *gradients,
                       th_real *parameters, th_real *moment1, th_real *moment2);

#endif

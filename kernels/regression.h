/** How near the outputs of a regression come to their targets: errors of each output, and R². */
#ifndef TH_KERNELS_REGRESSION_H
#define TH_KERNELS_REGRESSION_H

#include <jansson.h>
#include <stdbool.h>

#include "kernels/loss.h"
#include "kernels/split.h"

/**
 * The targets of some rows, and the errors counted of them. All rows count the same: their weights
 * are in losses only.
 *
 * Empty, {0}: there are none.
 */
typedef struct th_regression {
  uint32_t outputs;
  double variable; /**< share of the outputs whose targets vary at all */
  /** [outputs] 1 / (variance · outputs), so that Σ error² · share over all outputs is what a row
   * leaves unexplained; 0 where targets do not vary. Owns the memory of all three. */
  double *shares;
  double *absolute, *squares; /**< [outputs] sums over the rows counted */
  uint64_t rows; /**< counted */
} th_regression;

/**
 * Find out how the targets of the rows at positions first … first + count − 1 vary.
 *
 * @return TH_OK; TH_ERR_SYSTEM without memory.
 */
th_error th_regression_init(th_regression *regression, const th_data *data, const th_split *split,
                            uint32_t first, uint32_t count);

/** Count a row. @param targets, outputs  [outputs] */
void th_regression_add(th_regression *regression, const float *targets, const float *outputs);

/**
 * R², the share of the variance that is explained, as sklearn's r2_score has it: its plain mean
 * over the outputs. An output whose targets do not vary explains nothing.
 *
 * @param sums  over rows whose engine had these shares; at least one.
 */
double th_regression_r2(const th_regression *regression, const th_sums *sums);

/**
 * Add "mae", "rmse" and "r2" to a card, and "by_output" with the same of each output. The errors
 * are means over all outputs, the root taken last.
 *
 * @param card  [in,out] an object. @return false without memory.
 */
bool th_regression_print(const th_regression *regression, json_t *card);

/** Takes an empty one. */
void th_regression_fini(th_regression *regression);

#endif

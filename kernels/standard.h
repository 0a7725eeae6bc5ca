/** Standardized inputs: each feature less its mean, over its standard deviation. */
#ifndef TH_KERNELS_STANDARD_H
#define TH_KERNELS_STANDARD_H

#include "kernels/split.h"

/** One memory block for all three. Empty, {0}: features enter a net as they are. */
typedef struct th_standard {
  float *mean; /**< [width] */
  float *deviation; /**< [width], above 0; 1 where a feature does not vary */
  float *scale; /**< [width] 1 / deviation */
} th_standard;

/** Reserve memory, means 0 and deviations 1. @return TH_OK; TH_ERR_SYSTEM. */
th_error th_standard_init(th_standard *standard, uint32_t width);

/**
 * Mean and standard deviation, over the count of rows as sklearn's StandardScaler, of the training
 * rows alone: what validates is as unseen as what is predicted later.
 *
 * Sums are taken in double and in the order of the positions, so that no thread and no device
 * changes them.
 *
 * @return TH_OK; TH_ERR_SYSTEM without memory.
 */
th_error th_standard_fit(th_standard *standard, const th_data *data, const th_split *split);

/**
 * Find the scales to deviations that came from elsewhere.
 *
 * @return TH_OK; TH_ERR_DATA naming the feature whose numbers are not finite or not above 0.
 */
th_error th_standard_judge(th_standard *standard, uint32_t width);

/** Takes an empty one. */
void th_standard_fini(th_standard *standard);

#endif

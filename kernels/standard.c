#include "kernels/standard.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

th_error th_standard_init(th_standard *standard, uint32_t width) {
  *standard = (th_standard){.mean = calloc(width, 3 * sizeof *standard->mean)};
  if (standard->mean == NULL)
    return th_fail(TH_ERR_SYSTEM, "no memory for the means of %u features", width);
  standard->deviation = standard->mean + width;
  standard->scale = standard->deviation + width;
  for (uint32_t c = 0; c < width; c++) standard->deviation[c] = standard->scale[c] = 1;
  return TH_OK;
}

/* Rounding alone makes equal numbers vary this much (sklearn.preprocessing, _is_constant_feature,
 * after Chan, Golub and LeVeque 1983). */
static bool is_constant(double variance, double mean, double rows) {
  double rounding = rows * mean * DBL_EPSILON;
  return variance <= rows * DBL_EPSILON * variance + rounding * rounding;
}

/* Row after row, as they lie in memory. */
static void means_add(const th_data *data, const th_split *split, double *means) {
  for (uint32_t i = 0; i < split->training_rows; i++) {
    const float *row = data->features + (size_t)th_split_row(split, i) * data->width;
    for (uint32_t c = 0; c < data->width; c++) means[c] += row[c];
  }
  for (uint32_t c = 0; c < data->width; c++) means[c] /= split->training_rows;
}

/* From the means that are known already: sums of squares alone would lose what matters of numbers
 * that are far from 0. */
static void variances_add(const th_data *data, const th_split *split, const double *means,
                          double *variances) {
  for (uint32_t i = 0; i < split->training_rows; i++) {
    const float *row = data->features + (size_t)th_split_row(split, i) * data->width;
    for (uint32_t c = 0; c < data->width; c++) {
      double off = row[c] - means[c];
      variances[c] += off * off;
    }
  }
  for (uint32_t c = 0; c < data->width; c++) variances[c] /= split->training_rows;
}

th_error th_standard_fit(th_standard *standard, const th_data *data, const th_split *split) {
  uint32_t width = data->width;
  double *means = calloc(width, 2 * sizeof *means);
  if (means == NULL) return th_fail(TH_ERR_SYSTEM, "no memory for the means of %u features", width);
  double *variances = means + width;
  means_add(data, split, means);
  variances_add(data, split, means, variances);
  for (uint32_t c = 0; c < width; c++) {
    float deviation = (float)sqrt(variances[c]);
    bool varies = !is_constant(variances[c], means[c], split->training_rows) &&
                  isnormal(deviation) && isnormal(1 / deviation);
    standard->mean[c] = (float)means[c];
    standard->deviation[c] = varies ? deviation : 1;
    standard->scale[c] = 1 / standard->deviation[c];
  }
  free(means);
  return TH_OK;
}

th_error th_standard_judge(th_standard *standard, uint32_t width) {
  for (uint32_t c = 0; c < width; c++) {
    standard->scale[c] = 1 / standard->deviation[c];
    if (!isfinite(standard->mean[c]) || !(standard->deviation[c] > 0) ||
        !isnormal(standard->scale[c]))
      return th_fail(TH_ERR_DATA,
                     "the model's input.mean and input.std of feature %u (from 0) are %g and %g: "
                     "not finite, or not above 0",
                     c, (double)standard->mean[c], (double)standard->deviation[c]);
  }
  return TH_OK;
}

void th_standard_fini(th_standard *standard) {
  free(standard->mean);
  *standard = (th_standard){0};
}

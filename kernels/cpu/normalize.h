/**
 * The loops of normalization over rows and columns (kernels/normalization.h has the elements).
 *
 * Included by loops.c alone, which is compiled once for each instruction set. The padding of
 * products is zero; it must not count in a row's mean, and is zero again in every result.
 */
#ifndef TH_KERNELS_CPU_NORMALIZE_H
#define TH_KERNELS_CPU_NORMALIZE_H

#include "kernels/cpu/loops.h"
#include "kernels/normalization.h"

static double total(const double sums[TH_PANEL]) {
  double all = 0;
  for (uint32_t lane = 0; lane < TH_PANEL; lane++) all += sums[lane];
  return all;
}

/* TH_PANEL sums side by side, so that the loops vectorize; there are whole panels only. */
static double sum(uint64_t count, const th_real *values) {
  double sums[TH_PANEL] = {0};
  for (uint64_t i = 0; i < count; i += TH_PANEL)
    for (uint32_t lane = 0; lane < TH_PANEL; lane++) sums[lane] += (double)values[i + lane];
  return total(sums);
}

static double dot(uint64_t count, const th_real *left, const th_real *right) {
  double sums[TH_PANEL] = {0};
  for (uint64_t i = 0; i < count; i += TH_PANEL)
    for (uint32_t lane = 0; lane < TH_PANEL; lane++)
      sums[lane] += (double)left[i + lane] * (double)right[i + lane];
  return total(sums);
}

static double squares(uint64_t count, const th_real *values) {
  return dot(count, values, values);
}

static th_real row_normalize(uint32_t outputs, uint32_t width, const th_real *restrict scales,
                             th_real *restrict values, th_real *restrict normalized) {
  th_real mean = (th_real)(sum(width, values) / outputs);
  for (uint32_t c = 0; c < outputs; c++) normalized[c] = values[c] - mean;
  th_real inverse = th_normalization_inverse(squares(width, normalized) / outputs);
  for (uint32_t c = 0; c < width; c++) {
    normalized[c] *= inverse;
    values[c] = normalized[c] * scales[c];
  }
  return inverse;
}

static void normalize_rows(uint32_t rows, uint32_t outputs, uint32_t width, const th_real *scales,
                           th_real *values, th_real *normalized, th_real *inverses) {
  for (uint32_t r = 0; r < rows; r++, values += width, normalized += width)
    inverses[r] = row_normalize(outputs, width, scales, values, normalized);
}

static void row_back(uint32_t outputs, uint32_t width, const th_real *restrict scales,
                     const th_real *restrict normalized, th_real inverse,
                     th_real *restrict deltas) {
  for (uint32_t c = 0; c < width; c++) deltas[c] *= scales[c];
  th_real mean = (th_real)(sum(width, deltas) / outputs);
  th_real stretch = (th_real)(dot(width, deltas, normalized) / outputs);
  for (uint32_t c = 0; c < outputs; c++)
    deltas[c] = th_normalization_back(deltas[c], normalized[c], mean, stretch, inverse);
}

static void normalize_rows_back(uint32_t rows, uint32_t outputs, uint32_t width,
                                const th_real *scales, const th_real *normalized,
                                const th_real *inverses, th_real *deltas) {
  for (uint32_t r = 0; r < rows; r++, normalized += width, deltas += width)
    row_back(outputs, width, scales, normalized, inverses[r], deltas);
}

static void normalize_columns(uint32_t rows, uint32_t width, const th_real *restrict means,
                              const th_real *restrict inverses, const th_real *restrict scales,
                              th_real *restrict values, th_real *restrict normalized) {
  for (uint32_t r = 0; r < rows; r++, values += width, normalized += width)
    for (uint32_t c = 0; c < width; c++) {
      normalized[c] = (values[c] - means[c]) * inverses[c];
      values[c] = normalized[c] * scales[c];
    }
}

static void normalize_columns_back(uint32_t rows, uint32_t width, th_real share,
                                   const th_real *restrict scales, const th_real *restrict inverses,
                                   const th_real *restrict normalized,
                                   const th_real *restrict scale_gradients,
                                   const th_real *restrict shift_gradients,
                                   th_real *restrict deltas) {
  for (uint32_t r = 0; r < rows; r++, normalized += width, deltas += width)
    for (uint32_t c = 0; c < width; c++)
      /* The scale is the same for a whole column, so it may be multiplied in at the end. */
      deltas[c] = th_normalization_back(deltas[c], normalized[c], share * shift_gradients[c],
                                        share * scale_gradients[c], scales[c] * inverses[c]);
}

static void column_moments(uint32_t rows, uint32_t width, const th_real *restrict values,
                           double *restrict means, double *restrict square_sums) {
  for (uint32_t first = 0; first < width; first += TH_PANEL) {
    double sums[TH_PANEL] = {0};
    double mean[TH_PANEL];
    double squared[TH_PANEL] = {0};
    for (uint32_t r = 0; r < rows; r++)
      for (uint32_t c = 0; c < TH_PANEL; c++)
        sums[c] += (double)values[(size_t)r * width + first + c];
    for (uint32_t c = 0; c < TH_PANEL; c++) mean[c] = sums[c] / rows;
    for (uint32_t r = 0; r < rows; r++)
      for (uint32_t c = 0; c < TH_PANEL; c++) {
        double gap = (double)values[(size_t)r * width + first + c] - mean[c];
        squared[c] += gap * gap;
      }
    memcpy(means + first, mean, sizeof mean);
    memcpy(square_sums + first, squared, sizeof squared);
  }
}

static void column_dots(uint32_t rows, uint32_t width, const th_real *restrict deltas,
                        const th_real *restrict normalized, double *restrict dots,
                        double *restrict sums) {
  for (uint32_t first = 0; first < width; first += TH_PANEL) {
    double products[TH_PANEL] = {0};
    double plain[TH_PANEL] = {0};
    for (uint32_t r = 0; r < rows; r++)
      for (uint32_t c = 0; c < TH_PANEL; c++) {
        size_t i = (size_t)r * width + first + c;
        products[c] += (double)deltas[i] * (double)normalized[i];
        plain[c] += (double)deltas[i];
      }
    memcpy(dots + first, products, sizeof products);
    memcpy(sums + first, plain, sizeof plain);
  }
}

#endif

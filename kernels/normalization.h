/**
 * Normalization of a hidden layer's products, element by element: torch.nn.LayerNorm (Ba, Kiros and
 * Hinton 2016, equations 3 and 4) and torch.nn.BatchNorm1d (Ioffe and Szegedy 2015, algorithm 1).
 *
 * x̂ = (x − mean) / √(variance + epsilon) and y = scale · x̂ + shift, over a row's numbers or over a
 * column's. The variance is the mean of the squares (not over n − 1).
 */
#ifndef TH_KERNELS_NORMALIZATION_H
#define TH_KERNELS_NORMALIZATION_H

#include "kernels/real.h"

#define TH_NORMALIZATION_EPSILON 1e-5
/** How far the running statistics of BatchNorm1d move to those of a batch. */
#define TH_NORMALIZATION_MOMENTUM 0.1

/** 1 / √(variance + epsilon), once for a row or a column. */
TH_HOST_DEVICE th_real th_normalization_inverse(double variance) {
  return (th_real)(1 / sqrt(variance + TH_NORMALIZATION_EPSILON));
}

/** A running statistic after a batch that had this one. */
TH_HOST_DEVICE th_real th_normalization_run(th_real running, double of_batch) {
  return (th_real)((1 - TH_NORMALIZATION_MOMENTUM) * (double)running +
                   TH_NORMALIZATION_MOMENTUM * of_batch);
}

/**
 * The gradient at x, from that at x̂: what moves all numbers together or stretches them about their
 * mean changes no x̂, and is taken away (Ioffe and Szegedy 2015, section 3).
 *
 * @param delta     the gradient at x̂.
 * @param mean      of the gradients at all x̂ that were normalized together.
 * @param stretch   the mean of their products with x̂.
 * @param inverse   th_normalization_inverse.
 */
TH_HOST_DEVICE th_real th_normalization_back(th_real delta, th_real normalized, th_real mean,
                                             th_real stretch, th_real inverse) {
  return inverse * (delta - mean - normalized * stretch);
}

/** How numbers lie: their count, their mean, and the sum of their squared distances from it. */
typedef struct th_moments {
  double count;
  double mean;
  double squares;
} th_moments;

/** Those of two sets together (Chan, Golub and LeVeque 1983, equation 2.1). */
TH_HOST_DEVICE th_moments th_moments_merge(th_moments a, th_moments b) {
  double count = a.count + b.count;
  double gap = b.mean - a.mean;
  return (th_moments){.count = count,
                      .mean = a.mean + gap * (b.count / count),
                      .squares = a.squares + b.squares + gap * gap * (a.count * b.count / count)};
}

#endif

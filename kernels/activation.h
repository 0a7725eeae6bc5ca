/** Activations and their derivatives, element by element, as torch.nn has them. */
#ifndef TH_KERNELS_ACTIVATION_H
#define TH_KERNELS_ACTIVATION_H

#include "kernels/real.h"
#include "kernels/spec.h"

/** f(x). NaN stays NaN under every activation, so that a diverged net cannot look well. */
TH_HOST_DEVICE th_real th_activation_value(th_activation kind, th_real negative_slope, th_real x) {
  switch (kind) {
    case TH_ACTIVATION_RELU:
      return x < 0 ? 0 : x;
    case TH_ACTIVATION_LEAKY_RELU:
      return x < 0 ? x * negative_slope : x;
    case TH_ACTIVATION_TANH:
      return th_real_tanh(x);
    case TH_ACTIVATION_SIGMOID:
      return 1 / (1 + th_real_exp(-x));
  }
  __builtin_unreachable();
}

/**
 * f′(x), told from y = f(x): the inputs of an activation need not be kept. A leaky ReLU must have
 * a slope ≥ 0, or y would not tell the sign of x.
 */
TH_HOST_DEVICE th_real th_activation_slope(th_activation kind, th_real negative_slope, th_real y) {
  switch (kind) {
    case TH_ACTIVATION_RELU:
      return y > 0 ? TH_REAL(1.0) : 0;
    case TH_ACTIVATION_LEAKY_RELU:
      return y > 0 ? 1 : negative_slope;
    case TH_ACTIVATION_TANH:
      return 1 - y * y;
    case TH_ACTIVATION_SIGMOID:
      return y * (1 - y);
  }
  __builtin_unreachable();
}

#endif

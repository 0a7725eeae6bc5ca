/** Activations and their derivatives, element by element, as torch.nn has them. */
#ifndef TH_KERNELS_ACTIVATION_H
#define TH_KERNELS_ACTIVATION_H

#include <stdbool.h>

#include "kernels/real.h"
#include "kernels/spec.h"

/** √½, √(2/π), 1/√(2π), and the cubic's factor in GELU's approximation. */
#define TH_SQRT_HALF TH_REAL(0.70710678118654752440)
#define TH_SQRT_2_OVER_PI TH_REAL(0.79788456080286535588)
#define TH_NORMAL_PEAK TH_REAL(0.39894228040143267794)
#define TH_GELU_CUBIC TH_REAL(0.044715)

/** x·Φ(x) with Φ the normal distribution (Hendrycks and Gimpel 2016). Its slope: Φ(x) + x·φ(x). */
TH_HOST_DEVICE th_real th_activation_gelu(th_real x, th_real *slope) {
  th_real below = TH_REAL(0.5) * (1 + th_real_erf(x * TH_SQRT_HALF));
  *slope = below + x * TH_NORMAL_PEAK * th_real_exp(TH_REAL(-0.5) * x * x);
  return x * below;
}

/** ½x·(1 + tanh(√(2/π)·(x + 0.044715x³))): the approximation in section 2 of the same paper. */
TH_HOST_DEVICE th_real th_activation_gelu_tanh(th_real x, th_real *slope) {
  th_real square = TH_GELU_CUBIC * x * x;
  th_real bent = th_real_tanh(TH_SQRT_2_OVER_PI * x * (1 + square));
  th_real below = TH_REAL(0.5) * (1 + bent);
  *slope = below + TH_REAL(0.5) * x * (1 - bent * bent) * TH_SQRT_2_OVER_PI * (1 + 3 * square);
  return x * below;
}

/** x·σ(x) (Elfwing, Uchibe and Doya 2018). Its slope: σ(x)·(1 + x·(1 − σ(x))). */
TH_HOST_DEVICE th_real th_activation_silu(th_real x, th_real *slope) {
  th_real sigmoid = 1 / (1 + th_real_exp(-x));
  *slope = sigmoid * (1 + x * (1 - sigmoid));
  return x * sigmoid;
}

/**
 * f(x). NaN stays NaN under every activation, so that a diverged net cannot look well.
 *
 * @param shape  leaky ReLU: its slope below 0. ELU: its alpha. Others have none.
 */
TH_HOST_DEVICE th_real th_activation_value(th_activation kind, th_real shape, th_real x) {
  th_real slope;
  switch (kind) {
    case TH_ACTIVATION_RELU:
      return x < 0 ? 0 : x;
    case TH_ACTIVATION_LEAKY_RELU:
      return x < 0 ? x * shape : x;
    case TH_ACTIVATION_TANH:
      return th_real_tanh(x);
    case TH_ACTIVATION_SIGMOID:
      return 1 / (1 + th_real_exp(-x));
    case TH_ACTIVATION_ELU: {
      /* Computed on both sides of 0, so that a loop over it vectorizes; NaN takes the other. */
      th_real below = shape * (th_real_exp(x) - 1);
      return x < 0 ? below : x;
    }
    case TH_ACTIVATION_GELU:
      return th_activation_gelu(x, &slope);
    case TH_ACTIVATION_GELU_TANH:
      return th_activation_gelu_tanh(x, &slope);
    case TH_ACTIVATION_SILU:
      return th_activation_silu(x, &slope);
  }
  __builtin_unreachable();
}

/**
 * Whether f(x) tells f′(x), so that the inputs of the activation need not be kept. Those that fall
 * and rise again take a value at two places, and their slopes are kept instead.
 */
TH_HOST_DEVICE bool th_activation_tells_slope(th_activation kind) {
  switch (kind) {
    case TH_ACTIVATION_RELU:
    case TH_ACTIVATION_LEAKY_RELU:
    case TH_ACTIVATION_TANH:
    case TH_ACTIVATION_SIGMOID:
    case TH_ACTIVATION_ELU:
      return true;
    case TH_ACTIVATION_GELU:
    case TH_ACTIVATION_GELU_TANH:
    case TH_ACTIVATION_SILU:
      return false;
  }
  __builtin_unreachable();
}

/** f(x) of an activation that does not tell its slope. @param slope  [out] f′(x). */
TH_HOST_DEVICE th_real th_activation_value_slope(th_activation kind, th_real x, th_real *slope) {
  if (kind == TH_ACTIVATION_GELU) return th_activation_gelu(x, slope);
  if (kind == TH_ACTIVATION_GELU_TANH) return th_activation_gelu_tanh(x, slope);
  return th_activation_silu(x, slope);
}

/**
 * f′(x), told from y = f(x), of an activation that tells it. `shape` must be ≥ 0, or y would not
 * tell the sign of x.
 */
TH_HOST_DEVICE th_real th_activation_slope(th_activation kind, th_real shape, th_real y) {
  switch (kind) {
    case TH_ACTIVATION_RELU:
      return y > 0 ? TH_REAL(1.0) : 0;
    case TH_ACTIVATION_LEAKY_RELU:
      return y > 0 ? 1 : shape;
    case TH_ACTIVATION_TANH:
      return 1 - y * y;
    case TH_ACTIVATION_SIGMOID:
      return y * (1 - y);
    case TH_ACTIVATION_ELU:
      return y > 0 ? 1 : y + shape;
    case TH_ACTIVATION_GELU:
    case TH_ACTIVATION_GELU_TANH:
    case TH_ACTIVATION_SILU:
      break;
  }
  __builtin_unreachable();
}

#endif

/**
 * The number that the arithmetic is written in: float in the product, double in the reference
 * build that the tests hold against central differences and against PyTorch in float64. Both are
 * compiled from the same source; TH_REAL_DOUBLE chooses.
 */
#ifndef TH_KERNELS_REAL_H
#define TH_KERNELS_REAL_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/** Code that a GPU compiler builds for both machines. */
#ifdef __CUDACC__
#define TH_HOST_DEVICE __host__ __device__ static inline
#else
/* Forced, because a loop that is compiled for several instruction sets must hold the whole body. */
#define TH_HOST_DEVICE __attribute__((always_inline, unused)) static inline
#endif

#ifdef TH_REAL_DOUBLE
typedef double th_real;
/** The name of a symbol that exists once for each width. */
#define TH_REAL_SYMBOL(name) name##_f64
#define TH_REAL(literal) literal
#else
typedef float th_real;
#define TH_REAL_SYMBOL(name) name
#define TH_REAL(literal) literal##F
#endif

#ifdef TH_REAL_DOUBLE

TH_HOST_DEVICE th_real th_real_exp(th_real x) {
  return exp(x);
}

TH_HOST_DEVICE th_real th_real_tanh(th_real x) {
  return tanh(x);
}

TH_HOST_DEVICE th_real th_real_erf(th_real x) {
  return erf(x);
}

TH_HOST_DEVICE th_real th_real_log(th_real x) {
  return log(x);
}

TH_HOST_DEVICE th_real th_real_pow(th_real x, th_real exponent) {
  return pow(x, exponent);
}

TH_HOST_DEVICE th_real th_real_sqrt(th_real x) {
  return sqrt(x);
}

#else

/**
 * e to the x within 2 ulp, without a branch or a call, so that loops over it vectorize.
 * NaN stays NaN; beyond the range of float it saturates near the range's ends.
 *
 * Source: Cephes expf (Moshier): x = n·ln 2 + r, a polynomial for e^r, n into the exponent.
 */
TH_HOST_DEVICE th_real th_real_exp(th_real x) {
  const float rounder = 12582912.0F; /* 1.5·2^23: adding it rounds to a whole number */
  float inside = x > 88.0F ? 88.0F : x;
  inside = inside < -87.0F ? -87.0F : inside;
  float whole = (inside * 1.44269504088896341F + rounder) - rounder;
  float rest = inside - whole * 0.693359375F;
  rest -= whole * -2.12194440e-4F;
  float power = 1.9875691500e-4F;
  power = power * rest + 1.3981999507e-3F;
  power = power * rest + 8.3334519073e-3F;
  power = power * rest + 4.1665795894e-2F;
  power = power * rest + 1.6666665459e-1F;
  power = power * rest + 5.0000001201e-1F;
  power = power * rest * rest + rest + 1.0F;
  /* The exponent comes from the rounder's own bits: a NaN cannot be converted to an integer. */
  float shifted = whole + rounder;
  uint32_t bits;
  memcpy(&bits, &shifted, sizeof bits);
  bits = (bits << 23) + (UINT32_C(127) << 23);
  float scale;
  memcpy(&scale, &bits, sizeof scale);
  return power * scale;
}

/**
 * tanh within 3 ulp, without a branch or a call.
 *
 * Source: Cephes tanhf: an odd polynomial near zero, where 1 − 2/(e^2x + 1) would cancel.
 */
TH_HOST_DEVICE th_real th_real_tanh(th_real x) {
  float square = x * x;
  float near = -5.70498872745e-3F;
  near = near * square + 2.06390887954e-2F;
  near = near * square - 5.37397155531e-2F;
  near = near * square + 1.33314422036e-1F;
  near = near * square - 3.33332819422e-1F;
  near = near * square * x + x;
  float far = 1.0F - 2.0F / (th_real_exp(2.0F * x) + 1.0F);
  return fabsf(x) < 0.625F ? near : far;
}

/**
 * The error function within 2 ulp, without a branch or a call.
 *
 * Source: Cephes erff and erfcf: x·T(x²) below 1, and 1 − e^(−x²)/x·P(1/x²) beyond.
 */
TH_HOST_DEVICE th_real th_real_erf(th_real x) {
  float square = x * x;
  float near = 7.853861353153693e-5F;
  near = near * square - 8.010193625184903e-4F;
  near = near * square + 5.188327685732524e-3F;
  near = near * square - 2.685381193529856e-2F;
  near = near * square + 1.128358514861418e-1F;
  near = near * square - 3.761262582423300e-1F;
  near = near * square + 1.128379165726710F;
  bool is_near = fabsf(x) < 1;
  float inverse = 1 / (is_near ? 1 : fabsf(x));
  float t = inverse * inverse;
  float far = 2.326819970068386e-2F;
  far = far * t - 1.387039388740657e-1F;
  far = far * t + 3.687424674597105e-1F;
  far = far * t - 5.824733027278666e-1F;
  far = far * t + 6.210004621745983e-1F;
  far = far * t - 4.944515323274145e-1F;
  far = far * t + 3.404879937665872e-1F;
  far = far * t - 2.741127028184656e-1F;
  far = far * t + 5.638259427386472e-1F;
  far = 1 - th_real_exp(-square) * inverse * far;
  return is_near ? near * x : x < 0 ? -far : far;
}

TH_HOST_DEVICE th_real th_real_log(th_real x) {
  return logf(x);
}

TH_HOST_DEVICE th_real th_real_pow(th_real x, th_real exponent) {
  return powf(x, exponent);
}

TH_HOST_DEVICE th_real th_real_sqrt(th_real x) {
  return sqrtf(x);
}

#endif

#endif

/** The three matrix products of a linear layer, by the BLAS. All matrices are row-major. */
#ifndef TH_KERNELS_CPU_BLAS_H
#define TH_KERNELS_CPU_BLAS_H

#include <cblas.h>

#include "kernels/real.h"

/* The BLAS runs single-threaded (th_cpu_open): the team is outside, so that the slices, and with
 * them the order of every sum, do not depend on the number of threads. */
#ifdef TH_REAL_DOUBLE
#define BLAS_GEMM cblas_dgemm
#else
#define BLAS_GEMM cblas_sgemm
#endif

/** result [rows, outputs] = values [rows, inputs] · weights [outputs, inputs]ᵀ. */
static inline void blas_forward(uint32_t rows, uint32_t inputs, uint32_t outputs,
                                const th_real *values, const th_real *weights, th_real *result) {
  BLAS_GEMM(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)outputs, (int)inputs, 1,
            values, (int)inputs, weights, (int)inputs, 0, result, (int)outputs);
}

/** result [rows, inputs] = deltas [rows, outputs] · weights [outputs, inputs]. */
static inline void blas_backward(uint32_t rows, uint32_t inputs, uint32_t outputs,
                                 const th_real *deltas, const th_real *weights, th_real *result) {
  BLAS_GEMM(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)inputs, (int)outputs, 1,
            deltas, (int)outputs, weights, (int)inputs, 0, result, (int)inputs);
}

/**
 * result [block, inputs] = deltas [rows, block]ᵀ · values [rows, inputs].
 *
 * @param outputs  the length of a row of deltas, of which the block is a part.
 */
static inline void blas_gradient(uint32_t rows, uint32_t inputs, uint32_t outputs, uint32_t block,
                                 const th_real *deltas, const th_real *values, th_real *result) {
  BLAS_GEMM(CblasRowMajor, CblasTrans, CblasNoTrans, (int)block, (int)inputs, (int)rows, 1, deltas,
            (int)outputs, values, (int)inputs, 0, result, (int)inputs);
}

#endif

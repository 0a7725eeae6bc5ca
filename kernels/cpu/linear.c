#include "kernels/cpu/linear.h"

#include <cblas.h>

/* The BLAS runs single-threaded (th_cpu_open): the team is outside, so that the slices, and with
 * them the order of every sum, do not depend on the number of threads. */
#ifdef TH_REAL_DOUBLE
#define BLAS_GEMM cblas_dgemm
#else
#define BLAS_GEMM cblas_sgemm
#endif

/* Measured: below it, what the BLAS spends on repacking the weights is more than it gains
 * (docs/performance.md). Fixed, because the order of sums depends on it. */
#define WIDE_MIN 768

th_linear th_linear_init(const th_layer *layer, uint64_t first) {
  uint32_t output_stride = th_panel_round(layer->outputs);
  return (th_linear){
      .inputs = layer->inputs,
      .outputs = layer->outputs,
      .input_stride = th_panel_round(layer->inputs),
      .output_stride = output_stride,
      .weights = first,
      .biases = first + (uint64_t)layer->inputs * output_stride,
      .is_wide = layer->inputs >= WIDE_MIN && layer->outputs >= WIDE_MIN,
  };
}

void th_linear_write(const th_linear *linear, const th_layer *layer, const th_real *model,
                     th_real *parameters) {
  for (uint32_t o = 0; o < linear->outputs; o++) {
    const th_real *row = model + layer->weights + (uint64_t)o * linear->inputs;
    for (uint32_t i = 0; i < linear->inputs; i++)
      parameters[linear->weights + (uint64_t)i * linear->output_stride + o] = row[i];
    parameters[linear->biases + o] = model[layer->biases + o];
  }
}

void th_linear_read(const th_linear *linear, const th_layer *layer, const th_real *parameters,
                    th_real *model) {
  for (uint32_t o = 0; o < linear->outputs; o++) {
    th_real *row = model + layer->weights + (uint64_t)o * linear->inputs;
    for (uint32_t i = 0; i < linear->inputs; i++)
      row[i] = parameters[linear->weights + (uint64_t)i * linear->output_stride + o];
    model[layer->biases + o] = parameters[linear->biases + o];
  }
}

void th_linear_transpose(const th_linear *linear, const th_loops *loops, uint32_t first,
                         uint32_t count, const th_real *parameters, th_real *transposed) {
  if (transposed == NULL) return;
  loops->transpose(count, linear->outputs,
                   parameters + linear->weights + (uint64_t)first * linear->output_stride,
                   linear->output_stride, transposed + first, linear->input_stride);
}

void th_linear_forward(const th_linear *linear, const th_loops *loops, uint32_t rows,
                       const th_real *values, const th_real *parameters, th_real *result) {
  if (linear->is_wide) {
    BLAS_GEMM(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)linear->output_stride,
              (int)linear->inputs, 1, values, (int)linear->input_stride,
              parameters + linear->weights, (int)linear->output_stride, 0, result,
              (int)linear->output_stride);
    return;
  }
  loops->product(&(th_product){.rows = rows,
                               .depth = linear->inputs,
                               .columns = linear->output_stride,
                               .left = values,
                               .left_row = linear->input_stride,
                               .left_depth = 1,
                               .right = parameters + linear->weights,
                               .right_stride = linear->output_stride,
                               .result = result,
                               .result_stride = linear->output_stride});
}

void th_linear_backward(const th_linear *linear, const th_loops *loops, uint32_t rows,
                        const th_real *deltas, const th_real *parameters, const th_real *transposed,
                        th_real *result) {
  if (linear->is_wide) {
    /* The padding of the result was zero from the start and is left so. */
    BLAS_GEMM(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)linear->inputs,
              (int)linear->outputs, 1, deltas, (int)linear->output_stride,
              parameters + linear->weights, (int)linear->output_stride, 0, result,
              (int)linear->input_stride);
    return;
  }
  loops->product(&(th_product){.rows = rows,
                               .depth = linear->outputs,
                               .columns = linear->input_stride,
                               .left = deltas,
                               .left_row = linear->output_stride,
                               .left_depth = 1,
                               .right = transposed,
                               .right_stride = linear->input_stride,
                               .result = result,
                               .result_stride = linear->input_stride});
}

void th_linear_gradient(const th_linear *linear, const th_loops *loops, uint32_t rows,
                        uint32_t first, uint32_t count, const th_real *values,
                        const th_real *deltas, th_real *result) {
  if (linear->is_wide) {
    BLAS_GEMM(CblasRowMajor, CblasTrans, CblasNoTrans, (int)count, (int)linear->output_stride,
              (int)rows, 1, values + first, (int)linear->input_stride, deltas,
              (int)linear->output_stride, 0, result, (int)linear->output_stride);
    return;
  }
  loops->product(&(th_product){.rows = count,
                               .depth = rows,
                               .columns = linear->output_stride,
                               .left = values + first,
                               .left_row = 1,
                               .left_depth = linear->input_stride,
                               .right = deltas,
                               .right_stride = linear->output_stride,
                               .result = result,
                               .result_stride = linear->output_stride});
}

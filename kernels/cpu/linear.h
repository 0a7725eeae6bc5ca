/**
 * A linear layer as the CPU keeps it: its weights are [inputs, outputs], the transpose of what a
 * model file holds, because then a product's vectors run along the outputs, whether they are
 * computed or have their gradient taken. The row after the last is the biases. Every row is padded
 * with zeros, which training leaves zero.
 *
 * The three products of a layer come from kernels/cpu/product.h, or from the BLAS for a wide layer.
 */
#ifndef TH_KERNELS_CPU_LINEAR_H
#define TH_KERNELS_CPU_LINEAR_H

#include "kernels/cpu/loops.h"
#include "kernels/model.h"

#define th_linear_init TH_REAL_SYMBOL(th_linear_init)
#define th_linear_write TH_REAL_SYMBOL(th_linear_write)
#define th_linear_read TH_REAL_SYMBOL(th_linear_read)
#define th_linear_transpose TH_REAL_SYMBOL(th_linear_transpose)
#define th_linear_forward TH_REAL_SYMBOL(th_linear_forward)
#define th_linear_backward TH_REAL_SYMBOL(th_linear_backward)
#define th_linear_gradient TH_REAL_SYMBOL(th_linear_gradient)

typedef struct th_linear {
  uint32_t inputs, outputs;
  uint32_t input_stride, output_stride; /**< with padding */
  uint64_t weights; /**< index of the first weight among the engine's parameters */
  uint64_t biases; /**< of the first bias */
  bool is_wide; /**< the BLAS is faster */
} th_linear;

/** @param first  index among the engine's parameters at which the layer's begin. */
th_linear th_linear_init(const th_layer *layer, uint64_t first);

/** Convert a layer from a model's order, and back. Both arrays are of all parameters. */
void th_linear_write(const th_linear *linear, const th_layer *layer, const th_real *model,
                     th_real *parameters);
void th_linear_read(const th_linear *linear, const th_layer *layer, const th_real *parameters,
                    th_real *model);

/**
 * Bring the copy that th_linear_backward takes up to date with the weights of inputs first … first
 * + count − 1.
 *
 * @param transposed  [outputs, input_stride]; NULL: there is none.
 */
void th_linear_transpose(const th_linear *linear, const th_loops *loops, uint32_t first,
                         uint32_t count, const th_real *parameters, th_real *transposed);

/** result [rows, output_stride] = values [rows, input_stride] · weights. Biases are not added. */
void th_linear_forward(const th_linear *linear, const th_loops *loops, uint32_t rows,
                       const th_real *values, const th_real *parameters, th_real *result);

/**
 * result [rows, input_stride] = deltas [rows, output_stride] · weightsᵀ.
 *
 * @param transposed  [outputs, input_stride] the weights once more; a wide layer needs none.
 */
void th_linear_backward(const th_linear *linear, const th_loops *loops, uint32_t rows,
                        const th_real *deltas, const th_real *parameters, const th_real *transposed,
                        th_real *result);

/**
 * result [count, output_stride] = valuesᵀ · deltas: the gradient of the weights of inputs first …
 * first + count − 1.
 */
void th_linear_gradient(const th_linear *linear, const th_loops *loops, uint32_t rows,
                        uint32_t first, uint32_t count, const th_real *values,
                        const th_real *deltas, th_real *result);

#endif

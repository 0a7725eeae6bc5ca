/** From a model and its specification to the structures that a kernel works on. */
#ifndef TH_KERNELS_CUDA_LAYOUT_H
#define TH_KERNELS_CUDA_LAYOUT_H

#include "kernels/backend.h"
#include "kernels/cuda/net.h"

/** Lay out a net, its pointers still NULL. @param training_rows  0: no step will be asked for. */
th_cuda_net th_cuda_layout(const th_engine_plan *plan);

/** Convert parameters from a model's order, and back; only the second array is written. Padding is
 * zero.
 *  @param numbers  [net->parameters] as the device has them. */
void th_cuda_layout_write(const th_cuda_net *net, const th_model *model, float *parameters,
                          float *numbers);
void th_cuda_layout_read(const th_cuda_net *net, const th_model *model, float *numbers,
                         float *parameters);

#endif

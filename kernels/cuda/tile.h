/** Products in tiles: each is one lane's, kept in registers, and added up in the order of depth. */
#ifndef TH_KERNELS_CUDA_TILE_H
#define TH_KERNELS_CUDA_TILE_H

#include "kernels/cuda/net.h"

/** A phase: called, not inlined, so that all kernels share its code and are quickly compiled. */
#ifdef __CUDACC__
#define TH_CUDA_PHASE static __host__ __device__ __noinline__
#else
#define TH_CUDA_PHASE __attribute__((unused)) static
#endif

/** One of those who share a phase's work. */
typedef struct th_lane {
  uint32_t index, count;
} th_lane;

/** Four numbers that are loaded together. */
typedef struct __attribute__((aligned(16))) th_quad {
  float at[TH_TILE];
} th_quad;

typedef struct th_tile {
  float at[TH_TILE][TH_TILE];
} th_tile;

/** @param numbers  aligned to four of them. */
TH_HOST_DEVICE th_quad th_quad_at(const float *numbers) {
  return *(const th_quad *)numbers;
}

/** A row of an array of an area. @param place  in numbers a row. @param stride  of the array.
 *  @param row  of the batch; in an array of several times, rows_max further for each. */
TH_HOST_DEVICE float *th_area_at(const th_cuda_area *area, uint32_t place, uint32_t stride,
                                 uint32_t row) {
  return area->numbers + (size_t)place * area->rows_max + (size_t)row * stride;
}

/** Four rows of inputs by four columns of weights. Depth in quads: 64 products for eight loads. */
TH_HOST_DEVICE th_tile th_tile_forward(const th_cuda_layer *layer, const float *inputs,
                                       const float *weights) {
  th_tile sums = {{{0}}};
  for (uint32_t k = 0; k < layer->input_stride; k += TH_TILE) {
    th_quad left[TH_TILE], right[TH_TILE];
    for (uint32_t i = 0; i < TH_TILE; i++) {
      left[i] = th_quad_at(inputs + (size_t)i * layer->input_stride + k);
      right[i] = th_quad_at(weights + (size_t)(k + i) * layer->output_stride);
    }
    for (uint32_t d = 0; d < TH_TILE; d++)
      for (uint32_t r = 0; r < TH_TILE; r++)
        for (uint32_t c = 0; c < TH_TILE; c++) sums.at[r][c] += left[r].at[d] * right[d].at[c];
  }
  return sums;
}

/** Four rows of gradients by the weights of four inputs. */
TH_HOST_DEVICE th_tile th_tile_backward(const th_cuda_layer *layer, const float *deltas,
                                        const float *weights) {
  th_tile sums = {{{0}}};
  for (uint32_t k = 0; k < layer->output_stride; k += TH_TILE) {
    th_quad left[TH_TILE], right[TH_TILE];
    for (uint32_t i = 0; i < TH_TILE; i++) {
      left[i] = th_quad_at(deltas + (size_t)i * layer->output_stride + k);
      right[i] = th_quad_at(weights + (size_t)i * layer->output_stride + k);
    }
    for (uint32_t r = 0; r < TH_TILE; r++)
      for (uint32_t c = 0; c < TH_TILE; c++)
        for (uint32_t d = 0; d < TH_TILE; d++) sums.at[r][c] += left[r].at[d] * right[c].at[d];
  }
  return sums;
}

/** Four inputs by four outputs, over so many rows. @param sums  [in,out] is added to. */
TH_HOST_DEVICE void th_tile_gradient(const th_cuda_layer *layer, uint32_t rows, const float *inputs,
                                     const float *deltas, th_tile *sums) {
  for (uint32_t i = 0; i < rows; i++) {
    th_quad left = th_quad_at(inputs + (size_t)i * layer->input_stride);
    th_quad right = th_quad_at(deltas + (size_t)i * layer->output_stride);
    for (uint32_t r = 0; r < TH_TILE; r++)
      for (uint32_t c = 0; c < TH_TILE; c++) sums->at[r][c] += left.at[r] * right.at[c];
  }
}

#endif

/** A training as it lies in a GPU's memory: plain structures of pointers, the same for a kernel,
 * for the engine that fills them in, and for the tests that run a kernel's phases on the host. */
#ifndef TH_KERNELS_CUDA_NET_H
#define TH_KERNELS_CUDA_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/loss.h"
#include "kernels/optimizer.h"
#include "kernels/random.h"
#include "kernels/spec.h"

/** Rows and columns of a tile, the piece of a product that one lane keeps in registers. All rows of
 * arrays are padded to it, with zeros where parameters are. */
#define TH_TILE 4

/** Rows whose losses one lane adds up, in their order; lanes' sums are added in theirs. */
#define TH_SUM_ROWS 32

/** Tiles whose squares one lane adds up, likewise. */
#define TH_SUM_TILES 32

/** One linear layer and what follows it. */
typedef struct th_cuda_layer {
  uint32_t inputs, outputs;
  uint32_t input_stride, output_stride; /**< padded to TH_TILE */
  /** Index of [input_stride + 1, output_stride] parameters: the weights, then a row of biases. */
  uint64_t weights;
  /** Where in an area of rows the inputs lie, the loss's gradients at the outputs, and the slopes
   * by which these become gradients at the products; in numbers a row. */
  uint32_t inputs_at, deltas_at, slopes_at;
  th_activation activation;
  float shape; /**< of the activation: th_activation_value's */
  uint32_t first_tile; /**< of its gradient, among all layers' */
} th_cuda_layer;

/** What stays the same over a training. */
typedef struct th_cuda_net {
  uint32_t layer_count;
  uint32_t area_width; /**< numbers a row of an area has */
  uint64_t parameters; /**< with padding */
  uint32_t tiles; /**< of the gradient */
  uint32_t moments; /**< 0 to 2 numbers of the optimizer for each parameter */
  uint64_t seed;
  uint32_t drop_threshold; /**< th_dropout_threshold; 0: no dropout */
  float keep;
  float clip_norm, clip_value; /**< 0: never */
  th_loss_rule rule; /**< its weights in the device's memory */
  const float *features; /**< [data rows, width] */
  const int32_t *labels; /**< [data rows], or NULL */
  const float *targets; /**< [data rows, outputs], or NULL */
  const float *row_weights; /**< [data rows] what each row's loss is multiplied by, or NULL */
  /** [outputs] As th_engine_plan has them, or NULL. */
  const double *training_shares, *validation_shares;
  uint32_t width;
  const float *shift, *scale; /**< [width], or both NULL */
  th_permutation split; /**< position → row */
  const uint32_t *rows; /**< the same as a list, instead of it, or NULL */
  uint32_t training_rows, batch_size;
  th_cuda_layer layers[TH_HIDDEN_LAYERS_MAX + 1];
} th_cuda_net;

/** What training changes. Where a job is small, a kernel holds copies of these in shared memory. */
typedef struct th_cuda_state {
  float *parameters, *moment1, *moment2;
  float *gradients; /**< all parameters'; NULL unless their length is clipped */
  double *tile_squares; /**< [tiles] likewise */
  double *square_sums; /**< [tiles / TH_SUM_TILES, rounded up] likewise */
} th_cuda_state;

/** Where a batch goes through the net. */
typedef struct th_cuda_area {
  float *numbers; /**< [area_width] times `rows_max` rows, array by array */
  uint32_t rows_max; /**< a multiple of TH_TILE */
  uint32_t *rows; /**< [rows_max] of the data set */
  float *shares; /**< [rows_max] what each adds to what the sum of losses is divided by */
  th_sums *judged; /**< [rows_max] */
  double *share_sums; /**< [rows_max / TH_SUM_ROWS, rounded up] */
} th_cuda_area;

/** Some rows to be trained on or judged. */
typedef struct th_cuda_batch {
  uint32_t first; /**< position of the first row in its order */
  uint32_t rows;
  uint64_t step; /**< over the whole training, from 0 */
  const th_permutation *order; /**< of the training rows in this epoch; NULL: not training */
  const th_optimizer *optimizer;
} th_cuda_batch;

/** Everything that a phase works on. */
typedef struct th_cuda_job {
  const th_cuda_net *net;
  th_cuda_state state;
  th_cuda_area area;
  th_sums *sums; /**< [in,out] by lane 0 alone */
} th_cuda_job;

/** Tiles over so many rows or columns. */
TH_HOST_DEVICE uint32_t th_tiles_over(uint32_t count) {
  return (count + TH_TILE - 1) / TH_TILE;
}

/** Groups of rows whose losses are added up together. */
TH_HOST_DEVICE uint32_t th_sums_over(uint32_t rows) {
  return (rows + TH_SUM_ROWS - 1) / TH_SUM_ROWS;
}

/** Tiles of a layer's gradient, its biases among them. */
TH_HOST_DEVICE uint32_t th_layer_tiles(const th_cuda_layer *layer) {
  return (layer->input_stride / TH_TILE + 1) * (layer->output_stride / TH_TILE);
}

/** Groups of tiles whose squares are. */
TH_HOST_DEVICE uint32_t th_square_groups(const th_cuda_net *net) {
  return (net->tiles + TH_SUM_TILES - 1) / TH_SUM_TILES;
}

#endif

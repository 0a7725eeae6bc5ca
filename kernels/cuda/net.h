/** A training as it lies in a GPU's memory: plain structures of pointers, the same for a kernel,
 * for the engine that fills them in, and for the tests that run a kernel's phases on the host. */
#ifndef TH_KERNELS_CUDA_NET_H
#define TH_KERNELS_CUDA_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/loss.h"
#include "kernels/optimizer.h"
#include "kernels/random.h"
#include "kernels/sampling.h"
#include "kernels/spec.h"

/** Rows and columns of a tile, the piece of a product that one lane keeps in registers. All rows of
 * arrays are padded to it, with zeros where parameters are. */
#define TH_TILE 4

/** Rows whose weights one lane adds up, in their order; lanes' sums are added in theirs. */
#define TH_SUM_ROWS 32

/** Tiles whose squares one lane adds up, likewise. */
#define TH_SUM_TILES 32

/** What a phase does; between two phases all lanes wait for each other. */
typedef enum th_cuda_phase_kind {
  TH_CUDA_FIND, /**< which rows of the data set the batch has */
  TH_CUDA_GATHER, /**< their features, and what they weigh */
  TH_CUDA_WEIGH, /**< the sum of that */
  TH_CUDA_RECUR, /**< a time of a recurrent layer */
  TH_CUDA_FORWARD, /**< a layer's products and, unless they are normalized, its activation */
  TH_CUDA_MEASURE, /**< mean and deviation of a layer's products */
  TH_CUDA_NORMALIZE, /**< them, and the activation */
  TH_CUDA_REPORT, /**< the logits, to whom wants them */
  TH_CUDA_JUDGE, /**< logits become the loss's gradient at them */
  TH_CUDA_COLLECT, /**< the losses' sum, where no update does so */
  TH_CUDA_BACKWARD, /**< from a layer's products to those of the layer below */
  TH_CUDA_STRETCH, /**< sums of a normalized layer's gradients */
  TH_CUDA_UNNORMALIZE, /**< gradients, from the normalized to the products */
  TH_CUDA_RETURN, /**< from the lowest layer of the stack to the state that entered it */
  TH_CUDA_UNROLL, /**< a time of a recurrent layer backward, unit by unit */
  TH_CUDA_CARRY, /**< from its gates to the state before, and to the layer below */
  TH_CUDA_EMBEDDED, /**< gradients at the groups' numbers among the inputs */
  TH_CUDA_UPDATE, /**< gradient and optimizer step of every parameter */
  TH_CUDA_DIFFERENTIATE, /**< the gradient alone, where its length is clipped: */
  TH_CUDA_SQUARE, /**< its length */
  TH_CUDA_UPDATE_CLIPPED, /**< and the step */
  TH_CUDA_AGAIN, /**< no phase: the last `layer` ones once more, for each time of the window */
} th_cuda_phase_kind;

typedef struct th_cuda_phase {
  uint8_t kind; /**< th_cuda_phase_kind */
  uint8_t layer; /**< of the stack, or a recurrent one; both count from 0 */
} th_cuda_phase;

#define TH_CUDA_LAYERS_MAX (TH_HIDDEN_LAYERS_MAX + 1 + 2 * TH_RECURRENT_LAYERS_MAX)
#define TH_CUDA_PHASES_MAX (6 * (TH_HIDDEN_LAYERS_MAX + 1) + 5 * TH_RECURRENT_LAYERS_MAX + 9)

typedef struct th_cuda_program {
  uint32_t count;
  th_cuda_phase phases[TH_CUDA_PHASES_MAX];
} th_cuda_program;

/** Rows of a layer's parameters after its weights, each as long as one of them. */
typedef enum th_cuda_vector {
  TH_CUDA_BIAS,
  TH_CUDA_SCALE, /**< of normalization, and the next */
  TH_CUDA_SHIFT,
  TH_CUDA_MEAN, /**< of batch normalization, and the next: running, not learnt */
  TH_CUDA_VARIANCE,
} th_cuda_vector;

/** What a normalized layer knows of each row, or of each column. */
typedef enum th_cuda_measure {
  TH_CUDA_MEASURE_MEAN,
  TH_CUDA_MEASURE_INVERSE,
  TH_CUDA_MEASURE_DELTA, /**< mean of the gradients; of a column their sum */
  TH_CUDA_MEASURE_STRETCH, /**< of their products with what was normalized, likewise */
} th_cuda_measure;

/** One linear layer and what follows it. Places are in numbers a row of an area. */
typedef struct th_cuda_layer {
  uint32_t inputs, outputs;
  uint32_t input_stride, output_stride; /**< padded to TH_TILE */
  /** Outputs come in runs of `unit`, each padded to `unit_stride`: the gates of a recurrent layer;
   * else all are one run. */
  uint32_t unit, unit_stride;
  /** Index of the parameters: weights [input_stride, output_stride], then vectors. */
  uint64_t weights;
  uint32_t vectors; /**< how many of them are learnt */
  uint32_t first_tile; /**< of its gradient, among all layers' */
  uint32_t times; /**< rows of inputs and deltas for each row of a batch: 1, or the window's */
  uint32_t lag; /**< times by which the inputs are late: 1 of what a state before gives, else 0 */
  uint32_t inputs_at;
  uint32_t deltas_at; /**< the loss's gradients at the outputs of the layer */
  uint32_t slopes_at; /**< by which these become gradients at what was activated */
  uint32_t normed_at; /**< products, then what they are normalized to */
  uint32_t skips_at; /**< the gradients at the outputs once more */
  uint32_t measures_at; /**< [4] th_cuda_measure of the row */
  uint32_t columns_at; /**< [4, output_stride] th_cuda_measure of each column, in area.columns */
  th_normalization normalization;
  bool skips; /**< adds its inputs to its outputs */
  th_activation activation;
  float shape; /**< of the activation: th_activation_value's */
} th_cuda_layer;

/** A recurrent layer: gates from what comes in, and from the state before. The gates lie where the
 * input's deltas do, which take their place on the way back. */
typedef struct th_cuda_cell {
  uint32_t input, state; /**< index of these layers */
  uint32_t states_at; /**< [window, unit_stride] after each time */
  uint32_t memories_at; /**< likewise, of an LSTM */
  uint32_t handed_at; /**< likewise: what dropout multiplied a state by on its way up */
  uint32_t state_deltas_at, memory_deltas_at; /**< [unit_stride] at the time that is unrolled */
  uint32_t output_deltas_at; /**< [window, unit_stride] from the layer above, unless the last */
} th_cuda_cell;

/** What stays the same over a training. */
typedef struct th_cuda_net {
  uint32_t layer_count; /**< of the stack */
  uint32_t cell_count;
  uint32_t window; /**< 1 without recurrent layers */
  bool is_lstm;
  uint32_t area_width; /**< numbers a row of an area has */
  uint32_t area_columns; /**< numbers an area has beside its rows */
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
  const int32_t *groups; /**< [data rows], with an embedding */
  /** [outputs] As th_engine_plan has them, or NULL. */
  const double *training_shares, *validation_shares;
  uint32_t width;
  const float *shift, *scale; /**< [width], or both NULL */
  uint32_t embedding; /**< numbers of a group among the inputs, after the features; 0: none */
  uint32_t embedding_stride; /**< padded to TH_TILE */
  uint32_t group_count;
  uint64_t table; /**< index of the groups' numbers: [group_count, embedding_stride] */
  uint32_t table_tile; /**< the first tile of their gradient */
  uint32_t embedded_at; /**< the gradients at them, in numbers a row of an area */
  th_permutation split; /**< position → row */
  const uint32_t *rows; /**< the same as a list, instead of it, or NULL */
  th_sampling sampling; /**< its tables in the device's memory */
  uint32_t training_rows, batch_size;
  th_cuda_program step, judging;
  th_cuda_cell cells[TH_RECURRENT_LAYERS_MAX];
  th_cuda_layer layers[TH_CUDA_LAYERS_MAX]; /**< of the stack, then two of each cell */
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
  float *columns; /**< [area_columns] */
  uint32_t rows_max; /**< a multiple of TH_TILE */
  uint32_t *rows; /**< [rows_max] of the data set */
  uint32_t *befores; /**< [rows_max] how many rows before each are in its window */
  float *shares; /**< [rows_max] what each adds to what the sum of losses is divided by */
  th_sums *judged; /**< [rows_max] */
  double *share_sums; /**< [rows_max / TH_SUM_ROWS, rounded up] */
} th_cuda_area;

/** Some rows to be trained on or judged. */
typedef struct th_cuda_batch {
  uint32_t first; /**< position of the first row in its order */
  uint32_t rows;
  uint64_t step; /**< over the whole training, from 0 */
  const th_order *order; /**< of the training rows in this epoch; NULL: not training */
  const th_optimizer *optimizer;
  float *logits; /**< [rows, outputs] for TH_CUDA_REPORT, or NULL */
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

/** Groups of rows whose weights are added up together. */
TH_HOST_DEVICE uint32_t th_sums_over(uint32_t rows) {
  return (rows + TH_SUM_ROWS - 1) / TH_SUM_ROWS;
}

/** Groups of tiles whose squares are. */
TH_HOST_DEVICE uint32_t th_square_groups(const th_cuda_net *net) {
  return (net->tiles + TH_SUM_TILES - 1) / TH_SUM_TILES;
}

/** The layer that the inputs enter. */
TH_HOST_DEVICE const th_cuda_layer *th_cuda_first(const th_cuda_net *net) {
  return &net->layers[net->cell_count > 0 ? net->cells[0].input : 0];
}

/** Index of a vector's parameters. */
TH_HOST_DEVICE uint64_t th_cuda_vector_at(const th_cuda_layer *layer, th_cuda_vector vector) {
  return layer->weights + (uint64_t)(layer->input_stride + vector) * layer->output_stride;
}

#endif

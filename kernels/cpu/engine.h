/** What the files of the CPU engine share. */
#ifndef TH_KERNELS_CPU_ENGINE_H
#define TH_KERNELS_CPU_ENGINE_H

#include "kernels/backend.h"
#include "kernels/cpu/linear.h"

#define th_engine_train TH_REAL_SYMBOL(th_engine_train)
#define th_engine_evaluate TH_REAL_SYMBOL(th_engine_evaluate)
#define th_slice_find TH_REAL_SYMBOL(th_slice_find)
#define th_slice_look_ahead TH_REAL_SYMBOL(th_slice_look_ahead)
#define th_slice_gather TH_REAL_SYMBOL(th_slice_gather)
#define th_batch_scale TH_REAL_SYMBOL(th_batch_scale)
#define th_slice_loss TH_REAL_SYMBOL(th_slice_loss)
#define th_slice_logits_copy TH_REAL_SYMBOL(th_slice_logits_copy)

/* All are constants, never a function of the number of threads: they fix the order of all sums.
 * Rows of a slice: what a small net takes through all its layers in the cache; more for a net with
 * a wide layer, because the BLAS repacks the weights for every slice. */
#define TH_SLICE_ROWS 64
#define TH_SLICE_ROWS_WIDE 128
#define TH_SLICE_ROWS_MAX 128
/* Inputs of a block: whole tiles of kernels/cpu/product.h, and so few that two threads can share a
 * small layer evenly; what the BLAS needs to come near its best for a wide one. */
#define TH_BLOCK_INPUTS 24
#define TH_BLOCK_INPUTS_WIDE 128

/* Enough slices for 8 cores or more, and less memory than any data set of that many rows. */
#define TH_EVALUATE_ROWS 1024

/** Some inputs of a layer, and all weights from them: the unit of the phase that updates
 * parameters. The layer's last block has the biases too. */
typedef struct th_block {
  uint32_t layer;
  uint32_t first;
  uint32_t inputs;
} th_block;

struct th_engine {
  const th_spec *spec;
  const th_model *model;
  const th_data *data;
  const th_loops *loops;
  th_permutation split;
  const uint32_t *rows; /**< NULL: by split */
  const float *shift, *scale; /**< NULL: features enter as they are */
  const th_schedule *schedule; /**< NULL: the rate never changes */
  uint32_t training_rows;
  th_nonlinearity nonlinearities[TH_HIDDEN_LAYERS_MAX];
  th_loss_rule rule;
  th_real *class_weights; /**< [classes], the rule's; NULL: all 1 */

  th_linear layers[TH_MODEL_LAYERS_MAX];
  /** [parameter_count]: all layers as kernels/cpu/linear.h has them. */
  th_real *parameters;
  th_real *gradients;
  th_real *moment1, *moment2; /**< NULL if the optimizer has none */
  th_real *best; /**< NULL until there is one */
  uint64_t parameter_count;
  uint32_t slice_rows;
  /** The weights of small layers once more, for the products backward. */
  th_real *transposed[TH_MODEL_LAYERS_MAX];

  th_block *blocks;
  uint32_t block_count;
  double *block_squares; /**< [block_count] of each block's gradient, to clip its length by */

  /** [rows, input_stride] of each layer; the first are rows of the data, the others follow an
   * activation. */
  th_real *inputs[TH_MODEL_LAYERS_MAX];
  /** [rows, output_stride] of each layer: the loss's gradient there. The last layer's begin as its
   * logits. */
  th_real *deltas[TH_MODEL_LAYERS_MAX];
  /** [rows, output_stride], after an activation whose values do not tell its slopes. */
  th_real *slopes[TH_MODEL_LAYERS_MAX];
  uint8_t *kept[TH_MODEL_LAYERS_MAX]; /**< [rows, output_stride], with dropout */
  th_sums *slice_sums;
  /** [rows] of the data set that step ahead_step takes; 0: not known. */
  uint32_t *rows_ahead;
  uint64_t ahead_step;
};

/** What one loop of the team works on. */
typedef struct th_batch {
  th_engine *engine;
  const th_permutation *order; /**< of the training rows in this epoch; NULL: not training */
  uint32_t first; /**< position of the batch's first row */
  uint32_t rows;
  uint64_t step; /**< over the whole training, from 0 */
  th_real scale; /**< 1 / weight of the rows, for the gradient of their mean loss */
  th_optimizer optimizer;
  th_real clip; /**< what the gradient is multiplied by before the update */
  th_real *logits; /**< wanted by the caller of an evaluation, or NULL */
} th_batch;

/** Some rows of a batch. */
typedef struct th_slice {
  uint32_t first;
  uint32_t rows;
} th_slice;

static inline uint32_t th_slice_count(const th_batch *batch) {
  uint32_t rows = batch->engine->slice_rows;
  return (batch->rows + rows - 1) / rows;
}

static inline th_slice th_slice_at(const th_batch *batch, uint32_t index) {
  uint32_t rows = batch->engine->slice_rows;
  uint32_t first = index * rows;
  uint32_t left = batch->rows - first;
  return (th_slice){.first = first, .rows = left < rows ? left : rows};
}

/* ---- kernels/cpu/engine_rows.c: which rows a batch has ---- */

/** @param rows  [out] [slice.rows] of the data set. */
void th_slice_find(const th_batch *batch, th_slice slice, uint32_t *rows);

/** Send for the rows that the next batch will have in this place. */
void th_slice_look_ahead(const th_batch *batch, th_slice slice);

/** Copy rows into the batch. @param rows  [slice.rows] of the data set. */
void th_slice_gather(const th_batch *batch, th_slice slice, const uint32_t *rows);

/* ---- kernels/cpu/engine_loss.c: what comes out of the last layer ---- */

/** What the gradient of the batch's mean loss is scaled by. */
th_real th_batch_scale(const th_batch *batch);

/** Turn the slice's logits into the loss's gradient at them, and sum up loss and hits. */
th_sums th_slice_loss(const th_batch *batch, th_slice slice, const uint32_t *rows);

/** Copy the slice's logits to where the caller of an evaluation wants them. */
void th_slice_logits_copy(const th_batch *batch, th_slice slice);

th_error th_engine_train(th_engine *engine, th_team *team, uint32_t epoch, uint32_t first,
                         uint32_t count, th_sums *sums);
th_error th_engine_evaluate(th_engine *engine, th_team *team, uint32_t first, uint32_t count,
                            th_sums *sums, th_real *logits);

#endif

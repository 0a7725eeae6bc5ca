/** What the files of the CPU engine share. */
#ifndef TH_KERNELS_CPU_ENGINE_H
#define TH_KERNELS_CPU_ENGINE_H

#include "kernels/backend.h"
#include "kernels/cpu/linear.h"

#define th_engine_train TH_REAL_SYMBOL(th_engine_train)
#define th_engine_array TH_REAL_SYMBOL(th_engine_array)
#define th_engine_evaluate TH_REAL_SYMBOL(th_engine_evaluate)
#define th_slice_find TH_REAL_SYMBOL(th_slice_find)
#define th_slice_look_ahead TH_REAL_SYMBOL(th_slice_look_ahead)
#define th_slice_gather TH_REAL_SYMBOL(th_slice_gather)
#define th_batch_scale TH_REAL_SYMBOL(th_batch_scale)
#define th_slice_loss TH_REAL_SYMBOL(th_slice_loss)
#define th_recurrent_allocate TH_REAL_SYMBOL(th_recurrent_allocate)
#define th_recurrent_allocate_training TH_REAL_SYMBOL(th_recurrent_allocate_training)
#define th_recurrent_forward TH_REAL_SYMBOL(th_recurrent_forward)
#define th_recurrent_backward TH_REAL_SYMBOL(th_recurrent_backward)
#define th_embedding_enter TH_REAL_SYMBOL(th_embedding_enter)
#define th_embedding_differentiate TH_REAL_SYMBOL(th_embedding_differentiate)
#define th_slice_logits_copy TH_REAL_SYMBOL(th_slice_logits_copy)
#define th_norm_init TH_REAL_SYMBOL(th_norm_init)
#define th_norm_allocate TH_REAL_SYMBOL(th_norm_allocate)
#define th_norm_allocate_training TH_REAL_SYMBOL(th_norm_allocate_training)
#define th_norm_read TH_REAL_SYMBOL(th_norm_read)
#define th_norm_write TH_REAL_SYMBOL(th_norm_write)
#define th_norm_forward TH_REAL_SYMBOL(th_norm_forward)
#define th_norm_backward TH_REAL_SYMBOL(th_norm_backward)
#define th_norm_measure TH_REAL_SYMBOL(th_norm_measure)
#define th_norm_settle TH_REAL_SYMBOL(th_norm_settle)
#define th_norm_recall TH_REAL_SYMBOL(th_norm_recall)
#define th_norm_sum TH_REAL_SYMBOL(th_norm_sum)
#define th_norm_gradient TH_REAL_SYMBOL(th_norm_gradient)

/* All are constants, never a function of the number of threads: they fix the order of all sums.
 * Rows of a slice: what a small net takes through all its layers in the cache; fewer for a
 * recurrent net, whose rows are windows of work each; more for a net with a wide layer, because the
 * BLAS repacks the weights for every slice. */
#define TH_SLICE_ROWS 64
#define TH_SLICE_ROWS_RECURRENT 16
#define TH_SLICE_ROWS_WIDE 128
#define TH_SLICE_ROWS_MAX 128
/* Inputs of a block: whole tiles of kernels/cpu/product.h, and so few that two threads can share a
 * small layer evenly; what the BLAS needs to come near its best for a wide one. */
#define TH_BLOCK_INPUTS 24
#define TH_BLOCK_INPUTS_WIDE 128
/* Groups of a block: whole panels of numbers, however few each group has. */
#define TH_BLOCK_GROUPS 256

/* Enough slices for 8 cores or more, and less memory than any data set of that many rows. */
#define TH_EVALUATE_ROWS 1024
/* Rows of their windows, so that memory does not grow with these. */
#define TH_EVALUATE_WINDOW_ROWS 65536

/** What a block is a part of. */
typedef enum th_block_kind {
  TH_BLOCK_WEIGHTS, /**< of a linear layer */
  TH_BLOCK_EMBEDDING,
} th_block_kind;

/** The unit of the phase that updates parameters: some inputs of a layer and all weights from them,
 * the layer's last block with what is learnt beside weights, or some groups of the embedding and
 * all their numbers. */
typedef struct th_block {
  th_block_kind kind;
  uint32_t dense; /**< of weights */
  uint32_t first; /**< input or group */
  uint32_t count;
  uint64_t start; /**< index of its first number among the engine's parameters */
  uint64_t numbers; /**< a multiple of TH_PANEL */
} th_block;

/** A linear layer of the net, with the arrays around it. */
typedef struct th_dense {
  const th_layer *layer; /**< where the model has its parameters */
  th_linear linear; /**< where the engine has them */
  uint32_t times; /**< rows of its arrays for each row of a batch: 1, or those of a window */
  /** Rows of learnt numbers after its weights: the biases, and a normalization's scale and shift.
   */
  uint32_t vectors;
  /** Normalization by batch takes its biases away again, so that they have no gradient; what
   * rounding leaves of one, an adaptive optimizer would make whole steps of. */
  bool is_centered;
  th_real *inputs; /**< [times, rows, input_stride] */
  th_real *deltas; /**< [times, rows, output_stride]: the loss's gradient at its outputs */
  th_real *transposed; /**< the weights of a small layer once more, for the product backward */
} th_dense;

/** Normalization of a hidden layer's products, biases included. */
typedef struct th_normalizer {
  /** Where the engine has its parameters, each a row of [output_stride], one after another. */
  th_norm at;
  th_real *normalized; /**< [rows, output_stride] */
  th_real *inverses; /**< 1 / deviation: [rows], or by batch [output_stride] */
  th_real *means; /**< [output_stride], by batch only */
  /** [slices, 2, output_stride] on the way forward, by batch only, the means of the slice's columns
   * and the sums of squares about them; on the way back what sums up to the gradients of scale and
   * shift. */
  double *slices;
} th_normalizer;

/** What follows the product of a hidden layer. Its outputs are the inputs of the next layer. */
typedef struct th_hidden {
  th_normalizer normalizer; /**< if the specification says so */
  th_nonlinearity f;
  uint64_t shift; /**< index of what f's arguments lack yet: the biases, or the normalization's */
  bool skips; /**< adds its inputs to its outputs */
  /** [rows, output_stride] after f and dropout: its outputs, or what its inputs are added to. */
  th_real *values;
  th_real *passed; /**< [rows, output_stride] the gradient that goes to its inputs as it is */
  th_real *slopes; /**< [rows, output_stride], of an activation whose values do not tell them */
  uint8_t *kept; /**< [rows, output_stride], with dropout */
} th_hidden;

/** A recurrent layer beside its two linear ones. The input's deltas begin as the gates, of an LSTM
 * both have the same array; the state's inputs are [times + 1, rows, stride], zero at first. */
typedef struct th_recurrence {
  /** Of an LSTM: its cell states [times + 1, rows, stride], and the state's products [rows, gates]
   * at the time under way. A GRU, whose products are needed again, has them in the state's deltas.
   */
  th_real *memories, *products;
  /** For training. At the outputs: [times, rows, stride] from the layer above; NULL of the last. */
  th_real *output_deltas;
  th_real *state_deltas; /**< [rows, stride] at the time under way; first, from the stack */
  th_real *memory_deltas; /**< [rows, stride] likewise */
  th_real *carried; /**< [rows, stride] through the state's product from the time after */
  uint8_t *kept; /**< [times, rows, stride] with dropout; of the last layer the last time's alone */
} th_recurrence;

#define TH_DENSES_MAX (TH_MODEL_LAYERS_MAX + 2 * TH_RECURRENT_LAYERS_MAX)
#define TH_ARRAYS_MAX 1024

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
  uint32_t slice_rows;
  th_loss_rule rule;
  th_sampling sampling;
  const float *row_weights; /**< [rows] of the data set; NULL: losses are not weighed */
  const double *training_shares, *validation_shares; /**< th_engine_plan's */

  /** The stack's layers first, whose last one's deltas begin as its logits. Then two of each
   * recurrent layer: from its inputs, and from its state. */
  th_dense denses[TH_DENSES_MAX];
  uint32_t dense_count;
  th_hidden hidden[TH_HIDDEN_LAYERS_MAX];
  th_recurrence recurrences[TH_RECURRENT_LAYERS_MAX];
  th_nonlinearity recurrent_drop; /**< dropout alone */
  double row_flops; /**< a multiplication and an addition a weight and row of a batch */
  uint32_t evaluate_rows; /**< at once */

  uint32_t *groups; /**< [rows] of the batch; NULL without an embedding */
  /** [times, rows, input_stride] of the first layer: the gradient at the net's inputs, which
   * teaches the embedding. NULL without one, or if nothing is trained. */
  th_real *input_deltas;

  /** [parameter_count]: all layers as kernels/cpu/linear.h has them, then the embedding's table as
   * the model has it, padded at its end alone. */
  th_real *parameters;
  th_real *gradients;
  th_real *moment1, *moment2; /**< NULL if the optimizer has none */
  th_real *best; /**< NULL until there is one */
  uint64_t parameter_count;
  uint64_t embedding; /**< index of the table's first number */

  th_block *blocks;
  uint32_t block_count;
  double *block_squares; /**< [block_count] of each block's gradient, to clip its length by */
  th_sums *slice_sums;
  /** [rows] of the data set that step ahead_step takes; 0: not known. */
  uint32_t *rows_ahead;
  uint64_t ahead_step;

  /** Every array above, to be freed with the engine. */
  void *arrays[TH_ARRAYS_MAX];
  uint32_t array_count;
  bool lacks_memory; /**< one of them could not be had */
};

/**
 * Give the engine an array, zeroed and aligned to a cache line, until it is destroyed.
 *
 * @return NULL without memory or if the size overflows; the engine remembers, so that who makes one
 *         asks once, when all arrays are taken.
 */
void *th_engine_array(th_engine *engine, uint64_t rows, uint64_t width, size_t element_bytes);

/** The same of numbers that the engine computes with. */
static inline th_real *th_engine_reals(th_engine *engine, uint64_t rows, uint64_t width) {
  return th_engine_array(engine, rows, width, sizeof(th_real));
}

/** The layer that gives the logits. */
static inline const th_dense *th_engine_last(const th_engine *engine) {
  return &engine->denses[engine->model->layer_count - 1];
}

/** The layer that the features enter, and with them the numbers of the embedding. */
static inline const th_dense *th_engine_first(const th_engine *engine) {
  bool is_recurrent = engine->model->cell_count > 0;
  return &engine->denses[is_recurrent ? engine->model->layer_count : 0];
}

/** Whether hidden layers are normalized; without any there is nothing to do either way. */
static inline bool th_engine_is_normalized(const th_engine *engine) {
  return engine->spec->hidden_count > 0 && engine->spec->normalization != TH_NORMALIZATION_NONE;
}

static inline bool th_engine_is_normalized_by_batch(const th_engine *engine) {
  return engine->spec->hidden_count > 0 && engine->spec->normalization == TH_NORMALIZATION_BATCH;
}

/** What one loop of the team works on. */
typedef struct th_batch {
  th_engine *engine;
  const th_order *order; /**< of the training rows in this epoch; NULL: not training */
  uint32_t first; /**< position of the batch's first row */
  uint32_t rows;
  uint64_t step; /**< over the whole training, from 0 */
  th_real scale; /**< 1 / weight of the rows, for the gradient of their mean loss */
  th_optimizer optimizer;
  th_real clip; /**< what the gradient is multiplied by before the update */
  th_real *logits; /**< wanted by the caller of an evaluation, or NULL */
  uint32_t layer; /**< where a loop stops that other slices must be waited for */
} th_batch;

static inline bool th_batch_is_training(const th_batch *batch) {
  return batch->order != NULL;
}

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

/** Copy rows into the batch, each with its window. @param rows  [slice.rows] of the data set. */
void th_slice_gather(const th_batch *batch, th_slice slice, const uint32_t *rows);

/* ---- kernels/cpu/engine_recurrent.c ---- */

/** Take the arrays of the recurrent layers, and those that only training needs. A net without such
 * layers needs none. @param rows  of a batch, at most. */
void th_recurrent_allocate(th_engine *engine, uint64_t rows);
void th_recurrent_allocate_training(th_engine *engine, uint64_t rows);

/** From the windows of the slice to the inputs of the stack. */
void th_recurrent_forward(const th_batch *batch, th_slice slice);

/** From the gradient at the stack's inputs, in the last layer's state_deltas, to that at the
 * products of all layers and, if anybody wants it, at the net's inputs. */
void th_recurrent_backward(const th_batch *batch, th_slice slice);

/* ---- kernels/cpu/engine_embedding.c: numbers learnt for each group ---- */

/** Write the numbers of a group. @param values  [out] [embedding]. */
void th_embedding_enter(const th_engine *engine, uint32_t group, th_real *values);

/** Take the gradient of a block of groups: of each the sum over the batch's rows that are of it. */
void th_embedding_differentiate(const th_batch *batch, const th_block *block, th_real *gradients);

/* ---- kernels/cpu/engine_loss.c: what comes out of the last layer ---- */

/** What the gradient of the batch's mean loss is scaled by. */
th_real th_batch_scale(const th_batch *batch);

/** Turn the slice's outputs into the loss's gradient at them, and sum up losses and hits. Data with
 * neither labels nor targets leave them as they are and have nothing to sum up. */
th_sums th_slice_loss(const th_batch *batch, th_slice slice, const uint32_t *rows);

/** Copy the slice's predictions to where the caller of an evaluation wants them. */
void th_slice_logits_copy(const th_batch *batch, th_slice slice);

/* ---- kernels/cpu/engine_norm.c: normalization of hidden layer l ---- */

/** Place its parameters behind those that there are. */
void th_norm_init(th_engine *engine, uint32_t l);

/** @param rows  of its arrays. */
void th_norm_allocate(th_engine *engine, uint32_t l, uint64_t rows);
void th_norm_allocate_training(th_engine *engine, uint32_t l, uint64_t batch_rows);

/** As th_linear_read and th_linear_write. */
void th_norm_read(const th_engine *engine, uint32_t l, const th_real *parameters, th_real *model);
void th_norm_write(const th_engine *engine, uint32_t l, const th_real *model, th_real *parameters);

/** From the slice's products to x̂ and scale · x̂. @param values  [in,out] the slice's. */
void th_norm_forward(const th_batch *batch, th_slice slice, uint32_t l, th_real *values);

/** From the gradient at the normalization's outputs to that at the products, in `deltas`. */
void th_norm_backward(const th_batch *batch, th_slice slice, uint32_t l);

/** By batch: how the slice's products lie. */
void th_norm_measure(const th_batch *batch, th_slice slice, uint32_t l, const th_real *values);

/** By batch, between loops: means and deviations of all slices, and of all batches so far. */
void th_norm_settle(const th_batch *batch, uint32_t l);

/** By batch: let the running statistics normalize what is evaluated. */
void th_norm_recall(const th_engine *engine);

/** The slice's share of the gradients of scale and shift. */
void th_norm_sum(const th_batch *batch, th_slice slice, uint32_t l);

/** Between loops: add up the shares. By batch, th_norm_backward needs it. */
void th_norm_gradient(const th_batch *batch, uint32_t l);

th_error th_engine_train(th_engine *engine, th_team *team, uint32_t epoch, uint32_t first,
                         uint32_t count, th_sums *sums);
th_error th_engine_evaluate(th_engine *engine, th_team *team, uint32_t first, uint32_t count,
                            th_sums *sums, th_real *logits);

#endif

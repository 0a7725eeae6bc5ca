/** What the files of the CPU engine share. */
#ifndef TH_KERNELS_CPU_ENGINE_H
#define TH_KERNELS_CPU_ENGINE_H

#include "kernels/backend.h"
#include "kernels/cpu/loops.h"

#define th_engine_train TH_REAL_SYMBOL(th_engine_train)
#define th_engine_evaluate TH_REAL_SYMBOL(th_engine_evaluate)

/* Both are constants, never a function of the number of threads: they fix the order of all sums.
 * 64 is where the BLAS comes within 5 % of its best on the weights it must repack for each call. */
#define TH_SLICE_ROWS 64
#define TH_BLOCK_OUTPUTS TH_COLUMN_SUMS_MAX

/* Enough slices for 16 cores, and less memory than any data set of that many rows. */
#define TH_EVALUATE_ROWS (16 * TH_SLICE_ROWS)

/** Some outputs of a layer: the unit of the phase that updates parameters. */
typedef struct th_block {
  uint32_t layer;
  uint32_t first;
  uint32_t outputs;
} th_block;

struct th_engine {
  const th_spec *spec;
  const th_model *model;
  const th_data *data;
  th_permutation split;
  uint32_t training_rows;
  th_nonlinearity nonlinearity;

  th_real *parameters;
  th_real *gradients;
  th_real *moment1, *moment2; /**< NULL if the optimizer has none */
  th_real *best; /**< NULL until there is one */

  th_block *blocks;
  uint32_t block_count;

  /** [rows, inputs] of each layer; the first are rows of the data, the others follow an
   * activation. */
  th_real *inputs[TH_MODEL_LAYERS_MAX];
  /** [rows, outputs] of each layer: the loss's gradient there. The last layer's begin as its
   * logits. */
  th_real *deltas[TH_MODEL_LAYERS_MAX];
  uint8_t *kept[TH_MODEL_LAYERS_MAX]; /**< [rows, outputs], with dropout */
  th_sums *slice_sums;
};

th_error th_engine_train(th_engine *engine, th_team *team, uint32_t epoch, uint32_t first,
                         uint32_t count, th_sums *sums);
th_error th_engine_evaluate(th_engine *engine, th_team *team, uint32_t first, uint32_t count,
                            th_sums *sums, th_real *logits);

#endif

#include "kernels/cpu/engine.h"

void th_embedding_enter(const th_engine *engine, uint32_t group, th_real *values) {
  size_t width = engine->spec->embedding;
  memcpy(values, engine->parameters + engine->embedding + group * width, width * sizeof *values);
}

/* What a row of the batch says to its group's numbers: they stood at every time of its window. */
static void row_add(const th_batch *batch, uint32_t row, th_real *sums) {
  const th_engine *engine = batch->engine;
  const th_dense *first = th_engine_first(engine);
  uint32_t stride = first->linear.input_stride;
  const th_real *deltas = engine->input_deltas + (size_t)row * stride + engine->model->width;
  for (uint32_t t = 0; t < first->times; t++, deltas += (size_t)batch->rows * stride)
    for (uint32_t c = 0; c < engine->spec->embedding; c++) sums[c] += deltas[c];
}

/* Every block looks through the whole batch for its groups, in the batch's order: nobody waits for
 * anybody, and the order of the sums is that of the rows. Dense, as nn.Embedding's: a group of
 * which there is no row has a gradient of zero, and momentum and decay go on for it. */
void th_embedding_differentiate(const th_batch *batch, const th_block *block, th_real *gradients) {
  const th_engine *engine = batch->engine;
  memset(gradients, 0, block->numbers * sizeof *gradients);
  for (uint32_t row = 0; row < batch->rows; row++) {
    uint32_t place = engine->groups[row] - block->first;
    if (place < block->count)
      row_add(batch, row, gradients + (size_t)place * engine->spec->embedding);
  }
}

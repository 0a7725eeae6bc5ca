#include "kernels/cpu/engine.h"

/* Shuffling is a permutation, for which there is a loop. */
static void positions_find(const th_batch *batch, uint32_t count, uint32_t *places) {
  const th_order *order = batch->order;
  if (order == NULL) return;
  if (order->kind == TH_SAMPLING_EACH)
    batch->engine->loops->permute(&order->shuffled, count, places);
  else
    for (uint32_t i = 0; i < count; i++) places[i] = th_order_at(order, places[i]);
}

/* Which rows of the data set stand at these places of an epoch. */
static void rows_find(const th_batch *batch, uint32_t first, uint32_t count, uint32_t *rows) {
  const th_loops *loops = batch->engine->loops;
  for (uint32_t i = 0; i < count; i++) rows[i] = first + i;
  positions_find(batch, count, rows);
  const uint32_t *list = batch->engine->rows;
  if (list == NULL) loops->permute(&batch->engine->split, count, rows);
  for (uint32_t i = 0; i < count && list != NULL; i++) rows[i] = list[rows[i]];
}

void th_slice_find(const th_batch *batch, th_slice slice, uint32_t *rows) {
  const th_engine *engine = batch->engine;
  if (engine->ahead_step == batch->step && batch->step > 0)
    memcpy(rows, engine->rows_ahead + slice.first, slice.rows * sizeof *rows);
  else
    rows_find(batch, batch->first + slice.first, slice.rows, rows);
}

#define CACHE_LINE_NUMBERS 16
#define PREFETCH_TO_L2 2

/* Rows in random order come from far away in memory. Those of the next batch are sent for while
 * this one is computed; what place they have is found once, and kept. */
void th_slice_look_ahead(const th_batch *batch, th_slice slice) {
  const th_data *data = batch->engine->data;
  uint32_t first = batch->first + batch->rows + slice.first;
  uint32_t *rows = batch->engine->rows_ahead + slice.first;
  if (first >= batch->engine->training_rows) return;
  uint32_t left = batch->engine->training_rows - first;
  uint32_t count = left < slice.rows ? left : slice.rows;
  rows_find(batch, first, count, rows);
  for (uint32_t i = 0; i < count; i++) {
    const float *features = data->features + (size_t)rows[i] * data->width;
    for (uint32_t c = 0; c < data->width; c += CACHE_LINE_NUMBERS)
      __builtin_prefetch(features + c, 0, PREFETCH_TO_L2);
  }
}

/* Features are standardized on their way into the batch, so that the data set is never copied. */
static void features_enter(const th_engine *engine, uint32_t row, th_real *values) {
  const th_data *data = engine->data;
  const float *shift = engine->shift;
  const float *scale = engine->scale;
  const float *features = data->features + (size_t)row * data->width;
  for (uint32_t c = 0; c < data->width; c++) values[c] = features[c];
  if (shift == NULL) return;
  for (uint32_t c = 0; c < data->width; c++) values[c] = (values[c] - shift[c]) * scale[c];
}

/* How many rows before this one are in its window: those before it in its group without a gap. */
static uint32_t rows_before(const th_data *data, uint32_t row, uint32_t most) {
  const int32_t *groups = data->groups;
  if (row < most) most = row;
  uint32_t count = 0;
  while (count < most && (groups == NULL || groups[row - count - 1] == groups[row])) count++;
  return count;
}

/* The rows that are so much older than the slice's. What a window lacks at its beginning enters as
 * zeros, beside the numbers of the row's own group. */
static void age_enter(const th_batch *batch, th_slice slice, const uint32_t *rows,
                      const uint32_t *before, uint32_t age) {
  const th_engine *engine = batch->engine;
  const th_dense *first = th_engine_first(engine);
  uint32_t stride = first->linear.input_stride;
  uint32_t width = engine->model->width;
  uint32_t time = first->times - 1 - age;
  th_real *values = first->inputs + ((size_t)time * batch->rows + slice.first) * stride;
  for (uint32_t i = 0; i < slice.rows; i++, values += stride) {
    if (age <= before[i])
      features_enter(engine, rows[i] - age, values);
    else
      memset(values, 0, width * sizeof *values);
    if (engine->groups != NULL)
      th_embedding_enter(engine, engine->groups[slice.first + i], values + width);
  }
}

void th_slice_gather(const th_batch *batch, th_slice slice, const uint32_t *rows) {
  const th_engine *engine = batch->engine;
  const th_data *data = engine->data;
  uint32_t times = th_engine_first(engine)->times;
  uint32_t before[TH_SLICE_ROWS_MAX];
  for (uint32_t i = 0; i < slice.rows; i++) before[i] = rows_before(data, rows[i], times - 1);
  for (uint32_t i = 0; i < slice.rows && engine->groups != NULL; i++)
    engine->groups[slice.first + i] = (uint32_t)data->groups[rows[i]];
  for (uint32_t age = 0; age < times; age++) age_enter(batch, slice, rows, before, age);
}

/** The phases that rows go through: forward to their losses, and backward to the gradients at every
 * layer's products (kernels/cuda/phases.h). */
#ifndef TH_KERNELS_CUDA_PHASES_ROWS_H
#define TH_KERNELS_CUDA_PHASES_ROWS_H

#include "kernels/activation.h"
#include "kernels/cuda/tile.h"
#include "kernels/normalization.h"

/* ---- which rows, and their features ---- */

/* How many rows before this one are in its window: those before it in its group without a gap. */
TH_HOST_DEVICE uint32_t rows_before(const th_cuda_net *net, uint32_t row) {
  uint32_t most = net->window - 1 < row ? net->window - 1 : row;
  uint32_t count = 0;
  while (count < most && (net->groups == NULL || net->groups[row - count - 1] == net->groups[row]))
    count++;
  return count;
}

TH_CUDA_PHASE void th_phase_find(const th_cuda_job *job, const th_cuda_batch *batch, th_lane lane) {
  const th_cuda_net *net = job->net;
  for (uint32_t i = lane.index; i < batch->rows; i += lane.count) {
    uint32_t place = batch->first + i;
    if (batch->order != NULL) place = th_order_at(batch->order, place);
    uint32_t row = net->rows != NULL ? net->rows[place] : th_permutation_at(&net->split, place);
    job->area.rows[i] = row;
    job->area.befores[i] = rows_before(net, row);
  }
}

TH_HOST_DEVICE float th_row_weight(const th_cuda_net *net, uint32_t row) {
  return net->row_weights == NULL ? 1 : net->row_weights[row];
}

/* What a row adds to the weight that a sum of losses is divided by. */
TH_HOST_DEVICE float th_row_share(const th_cuda_net *net, uint32_t row) {
  float share = net->labels == NULL ? 1 : th_loss_share(&net->rule, (uint32_t)net->labels[row]);
  return share * th_row_weight(net, row);
}

/* A number that enters the net at the i'th row of the batch: a feature of the row that is so much
 * older, one of the row's group, or padding. What a window lacks at its beginning is zero. */
TH_HOST_DEVICE float input_at(const th_cuda_job *job, uint32_t i, uint32_t age, uint32_t column) {
  const th_cuda_net *net = job->net;
  uint32_t row = job->area.rows[i];
  if (column < net->width) {
    if (age > job->area.befores[i]) return 0;
    float number = net->features[(size_t)(row - age) * net->width + column];
    return net->shift == NULL ? number : (number - net->shift[column]) * net->scale[column];
  }
  if (column >= net->width + net->embedding) return 0;
  uint64_t group = (uint64_t)net->groups[row] * net->embedding_stride;
  return job->state.parameters[net->table + group + (column - net->width)];
}

/* Rows beyond the batch, up to a whole tile, are computed and not counted: they get numbers that
 * are finite. */
TH_CUDA_PHASE void th_phase_gather(const th_cuda_job *job, const th_cuda_batch *batch,
                                   th_lane lane) {
  const th_cuda_layer *layer = th_cuda_first(job->net);
  uint32_t rows = th_tiles_over(batch->rows) * TH_TILE;
  uint64_t count = (uint64_t)layer->times * rows * layer->input_stride;
  for (uint64_t i = lane.index; i < count; i += lane.count) {
    uint32_t column = (uint32_t)(i % layer->input_stride);
    uint32_t row = (uint32_t)(i / layer->input_stride % rows);
    uint32_t time = (uint32_t)(i / layer->input_stride / rows);
    uint32_t age = layer->times - 1 - time;
    th_area_at(&job->area, layer->inputs_at, layer->input_stride,
               time * job->area.rows_max + row)[column] =
        row < batch->rows ? input_at(job, row, age, column) : 0;
  }
  for (uint32_t i = lane.index; i < batch->rows; i += lane.count)
    job->area.shares[i] = th_row_share(job->net, job->area.rows[i]);
}

/* ---- forward ---- */

/* The activation's value of a number, and its slope. */
TH_HOST_DEVICE float number_activate(const th_cuda_layer *layer, float x, float *slope) {
  if (!th_activation_tells_slope(layer->activation))
    return th_activation_value_slope(layer->activation, x, slope);
  float y = th_activation_value(layer->activation, layer->shape, x);
  *slope = th_activation_slope(layer->activation, layer->shape, y);
  return y;
}

/* Four numbers of a row, from what is activated to the outputs: a half of a block of dropout's
 * columns. */
TH_HOST_DEVICE void quad_finish(const th_cuda_job *job, const th_cuda_batch *batch, uint32_t l,
                                uint32_t row, uint32_t column, th_quad numbers) {
  const th_cuda_net *net = job->net;
  const th_cuda_layer *layer = &net->layers[l];
  const th_cuda_layer *above = &net->layers[l + 1];
  bool drops = batch->order != NULL && net->drop_threshold > 0;
  float scale = 1 / net->keep;
  th_philox bits = {{0}};
  th_quad slopes;
  if (drops)
    bits = th_philox_at(net->seed, (uint32_t)batch->step, row, l, column / TH_DROPOUT_COLUMNS);
  for (uint32_t c = 0; c < TH_TILE; c++) {
    numbers.at[c] = number_activate(layer, numbers.at[c], &slopes.at[c]);
    if (!drops) continue;
    bool is_kept = th_dropout_bits(bits, (column + c) % TH_DROPOUT_COLUMNS) >= net->drop_threshold;
    numbers.at[c] = is_kept ? numbers.at[c] * scale : 0;
    slopes.at[c] = is_kept ? slopes.at[c] * scale : 0;
  }
  if (layer->skips) {
    const float *inputs = th_area_at(&job->area, layer->inputs_at, layer->input_stride, row);
    for (uint32_t c = 0; c < TH_TILE; c++) numbers.at[c] += inputs[column + c];
  }
  *(th_quad *)(th_area_at(&job->area, above->inputs_at, above->input_stride, row) + column) =
      numbers;
  *(th_quad *)(th_area_at(&job->area, layer->slopes_at, layer->output_stride, row) + column) =
      slopes;
}

/* Products with their bias go to the loss, to a normalization, or on. */
TH_HOST_DEVICE void quad_forward(const th_cuda_job *job, const th_cuda_batch *batch, uint32_t l,
                                 uint32_t row, uint32_t column, th_quad products) {
  const th_cuda_layer *layer = &job->net->layers[l];
  bool is_last = l + 1 == job->net->layer_count;
  uint32_t place = is_last ? layer->deltas_at : layer->normed_at;
  if (is_last || layer->normalization != TH_NORMALIZATION_NONE)
    *(th_quad *)(th_area_at(&job->area, place, layer->output_stride, row) + column) = products;
  else
    quad_finish(job, batch, l, row, column, products);
}

TH_CUDA_PHASE void th_phase_forward(const th_cuda_job *job, const th_cuda_batch *batch, uint32_t l,
                                    th_lane lane) {
  const th_cuda_layer *layer = &job->net->layers[l];
  const float *weights = job->state.parameters + layer->weights;
  const float *biases = job->state.parameters + th_cuda_vector_at(layer, TH_CUDA_BIAS);
  uint32_t across = layer->output_stride / TH_TILE;
  uint32_t tiles = th_tiles_over(batch->rows) * across;
  for (uint32_t t = lane.index; t < tiles; t += lane.count) {
    uint32_t row = t / across * TH_TILE;
    uint32_t column = t % across * TH_TILE;
    th_tile sums =
        th_tile_forward(layer, th_area_at(&job->area, layer->inputs_at, layer->input_stride, row),
                        weights + column);
    th_quad bias = th_quad_at(biases + column);
    for (uint32_t r = 0; r < TH_TILE; r++) {
      th_quad products;
      for (uint32_t c = 0; c < TH_TILE; c++) products.at[c] = sums.at[r][c] + bias.at[c];
      quad_forward(job, batch, l, row + r, column, products);
    }
  }
}

/* ---- normalization ---- */

TH_HOST_DEVICE float *th_column_measures(const th_cuda_job *job, const th_cuda_layer *layer,
                                         th_cuda_measure measure) {
  return job->area.columns + layer->columns_at + (size_t)measure * layer->output_stride;
}

TH_HOST_DEVICE float *row_measures(const th_cuda_job *job, const th_cuda_layer *layer,
                                   uint32_t row) {
  return th_area_at(&job->area, layer->measures_at, TH_TILE, row);
}

/* Mean and sum of squared distances of numbers that lie `step` apart, in two passes. */
TH_HOST_DEVICE th_moments numbers_measure(const float *numbers, uint32_t count, size_t step) {
  th_moments moments = {(double)count, 0, 0};
  for (uint32_t i = 0; i < count; i++) moments.mean += (double)numbers[i * step] / count;
  for (uint32_t i = 0; i < count; i++) {
    double gap = (double)numbers[i * step] - moments.mean;
    moments.squares += gap * gap;
  }
  return moments;
}

/* Of the batch while training, else the running statistics. A batch of one row leaves these as they
 * were. */
TH_HOST_DEVICE void column_measure(const th_cuda_job *job, const th_cuda_batch *batch,
                                   const th_cuda_layer *layer, uint32_t column) {
  float *mean = job->state.parameters + th_cuda_vector_at(layer, TH_CUDA_MEAN) + column;
  float *variance = job->state.parameters + th_cuda_vector_at(layer, TH_CUDA_VARIANCE) + column;
  th_moments moments = {1, (double)*mean, (double)*variance};
  if (batch->order != NULL)
    moments =
        numbers_measure(th_area_at(&job->area, layer->normed_at, layer->output_stride, 0) + column,
                        batch->rows, layer->output_stride);
  th_column_measures(job, layer, TH_CUDA_MEASURE_MEAN)[column] = (float)moments.mean;
  th_column_measures(job, layer, TH_CUDA_MEASURE_INVERSE)[column] =
      th_normalization_inverse(moments.squares / moments.count);
  if (batch->order == NULL || batch->rows == 1) return;
  *mean = th_normalization_run(*mean, moments.mean);
  *variance = th_normalization_run(*variance, moments.squares / (moments.count - 1));
}

TH_CUDA_PHASE void th_phase_measure(const th_cuda_job *job, const th_cuda_batch *batch, uint32_t l,
                                    th_lane lane) {
  const th_cuda_layer *layer = &job->net->layers[l];
  bool by_batch = layer->normalization == TH_NORMALIZATION_BATCH;
  for (uint32_t i = lane.index; i < (by_batch ? layer->outputs : batch->rows); i += lane.count) {
    if (by_batch) {
      column_measure(job, batch, layer, i);
      continue;
    }
    float *measures = row_measures(job, layer, i);
    th_moments moments = numbers_measure(
        th_area_at(&job->area, layer->normed_at, layer->output_stride, i), layer->outputs, 1);
    measures[TH_CUDA_MEASURE_MEAN] = (float)moments.mean;
    measures[TH_CUDA_MEASURE_INVERSE] = th_normalization_inverse(moments.squares / moments.count);
  }
}

/* What is known of a place: by its row, or by its column. */
TH_HOST_DEVICE float measure_at(const th_cuda_job *job, const th_cuda_layer *layer,
                                th_cuda_measure measure, uint32_t row, uint32_t column) {
  return layer->normalization == TH_NORMALIZATION_BATCH
             ? th_column_measures(job, layer, measure)[column]
             : row_measures(job, layer, row)[measure];
}

TH_CUDA_PHASE void th_phase_normalize(const th_cuda_job *job, const th_cuda_batch *batch,
                                      uint32_t l, th_lane lane) {
  const th_cuda_layer *layer = &job->net->layers[l];
  const float *scales = job->state.parameters + th_cuda_vector_at(layer, TH_CUDA_SCALE);
  const float *shifts = job->state.parameters + th_cuda_vector_at(layer, TH_CUDA_SHIFT);
  uint32_t across = layer->output_stride / TH_TILE;
  for (uint32_t i = lane.index; i < batch->rows * across; i += lane.count) {
    uint32_t row = i / across;
    uint32_t column = i % across * TH_TILE;
    float *normed = th_area_at(&job->area, layer->normed_at, layer->output_stride, row) + column;
    th_quad numbers;
    for (uint32_t c = 0; c < TH_TILE; c++) {
      float mean = measure_at(job, layer, TH_CUDA_MEASURE_MEAN, row, column + c);
      float inverse = measure_at(job, layer, TH_CUDA_MEASURE_INVERSE, row, column + c);
      normed[c] = column + c < layer->outputs ? (normed[c] - mean) * inverse : 0;
      numbers.at[c] = normed[c] * scales[column + c] + shifts[column + c];
    }
    quad_finish(job, batch, l, row, column, numbers);
  }
}

/* ---- backward ---- */

/* From the gradients at layer l's products to those at what the layer below activated. */
TH_CUDA_PHASE void th_phase_backward(const th_cuda_job *job, const th_cuda_batch *batch, uint32_t l,
                                     th_lane lane) {
  const th_cuda_layer *layer = &job->net->layers[l];
  const th_cuda_layer *below = &job->net->layers[l - 1];
  const float *weights = job->state.parameters + layer->weights;
  uint32_t across = layer->input_stride / TH_TILE;
  uint32_t tiles = th_tiles_over(batch->rows) * across;
  for (uint32_t t = lane.index; t < tiles; t += lane.count) {
    uint32_t row = t / across * TH_TILE;
    uint32_t column = t % across * TH_TILE;
    th_tile sums =
        th_tile_backward(layer, th_area_at(&job->area, layer->deltas_at, layer->output_stride, row),
                         weights + (size_t)column * layer->output_stride);
    for (uint32_t r = 0; r < TH_TILE; r++)
      for (uint32_t c = 0; c < TH_TILE; c++) {
        size_t place = (size_t)r * below->output_stride + column + c;
        float delta = sums.at[r][c];
        if (layer->skips)
          delta += th_area_at(&job->area, layer->skips_at, layer->output_stride, row)[place];
        if (below->skips)
          th_area_at(&job->area, below->skips_at, below->output_stride, row)[place] = delta;
        th_area_at(&job->area, below->deltas_at, below->output_stride, row)[place] =
            delta * th_area_at(&job->area, below->slopes_at, below->output_stride, row)[place];
      }
  }
}

/* Sums down a column of a normalized layer: of the gradients, and of their products with what was
 * normalized. They are the gradients of shift and scale. */
TH_HOST_DEVICE void column_stretch(const th_cuda_job *job, const th_cuda_batch *batch,
                                   const th_cuda_layer *layer, uint32_t column) {
  double delta = 0, stretch = 0;
  const float *deltas = th_area_at(&job->area, layer->deltas_at, layer->output_stride, 0) + column;
  const float *normed = th_area_at(&job->area, layer->normed_at, layer->output_stride, 0) + column;
  for (uint32_t r = 0; r < batch->rows; r++) {
    size_t place = (size_t)r * layer->output_stride;
    delta += (double)deltas[place];
    stretch += (double)deltas[place] * (double)normed[place];
  }
  th_column_measures(job, layer, TH_CUDA_MEASURE_DELTA)[column] = (float)delta;
  th_column_measures(job, layer, TH_CUDA_MEASURE_STRETCH)[column] = (float)stretch;
}

/* Means along a row, of the gradients at what was normalized. */
TH_HOST_DEVICE void row_stretch(const th_cuda_job *job, const th_cuda_layer *layer, uint32_t row) {
  const float *scales = job->state.parameters + th_cuda_vector_at(layer, TH_CUDA_SCALE);
  const float *deltas = th_area_at(&job->area, layer->deltas_at, layer->output_stride, row);
  const float *normed = th_area_at(&job->area, layer->normed_at, layer->output_stride, row);
  double delta = 0, stretch = 0;
  for (uint32_t c = 0; c < layer->outputs; c++) {
    double scaled = (double)deltas[c] * (double)scales[c];
    delta += scaled;
    stretch += scaled * (double)normed[c];
  }
  row_measures(job, layer, row)[TH_CUDA_MEASURE_DELTA] = (float)(delta / layer->outputs);
  row_measures(job, layer, row)[TH_CUDA_MEASURE_STRETCH] = (float)(stretch / layer->outputs);
}

TH_CUDA_PHASE void th_phase_stretch(const th_cuda_job *job, const th_cuda_batch *batch, uint32_t l,
                                    th_lane lane) {
  const th_cuda_layer *layer = &job->net->layers[l];
  uint32_t rows = layer->normalization == TH_NORMALIZATION_LAYER ? batch->rows : 0;
  for (uint32_t i = lane.index; i < layer->outputs + rows; i += lane.count) {
    if (i < layer->outputs)
      column_stretch(job, batch, layer, i);
    else
      row_stretch(job, layer, i - layer->outputs);
  }
}

TH_CUDA_PHASE void th_phase_unnormalize(const th_cuda_job *job, const th_cuda_batch *batch,
                                        uint32_t l, th_lane lane) {
  const th_cuda_layer *layer = &job->net->layers[l];
  const float *scales = job->state.parameters + th_cuda_vector_at(layer, TH_CUDA_SCALE);
  bool by_batch = layer->normalization == TH_NORMALIZATION_BATCH;
  for (uint64_t i = lane.index; i < (uint64_t)batch->rows * layer->outputs; i += lane.count) {
    uint32_t row = (uint32_t)(i / layer->outputs);
    uint32_t column = (uint32_t)(i % layer->outputs);
    float *delta = th_area_at(&job->area, layer->deltas_at, layer->output_stride, row) + column;
    float normed = th_area_at(&job->area, layer->normed_at, layer->output_stride, row)[column];
    /* A column's sums are of the gradients before its scale, which is the same all along it. */
    float share = by_batch ? scales[column] / (float)batch->rows : 1;
    *delta =
        th_normalization_back(*delta * scales[column], normed,
                              share * measure_at(job, layer, TH_CUDA_MEASURE_DELTA, row, column),
                              share * measure_at(job, layer, TH_CUDA_MEASURE_STRETCH, row, column),
                              measure_at(job, layer, TH_CUDA_MEASURE_INVERSE, row, column));
  }
}

/* The gradients at the groups' numbers, which stand after the features, at all times. */
TH_CUDA_PHASE void th_phase_embedded(const th_cuda_job *job, const th_cuda_batch *batch,
                                     th_lane lane) {
  const th_cuda_net *net = job->net;
  const th_cuda_layer *layer = th_cuda_first(net);
  for (uint64_t i = lane.index; i < (uint64_t)batch->rows * net->embedding; i += lane.count) {
    uint32_t row = (uint32_t)(i / net->embedding);
    uint32_t column = (uint32_t)(i % net->embedding);
    uint64_t input = net->width + column;
    const float *weights = job->state.parameters + layer->weights + input * layer->output_stride;
    float sum = 0;
    for (uint32_t t = 0; t < layer->times; t++) {
      const float *deltas = th_area_at(&job->area, layer->deltas_at, layer->output_stride,
                                       t * job->area.rows_max + row);
      for (uint32_t o = 0; o < layer->output_stride; o++) sum += deltas[o] * weights[o];
    }
    if (layer->skips)
      sum += th_area_at(&job->area, layer->skips_at, layer->output_stride, row)[input];
    th_area_at(&job->area, net->embedded_at, net->embedding_stride, row)[column] = sum;
  }
}

#endif

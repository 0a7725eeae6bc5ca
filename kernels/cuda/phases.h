/**
 * A training step as phases for lanes that work side by side.
 *
 * Within a phase no lane reads what another one writes; from one phase to the next all wait for
 * each other. A block of threads goes through them with __syncthreads between, a cooperative grid
 * with a grid's barrier, and the tests on the host lane by lane in any order, so that what a
 * missing barrier would do shows without a GPU. What a lane computes, and in which order it adds,
 * does not depend on how many there are.
 */
#ifndef TH_KERNELS_CUDA_PHASES_H
#define TH_KERNELS_CUDA_PHASES_H

#include "kernels/activation.h"
#include "kernels/cuda/net.h"

/** One of those who share a phase's work. */
typedef struct th_lane {
  uint32_t index, count;
} th_lane;

/* Four numbers that are loaded together. */
typedef struct __attribute__((aligned(16))) th_quad {
  float at[TH_TILE];
} th_quad;

typedef struct th_tile {
  float at[TH_TILE][TH_TILE];
} th_tile;

TH_HOST_DEVICE float *area_at(const th_cuda_area *area, uint32_t place, uint32_t stride,
                              uint32_t row) {
  return area->numbers + (size_t)place * area->rows_max + (size_t)row * stride;
}

TH_HOST_DEVICE th_quad quad_at(const float *numbers) {
  return *(const th_quad *)numbers;
}

/* ---- which rows, and their features ---- */

TH_HOST_DEVICE void phase_find(const th_cuda_job *job, const th_cuda_batch *batch, th_lane lane) {
  const th_cuda_net *net = job->net;
  for (uint32_t i = lane.index; i < batch->rows; i += lane.count) {
    uint32_t place = batch->first + i;
    if (batch->order != NULL) place = th_permutation_at(batch->order, place);
    job->area.rows[i] =
        net->rows != NULL ? net->rows[place] : th_permutation_at(&net->split, place);
  }
}

TH_HOST_DEVICE float row_weight(const th_cuda_net *net, uint32_t row) {
  return net->row_weights == NULL ? 1 : net->row_weights[row];
}

/* What a row adds to the weight that a sum of losses is divided by. */
TH_HOST_DEVICE float row_share(const th_cuda_net *net, uint32_t row) {
  float share = net->labels == NULL ? 1 : th_loss_share(&net->rule, (uint32_t)net->labels[row]);
  return share * row_weight(net, row);
}

/* Rows beyond the batch, up to a whole tile, are computed and not counted: they get numbers that
 * are finite. */
TH_HOST_DEVICE void phase_gather(const th_cuda_job *job, const th_cuda_batch *batch, th_lane lane) {
  const th_cuda_net *net = job->net;
  const th_cuda_layer *layer = &net->layers[0];
  uint64_t count = (uint64_t)th_tiles_over(batch->rows) * TH_TILE * layer->input_stride;
  for (uint64_t i = lane.index; i < count; i += lane.count) {
    uint32_t row = (uint32_t)(i / layer->input_stride);
    uint32_t column = (uint32_t)(i % layer->input_stride);
    float number = 0;
    if (row < batch->rows && column < net->width) {
      number = net->features[(size_t)job->area.rows[row] * net->width + column];
      if (net->shift != NULL) number = (number - net->shift[column]) * net->scale[column];
    }
    area_at(&job->area, layer->inputs_at, layer->input_stride, row)[column] = number;
  }
  for (uint32_t i = lane.index; i < batch->rows; i += lane.count)
    job->area.shares[i] = row_share(net, job->area.rows[i]);
}

/* ---- forward ---- */

/* Depth in quads: four rows of the left side against four rows of weights, 64 products for eight
 * loads. */
TH_HOST_DEVICE th_tile tile_forward(const th_cuda_layer *layer, const float *inputs,
                                    const float *weights) {
  th_tile sums = {{{0}}};
  for (uint32_t k = 0; k < layer->input_stride; k += TH_TILE) {
    th_quad left[TH_TILE], right[TH_TILE];
    for (uint32_t i = 0; i < TH_TILE; i++) {
      left[i] = quad_at(inputs + (size_t)i * layer->input_stride + k);
      right[i] = quad_at(weights + (size_t)(k + i) * layer->output_stride);
    }
    for (uint32_t d = 0; d < TH_TILE; d++)
      for (uint32_t r = 0; r < TH_TILE; r++)
        for (uint32_t c = 0; c < TH_TILE; c++) sums.at[r][c] += left[r].at[d] * right[d].at[c];
  }
  return sums;
}

/* The activation's value of a product, and its slope. */
TH_HOST_DEVICE float number_activate(const th_cuda_layer *layer, float x, float *slope) {
  if (!th_activation_tells_slope(layer->activation))
    return th_activation_value_slope(layer->activation, x, slope);
  float y = th_activation_value(layer->activation, layer->shape, x);
  *slope = th_activation_slope(layer->activation, layer->shape, y);
  return y;
}

/* Four numbers of a row after their product: a half of a block of dropout's columns. */
TH_HOST_DEVICE void quad_finish(const th_cuda_job *job, const th_cuda_batch *batch, uint32_t l,
                                uint32_t row, uint32_t column, th_quad sums) {
  const th_cuda_net *net = job->net;
  const th_cuda_layer *layer = &net->layers[l];
  bool drops = batch->order != NULL && net->drop_threshold > 0;
  th_philox bits = {{0}};
  if (drops)
    bits = th_philox_at(net->seed, (uint32_t)batch->step, row, l, column / TH_DROPOUT_COLUMNS);
  float scale = 1 / net->keep;
  th_quad values, slopes;
  for (uint32_t c = 0; c < TH_TILE; c++) {
    values.at[c] = number_activate(layer, sums.at[c], &slopes.at[c]);
    if (!drops) continue;
    bool is_kept = th_dropout_bits(bits, (column + c) % TH_DROPOUT_COLUMNS) >= net->drop_threshold;
    values.at[c] = is_kept ? values.at[c] * scale : 0;
    slopes.at[c] = is_kept ? slopes.at[c] * scale : 0;
  }
  const th_cuda_layer *above = &net->layers[l + 1];
  *(th_quad *)(area_at(&job->area, above->inputs_at, above->input_stride, row) + column) = values;
  *(th_quad *)(area_at(&job->area, layer->slopes_at, layer->output_stride, row) + column) = slopes;
}

TH_HOST_DEVICE void phase_forward(const th_cuda_job *job, const th_cuda_batch *batch, uint32_t l,
                                  th_lane lane) {
  const th_cuda_net *net = job->net;
  const th_cuda_layer *layer = &net->layers[l];
  const float *weights = job->state.parameters + layer->weights;
  const float *biases = weights + (size_t)layer->input_stride * layer->output_stride;
  uint32_t across = layer->output_stride / TH_TILE;
  uint32_t tiles = th_tiles_over(batch->rows) * across;
  for (uint32_t t = lane.index; t < tiles; t += lane.count) {
    uint32_t row = t / across * TH_TILE;
    uint32_t column = t % across * TH_TILE;
    th_tile sums = tile_forward(
        layer, area_at(&job->area, layer->inputs_at, layer->input_stride, row), weights + column);
    th_quad bias = quad_at(biases + column);
    for (uint32_t r = 0; r < TH_TILE; r++) {
      th_quad numbers;
      for (uint32_t c = 0; c < TH_TILE; c++) numbers.at[c] = sums.at[r][c] + bias.at[c];
      if (l + 1 < net->layer_count)
        quad_finish(job, batch, l, row + r, column, numbers);
      else
        *(th_quad *)(area_at(&job->area, layer->deltas_at, layer->output_stride, row + r) +
                     column) = numbers;
    }
  }
}

/* ---- loss ---- */

TH_HOST_DEVICE uint32_t group_end(uint32_t group, uint32_t size, uint32_t count) {
  uint32_t end = (group + 1) * size;
  return end < count ? end : count;
}

/* What the sum of the batch's losses is divided by, group by group. */
TH_HOST_DEVICE void phase_weigh(const th_cuda_job *job, const th_cuda_batch *batch, th_lane lane) {
  for (uint32_t g = lane.index; g < th_sums_over(batch->rows); g += lane.count) {
    double sum = 0;
    for (uint32_t i = g * TH_SUM_ROWS; i < group_end(g, TH_SUM_ROWS, batch->rows); i++)
      sum += (double)job->area.shares[i];
    job->area.share_sums[g] = sum;
  }
}

TH_HOST_DEVICE double batch_weight(const th_cuda_job *job, uint32_t rows) {
  double weight = 0;
  for (uint32_t g = 0; g < th_sums_over(rows); g++) weight += job->area.share_sums[g];
  return weight;
}

TH_HOST_DEVICE th_sums label_judge(const th_cuda_net *net, uint32_t row, uint32_t outputs,
                                   float scale, float *logits) {
  uint32_t label = (uint32_t)net->labels[row];
  float weight = row_weight(net, row);
  th_sums sums = {0};
  sums.rows = 1;
  sums.correct = th_loss_said(net->rule.kind, logits, outputs) == label;
  sums.weight = (double)row_share(net, row);
  sums.loss = (double)(weight * th_loss_row(&net->rule, logits, outputs, label, scale * weight));
  return sums;
}

/* The mean over the outputs is taken of a row's sum, so that a row counts as one. */
TH_HOST_DEVICE th_sums target_judge(const th_cuda_net *net, const double *shares, uint32_t row,
                                    uint32_t outputs, float scale, float *numbers) {
  float weight = row_weight(net, row);
  th_sums sums = {0};
  sums.rows = 1;
  sums.weight = (double)weight;
  for (uint32_t o = 0; o < outputs; o++) {
    numbers[o] -= net->targets[(size_t)row * outputs + o];
    double error = (double)numbers[o];
    sums.absolute += (error < 0 ? -error : error) / outputs;
    sums.squares += error * error / outputs;
    if (shares != NULL) sums.unexplained += error * error * shares[o];
    float loss = th_loss_error(&net->rule, &numbers[o], scale * weight / (float)outputs);
    sums.loss += (double)weight * (double)loss / outputs;
  }
  return sums;
}

/* Logits become the mean loss's gradient at them. Rows that all weigh nothing teach nothing. */
TH_HOST_DEVICE void phase_judge(const th_cuda_job *job, const th_cuda_batch *batch, th_lane lane) {
  const th_cuda_net *net = job->net;
  const th_cuda_layer *last = &net->layers[net->layer_count - 1];
  const double *shares = batch->order != NULL ? net->training_shares : net->validation_shares;
  double weight = batch_weight(job, batch->rows);
  float scale = weight > 0 ? (float)(1 / weight) : 0;
  for (uint32_t i = lane.index; i < batch->rows; i += lane.count) {
    float *logits = area_at(&job->area, last->deltas_at, last->output_stride, i);
    uint32_t row = job->area.rows[i];
    th_sums sums = {0};
    sums.rows = 1;
    if (net->targets != NULL)
      sums = target_judge(net, shares, row, last->outputs, scale, logits);
    else if (net->labels != NULL)
      sums = label_judge(net, row, last->outputs, scale, logits);
    job->area.judged[i] = sums;
  }
}

/* By lane 0, while the others go on: in the order of the rows. */
TH_HOST_DEVICE void sums_add(const th_cuda_job *job, const th_cuda_batch *batch) {
  th_sums sums = *job->sums;
  for (uint32_t i = 0; i < batch->rows; i++) th_sums_add(&sums, &job->area.judged[i]);
  *job->sums = sums;
}

/* ---- backward ---- */

/* Four rows of gradients against the weights of four inputs. */
TH_HOST_DEVICE th_tile tile_backward(const th_cuda_layer *layer, const float *deltas,
                                     const float *weights) {
  th_tile sums = {{{0}}};
  for (uint32_t k = 0; k < layer->output_stride; k += TH_TILE) {
    th_quad left[TH_TILE], right[TH_TILE];
    for (uint32_t i = 0; i < TH_TILE; i++) {
      left[i] = quad_at(deltas + (size_t)i * layer->output_stride + k);
      right[i] = quad_at(weights + (size_t)i * layer->output_stride + k);
    }
    for (uint32_t r = 0; r < TH_TILE; r++)
      for (uint32_t c = 0; c < TH_TILE; c++)
        for (uint32_t d = 0; d < TH_TILE; d++) sums.at[r][c] += left[r].at[d] * right[c].at[d];
  }
  return sums;
}

/* From the gradients at layer l's products to those at the products of the layer below. */
TH_HOST_DEVICE void phase_backward(const th_cuda_job *job, const th_cuda_batch *batch, uint32_t l,
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
        tile_backward(layer, area_at(&job->area, layer->deltas_at, layer->output_stride, row),
                      weights + (size_t)column * layer->output_stride);
    for (uint32_t r = 0; r < TH_TILE; r++) {
      const float *slopes =
          area_at(&job->area, below->slopes_at, below->output_stride, row + r) + column;
      float *deltas = area_at(&job->area, below->deltas_at, below->output_stride, row + r) + column;
      for (uint32_t c = 0; c < TH_TILE; c++) deltas[c] = sums.at[r][c] * slopes[c];
    }
  }
}

/* ---- gradient and update ---- */

/* A tile of a layer's gradient: some inputs by some outputs, or, below the last inputs, biases. */
typedef struct th_spot {
  const th_cuda_layer *layer;
  uint32_t row, column;
  bool is_bias;
} th_spot;

TH_HOST_DEVICE th_spot spot_of(const th_cuda_net *net, uint32_t tile) {
  uint32_t l = net->layer_count - 1;
  while (net->layers[l].first_tile > tile) l--;
  const th_cuda_layer *layer = &net->layers[l];
  uint32_t across = layer->output_stride / TH_TILE;
  uint32_t down = (tile - layer->first_tile) / across;
  th_spot spot = {layer, down * TH_TILE, (tile - layer->first_tile) % across * TH_TILE,
                  down == layer->input_stride / TH_TILE};
  return spot;
}

/* Row after row of the batch, so that the order of a sum depends on nothing else. */
TH_HOST_DEVICE th_tile tile_gradient(const th_cuda_job *job, const th_cuda_batch *batch,
                                     const th_spot *spot) {
  const th_cuda_layer *layer = spot->layer;
  const float *inputs = area_at(&job->area, layer->inputs_at, layer->input_stride, 0) + spot->row;
  const float *deltas =
      area_at(&job->area, layer->deltas_at, layer->output_stride, 0) + spot->column;
  th_tile sums = {{{0}}};
  for (uint32_t i = 0; i < batch->rows; i++) {
    th_quad left = quad_at(inputs + (size_t)i * layer->input_stride);
    th_quad right = quad_at(deltas + (size_t)i * layer->output_stride);
    for (uint32_t r = 0; r < TH_TILE; r++)
      for (uint32_t c = 0; c < TH_TILE; c++) sums.at[r][c] += left.at[r] * right.at[c];
  }
  return sums;
}

/* In double, as column sums are elsewhere: there are few of them. */
TH_HOST_DEVICE th_tile tile_bias_gradient(const th_cuda_job *job, const th_cuda_batch *batch,
                                          const th_spot *spot) {
  const th_cuda_layer *layer = spot->layer;
  const float *deltas =
      area_at(&job->area, layer->deltas_at, layer->output_stride, 0) + spot->column;
  double sums[TH_TILE] = {0};
  for (uint32_t i = 0; i < batch->rows; i++)
    for (uint32_t c = 0; c < TH_TILE; c++)
      sums[c] += (double)deltas[(size_t)i * layer->output_stride + c];
  th_tile tile = {{{0}}};
  for (uint32_t c = 0; c < TH_TILE; c++) tile.at[0][c] = (float)sums[c];
  return tile;
}

/* Padding has no gradient, so that it stays zero. */
TH_HOST_DEVICE bool is_parameter(const th_spot *spot, uint32_t r, uint32_t c) {
  bool has_row = spot->is_bias ? r == 0 : spot->row + r < spot->layer->inputs;
  return has_row && spot->column + c < spot->layer->outputs;
}

TH_HOST_DEVICE float value_clip(float bound, float number) {
  if (bound == 0) return number;
  /* Comparisons that a NaN fails leave it as it is. */
  float above = number < -bound ? -bound : number;
  return above > bound ? bound : above;
}

TH_HOST_DEVICE uint64_t parameter_at(const th_spot *spot, uint32_t r, uint32_t c) {
  return spot->layer->weights + (uint64_t)(spot->row + r) * spot->layer->output_stride +
         spot->column + c;
}

TH_HOST_DEVICE th_tile tile_differentiate(const th_cuda_job *job, const th_cuda_batch *batch,
                                          const th_spot *spot) {
  th_tile tile =
      spot->is_bias ? tile_bias_gradient(job, batch, spot) : tile_gradient(job, batch, spot);
  for (uint32_t r = 0; r < TH_TILE; r++)
    for (uint32_t c = 0; c < TH_TILE; c++)
      tile.at[r][c] = value_clip(job->net->clip_value, tile.at[r][c]);
  return tile;
}

TH_HOST_DEVICE void tile_update(const th_cuda_job *job, const th_cuda_batch *batch,
                                const th_spot *spot, const th_tile *gradient) {
  const th_cuda_state *state = &job->state;
  uint32_t moments = job->net->moments;
  th_optimizer optimizer = *batch->optimizer;
  for (uint32_t r = 0; r < TH_TILE; r++)
    for (uint32_t c = 0; c < TH_TILE; c++) {
      if (!is_parameter(spot, r, c)) continue;
      uint64_t p = parameter_at(spot, r, c);
      th_optimizer_step(&optimizer, moments, gradient->at[r][c], &state->parameters[p],
                        moments > 0 ? &state->moment1[p] : NULL,
                        moments > 1 ? &state->moment2[p] : NULL);
    }
}

/* Gradient and update of a parameter by one lane, which needs no barrier between. */
TH_HOST_DEVICE void phase_update(const th_cuda_job *job, const th_cuda_batch *batch, th_lane lane) {
  for (uint32_t t = lane.index; t < job->net->tiles; t += lane.count) {
    th_spot spot = spot_of(job->net, t);
    th_tile gradient = tile_differentiate(job, batch, &spot);
    tile_update(job, batch, &spot, &gradient);
  }
  if (lane.index == 0) sums_add(job, batch);
}

/* ---- the same with the gradient's length clipped: all of it must be there first ---- */

TH_HOST_DEVICE void phase_differentiate(const th_cuda_job *job, const th_cuda_batch *batch,
                                        th_lane lane) {
  for (uint32_t t = lane.index; t < job->net->tiles; t += lane.count) {
    th_spot spot = spot_of(job->net, t);
    th_tile gradient = tile_differentiate(job, batch, &spot);
    double squares = 0;
    for (uint32_t r = 0; r < TH_TILE; r++)
      for (uint32_t c = 0; c < TH_TILE; c++) {
        if (!is_parameter(&spot, r, c)) continue;
        job->state.gradients[parameter_at(&spot, r, c)] = gradient.at[r][c];
        squares += (double)gradient.at[r][c] * (double)gradient.at[r][c];
      }
    job->state.tile_squares[t] = squares;
  }
  if (lane.index == 0) sums_add(job, batch);
}

TH_HOST_DEVICE void phase_square(const th_cuda_job *job, th_lane lane) {
  for (uint32_t g = lane.index; g < th_square_groups(job->net); g += lane.count) {
    double sum = 0;
    for (uint32_t t = g * TH_SUM_TILES; t < group_end(g, TH_SUM_TILES, job->net->tiles); t++)
      sum += job->state.tile_squares[t];
    job->state.square_sums[g] = sum;
  }
}

TH_HOST_DEVICE void phase_update_clipped(const th_cuda_job *job, const th_cuda_batch *batch,
                                         th_lane lane) {
  double squares = 0;
  for (uint32_t g = 0; g < th_square_groups(job->net); g++) squares += job->state.square_sums[g];
  float factor = th_optimizer_clip(job->net->clip_norm, squares);
  for (uint32_t t = lane.index; t < job->net->tiles; t += lane.count) {
    th_spot spot = spot_of(job->net, t);
    th_tile gradient = {{{0}}};
    for (uint32_t r = 0; r < TH_TILE; r++)
      for (uint32_t c = 0; c < TH_TILE; c++)
        if (is_parameter(&spot, r, c))
          gradient.at[r][c] = factor * job->state.gradients[parameter_at(&spot, r, c)];
    tile_update(job, batch, &spot, &gradient);
  }
}

/* ---- the program ---- */

/* Find, gather, weigh and judge. */
#define TH_PHASES_BESIDE_LAYERS 4

/* Phases up to the logits. */
TH_HOST_DEVICE uint32_t phases_forward(const th_cuda_net *net) {
  return TH_PHASES_BESIDE_LAYERS - 1 + net->layer_count;
}

/* Phases up to the gradients at the lowest layer. */
TH_HOST_DEVICE uint32_t phases_of_rows(const th_cuda_net *net) {
  return TH_PHASES_BESIDE_LAYERS + 2 * net->layer_count - 1;
}

TH_HOST_DEVICE void phase_update_any(const th_cuda_job *job, const th_cuda_batch *batch,
                                     uint32_t number, th_lane lane) {
  if (job->net->clip_norm == 0)
    phase_update(job, batch, lane);
  else if (number == 0)
    phase_differentiate(job, batch, lane);
  else if (number == 1)
    phase_square(job, lane);
  else
    phase_update_clipped(job, batch, lane);
}

/** Phases of a step. */
TH_HOST_DEVICE uint32_t th_step_phases(const th_cuda_net *net) {
  return phases_of_rows(net) + (net->clip_norm > 0 ? 3 : 1);
}

/** One lane's share of one phase of a step. Between two phases all lanes wait for each other. */
TH_HOST_DEVICE void th_step_run(const th_cuda_job *job, const th_cuda_batch *batch, uint32_t phase,
                                th_lane lane) {
  const th_cuda_net *net = job->net;
  if (phase == 0)
    phase_find(job, batch, lane);
  else if (phase == 1)
    phase_gather(job, batch, lane);
  else if (phase == 2)
    phase_weigh(job, batch, lane);
  else if (phase < phases_forward(net))
    phase_forward(job, batch, phase - (TH_PHASES_BESIDE_LAYERS - 1), lane);
  else if (phase == phases_forward(net))
    phase_judge(job, batch, lane);
  else if (phase < phases_of_rows(net))
    phase_backward(job, batch, phases_of_rows(net) - phase, lane);
  else
    phase_update_any(job, batch, phase - phases_of_rows(net), lane);
}

/* ---- the program of judging without learning ---- */

/* Before their losses make gradients of them. */
TH_HOST_DEVICE void phase_report(const th_cuda_job *job, const th_cuda_batch *batch, float *logits,
                                 th_lane lane) {
  const th_cuda_layer *last = &job->net->layers[job->net->layer_count - 1];
  for (uint32_t i = lane.index; i < batch->rows * last->outputs; i += lane.count) {
    uint32_t row = i / last->outputs;
    logits[i] = area_at(&job->area, last->deltas_at, last->output_stride, row)[i % last->outputs];
  }
}

/** Phases of judging. */
TH_HOST_DEVICE uint32_t th_judge_phases(const th_cuda_net *net) {
  return phases_forward(net) + 3;
}

/**
 * One lane's share of one phase of judging some rows; as th_step_run.
 *
 * @param logits  [out] [batch->rows, outputs] or NULL.
 */
TH_HOST_DEVICE void th_judge_run(const th_cuda_job *job, const th_cuda_batch *batch, float *logits,
                                 uint32_t phase, th_lane lane) {
  const th_cuda_net *net = job->net;
  if (phase < phases_forward(net)) {
    th_step_run(job, batch, phase, lane);
  } else if (phase == phases_forward(net)) {
    if (logits != NULL) phase_report(job, batch, logits, lane);
  } else if (phase == phases_forward(net) + 1) {
    phase_judge(job, batch, lane);
  } else if (lane.index == 0) {
    th_sums none = {0};
    *job->sums = none;
    sums_add(job, batch);
  }
}

#endif

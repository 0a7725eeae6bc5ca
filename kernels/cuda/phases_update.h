/** The phases that learn: gradient and optimizer step of every parameter (kernels/cuda/phases.h).
 */
#ifndef TH_KERNELS_CUDA_PHASES_UPDATE_H
#define TH_KERNELS_CUDA_PHASES_UPDATE_H

#include "kernels/cuda/phases_loss.h"
#include "kernels/cuda/phases_recurrent.h"

/* ---- what a tile of the gradient is of ---- */

typedef enum th_spot_kind {
  SPOT_WEIGHTS, /* some inputs by some outputs */
  SPOT_VECTOR, /* a row: some of a layer's vector */
  SPOT_TABLE, /* some groups by some of their numbers */
} th_spot_kind;

typedef struct th_spot {
  th_spot_kind kind;
  const th_cuda_layer *layer;
  uint32_t row, column; /* of the tile; the row of a vector is its th_cuda_vector */
  uint32_t rows, columns; /* of it that are parameters; the others are padding */
  uint64_t first; /* index of the parameter at its corner */
  uint32_t stride; /* from one row of parameters to the next */
} th_spot;

TH_HOST_DEVICE uint32_t tile_part(uint32_t whole, uint32_t first) {
  uint32_t left = whole > first ? whole - first : 0;
  return left < TH_TILE ? left : TH_TILE;
}

TH_HOST_DEVICE th_spot layer_spot(const th_cuda_layer *layer, uint32_t tile) {
  uint32_t across = layer->output_stride / TH_TILE;
  uint32_t weights = layer->input_stride / TH_TILE;
  uint32_t down = tile / across;
  th_spot spot = {SPOT_WEIGHTS, layer, down * TH_TILE, tile % across * TH_TILE, 0, 0, 0, 0};
  uint32_t row = spot.row;
  spot.rows = tile_part(layer->inputs, spot.row);
  if (down >= weights) {
    spot.kind = SPOT_VECTOR;
    spot.row = down - weights;
    spot.rows = 1;
    row = layer->input_stride + spot.row;
  }
  spot.columns = tile_part(layer->unit, spot.column % layer->unit_stride);
  spot.stride = layer->output_stride;
  spot.first = layer->weights + (uint64_t)row * spot.stride + spot.column;
  return spot;
}

TH_HOST_DEVICE th_spot table_spot(const th_cuda_net *net, uint32_t tile) {
  uint32_t across = net->embedding_stride / TH_TILE;
  th_spot spot = {SPOT_TABLE, NULL, tile / across * TH_TILE, tile % across * TH_TILE, 0, 0, 0, 0};
  spot.rows = tile_part(net->group_count, spot.row);
  spot.columns = tile_part(net->embedding, spot.column);
  spot.stride = net->embedding_stride;
  spot.first = net->table + (uint64_t)spot.row * spot.stride + spot.column;
  return spot;
}

TH_HOST_DEVICE th_spot spot_of(const th_cuda_net *net, uint32_t tile) {
  if (tile >= net->table_tile) return table_spot(net, tile - net->table_tile);
  uint32_t l = net->layer_count + 2 * net->cell_count - 1;
  while (net->layers[l].first_tile > tile) l--;
  return layer_spot(&net->layers[l], tile - net->layers[l].first_tile);
}

TH_HOST_DEVICE bool is_parameter(const th_spot *spot, uint32_t r, uint32_t c) {
  return r < spot->rows && c < spot->columns;
}

TH_HOST_DEVICE uint64_t parameter_at(const th_spot *spot, uint32_t r, uint32_t c) {
  return spot->first + (uint64_t)r * spot->stride + c;
}

/* ---- its gradient; row after row of the batch, so that its order depends on nothing else ---- */

/* In double, as column sums are elsewhere. What a batch is normalized by takes a bias away: its
 * gradient is nothing but rounding, which an adaptive optimizer would make steps of. */
TH_HOST_DEVICE float bias_gradient(const th_cuda_job *job, const th_cuda_batch *batch,
                                   const th_cuda_layer *layer, uint32_t column) {
  if (layer->normalization == TH_NORMALIZATION_BATCH) return 0;
  double sum = 0;
  for (uint32_t t = 0; t < layer->times; t++)
    for (uint32_t i = 0; i < batch->rows; i++)
      sum += (double)th_area_at(&job->area, layer->deltas_at, layer->output_stride,
                                t * job->area.rows_max + i)[column];
  return (float)sum;
}

TH_HOST_DEVICE th_tile vector_gradient(const th_cuda_job *job, const th_cuda_batch *batch,
                                       const th_spot *spot) {
  th_tile tile = {{{0}}};
  for (uint32_t c = 0; c < spot->columns; c++) {
    uint32_t column = spot->column + c;
    if (spot->row == TH_CUDA_BIAS)
      tile.at[0][c] = bias_gradient(job, batch, spot->layer, column);
    else
      tile.at[0][c] = th_column_measures(
          job, spot->layer,
          spot->row == TH_CUDA_SCALE ? TH_CUDA_MEASURE_STRETCH : TH_CUDA_MEASURE_DELTA)[column];
  }
  return tile;
}

TH_HOST_DEVICE th_tile table_gradient(const th_cuda_job *job, const th_cuda_batch *batch,
                                      const th_spot *spot) {
  const th_cuda_net *net = job->net;
  th_tile tile = {{{0}}};
  for (uint32_t i = 0; i < batch->rows; i++) {
    uint32_t r = (uint32_t)net->groups[job->area.rows[i]] - spot->row;
    if (r >= spot->rows) continue;
    const float *deltas = th_area_at(&job->area, net->embedded_at, net->embedding_stride, i);
    for (uint32_t c = 0; c < spot->columns; c++) tile.at[r][c] += deltas[spot->column + c];
  }
  return tile;
}

TH_HOST_DEVICE th_tile spot_gradient(const th_cuda_job *job, const th_cuda_batch *batch,
                                     const th_spot *spot) {
  const th_cuda_layer *layer = spot->layer;
  if (spot->kind == SPOT_TABLE) return table_gradient(job, batch, spot);
  if (spot->kind == SPOT_VECTOR) return vector_gradient(job, batch, spot);
  th_tile sums = {{{0}}};
  for (uint32_t t = layer->lag; t < layer->times; t++) {
    uint32_t from = (t - layer->lag) * job->area.rows_max, to = t * job->area.rows_max;
    th_tile_gradient(
        layer, batch->rows,
        th_area_at(&job->area, layer->inputs_at, layer->input_stride, from) + spot->row,
        th_area_at(&job->area, layer->deltas_at, layer->output_stride, to) + spot->column, &sums);
  }
  return sums;
}

TH_HOST_DEVICE float value_clip(float bound, float number) {
  if (bound == 0) return number;
  /* Comparisons that a NaN fails leave it as it is. */
  float above = number < -bound ? -bound : number;
  return above > bound ? bound : above;
}

TH_HOST_DEVICE th_tile tile_differentiate(const th_cuda_job *job, const th_cuda_batch *batch,
                                          const th_spot *spot) {
  th_tile tile = spot_gradient(job, batch, spot);
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
TH_CUDA_PHASE void th_phase_update(const th_cuda_job *job, const th_cuda_batch *batch,
                                   th_lane lane) {
  for (uint32_t t = lane.index; t < job->net->tiles; t += lane.count) {
    th_spot spot = spot_of(job->net, t);
    th_tile gradient = tile_differentiate(job, batch, &spot);
    tile_update(job, batch, &spot, &gradient);
  }
  if (lane.index == 0) th_losses_add(job, batch);
}

/* ---- the same with the gradient's length clipped: all of it must be there first ---- */

TH_CUDA_PHASE void th_phase_differentiate(const th_cuda_job *job, const th_cuda_batch *batch,
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
  if (lane.index == 0) th_losses_add(job, batch);
}

TH_CUDA_PHASE void th_phase_square(const th_cuda_job *job, th_lane lane) {
  for (uint32_t g = lane.index; g < th_square_groups(job->net); g += lane.count) {
    double sum = 0;
    for (uint32_t t = g * TH_SUM_TILES; t < th_group_end(g, TH_SUM_TILES, job->net->tiles); t++)
      sum += job->state.tile_squares[t];
    job->state.square_sums[g] = sum;
  }
}

TH_CUDA_PHASE void th_phase_update_clipped(const th_cuda_job *job, const th_cuda_batch *batch,
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

#endif

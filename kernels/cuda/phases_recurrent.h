/** The phases of recurrent layers (kernels/cell.h, kernels/cuda/phases.h): one for each time
 * forward, two backward. */
#ifndef TH_KERNELS_CUDA_PHASES_RECURRENT_H
#define TH_KERNELS_CUDA_PHASES_RECURRENT_H

#include "kernels/cell.h"
#include "kernels/cuda/phases_rows.h"

#define TH_CUDA_GATES_MAX 4

/* A recurrent layer at work at one time. */
typedef struct th_moment {
  const th_cuda_job *job;
  const th_cuda_cell *cell;
  const th_cuda_layer *input, *state;
  uint32_t time;
  bool is_last; /* its state enters the stack */
} th_moment;

TH_HOST_DEVICE th_moment moment_of(const th_cuda_job *job, uint32_t c, uint32_t time) {
  const th_cuda_net *net = job->net;
  const th_cuda_cell *cell = &net->cells[c];
  th_moment moment = {job,
                      cell,
                      &net->layers[cell->input],
                      &net->layers[cell->state],
                      time,
                      c + 1 == net->cell_count};
  return moment;
}

/* A row of an array [window, stride], at a time. */
TH_HOST_DEVICE float *timed_at(const th_moment *m, uint32_t place, uint32_t stride, uint32_t time,
                               uint32_t row) {
  return th_area_at(&m->job->area, place, stride, time * m->job->area.rows_max + row);
}

TH_HOST_DEVICE uint32_t gates_of(const th_cuda_net *net) {
  return net->is_lstm ? 4 : 3;
}

/* ---- forward ---- */

/* Products and biases of one gate, from a layer's inputs; those of the first state are zero. */
TH_HOST_DEVICE th_tile gate_products(const th_moment *m, const th_cuda_layer *layer, uint32_t row,
                                     uint32_t column) {
  const float *parameters = m->job->state.parameters;
  th_tile sums = {{{0}}};
  if (m->time >= layer->lag)
    sums = th_tile_forward(
        layer, timed_at(m, layer->inputs_at, layer->input_stride, m->time - layer->lag, row),
        parameters + layer->weights + column);
  th_quad bias = th_quad_at(parameters + th_cuda_vector_at(layer, TH_CUDA_BIAS) + column);
  for (uint32_t r = 0; r < TH_TILE; r++)
    for (uint32_t c = 0; c < TH_TILE; c++) sums.at[r][c] += bias.at[c];
  return sums;
}

/* The state before, or the memory; zero before the first time. */
TH_HOST_DEVICE float before_at(const th_moment *m, uint32_t place, uint32_t row, uint32_t unit) {
  return m->time == 0 ? 0 : timed_at(m, place, m->input->unit_stride, m->time - 1, row)[unit];
}

TH_HOST_DEVICE void unit_forward(const th_moment *m, uint32_t row, uint32_t unit,
                                 float gates[TH_CUDA_GATES_MAX], float product) {
  uint32_t stride = m->input->unit_stride;
  float *state = &timed_at(m, m->cell->states_at, stride, m->time, row)[unit];
  if (m->job->net->is_lstm)
    th_lstm_forward(&gates[0], &gates[1], &gates[2], &gates[3],
                    before_at(m, m->cell->memories_at, row, unit),
                    &timed_at(m, m->cell->memories_at, stride, m->time, row)[unit], state);
  else
    th_gru_forward(&gates[0], &gates[1], &gates[2], product,
                   before_at(m, m->cell->states_at, row, unit), state);
  float *kept = timed_at(m, m->input->deltas_at, m->input->output_stride, m->time, row) + unit;
  for (uint32_t g = 0; g < gates_of(m->job->net); g++) kept[g * stride] = gates[g];
  if (!m->job->net->is_lstm)
    timed_at(m, m->state->deltas_at, m->state->output_stride, m->time, row)[2 * stride + unit] =
        product;
}

/* What dropout multiplies a state by on its way up. */
TH_HOST_DEVICE float hand_factor(const th_moment *m, const th_cuda_batch *batch, uint32_t row,
                                 uint32_t unit) {
  const th_cuda_net *net = m->job->net;
  if (batch->order == NULL || net->drop_threshold == 0) return 1;
  uint32_t cell = (uint32_t)(m->cell - net->cells);
  th_philox bits = th_philox_at(net->seed, (uint32_t)batch->step, row,
                                th_dropout_recurrent(cell, m->time), unit / TH_DROPOUT_COLUMNS);
  return th_dropout_bits(bits, unit % TH_DROPOUT_COLUMNS) >= net->drop_threshold ? 1 / net->keep
                                                                                 : 0;
}

/* The state of every time enters the layer above, that of the last time the stack. */
TH_HOST_DEVICE void unit_hand_up(const th_moment *m, const th_cuda_batch *batch, uint32_t row,
                                 uint32_t unit) {
  const th_cuda_net *net = m->job->net;
  if (m->is_last && m->time + 1 < net->window) return;
  uint32_t stride = m->input->unit_stride;
  const th_cuda_layer *above = m->is_last ? &net->layers[0] : m->state + 1;
  float factor = hand_factor(m, batch, row, unit);
  timed_at(m, m->cell->handed_at, stride, m->time, row)[unit] = factor;
  timed_at(m, above->inputs_at, above->input_stride, m->is_last ? 0 : m->time, row)[unit] =
      factor * timed_at(m, m->cell->states_at, stride, m->time, row)[unit];
}

TH_CUDA_PHASE void th_phase_recur(const th_cuda_job *job, const th_cuda_batch *batch, uint32_t c,
                                  uint32_t time, th_lane lane) {
  th_moment m = moment_of(job, c, time);
  uint32_t gate_count = gates_of(job->net);
  uint32_t stride = m.input->unit_stride;
  uint32_t across = stride / TH_TILE;
  for (uint32_t t = lane.index; t < th_tiles_over(batch->rows) * across; t += lane.count) {
    uint32_t row = t / across * TH_TILE;
    uint32_t unit = t % across * TH_TILE;
    th_tile inputs[TH_CUDA_GATES_MAX], states[TH_CUDA_GATES_MAX];
    for (uint32_t g = 0; g < gate_count; g++) {
      inputs[g] = gate_products(&m, m.input, row, g * stride + unit);
      states[g] = gate_products(&m, m.state, row, g * stride + unit);
    }
    for (uint32_t i = 0; i < TH_TILE * TH_TILE; i++) {
      uint32_t r = i / TH_TILE, u = i % TH_TILE;
      float gates[TH_CUDA_GATES_MAX] = {0};
      for (uint32_t g = 0; g < gate_count; g++) gates[g] = inputs[g].at[r][u] + states[g].at[r][u];
      /* A GRU's new gate meets the state's product behind its reset gate. */
      if (!job->net->is_lstm) gates[2] = inputs[2].at[r][u];
      unit_forward(&m, row + r, unit + u, gates, states[2].at[r][u]);
      unit_hand_up(&m, batch, row + r, unit + u);
    }
  }
}

/* ---- backward ---- */

/* From the gradients at the lowest products of the stack to those at the state that entered it. */
TH_CUDA_PHASE void th_phase_return(const th_cuda_job *job, const th_cuda_batch *batch,
                                   th_lane lane) {
  const th_cuda_net *net = job->net;
  const th_cuda_layer *layer = &net->layers[0];
  th_moment m = moment_of(job, net->cell_count - 1, net->window - 1);
  uint32_t across = layer->input_stride / TH_TILE;
  for (uint32_t t = lane.index; t < th_tiles_over(batch->rows) * across; t += lane.count) {
    uint32_t row = t / across * TH_TILE;
    uint32_t unit = t % across * TH_TILE;
    th_tile sums = th_tile_backward(
        layer, th_area_at(&job->area, layer->deltas_at, layer->output_stride, row),
        job->state.parameters + layer->weights + (size_t)unit * layer->output_stride);
    for (uint32_t i = 0; i < TH_TILE * TH_TILE; i++) {
      uint32_t r = row + i / TH_TILE, u = unit + i % TH_TILE;
      float delta = sums.at[i / TH_TILE][i % TH_TILE];
      if (layer->skips)
        delta += th_area_at(&job->area, layer->skips_at, layer->output_stride, r)[u];
      th_area_at(&job->area, m.cell->state_deltas_at, layer->input_stride, r)[u] =
          delta * timed_at(&m, m.cell->handed_at, layer->input_stride, m.time, r)[u];
    }
  }
}

/* The gates of a unit become the loss's gradients at their sums. */
TH_HOST_DEVICE void unit_backward(const th_moment *m, uint32_t row, uint32_t unit) {
  const th_cuda_area *area = &m->job->area;
  uint32_t stride = m->input->unit_stride;
  bool is_newest = m->time + 1 == m->job->net->window;
  float *state_delta = &th_area_at(area, m->cell->state_deltas_at, stride, row)[unit];
  float *memory_delta = &th_area_at(area, m->cell->memory_deltas_at, stride, row)[unit];
  float *gates = timed_at(m, m->input->deltas_at, m->input->output_stride, m->time, row) + unit;
  float *others = timed_at(m, m->state->deltas_at, m->state->output_stride, m->time, row) + unit;
  if (is_newest && !m->is_last) *state_delta = 0;
  if (!m->is_last)
    *state_delta += timed_at(m, m->cell->output_deltas_at, stride, m->time, row)[unit] *
                    timed_at(m, m->cell->handed_at, stride, m->time, row)[unit];
  if (m->job->net->is_lstm) {
    if (is_newest) *memory_delta = 0;
    th_lstm_backward(&gates[0], &gates[stride], &gates[2 * stride], &gates[3 * stride],
                     before_at(m, m->cell->memories_at, row, unit),
                     timed_at(m, m->cell->memories_at, stride, m->time, row)[unit], memory_delta,
                     state_delta);
    return;
  }
  th_gru_backward(&gates[0], &gates[stride], &gates[2 * stride], &others[2 * stride],
                  before_at(m, m->cell->states_at, row, unit), state_delta);
  others[0] = gates[0];
  others[stride] = gates[stride];
}

TH_CUDA_PHASE void th_phase_unroll(const th_cuda_job *job, const th_cuda_batch *batch, uint32_t c,
                                   uint32_t time, th_lane lane) {
  th_moment m = moment_of(job, c, time);
  uint32_t rows = th_tiles_over(batch->rows) * TH_TILE;
  for (uint32_t i = lane.index; i < rows * m.input->unit_stride; i += lane.count)
    unit_backward(&m, i / m.input->unit_stride, i % m.input->unit_stride);
}

/* Gradients at four rows of a layer's inputs, into an array of that layer below. */
TH_HOST_DEVICE void tile_carry(const th_moment *m, const th_cuda_layer *layer, uint32_t row,
                               uint32_t column, float *to, bool adds) {
  th_tile sums = th_tile_backward(
      layer, timed_at(m, layer->deltas_at, layer->output_stride, m->time, row),
      m->job->state.parameters + layer->weights + (size_t)column * layer->output_stride);
  for (uint32_t r = 0; r < TH_TILE; r++)
    for (uint32_t c = 0; c < TH_TILE; c++) {
      float *number = to + (size_t)r * layer->input_stride + column + c;
      *number = sums.at[r][c] + (adds ? *number : 0);
    }
}

TH_CUDA_PHASE void th_phase_carry(const th_cuda_job *job, const th_cuda_batch *batch, uint32_t c,
                                  uint32_t time, th_lane lane) {
  th_moment m = moment_of(job, c, time);
  uint32_t down = th_tiles_over(batch->rows);
  /* The state before the first time is no parameter, and nothing below the first layer is but an
   * embedding, which has a phase of its own. */
  uint32_t to_state = time > 0 ? m.state->input_stride / TH_TILE : 0;
  uint32_t to_below = c > 0 ? m.input->input_stride / TH_TILE : 0;
  uint32_t across = to_state + to_below;
  for (uint32_t t = lane.index; t < down * across; t += lane.count) {
    uint32_t row = t / across * TH_TILE;
    uint32_t column = t % across;
    if (column < to_state)
      tile_carry(&m, m.state, row, column * TH_TILE,
                 th_area_at(&job->area, m.cell->state_deltas_at, m.state->input_stride, row), true);
    else
      tile_carry(&m, m.input, row, (column - to_state) * TH_TILE,
                 timed_at(&m, m.cell[-1].output_deltas_at, m.input->input_stride, time, row),
                 false);
  }
}

#endif

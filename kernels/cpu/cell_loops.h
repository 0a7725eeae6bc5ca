/**
 * kernels/cell.h for every number of the states of some rows, at one time.
 *
 * Included by loops.c alone, which is compiled once for each instruction set. The gates of a row
 * lie side by side, unpadded, as wide as the state each: a loop goes over one width, whose numbers
 * at the same place of all gates make one unit.
 */
#ifndef TH_KERNELS_CPU_CELL_LOOPS_H
#define TH_KERNELS_CPU_CELL_LOOPS_H

#include "kernels/cell.h"
#include "kernels/cpu/loops.h"

/* sums += products + both biases. */
static void sums_add(uint32_t count, const th_real *restrict products,
                     const th_real *restrict input_biases, const th_real *restrict state_biases,
                     th_real *restrict sums) {
  for (uint32_t c = 0; c < count; c++) sums[c] += products[c] + (input_biases[c] + state_biases[c]);
}

static void lstm_row_forward(uint32_t width, th_real *restrict input, th_real *restrict forget,
                             th_real *restrict cell, th_real *restrict output,
                             const th_real *restrict memories_before, th_real *restrict memories,
                             th_real *restrict states) {
  for (uint32_t c = 0; c < width; c++)
    th_lstm_forward(&input[c], &forget[c], &cell[c], &output[c], memories_before[c], &memories[c],
                    &states[c]);
}

static void lstm_forward(const th_cell_step *s) {
  for (uint32_t r = 0; r < s->rows; r++) {
    size_t at = (size_t)r * s->state_stride;
    th_real *gates = s->gates + (size_t)r * s->gates_stride;
    sums_add(4 * s->width, s->products + (size_t)r * s->gates_stride, s->input_biases,
             s->state_biases, gates);
    lstm_row_forward(s->width, gates, gates + s->width, gates + 2 * s->width, gates + 3 * s->width,
                     s->memories_before + at, s->memories + at, s->states + at);
  }
}

static void lstm_row_backward(uint32_t width, th_real *restrict input, th_real *restrict forget,
                              th_real *restrict cell, th_real *restrict output,
                              const th_real *restrict memories_before,
                              const th_real *restrict memories, th_real *restrict memory_deltas,
                              th_real *restrict state_deltas) {
  for (uint32_t c = 0; c < width; c++)
    th_lstm_backward(&input[c], &forget[c], &cell[c], &output[c], memories_before[c], memories[c],
                     &memory_deltas[c], &state_deltas[c]);
}

static void lstm_backward(const th_cell_step *s) {
  for (uint32_t r = 0; r < s->rows; r++) {
    size_t at = (size_t)r * s->state_stride;
    th_real *gates = s->gates + (size_t)r * s->gates_stride;
    lstm_row_backward(s->width, gates, gates + s->width, gates + 2 * s->width, gates + 3 * s->width,
                      s->memories_before + at, s->memories + at, s->memory_deltas + at,
                      s->state_deltas + at);
  }
}

/* The two products for the new state stay apart, because the reset gate stands between them. */
static void gru_sums_add(const th_cell_step *s, th_real *restrict gates,
                         th_real *restrict products) {
  uint32_t fresh = 2 * s->width;
  sums_add(fresh, products, s->input_biases, s->state_biases, gates);
  const th_real *restrict input_biases = s->input_biases;
  const th_real *restrict state_biases = s->state_biases;
  for (uint32_t c = fresh; c < fresh + s->width; c++) {
    gates[c] += input_biases[c];
    products[c] += state_biases[c];
  }
}

static void gru_row_forward(uint32_t width, th_real *restrict reset, th_real *restrict update,
                            th_real *restrict fresh, const th_real *restrict products,
                            const th_real *restrict states_before, th_real *restrict states) {
  for (uint32_t c = 0; c < width; c++)
    th_gru_forward(&reset[c], &update[c], &fresh[c], products[c], states_before[c], &states[c]);
}

static void gru_forward(const th_cell_step *s) {
  for (uint32_t r = 0; r < s->rows; r++) {
    size_t at = (size_t)r * s->state_stride;
    th_real *gates = s->gates + (size_t)r * s->gates_stride;
    th_real *products = s->products + (size_t)r * s->gates_stride;
    gru_sums_add(s, gates, products);
    gru_row_forward(s->width, gates, gates + s->width, gates + 2 * s->width,
                    products + 2 * s->width, s->states_before + at, s->states + at);
  }
}

static void gru_row_backward(uint32_t width, th_real *restrict reset, th_real *restrict update,
                             th_real *restrict fresh, th_real *restrict products,
                             const th_real *restrict states_before,
                             th_real *restrict state_deltas) {
  for (uint32_t c = 0; c < width; c++)
    th_gru_backward(&reset[c], &update[c], &fresh[c], &products[c], states_before[c],
                    &state_deltas[c]);
}

static void gru_backward(const th_cell_step *s) {
  for (uint32_t r = 0; r < s->rows; r++) {
    size_t at = (size_t)r * s->state_stride;
    th_real *gates = s->gates + (size_t)r * s->gates_stride;
    th_real *products = s->products + (size_t)r * s->gates_stride;
    gru_row_backward(s->width, gates, gates + s->width, gates + 2 * s->width,
                     products + 2 * s->width, s->states_before + at, s->state_deltas + at);
    memcpy(products, gates, 2 * s->width * sizeof *products);
  }
}

static void cell_forward(th_recurrent_kind kind, const th_cell_step *step) {
  if (kind == TH_RECURRENT_LSTM)
    lstm_forward(step);
  else
    gru_forward(step);
}

static void cell_backward(th_recurrent_kind kind, const th_cell_step *step) {
  if (kind == TH_RECURRENT_LSTM)
    lstm_backward(step);
  else
    gru_backward(step);
}

#endif

/**
 * Recurrent layers, one unit at one time: what nn.LSTM and nn.GRU compute for each number of their
 * state, forward and backward.
 *
 * Gates go in as the sums of products and biases and are replaced by their values; on the way back
 * these are replaced by the loss's gradient at the sums.
 */
#ifndef TH_KERNELS_CELL_H
#define TH_KERNELS_CELL_H

#include "kernels/real.h"

/** How far a gate is open: σ(x). */
TH_HOST_DEVICE th_real th_gate(th_real x) {
  return 1 / (1 + th_real_exp(-x));
}

/** σ′ where the gate has come to y. */
TH_HOST_DEVICE th_real th_gate_slope(th_real y) {
  return y * (1 - y);
}

/** tanh′ where it has come to y. */
TH_HOST_DEVICE th_real th_cell_slope(th_real y) {
  return 1 - y * y;
}

/**
 * Long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers,
 * Schmidhuber and Cummins 2000): memory = f·before + i·g, state = o·tanh(memory).
 *
 * @param input,forget,cell,output  [in,out] i, f, g and o, in the order of nn.LSTM.
 */
TH_HOST_DEVICE void th_lstm_forward(th_real *input, th_real *forget, th_real *cell, th_real *output,
                                    th_real memory_before, th_real *memory, th_real *state) {
  *input = th_gate(*input);
  *forget = th_gate(*forget);
  *cell = th_real_tanh(*cell);
  *output = th_gate(*output);
  *memory = *forget * memory_before + *input * *cell;
  *state = *output * th_real_tanh(*memory);
}

/**
 * The way back.
 *
 * @param memory_delta  [in,out] the gradient that the memory has from the time after; replaced by
 *                      what the memory before has from this one.
 * @param state_delta   [in,out] the gradient at the state; 0 afterwards: the state before is
 * reached by the products alone.
 */
TH_HOST_DEVICE void th_lstm_backward(th_real *input, th_real *forget, th_real *cell,
                                     th_real *output, th_real memory_before, th_real memory,
                                     th_real *memory_delta, th_real *state_delta) {
  th_real bent = th_real_tanh(memory);
  th_real at_memory = *memory_delta + *state_delta * *output * th_cell_slope(bent);
  *memory_delta = at_memory * *forget;
  *output = *state_delta * bent * th_gate_slope(*output);
  *forget = at_memory * memory_before * th_gate_slope(*forget);
  th_real at_input = at_memory * *cell * th_gate_slope(*input);
  *cell = at_memory * *input * th_cell_slope(*cell);
  *input = at_input;
  *state_delta = 0;
}

/**
 * Gated recurrent unit (Cho et al. 2014, in the form of cuDNN and PyTorch, whose reset gate is
 * applied to the state's product): n = tanh(n + r·product), state = (1 − z)·n + z·before.
 *
 * @param reset,update,fresh  [in,out] r, z and n, in the order of nn.GRU. n goes in as the sum of
 *                            the input's product and bias alone.
 * @param product             the state's product and bias for n.
 */
TH_HOST_DEVICE void th_gru_forward(th_real *reset, th_real *update, th_real *fresh, th_real product,
                                   th_real state_before, th_real *state) {
  *reset = th_gate(*reset);
  *update = th_gate(*update);
  *fresh = th_real_tanh(*fresh + *reset * product);
  *state = *fresh + *update * (state_before - *fresh);
}

/**
 * The way back. At r and z the sums of both products have the same gradient, at n they do not.
 *
 * @param product      [in,out] replaced by the gradient at it.
 * @param state_delta  [in,out] the gradient at the state; replaced by what goes to the state before
 *                     past the products.
 */
TH_HOST_DEVICE void th_gru_backward(th_real *reset, th_real *update, th_real *fresh,
                                    th_real *product, th_real state_before, th_real *state_delta) {
  th_real at_fresh = *state_delta * (1 - *update) * th_cell_slope(*fresh);
  th_real at_update = *state_delta * (state_before - *fresh) * th_gate_slope(*update);
  th_real at_reset = at_fresh * *product * th_gate_slope(*reset);
  *state_delta *= *update;
  *product = at_fresh * *reset;
  *fresh = at_fresh;
  *update = at_update;
  *reset = at_reset;
}

#endif

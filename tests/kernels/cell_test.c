/* The loops over recurrent layers, for every instruction set that this machine can run, against one
 * unit after the other. */
#include "kernels/cell.h"

#include <criterion/criterion.h>

#include "kernels/cpu/loops.h"

/* Gates of an odd width, so that they begin anywhere and the loops have rests. */
enum { CELL_ROWS = 3, CELL_WIDTH = 37, CELL_STRIDE = 48, GATES_STRIDE = 160 };

typedef struct cell_rig {
  float input_biases[GATES_STRIDE], state_biases[GATES_STRIDE];
  float gates[CELL_ROWS * GATES_STRIDE], products[CELL_ROWS * GATES_STRIDE];
  float states_before[CELL_ROWS * CELL_STRIDE], states[CELL_ROWS * CELL_STRIDE];
  float memories_before[CELL_ROWS * CELL_STRIDE], memories[CELL_ROWS * CELL_STRIDE];
  float state_deltas[CELL_ROWS * CELL_STRIDE], memory_deltas[CELL_ROWS * CELL_STRIDE];
} cell_rig;

static void draw(float *numbers, uint32_t count, uint32_t purpose) {
  for (uint32_t i = 0; i < count; i++)
    numbers[i] = 2 * th_random_unit(th_philox_at(7, i, purpose, 0, 0).word[0]) - 1;
}

static th_cell_step cell_set(cell_rig *rig) {
  draw(rig->input_biases, GATES_STRIDE, 0);
  draw(rig->state_biases, GATES_STRIDE, 1);
  draw(rig->gates, CELL_ROWS * GATES_STRIDE, 2);
  draw(rig->products, CELL_ROWS * GATES_STRIDE, 3);
  draw(rig->states_before, CELL_ROWS * CELL_STRIDE, 4);
  draw(rig->memories_before, CELL_ROWS * CELL_STRIDE, 5);
  draw(rig->state_deltas, CELL_ROWS * CELL_STRIDE, 6);
  draw(rig->memory_deltas, CELL_ROWS * CELL_STRIDE, 7);
  return (th_cell_step){.rows = CELL_ROWS,
                        .width = CELL_WIDTH,
                        .gates_stride = GATES_STRIDE,
                        .state_stride = CELL_STRIDE,
                        .input_biases = rig->input_biases,
                        .state_biases = rig->state_biases,
                        .gates = rig->gates,
                        .products = rig->products,
                        .states_before = rig->states_before,
                        .states = rig->states,
                        .memories_before = rig->memories_before,
                        .memories = rig->memories,
                        .state_deltas = rig->state_deltas,
                        .memory_deltas = rig->memory_deltas};
}

static void expect_near(const th_loops *loops, const char *what, float found, float expected) {
  cr_assert_float_eq(found, expected, 2e-6, "%s: %s is %g, not %g", loops->name, what,
                     (double)found, (double)expected);
}

/* One unit of an LSTM from the drawn numbers, forward and back, as kernels/cell.h has it. */
static void lstm_check(const th_loops *loops, const cell_rig *rig, const cell_rig *drawn,
                       uint32_t row, uint32_t column) {
  float gates[4];
  float memory;
  float state;
  uint32_t at = row * CELL_STRIDE + column;
  for (uint32_t g = 0; g < 4; g++) {
    uint32_t c = g * CELL_WIDTH + column;
    gates[g] = drawn->gates[row * GATES_STRIDE + c] + drawn->products[row * GATES_STRIDE + c] +
               drawn->input_biases[c] + drawn->state_biases[c];
  }
  th_lstm_forward(&gates[0], &gates[1], &gates[2], &gates[3], drawn->memories_before[at], &memory,
                  &state);
  expect_near(loops, "memory", rig->memories[at], memory);
  expect_near(loops, "state", rig->states[at], state);
  float memory_delta = drawn->memory_deltas[at];
  float state_delta = drawn->state_deltas[at];
  th_lstm_backward(&gates[0], &gates[1], &gates[2], &gates[3], drawn->memories_before[at], memory,
                   &memory_delta, &state_delta);
  for (uint32_t g = 0; g < 4; g++)
    expect_near(loops, "a gate's gradient",
                rig->gates[row * GATES_STRIDE + g * CELL_WIDTH + column], gates[g]);
  expect_near(loops, "the memory's gradient", rig->memory_deltas[at], memory_delta);
  cr_assert_eq(rig->state_deltas[at], 0);
}

/* The same of a GRU: the products for its new state are kept apart. */
static void gru_check(const th_loops *loops, const cell_rig *rig, const cell_rig *drawn,
                      uint32_t row, uint32_t column) {
  float gates[3];
  float product = 0;
  float state;
  uint32_t at = row * CELL_STRIDE + column;
  for (uint32_t g = 0; g < 3; g++) {
    uint32_t c = g * CELL_WIDTH + column;
    product = drawn->products[row * GATES_STRIDE + c] + drawn->state_biases[c];
    gates[g] =
        drawn->gates[row * GATES_STRIDE + c] + drawn->input_biases[c] + (g < 2 ? product : 0);
  }
  th_gru_forward(&gates[0], &gates[1], &gates[2], product, drawn->states_before[at], &state);
  expect_near(loops, "state", rig->states[at], state);
  float state_delta = drawn->state_deltas[at];
  th_gru_backward(&gates[0], &gates[1], &gates[2], &product, drawn->states_before[at],
                  &state_delta);
  for (uint32_t g = 0; g < 3; g++) {
    uint32_t i = row * GATES_STRIDE + g * CELL_WIDTH + column;
    expect_near(loops, "a gate's gradient", rig->gates[i], gates[g]);
    expect_near(loops, "a product's gradient", rig->products[i], g < 2 ? gates[g] : product);
  }
  expect_near(loops, "the state's gradient", rig->state_deltas[at], state_delta);
}

Test(cell, loops_are_those_of_every_unit_and_leave_padding) {
  static cell_rig rig, drawn;
  const th_loops *loops;
  for (uint32_t v = 0; (loops = th_loops_at(v)) != NULL; v++)
    for (th_recurrent_kind kind = TH_RECURRENT_LSTM; kind <= TH_RECURRENT_GRU; kind++) {
      uint32_t gates = (kind == TH_RECURRENT_LSTM ? 4 : 3) * CELL_WIDTH;
      th_cell_step step = cell_set(&rig);
      drawn = rig;
      loops->cell_forward(kind, &step);
      loops->cell_backward(kind, &step);
      for (uint32_t r = 0; r < CELL_ROWS; r++) {
        for (uint32_t c = 0; c < CELL_WIDTH; c++)
          (kind == TH_RECURRENT_LSTM ? lstm_check : gru_check)(loops, &rig, &drawn, r, c);
        for (uint32_t c = gates; c < GATES_STRIDE; c++)
          cr_assert_eq(rig.gates[r * GATES_STRIDE + c], drawn.gates[r * GATES_STRIDE + c]);
        for (uint32_t c = CELL_WIDTH; c < CELL_STRIDE; c++)
          cr_assert_eq(rig.state_deltas[r * CELL_STRIDE + c],
                       drawn.state_deltas[r * CELL_STRIDE + c]);
      }
    }
}

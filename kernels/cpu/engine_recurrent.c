/* The recurrent layers. Their arrays are [times, rows of the batch, stride], so that each time of a
 * slice is rows side by side, and the gradient of a layer's weights, which all times share, is one
 * product over all of them. The batch's own number of rows lies between two times: a last batch of
 * fewer rows leaves no gaps. */
#include "kernels/cpu/engine.h"

_Static_assert(TH_WINDOW_MAX <= 1 << 15 && TH_HIDDEN_LAYERS_MAX <= 1 << 16,
               "the counters of dropout tell layers and times apart");

static th_dense *input_of(th_engine *engine, uint32_t c) {
  return &engine->denses[engine->model->layer_count + 2 * c];
}

static th_dense *state_of(th_engine *engine, uint32_t c) {
  return input_of(engine, c) + 1;
}

/* ---- arrays ---- */

/* An LSTM's gradient is the same at both products, and its state's products are soon forgotten; a
 * GRU needs them again on the way back. */
void th_recurrent_allocate(th_engine *engine, uint64_t rows) {
  bool is_lstm = engine->spec->recurrent == TH_RECURRENT_LSTM;
  uint64_t times = engine->spec->window;
  for (uint32_t c = 0; c < engine->model->cell_count; c++) {
    th_dense *input = input_of(engine, c);
    th_dense *state = state_of(engine, c);
    th_recurrence *layer = &engine->recurrences[c];
    uint32_t gates = input->linear.output_stride;
    uint32_t width = state->linear.input_stride;
    input->inputs = th_engine_reals(engine, times * rows, input->linear.input_stride);
    input->deltas = th_engine_reals(engine, times * rows, gates);
    state->inputs = th_engine_reals(engine, (times + 1) * rows, width);
    state->deltas = is_lstm ? input->deltas : th_engine_reals(engine, times * rows, gates);
    if (!is_lstm) continue;
    layer->products = th_engine_reals(engine, rows, gates);
    layer->memories = th_engine_reals(engine, (times + 1) * rows, width);
  }
}

void th_recurrent_allocate_training(th_engine *engine, uint64_t rows) {
  uint32_t count = engine->model->cell_count;
  uint64_t times = engine->spec->window;
  for (uint32_t c = 0; c < count; c++) {
    th_recurrence *layer = &engine->recurrences[c];
    uint32_t width = state_of(engine, c)->linear.input_stride;
    uint64_t rows_up = c + 1 < count ? times * rows : rows;
    layer->state_deltas = th_engine_reals(engine, rows, width);
    layer->carried = th_engine_reals(engine, rows, width);
    if (layer->memories != NULL) layer->memory_deltas = th_engine_reals(engine, rows, width);
    if (c + 1 < count) layer->output_deltas = th_engine_reals(engine, rows_up, width);
    if (engine->recurrent_drop.drop_threshold > 0)
      layer->kept = th_engine_array(engine, rows_up, width, sizeof *layer->kept);
  }
}

/* ---- one time of one layer ---- */

/* A recurrent layer at work on a slice. */
typedef struct place {
  const th_batch *batch;
  th_slice slice;
  uint32_t cell;
  uint32_t time;
  const th_dense *input, *state;
  const th_recurrence *layer;
} place;

static place place_at(const th_batch *batch, th_slice slice, uint32_t cell) {
  th_engine *engine = batch->engine;
  return (place){.batch = batch,
                 .slice = slice,
                 .cell = cell,
                 .input = input_of(engine, cell),
                 .state = state_of(engine, cell),
                 .layer = &engine->recurrences[cell]};
}

/* Where the slice's rows begin in an array of so many numbers a row, at a time. */
static size_t start_at(const place *p, uint32_t time, uint32_t stride) {
  return ((size_t)time * p->batch->rows + p->slice.first) * stride;
}

static bool is_last_layer(const place *p) {
  return p->cell + 1 == p->batch->engine->model->cell_count;
}

/* States and memories of time t are those before time t + 1: the first are zero. */
static th_cell_step step_at(const place *p) {
  const th_engine *engine = p->batch->engine;
  const th_recurrence *layer = p->layer;
  uint32_t gates_stride = p->input->linear.output_stride;
  uint32_t state_stride = p->state->linear.input_stride;
  size_t gates = start_at(p, p->time, gates_stride);
  size_t before = start_at(p, p->time, state_stride);
  size_t after = start_at(p, p->time + 1, state_stride);
  size_t now = start_at(p, 0, state_stride);
  bool is_lstm = layer->memories != NULL;
  return (th_cell_step){
      .rows = p->slice.rows,
      .width = p->state->linear.inputs,
      .gates_stride = gates_stride,
      .state_stride = state_stride,
      .input_biases = engine->parameters + p->input->linear.biases,
      .state_biases = engine->parameters + p->state->linear.biases,
      .gates = p->input->deltas + gates,
      .products =
          is_lstm ? layer->products + start_at(p, 0, gates_stride) : p->state->deltas + gates,
      .states_before = p->state->inputs + before,
      .states = p->state->inputs + after,
      .memories_before = is_lstm ? layer->memories + before : NULL,
      .memories = is_lstm ? layer->memories + after : NULL,
      .state_deltas = layer->state_deltas == NULL ? NULL : layer->state_deltas + now,
      .memory_deltas = layer->memory_deltas == NULL ? NULL : layer->memory_deltas + now,
  };
}

/* ---- forward ---- */

/* Whole arrays are zero at first, but a batch of other size had other rows here. */
static void state_begin(const place *p) {
  size_t stride = p->state->linear.input_stride;
  size_t start = p->slice.first * stride;
  size_t bytes = p->slice.rows * stride * sizeof(th_real);
  memset(p->state->inputs + start, 0, bytes);
  if (p->layer->memories != NULL) memset(p->layer->memories + start, 0, bytes);
}

/* The state of every time enters the layer above, that of the last time the stack. What goes up is
 * dropped, and never what goes on in time. */
static void state_hand_up(const place *p, const th_real *states) {
  const th_engine *engine = p->batch->engine;
  if (is_last_layer(p) && p->time + 1 < engine->spec->window) return;
  const th_dense *above = is_last_layer(p) ? &engine->denses[0] : p->state + 1;
  uint32_t stride = p->state->linear.input_stride;
  size_t start = start_at(p, is_last_layer(p) ? 0 : p->time, stride);
  th_real *values = above->inputs + start;
  memcpy(values, states, (size_t)p->slice.rows * stride * sizeof *values);
  if (!th_batch_is_training(p->batch) || p->layer->kept == NULL) return;
  th_dropout_place drops = {.seed = engine->spec->seed,
                            .step = (uint32_t)p->batch->step,
                            .row = p->slice.first,
                            .layer = th_dropout_recurrent(p->cell, p->time)};
  engine->loops->drop(&engine->recurrent_drop, &drops, p->slice.rows, stride, values,
                      p->layer->kept + start);
}

static void time_forward(const place *p) {
  const th_engine *engine = p->batch->engine;
  th_cell_step step = step_at(p);
  th_linear_forward(&p->input->linear, engine->loops, step.rows,
                    p->input->inputs + start_at(p, p->time, p->input->linear.input_stride),
                    engine->parameters, step.gates);
  th_linear_forward(&p->state->linear, engine->loops, step.rows, step.states_before,
                    engine->parameters, step.products);
  engine->loops->cell_forward(engine->spec->recurrent, &step);
  state_hand_up(p, step.states);
}

void th_recurrent_forward(const th_batch *batch, th_slice slice) {
  for (uint32_t c = 0; c < batch->engine->model->cell_count; c++) {
    place p = place_at(batch, slice, c);
    state_begin(&p);
    for (; p.time < batch->engine->spec->window; p.time++) time_forward(&p);
  }
}

/* ---- backward ---- */

/* The gradient at what was handed up becomes that at the states. @param start  of these rows in
 * `kept`. */
static void drop_undo(const th_engine *engine, const th_recurrence *layer, uint64_t numbers,
                      size_t start, th_real *deltas) {
  if (layer->kept != NULL)
    engine->loops->drop_backward(&engine->recurrent_drop, numbers, layer->kept + start, deltas);
}

/* After the last time, nothing comes from a time after. What the stack says of the last layer's
 * state is there already. */
static void deltas_begin(const place *p) {
  const th_engine *engine = p->batch->engine;
  const th_recurrence *layer = p->layer;
  uint32_t stride = p->state->linear.input_stride;
  size_t start = start_at(p, 0, stride);
  size_t numbers = (size_t)p->slice.rows * stride;
  if (layer->memory_deltas != NULL)
    memset(layer->memory_deltas + start, 0, numbers * sizeof(th_real));
  if (!is_last_layer(p)) {
    memset(layer->state_deltas + start, 0, numbers * sizeof(th_real));
    return;
  }
  drop_undo(engine, layer, numbers, start, layer->state_deltas + start);
}

/* The gradient at the inputs of this time, for the layer below or the embedding. */
static void inputs_differentiate(const place *p, const th_cell_step *step) {
  th_engine *engine = p->batch->engine;
  th_real *result = p->cell > 0 ? p->layer[-1].output_deltas : engine->input_deltas;
  if (result == NULL) return;
  uint32_t stride = p->input->linear.input_stride;
  size_t start = start_at(p, p->time, stride);
  th_linear_backward(&p->input->linear, engine->loops, step->rows, step->gates, engine->parameters,
                     p->input->transposed, result + start);
  if (p->cell > 0)
    drop_undo(engine, p->layer - 1, (uint64_t)step->rows * stride, start, result + start);
}

static void time_backward(const place *p) {
  const th_engine *engine = p->batch->engine;
  const th_recurrence *layer = p->layer;
  th_cell_step step = step_at(p);
  uint64_t numbers = (uint64_t)step.rows * step.state_stride;
  if (layer->output_deltas != NULL)
    engine->loops->add(numbers, step.state_deltas,
                       layer->output_deltas + start_at(p, p->time, step.state_stride),
                       step.state_deltas);
  engine->loops->cell_backward(engine->spec->recurrent, &step);
  inputs_differentiate(p, &step);
  /* The state before the first time is no parameter. */
  if (p->time == 0) return;
  th_real *carried = layer->carried + start_at(p, 0, step.state_stride);
  th_linear_backward(&p->state->linear, engine->loops, step.rows,
                     p->state->deltas + start_at(p, p->time, step.gates_stride), engine->parameters,
                     p->state->transposed, carried);
  engine->loops->add(numbers, step.state_deltas, carried, step.state_deltas);
}

void th_recurrent_backward(const th_batch *batch, th_slice slice) {
  for (uint32_t c = batch->engine->model->cell_count; c-- > 0;) {
    place p = place_at(batch, slice, c);
    deltas_begin(&p);
    for (p.time = batch->engine->spec->window; p.time-- > 0;) time_backward(&p);
  }
}

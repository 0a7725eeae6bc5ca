/* A step in two phases with the team's barrier between them: rows, then parameters
 * (docs/architecture.md, "The same result everywhere"). */
#include "kernels/cpu/engine.h"

/* ---- the rows phase ---- */

/* Where the slice's rows begin in an array of so many numbers a row. */
static size_t slice_start(th_slice slice, uint32_t stride) {
  return (size_t)slice.first * stride;
}

/* What a hidden layer does to its products. */
static void layer_activate(const th_batch *batch, th_slice slice, uint32_t l) {
  const th_engine *engine = batch->engine;
  const th_loops *loops = engine->loops;
  const th_hidden *hidden = &engine->hidden[l];
  uint32_t stride = engine->denses[l].linear.output_stride;
  size_t start = slice_start(slice, stride);
  th_real *values = hidden->values + start;
  bool is_training = th_batch_is_training(batch);
  if (th_engine_is_normalized(engine)) th_norm_forward(batch, slice, l, values);
  loops->activate(&hidden->f, slice.rows, stride, engine->parameters + hidden->shift, values,
                  is_training && hidden->slopes != NULL ? hidden->slopes + start : NULL);
  if (is_training && hidden->f.drop_threshold > 0) {
    th_dropout_place place = {
        .seed = engine->spec->seed, .step = (uint32_t)batch->step, .row = slice.first, .layer = l};
    loops->drop(&hidden->f, &place, slice.rows, stride, values, hidden->kept + start);
  }
  if (hidden->skips)
    loops->add((uint64_t)slice.rows * stride, engine->denses[l].inputs + start, values,
               engine->denses[l + 1].inputs + start);
}

/* The layer's products, from what the layer below has made of its own. */
static void layer_forward(const th_batch *batch, th_slice slice, uint32_t l) {
  const th_engine *engine = batch->engine;
  const th_dense *dense = &engine->denses[l];
  const th_linear *linear = &dense->linear;
  bool is_last = l == engine->model->layer_count - 1;
  th_real *result = (is_last ? dense->deltas : engine->hidden[l].values) +
                    slice_start(slice, linear->output_stride);
  if (l > 0)
    layer_activate(batch, slice, l - 1);
  else
    th_recurrent_forward(batch, slice);
  th_linear_forward(linear, engine->loops, slice.rows,
                    dense->inputs + slice_start(slice, linear->input_stride), engine->parameters,
                    result);
  if (is_last || th_engine_is_normalized(engine))
    engine->loops->bias(slice.rows, linear->output_stride, engine->parameters + linear->biases,
                        result);
  if (!is_last && th_engine_is_normalized_by_batch(engine) && th_batch_is_training(batch))
    th_norm_measure(batch, slice, l, result);
}

static void slice_forward(const th_batch *batch, th_slice slice) {
  for (uint32_t l = 0; l < batch->engine->model->layer_count; l++) layer_forward(batch, slice, l);
}

/* From the gradient at a hidden layer's outputs to that at its products, or, if these are
 * normalized, at what normalization makes of them. */
static void layer_differentiate(const th_batch *batch, th_slice slice, uint32_t l) {
  const th_engine *engine = batch->engine;
  const th_hidden *hidden = &engine->hidden[l];
  uint32_t stride = engine->denses[l].linear.output_stride;
  size_t start = slice_start(slice, stride);
  uint64_t count = (uint64_t)slice.rows * stride;
  th_real *deltas = engine->denses[l].deltas + start;
  if (hidden->passed != NULL) memcpy(hidden->passed + start, deltas, count * sizeof *deltas);
  engine->loops->backward(&hidden->f, count, hidden->values + start,
                          hidden->slopes == NULL ? NULL : hidden->slopes + start,
                          hidden->kept == NULL ? NULL : hidden->kept + start, deltas);
  if (th_engine_is_normalized(engine)) th_norm_sum(batch, slice, l);
}

/* Where the gradient at a layer's inputs goes; NULL where nothing below learns. */
static th_real *deltas_below(const th_engine *engine, uint32_t l) {
  if (l > 0) return engine->denses[l - 1].deltas;
  uint32_t cells = engine->model->cell_count;
  return cells > 0 ? engine->recurrences[cells - 1].state_deltas : engine->input_deltas;
}

/* From the gradient that layer_differentiate left to that of the layer below. */
static void layer_backward(const th_batch *batch, th_slice slice, uint32_t l) {
  const th_engine *engine = batch->engine;
  const th_dense *dense = &engine->denses[l];
  const th_linear *linear = &dense->linear;
  bool is_last = l == engine->model->layer_count - 1;
  if (!is_last && th_engine_is_normalized(engine)) th_norm_backward(batch, slice, l);
  if (deltas_below(engine, l) == NULL) return;
  size_t start = slice_start(slice, linear->input_stride);
  th_real *below = deltas_below(engine, l) + start;
  th_linear_backward(linear, engine->loops, slice.rows,
                     dense->deltas + slice_start(slice, linear->output_stride), engine->parameters,
                     dense->transposed, below);
  if (!is_last && engine->hidden[l].skips)
    engine->loops->add((uint64_t)slice.rows * linear->input_stride, below,
                       engine->hidden[l].passed + start, below);
  if (l > 0)
    layer_differentiate(batch, slice, l - 1);
  else
    th_recurrent_backward(batch, slice);
}

/* One slice goes through the whole net, untouched by other slices. */
static void slice_train(void *argument, uint32_t index) {
  const th_batch *batch = argument;
  th_slice slice = th_slice_at(batch, index);
  uint32_t rows[TH_SLICE_ROWS_MAX];
  th_slice_find(batch, slice, rows);
  th_slice_look_ahead(batch, slice);
  th_slice_gather(batch, slice, rows);
  slice_forward(batch, slice);
  batch->engine->slice_sums[index] = th_slice_loss(batch, slice, rows);
  for (uint32_t l = batch->engine->model->layer_count; l-- > 0;) layer_backward(batch, slice, l);
}

/* The same in parts, between which all slices wait for each other: up through one hidden layer
 * after the other, … */
static void slice_rise(void *argument, uint32_t index) {
  const th_batch *batch = argument;
  th_slice slice = th_slice_at(batch, index);
  uint32_t rows[TH_SLICE_ROWS_MAX];
  if (batch->layer == 0) {
    th_slice_find(batch, slice, rows);
    th_slice_gather(batch, slice, rows);
  }
  layer_forward(batch, slice, batch->layer);
}

/* … through the last one and its loss, … */
static void slice_turn(void *argument, uint32_t index) {
  const th_batch *batch = argument;
  th_slice slice = th_slice_at(batch, index);
  uint32_t rows[TH_SLICE_ROWS_MAX];
  th_slice_find(batch, slice, rows);
  th_slice_look_ahead(batch, slice);
  layer_forward(batch, slice, batch->layer);
  batch->engine->slice_sums[index] = th_slice_loss(batch, slice, rows);
  layer_backward(batch, slice, batch->layer);
}

/* … and down again. */
static void slice_fall(void *argument, uint32_t index) {
  const th_batch *batch = argument;
  layer_backward(batch, th_slice_at(batch, index), batch->layer);
}

static void slice_evaluate(void *argument, uint32_t index) {
  const th_batch *batch = argument;
  const th_engine *engine = batch->engine;
  th_slice slice = th_slice_at(batch, index);
  uint32_t rows[TH_SLICE_ROWS_MAX];
  th_slice_find(batch, slice, rows);
  th_slice_gather(batch, slice, rows);
  slice_forward(batch, slice);
  if (batch->logits != NULL) th_slice_logits_copy(batch, slice);
  engine->slice_sums[index] = th_slice_loss(batch, slice, rows);
}

/* ---- the parameters phase ---- */

/* The gradient of a block of weights is one product over the whole batch. */
static void weights_differentiate(const th_batch *batch, const th_block *block,
                                  th_real *gradients) {
  const th_engine *engine = batch->engine;
  const th_dense *dense = &engine->denses[block->dense];
  const th_linear *linear = &dense->linear;
  uint32_t rows = batch->rows * dense->times;
  th_linear_gradient(linear, engine->loops, rows, block->first, block->count, dense->inputs,
                     dense->deltas, gradients);
  if (block->first + block->count == linear->inputs && !dense->is_centered)
    engine->loops->column_sums(rows, linear->output_stride, dense->deltas,
                               engine->gradients + linear->biases);
}

static void block_differentiate(void *argument, uint32_t index) {
  const th_batch *batch = argument;
  const th_engine *engine = batch->engine;
  const th_block *block = &engine->blocks[index];
  th_real *gradients = engine->gradients + block->start;
  switch (block->kind) {
    case TH_BLOCK_WEIGHTS:
      weights_differentiate(batch, block, gradients);
      break;
    case TH_BLOCK_EMBEDDING:
      th_embedding_differentiate(batch, block, gradients);
      break;
  }
  if (engine->spec->clip_value > 0)
    engine->loops->clamp(block->numbers, (th_real)engine->spec->clip_value, gradients);
  if (engine->spec->clip_norm > 0)
    engine->block_squares[index] = engine->loops->squares(block->numbers, gradients);
}

static void block_optimize(void *argument, uint32_t index) {
  const th_batch *batch = argument;
  const th_engine *engine = batch->engine;
  const th_block *block = &engine->blocks[index];
  uint64_t start = block->start;
  if (batch->clip < 1) engine->loops->scale(block->numbers, batch->clip, engine->gradients + start);
  engine->loops->optimize(&batch->optimizer, block->numbers, engine->gradients + start,
                          engine->parameters + start,
                          engine->moment1 == NULL ? NULL : engine->moment1 + start,
                          engine->moment2 == NULL ? NULL : engine->moment2 + start);
  if (block->kind != TH_BLOCK_WEIGHTS) return;
  const th_dense *dense = &engine->denses[block->dense];
  th_linear_transpose(&dense->linear, engine->loops, block->first, block->count, engine->parameters,
                      dense->transposed);
}

/* A block's update follows its gradient while that is in the cache. */
static void block_update(void *argument, uint32_t index) {
  block_differentiate(argument, index);
  block_optimize(argument, index);
}

/* In the order of the slices, whoever computed them. */
static void sums_collect(const th_engine *engine, uint32_t slices, th_sums *sums) {
  for (uint32_t i = 0; i < slices; i++) th_sums_add(sums, &engine->slice_sums[i]);
}

/* Less than this takes some microseconds, and more to share out than to do: the nets of a table of
 * numbers at small batches. Which thread computes what never changes a result. */
#define SHARED_FLOPS_MIN 1e6

static void loop_run(th_team *team, uint32_t count, double flops, th_team_work *work,
                     th_batch *batch) {
  if (flops >= SHARED_FLOPS_MIN) {
    th_team_run(team, count, work, batch);
    return;
  }
  for (uint32_t i = 0; i < count; i++) work(batch, i);
}

/* What is normalized by the batch needs the products of all its rows, and on the way back their
 * gradients: the slices wait for each other there. */
static void rows_train_by_batch(th_team *team, double flops, th_batch *batch) {
  uint32_t slices = th_slice_count(batch);
  uint32_t top = batch->engine->model->layer_count - 1;
  double share = flops / (2 * top + 1);
  for (uint32_t l = 0; l < top; l++) {
    batch->layer = l;
    loop_run(team, slices, share, slice_rise, batch);
    th_norm_settle(batch, l);
  }
  batch->layer = top;
  loop_run(team, slices, share, slice_turn, batch);
  for (uint32_t l = top; l-- > 0;) {
    batch->layer = l;
    th_norm_gradient(batch, l);
    loop_run(team, slices, share, slice_fall, batch);
  }
}

static void rows_train(th_team *team, double flops, th_batch *batch) {
  const th_engine *engine = batch->engine;
  if (th_engine_is_normalized_by_batch(engine)) {
    rows_train_by_batch(team, flops, batch);
    return;
  }
  loop_run(team, th_slice_count(batch), flops, slice_train, batch);
  for (uint32_t l = 0; l < engine->spec->hidden_count && th_engine_is_normalized(engine); l++)
    th_norm_gradient(batch, l);
}

/* To clip the length of the whole gradient, all of it must be there before the first update: one
 * barrier more, which nobody pays for who does not clip. */
static void parameters_update(th_team *team, double flops, th_batch *batch) {
  const th_engine *engine = batch->engine;
  batch->clip = 1;
  if (engine->spec->clip_norm == 0) {
    loop_run(team, engine->block_count, flops, block_update, batch);
    return;
  }
  loop_run(team, engine->block_count, flops, block_differentiate, batch);
  double squares = 0;
  for (uint32_t i = 0; i < engine->block_count; i++) squares += engine->block_squares[i];
  batch->clip = th_optimizer_clip(engine->spec->clip_norm, squares);
  loop_run(team, engine->block_count, flops, block_optimize, batch);
}

th_error th_engine_train(th_engine *engine, th_team *team, uint32_t epoch, uint32_t first,
                         uint32_t count, th_sums *sums) {
  const th_spec *spec = engine->spec;
  uint32_t steps = th_spec_steps(spec, engine->training_rows);
  th_order order = th_order_of(&engine->sampling, spec, engine->training_rows, epoch);
  th_batch batch = {.engine = engine, .order = &order};
  for (uint32_t s = first; s < first + count; s++) {
    /* The first row exists, so the product fits 32 bits. */
    batch.first = s * spec->batch_size;
    uint32_t left = engine->training_rows - batch.first;
    batch.rows = left < spec->batch_size ? left : spec->batch_size;
    batch.step = (epoch - UINT64_C(1)) * steps + s;
    batch.scale = th_batch_scale(&batch);
    batch.optimizer = th_optimizer_at(spec, th_schedule_rate_of(engine->schedule, spec, batch.step),
                                      batch.step + 1);
    /* Forward and gradient cost a multiplication and an addition a parameter and row, backward
     * about as much. */
    double flops = batch.rows * engine->row_flops;
    rows_train(team, 2 * flops, &batch);
    engine->ahead_step = s + 1 < steps ? batch.step + 1 : 0;
    sums_collect(engine, th_slice_count(&batch), sums);
    parameters_update(team, flops, &batch);
  }
  return TH_OK;
}

th_error th_engine_evaluate(th_engine *engine, th_team *team, uint32_t first, uint32_t count,
                            th_sums *sums, th_real *logits) {
  th_norm_recall(engine);
  for (uint32_t done = 0; done < count; done += engine->evaluate_rows) {
    th_batch batch = {.engine = engine, .first = first + done, .rows = count - done};
    if (batch.rows > engine->evaluate_rows) batch.rows = engine->evaluate_rows;
    if (logits != NULL) batch.logits = logits + (size_t)done * th_model_columns(engine->model);
    th_team_run(team, th_slice_count(&batch), slice_evaluate, &batch);
    sums_collect(engine, th_slice_count(&batch), sums);
  }
  return TH_OK;
}

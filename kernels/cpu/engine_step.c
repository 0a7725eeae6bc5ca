/* A step in two phases with the team's barrier between them: rows, then parameters
 * (docs/architecture.md, "The same result everywhere"). */
#include "kernels/cpu/blas.h"
#include "kernels/cpu/engine.h"
#include "kernels/loss.h"

/* What one loop of the team works on. */
typedef struct th_batch {
  th_engine *engine;
  const th_permutation *order; /* of the training rows in this epoch; NULL: not training */
  uint32_t first; /* position of the batch's first row */
  uint32_t rows;
  uint64_t step; /* over the whole training, from 0 */
  th_optimizer optimizer;
  th_real *logits; /* wanted by the caller of an evaluation, or NULL */
} th_batch;

/* Some rows of a batch. */
typedef struct th_slice {
  uint32_t first;
  uint32_t rows;
} th_slice;

static uint32_t slice_count(uint32_t rows) {
  return (rows + TH_SLICE_ROWS - 1) / TH_SLICE_ROWS;
}

static th_slice slice_at(const th_batch *batch, uint32_t index) {
  uint32_t first = index * TH_SLICE_ROWS;
  uint32_t left = batch->rows - first;
  return (th_slice){.first = first, .rows = left < TH_SLICE_ROWS ? left : TH_SLICE_ROWS};
}

/* Which row of the data set is the i'th of the batch. */
static uint32_t batch_row(const th_batch *batch, uint32_t i) {
  uint32_t position = batch->first + i;
  if (batch->order != NULL) position = th_permutation_at(batch->order, position);
  return th_permutation_at(&batch->engine->split, position);
}

static void slice_gather(const th_batch *batch, th_slice slice, const uint32_t *rows) {
  const th_data *data = batch->engine->data;
  th_real *values = batch->engine->inputs[0] + (size_t)slice.first * data->width;
  for (uint32_t i = 0; i < slice.rows; i++, values += data->width) {
    const float *features = data->features + (size_t)rows[i] * data->width;
    for (uint32_t c = 0; c < data->width; c++) values[c] = features[c];
  }
}

static void layer_drop(const th_batch *batch, th_slice slice, uint32_t l, th_real *values) {
  const th_engine *engine = batch->engine;
  uint32_t width = engine->model->layers[l].outputs;
  th_dropout_place place = {
      .seed = engine->spec->seed, .step = (uint32_t)batch->step, .row = slice.first, .layer = l};
  th_loops_drop(&engine->nonlinearity, &place, slice.rows, width, values,
                engine->kept[l] + (size_t)slice.first * width);
}

static void slice_forward(const th_batch *batch, th_slice slice) {
  const th_engine *engine = batch->engine;
  uint32_t last = engine->model->layer_count - 1;
  for (uint32_t l = 0; l <= last; l++) {
    const th_layer *layer = &engine->model->layers[l];
    const th_real *biases = engine->parameters + layer->biases;
    th_real *result = (l == last ? engine->deltas[l] : engine->inputs[l + 1]) +
                      (size_t)slice.first * layer->outputs;
    blas_forward(slice.rows, layer->inputs, layer->outputs,
                 engine->inputs[l] + (size_t)slice.first * layer->inputs,
                 engine->parameters + layer->weights, result);
    if (l == last) {
      th_loops_bias(slice.rows, layer->outputs, biases, result);
    } else {
      th_loops_activate(&engine->nonlinearity, slice.rows, layer->outputs, biases, result);
      if (batch->order != NULL && engine->nonlinearity.drop_threshold > 0)
        layer_drop(batch, slice, l, result);
    }
  }
}

/* Turn the slice's logits into the loss's gradient at them, and sum up loss and hits. */
static th_sums slice_loss(const th_batch *batch, th_slice slice, const uint32_t *rows) {
  const th_engine *engine = batch->engine;
  uint32_t classes = engine->model->classes;
  th_real *logits = engine->deltas[engine->model->layer_count - 1] + (size_t)slice.first * classes;
  th_real scale = TH_REAL(1.0) / (th_real)batch->rows;
  th_sums sums = {.rows = slice.rows};
  for (uint32_t i = 0; i < slice.rows; i++, logits += classes) {
    uint32_t label = (uint32_t)engine->data->labels[rows[i]];
    th_real sum;
    sums.correct += th_loss_argmax(logits, classes) == label;
    sums.loss += (double)th_loss_cross_entropy(logits, classes, label, &sum);
    th_loss_cross_entropy_gradient(logits, classes, label, sum, scale);
  }
  return sums;
}

static void slice_backward(const th_batch *batch, th_slice slice) {
  const th_engine *engine = batch->engine;
  for (uint32_t l = engine->model->layer_count - 1; l > 0; l--) {
    const th_layer *layer = &engine->model->layers[l];
    size_t below = (size_t)slice.first * layer->inputs;
    blas_backward(slice.rows, layer->inputs, layer->outputs,
                  engine->deltas[l] + (size_t)slice.first * layer->outputs,
                  engine->parameters + layer->weights, engine->deltas[l - 1] + below);
    const uint8_t *kept = engine->kept[l - 1] == NULL ? NULL : engine->kept[l - 1] + below;
    th_loops_backward(&engine->nonlinearity, (uint64_t)slice.rows * layer->inputs,
                      engine->inputs[l] + below, kept, engine->deltas[l - 1] + below);
  }
}

/* The rows phase: one slice goes through the whole net, untouched by other slices. */
static void slice_train(void *argument, uint32_t index) {
  const th_batch *batch = argument;
  th_slice slice = slice_at(batch, index);
  uint32_t rows[TH_SLICE_ROWS];
  for (uint32_t i = 0; i < slice.rows; i++) rows[i] = batch_row(batch, slice.first + i);
  slice_gather(batch, slice, rows);
  slice_forward(batch, slice);
  batch->engine->slice_sums[index] = slice_loss(batch, slice, rows);
  slice_backward(batch, slice);
}

static void slice_evaluate(void *argument, uint32_t index) {
  const th_batch *batch = argument;
  const th_engine *engine = batch->engine;
  th_slice slice = slice_at(batch, index);
  uint32_t classes = engine->model->classes;
  uint32_t rows[TH_SLICE_ROWS];
  for (uint32_t i = 0; i < slice.rows; i++) rows[i] = batch_row(batch, slice.first + i);
  slice_gather(batch, slice, rows);
  slice_forward(batch, slice);
  if (batch->logits != NULL) {
    size_t place = (size_t)slice.first * classes;
    memcpy(batch->logits + place, engine->deltas[engine->model->layer_count - 1] + place,
           (size_t)slice.rows * classes * sizeof(th_real));
  }
  th_sums none = {.rows = slice.rows};
  engine->slice_sums[index] = engine->data->labels == NULL ? none : slice_loss(batch, slice, rows);
}

/* The parameters phase: a block's gradient is one product over the whole batch, and its update
 * follows while it is in the cache. */
static void block_update(void *argument, uint32_t index) {
  const th_batch *batch = argument;
  const th_engine *engine = batch->engine;
  th_block block = engine->blocks[index];
  const th_layer *layer = &engine->model->layers[block.layer];
  uint64_t weights = layer->weights + (uint64_t)block.first * layer->inputs;
  uint64_t biases = layer->biases + block.first;
  const th_real *deltas = engine->deltas[block.layer] + block.first;
  blas_gradient(batch->rows, layer->inputs, layer->outputs, block.outputs, deltas,
                engine->inputs[block.layer], engine->gradients + weights);
  th_loops_column_sums(batch->rows, block.outputs, layer->outputs, deltas,
                       engine->gradients + biases);
  uint64_t starts[] = {weights, biases};
  uint64_t counts[] = {(uint64_t)block.outputs * layer->inputs, block.outputs};
  for (int i = 0; i < 2; i++)
    th_loops_optimize(&batch->optimizer, counts[i], engine->gradients + starts[i],
                      engine->parameters + starts[i],
                      engine->moment1 == NULL ? NULL : engine->moment1 + starts[i],
                      engine->moment2 == NULL ? NULL : engine->moment2 + starts[i]);
}

/* In the order of the slices, whoever computed them. */
static void sums_collect(const th_engine *engine, uint32_t slices, th_sums *sums) {
  for (uint32_t i = 0; i < slices; i++) {
    sums->loss += engine->slice_sums[i].loss;
    sums->correct += engine->slice_sums[i].correct;
    sums->rows += engine->slice_sums[i].rows;
  }
}

static uint64_t steps_in_epoch(const th_engine *engine) {
  return ((uint64_t)engine->training_rows + engine->spec->batch_size - 1) /
         engine->spec->batch_size;
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

th_error th_engine_train(th_engine *engine, th_team *team, uint32_t epoch, uint32_t first,
                         uint32_t count, th_sums *sums) {
  const th_spec *spec = engine->spec;
  th_permutation order = spec->shuffle ? th_permutation_draw(engine->training_rows, spec->seed,
                                                             TH_RANDOM_SHUFFLE, epoch)
                                       : th_permutation_identity(engine->training_rows);
  th_batch batch = {.engine = engine, .order = &order};
  for (uint32_t s = first; s < first + count; s++) {
    /* The first row exists, so the product fits 32 bits. */
    batch.first = s * spec->batch_size;
    uint32_t left = engine->training_rows - batch.first;
    batch.rows = left < spec->batch_size ? left : spec->batch_size;
    batch.step = (epoch - UINT64_C(1)) * steps_in_epoch(engine) + s;
    batch.optimizer = th_optimizer_at(spec, batch.step + 1);
    /* Forward and gradient cost a multiplication and an addition a parameter and row, backward
     * about as much. */
    double flops = 2.0 * batch.rows * (double)engine->model->parameters;
    loop_run(team, slice_count(batch.rows), 2 * flops, slice_train, &batch);
    sums_collect(engine, slice_count(batch.rows), sums);
    loop_run(team, engine->block_count, flops, block_update, &batch);
  }
  return TH_OK;
}

th_error th_engine_evaluate(th_engine *engine, th_team *team, uint32_t first, uint32_t count,
                            th_sums *sums, th_real *logits) {
  th_batch batch = {.engine = engine, .first = first, .rows = count, .logits = logits};
  th_team_run(team, slice_count(count), slice_evaluate, &batch);
  sums_collect(engine, slice_count(count), sums);
  return TH_OK;
}

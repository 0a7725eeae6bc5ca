/* Normalization of the hidden layers (kernels/normalization.h). That of rows happens within a
 * slice; that of columns needs what all slices know, between the loops of the team. */
#include "kernels/cpu/engine.h"
#include "kernels/normalization.h"

/* scale, shift and, by batch, the running mean and variance */
enum { VECTORS_LEARNT = 2, VECTORS_MAX = 4 };

static uint32_t vectors_of(const th_engine *engine) {
  return th_engine_is_normalized_by_batch(engine) ? VECTORS_MAX : VECTORS_LEARNT;
}

void th_norm_init(th_engine *engine, uint32_t l) {
  uint32_t stride = engine->denses[l].linear.output_stride;
  uint64_t first = engine->parameter_count;
  engine->hidden[l].normalizer.at = (th_norm){.scale = first,
                                              .shift = first + stride,
                                              .mean = first + 2 * (uint64_t)stride,
                                              .variance = first + 3 * (uint64_t)stride};
  engine->hidden[l].shift = first + stride;
  engine->denses[l].vectors += VECTORS_LEARNT;
  engine->denses[l].is_centered = th_engine_is_normalized_by_batch(engine);
  engine->parameter_count += vectors_of(engine) * (uint64_t)stride;
}

void th_norm_allocate(th_engine *engine, uint32_t l, uint64_t rows) {
  th_normalizer *normalizer = &engine->hidden[l].normalizer;
  uint32_t stride = engine->denses[l].linear.output_stride;
  bool by_batch = th_engine_is_normalized_by_batch(engine);
  normalizer->normalized = th_engine_array(engine, rows, stride, sizeof(th_real));
  normalizer->inverses = th_engine_array(engine, by_batch ? stride : rows, 1, sizeof(th_real));
  if (by_batch) normalizer->means = th_engine_array(engine, stride, 1, sizeof(th_real));
}

void th_norm_allocate_training(th_engine *engine, uint32_t l, uint64_t batch_rows) {
  uint64_t slices = (batch_rows + engine->slice_rows - 1) / engine->slice_rows;
  engine->hidden[l].normalizer.slices = th_engine_array(
      engine, slices, 2 * (uint64_t)engine->denses[l].linear.output_stride, sizeof(double));
}

/* ---- a model's order and the engine's ---- */

static void vectors_copy(const th_engine *engine, uint32_t l, const th_norm *from_at,
                         const th_real *from, const th_norm *to_at, th_real *to) {
  uint64_t starts[VECTORS_MAX][2] = {{from_at->scale, to_at->scale},
                                     {from_at->shift, to_at->shift},
                                     {from_at->mean, to_at->mean},
                                     {from_at->variance, to_at->variance}};
  for (uint32_t v = 0; v < vectors_of(engine); v++)
    memcpy(to + starts[v][1], from + starts[v][0], engine->denses[l].linear.outputs * sizeof *to);
}

void th_norm_read(const th_engine *engine, uint32_t l, const th_real *parameters, th_real *model) {
  vectors_copy(engine, l, &engine->hidden[l].normalizer.at, parameters, &engine->model->norms[l],
               model);
}

void th_norm_write(const th_engine *engine, uint32_t l, const th_real *model, th_real *parameters) {
  vectors_copy(engine, l, &engine->model->norms[l], model, &engine->hidden[l].normalizer.at,
               parameters);
}

/* ---- what a slice does ---- */

/* The slice's two rows of [output_stride]. */
static double *slice_vectors(const th_engine *engine, th_slice slice, uint32_t l) {
  uint32_t index = slice.first / engine->slice_rows;
  return engine->hidden[l].normalizer.slices +
         2 * (size_t)index * engine->denses[l].linear.output_stride;
}

void th_norm_forward(const th_batch *batch, th_slice slice, uint32_t l, th_real *values) {
  const th_engine *engine = batch->engine;
  const th_linear *linear = &engine->denses[l].linear;
  const th_normalizer *normalizer = &engine->hidden[l].normalizer;
  const th_real *scales = engine->parameters + normalizer->at.scale;
  th_real *normalized = normalizer->normalized + (size_t)slice.first * linear->output_stride;
  if (th_engine_is_normalized_by_batch(engine))
    engine->loops->normalize_columns(slice.rows, linear->output_stride, normalizer->means,
                                     normalizer->inverses, scales, values, normalized);
  else
    engine->loops->normalize_rows(slice.rows, linear->outputs, linear->output_stride, scales,
                                  values, normalized, normalizer->inverses + slice.first);
}

void th_norm_backward(const th_batch *batch, th_slice slice, uint32_t l) {
  const th_engine *engine = batch->engine;
  const th_linear *linear = &engine->denses[l].linear;
  const th_normalizer *normalizer = &engine->hidden[l].normalizer;
  const th_real *scales = engine->parameters + normalizer->at.scale;
  size_t start = (size_t)slice.first * linear->output_stride;
  const th_real *normalized = normalizer->normalized + start;
  th_real *deltas = engine->denses[l].deltas + start;
  if (th_engine_is_normalized_by_batch(engine))
    engine->loops->normalize_columns_back(slice.rows, linear->output_stride,
                                          1 / (th_real)batch->rows, scales, normalizer->inverses,
                                          normalized, engine->gradients + normalizer->at.scale,
                                          engine->gradients + normalizer->at.shift, deltas);
  else
    engine->loops->normalize_rows_back(slice.rows, linear->outputs, linear->output_stride, scales,
                                       normalized, normalizer->inverses + slice.first, deltas);
}

void th_norm_measure(const th_batch *batch, th_slice slice, uint32_t l, const th_real *values) {
  uint32_t stride = batch->engine->denses[l].linear.output_stride;
  double *means = slice_vectors(batch->engine, slice, l);
  batch->engine->loops->column_moments(slice.rows, stride, values, means, means + stride);
}

void th_norm_sum(const th_batch *batch, th_slice slice, uint32_t l) {
  const th_engine *engine = batch->engine;
  uint32_t stride = engine->denses[l].linear.output_stride;
  size_t start = (size_t)slice.first * stride;
  double *scales = slice_vectors(engine, slice, l);
  engine->loops->column_dots(slice.rows, stride, engine->denses[l].deltas + start,
                             engine->hidden[l].normalizer.normalized + start, scales,
                             scales + stride);
}

/* ---- what all slices know, in their order, whoever computed them ---- */

static th_moments column_merge(const th_batch *batch, uint32_t l, uint32_t column) {
  uint32_t stride = batch->engine->denses[l].linear.output_stride;
  th_moments all = {0};
  for (uint32_t i = 0; i < th_slice_count(batch); i++) {
    th_slice slice = th_slice_at(batch, i);
    const double *means = slice_vectors(batch->engine, slice, l) + column;
    all = th_moments_merge(
        all, (th_moments){.count = slice.rows, .mean = means[0], .squares = means[stride]});
  }
  return all;
}

/* PyTorch refuses a batch of one row. Here a ragged last one normalizes to zero, and what it has no
 * variance of leaves the running statistics as they were. */
void th_norm_settle(const th_batch *batch, uint32_t l) {
  const th_engine *engine = batch->engine;
  const th_normalizer *normalizer = &engine->hidden[l].normalizer;
  th_real *mean = engine->parameters + normalizer->at.mean;
  th_real *variance = engine->parameters + normalizer->at.variance;
  for (uint32_t c = 0; c < engine->denses[l].linear.outputs; c++) {
    th_moments all = column_merge(batch, l, c);
    normalizer->means[c] = (th_real)all.mean;
    normalizer->inverses[c] = th_normalization_inverse(all.squares / all.count);
    if (batch->rows == 1) continue;
    mean[c] = th_normalization_run(mean[c], all.mean);
    variance[c] = th_normalization_run(variance[c], all.squares / (all.count - 1));
  }
}

void th_norm_recall(const th_engine *engine) {
  for (uint32_t l = 0; l < engine->spec->hidden_count && th_engine_is_normalized_by_batch(engine);
       l++) {
    const th_normalizer *normalizer = &engine->hidden[l].normalizer;
    const th_real *mean = engine->parameters + normalizer->at.mean;
    const th_real *variance = engine->parameters + normalizer->at.variance;
    for (uint32_t c = 0; c < engine->denses[l].linear.outputs; c++) {
      normalizer->means[c] = mean[c];
      normalizer->inverses[c] = th_normalization_inverse((double)variance[c]);
    }
  }
}

void th_norm_gradient(const th_batch *batch, uint32_t l) {
  const th_engine *engine = batch->engine;
  const th_norm *at = &engine->hidden[l].normalizer.at;
  uint32_t stride = engine->denses[l].linear.output_stride;
  for (uint32_t c = 0; c < engine->denses[l].linear.outputs; c++) {
    double scale = 0;
    double shift = 0;
    for (uint32_t i = 0; i < th_slice_count(batch); i++) {
      const double *dots = slice_vectors(engine, th_slice_at(batch, i), l) + c;
      scale += dots[0];
      shift += dots[stride];
    }
    engine->gradients[at->scale + c] = (th_real)scale;
    engine->gradients[at->shift + c] = (th_real)shift;
  }
}

#include "kernels/cpu/loops.h"

#include "kernels/activation.h"

/* Compiled for each of these instruction sets; the loader picks the best one that the processor
 * has. Not under a sanitizer, whose runtime is not up yet when the loader asks. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define FOR_EVERY_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EVERY_PROCESSOR
#endif

FOR_EVERY_PROCESSOR
void th_loops_bias(uint32_t rows, uint32_t width, const th_real *biases, th_real *values) {
  for (uint32_t r = 0; r < rows; r++, values += width)
    for (uint32_t c = 0; c < width; c++) values[c] += biases[c];
}

/* With `kind` a constant at each place of use, so that no loop holds a choice. */
TH_HOST_DEVICE void activate(th_activation kind, th_real negative_slope, uint32_t rows,
                             uint32_t width, const th_real *restrict biases,
                             th_real *restrict values) {
  for (uint32_t r = 0; r < rows; r++, values += width)
    for (uint32_t c = 0; c < width; c++)
      values[c] = th_activation_value(kind, negative_slope, values[c] + biases[c]);
}

FOR_EVERY_PROCESSOR
void th_loops_activate(const th_nonlinearity *f, uint32_t rows, uint32_t width,
                       const th_real *biases, th_real *values) {
  switch (f->kind) {
    case TH_ACTIVATION_RELU:
      activate(TH_ACTIVATION_RELU, 0, rows, width, biases, values);
      return;
    case TH_ACTIVATION_LEAKY_RELU:
      activate(TH_ACTIVATION_LEAKY_RELU, f->negative_slope, rows, width, biases, values);
      return;
    case TH_ACTIVATION_TANH:
      activate(TH_ACTIVATION_TANH, 0, rows, width, biases, values);
      return;
    case TH_ACTIVATION_SIGMOID:
      activate(TH_ACTIVATION_SIGMOID, 0, rows, width, biases, values);
      return;
  }
}

/* Random blocks are made this many at a time, which vectorizes, and then used from the cache. */
#define DROP_BLOCKS 16
#define DROP_COLUMNS (DROP_BLOCKS * TH_DROPOUT_COLUMNS)

/* The bits of DROP_COLUMNS columns of a row, from one that begins a block. */
TH_HOST_DEVICE void drop_bits(const th_dropout_place *place, uint32_t row, uint32_t first_block,
                              uint16_t *restrict bits) {
  for (uint32_t b = 0; b < DROP_BLOCKS; b++) {
    th_philox block = th_philox_at(place->seed, place->step, row, place->layer, first_block + b);
    for (uint32_t lane = 0; lane < TH_DROPOUT_COLUMNS; lane++)
      bits[b * TH_DROPOUT_COLUMNS + lane] = th_dropout_bits(block, lane);
  }
}

TH_HOST_DEVICE void drop_columns(const th_nonlinearity *f, const uint16_t *restrict bits,
                                 uint32_t columns, th_real *restrict values,
                                 uint8_t *restrict kept) {
  th_real scale = 1 / f->keep;
  uint32_t threshold = f->drop_threshold;
  for (uint32_t c = 0; c < columns; c++) {
    kept[c] = bits[c] >= threshold;
    values[c] = bits[c] >= threshold ? values[c] * scale : 0;
  }
}

FOR_EVERY_PROCESSOR
void th_loops_drop(const th_nonlinearity *f, const th_dropout_place *place, uint32_t rows,
                   uint32_t width, th_real *values, uint8_t *kept) {
  uint16_t bits[DROP_COLUMNS];
  for (uint32_t r = 0; r < rows; r++, values += width, kept += width)
    for (uint32_t c = 0; c < width; c += DROP_COLUMNS) {
      drop_bits(place, place->row + r, c / TH_DROPOUT_COLUMNS, bits);
      drop_columns(f, bits, width - c < DROP_COLUMNS ? width - c : DROP_COLUMNS, values + c,
                   kept + c);
    }
}

TH_HOST_DEVICE void backward(th_activation kind, const th_nonlinearity *f, uint64_t count,
                             const th_real *restrict values, const uint8_t *restrict kept,
                             th_real *restrict deltas) {
  th_real slope = f->negative_slope;
  th_real keep = f->keep;
  th_real scale = 1 / keep;
  if (kept == NULL)
    for (uint64_t i = 0; i < count; i++) deltas[i] *= th_activation_slope(kind, slope, values[i]);
  else
    /* The value was scaled after the activation; undone, it tells the slope. */
    for (uint64_t i = 0; i < count; i++)
      deltas[i] =
          kept[i] ? deltas[i] * scale * th_activation_slope(kind, slope, values[i] * keep) : 0;
}

FOR_EVERY_PROCESSOR
void th_loops_backward(const th_nonlinearity *f, uint64_t count, const th_real *values,
                       const uint8_t *kept, th_real *deltas) {
  switch (f->kind) {
    case TH_ACTIVATION_RELU:
      backward(TH_ACTIVATION_RELU, f, count, values, kept, deltas);
      return;
    case TH_ACTIVATION_LEAKY_RELU:
      backward(TH_ACTIVATION_LEAKY_RELU, f, count, values, kept, deltas);
      return;
    case TH_ACTIVATION_TANH:
      backward(TH_ACTIVATION_TANH, f, count, values, kept, deltas);
      return;
    case TH_ACTIVATION_SIGMOID:
      backward(TH_ACTIVATION_SIGMOID, f, count, values, kept, deltas);
      return;
  }
}

FOR_EVERY_PROCESSOR
void th_loops_column_sums(uint32_t rows, uint32_t columns, uint32_t stride, const th_real *values,
                          th_real *sums) {
  double totals[TH_COLUMN_SUMS_MAX] = {0};
  for (uint32_t r = 0; r < rows; r++, values += stride)
    for (uint32_t c = 0; c < columns; c++) totals[c] += (double)values[c];
  for (uint32_t c = 0; c < columns; c++) sums[c] = (th_real)totals[c];
}

FOR_EVERY_PROCESSOR
void th_loops_optimize(const th_optimizer *optimizer, uint64_t count,
                       const th_real *restrict gradients, th_real *restrict parameters,
                       th_real *restrict moment1, th_real *restrict moment2) {
  /* A copy that nothing points to, or the stores below would force it to be read again. */
  th_optimizer o = *optimizer;
  switch (o.kind) {
    case TH_OPTIMIZER_SGD:
      if (moment1 == NULL)
        for (uint64_t i = 0; i < count; i++) th_optimizer_sgd(&o, gradients[i], &parameters[i]);
      else
        for (uint64_t i = 0; i < count; i++)
          th_optimizer_sgd_momentum(&o, gradients[i], &parameters[i], &moment1[i]);
      return;
    case TH_OPTIMIZER_ADAM:
      for (uint64_t i = 0; i < count; i++)
        th_optimizer_adam(&o, gradients[i], &parameters[i], &moment1[i], &moment2[i]);
      return;
    case TH_OPTIMIZER_ADAMW:
      for (uint64_t i = 0; i < count; i++)
        th_optimizer_adamw(&o, gradients[i], &parameters[i], &moment1[i], &moment2[i]);
      return;
  }
}

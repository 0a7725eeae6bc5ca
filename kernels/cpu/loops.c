/* Compiled once for each instruction set: the build says TH_LOOPS, the symbol's name, TH_LOOPS_NAME
 * for people, and TH_VECTOR_BYTES. */
#include "kernels/cpu/loops.h"

#include "kernels/activation.h"
#include "kernels/cpu/cell_loops.h"
#include "kernels/cpu/normalize.h"
#include "kernels/cpu/product.h"

static void transpose(uint32_t rows, uint32_t columns, const th_real *restrict values,
                      size_t stride, th_real *restrict result, size_t result_stride) {
  for (uint32_t c = 0; c < columns; c++)
    for (uint32_t r = 0; r < rows; r++) result[c * result_stride + r] = values[r * stride + c];
}

/* With the number of rounds a constant, a pass has no loop inside and the loop over places
 * vectorizes. */
static void permute_wide(const th_permutation *order, uint32_t count, uint32_t *restrict places) {
  th_permutation o = *order;
  o.rounds = TH_PERMUTATION_ROUNDS_WIDE;
  uint32_t outside = 0;
  for (uint32_t i = 0; i < count; i++) {
    places[i] = th_permutation_pass(&o, 0, places[i]);
    outside |= places[i] >= o.count;
  }
  while (outside != 0) {
    outside = 0;
    for (uint32_t i = 0; i < count; i++) {
      uint32_t next = th_permutation_pass(&o, 0, places[i]);
      places[i] = places[i] >= o.count ? next : places[i];
      outside |= places[i] >= o.count;
    }
  }
}

static void permute(const th_permutation *order, uint32_t count, uint32_t *places) {
  if (order->rounds == TH_PERMUTATION_ROUNDS_WIDE) {
    permute_wide(order, count, places);
    return;
  }
  for (uint32_t i = 0; i < count; i++) places[i] = th_permutation_at(order, places[i]);
}

static void bias(uint32_t rows, uint32_t width, const th_real *restrict biases,
                 th_real *restrict values) {
  for (uint32_t r = 0; r < rows; r++, values += width)
    for (uint32_t c = 0; c < width; c++) values[c] += biases[c];
}

/* With `kind` a constant at each place of use, so that no loop holds a choice. */
TH_HOST_DEVICE void activate_by(th_activation kind, th_real shape, uint32_t rows, uint32_t width,
                                const th_real *restrict biases, th_real *restrict values,
                                th_real *restrict slopes) {
  bool keeps_slopes = !th_activation_tells_slope(kind) && slopes != NULL;
  for (uint32_t r = 0; r < rows; r++, values += width) {
    if (!keeps_slopes) {
      for (uint32_t c = 0; c < width; c++)
        values[c] = th_activation_value(kind, shape, values[c] + biases[c]);
      continue;
    }
    for (uint32_t c = 0; c < width; c++)
      values[c] = th_activation_value_slope(kind, values[c] + biases[c], &slopes[c]);
    slopes += width;
  }
}

static void activate(const th_nonlinearity *f, uint32_t rows, uint32_t width, const th_real *biases,
                     th_real *values, th_real *slopes) {
  switch (f->kind) {
    case TH_ACTIVATION_RELU:
      activate_by(TH_ACTIVATION_RELU, f->shape, rows, width, biases, values, slopes);
      return;
    case TH_ACTIVATION_LEAKY_RELU:
      activate_by(TH_ACTIVATION_LEAKY_RELU, f->shape, rows, width, biases, values, slopes);
      return;
    case TH_ACTIVATION_TANH:
      activate_by(TH_ACTIVATION_TANH, f->shape, rows, width, biases, values, slopes);
      return;
    case TH_ACTIVATION_SIGMOID:
      activate_by(TH_ACTIVATION_SIGMOID, f->shape, rows, width, biases, values, slopes);
      return;
    case TH_ACTIVATION_ELU:
      activate_by(TH_ACTIVATION_ELU, f->shape, rows, width, biases, values, slopes);
      return;
    case TH_ACTIVATION_GELU:
      activate_by(TH_ACTIVATION_GELU, f->shape, rows, width, biases, values, slopes);
      return;
    case TH_ACTIVATION_GELU_TANH:
      activate_by(TH_ACTIVATION_GELU_TANH, f->shape, rows, width, biases, values, slopes);
      return;
    case TH_ACTIVATION_SILU:
      activate_by(TH_ACTIVATION_SILU, f->shape, rows, width, biases, values, slopes);
      return;
  }
}

/* Random blocks are made this many at a time, which vectorizes, and then used from the cache. */
#define DROP_BLOCKS 64

typedef struct drop_chunk {
  uint32_t rows[DROP_BLOCKS];
  uint32_t blocks[DROP_BLOCKS]; /* within the row */
  uint32_t words[DROP_BLOCKS][TH_DROPOUT_COLUMNS / 2];
} drop_chunk;

TH_HOST_DEVICE void chunk_draw(const th_dropout_place *place, drop_chunk *chunk) {
  for (uint32_t i = 0; i < DROP_BLOCKS; i++) {
    th_philox block = th_philox_at(place->seed, place->step, place->row + chunk->rows[i],
                                   place->layer, chunk->blocks[i]);
    for (uint32_t w = 0; w < TH_DROPOUT_COLUMNS / 2; w++) chunk->words[i][w] = block.word[w];
  }
}

/* Seen as halves, the words are what th_dropout_bits makes of them. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the lower half of a word comes first");

TH_HOST_DEVICE void chunk_apply(const th_nonlinearity *f, const drop_chunk *chunk, uint32_t count,
                                th_real *restrict values, uint8_t *restrict kept) {
  uint16_t bits[DROP_BLOCKS * TH_DROPOUT_COLUMNS];
  memcpy(bits, chunk->words, sizeof bits);
  th_real scale = 1 / f->keep;
  uint16_t threshold = (uint16_t)f->drop_threshold;
  for (uint32_t c = 0; c < count * TH_DROPOUT_COLUMNS; c++) {
    kept[c] = bits[c] >= threshold;
    values[c] = bits[c] >= threshold ? values[c] * scale : 0;
  }
}

/* Padded rows are whole blocks, so the blocks of all rows are one sequence, as the values are. */
static void drop(const th_nonlinearity *f, const th_dropout_place *place, uint32_t rows,
                 uint32_t width, th_real *values, uint8_t *kept) {
  uint32_t row_blocks = width / TH_DROPOUT_COLUMNS;
  uint64_t left = (uint64_t)rows * row_blocks;
  uint32_t row = 0;
  uint32_t block = 0;
  drop_chunk chunk;
  while (left > 0) {
    uint32_t count = left < DROP_BLOCKS ? (uint32_t)left : DROP_BLOCKS;
    for (uint32_t i = 0; i < DROP_BLOCKS; i++) {
      chunk.rows[i] = row;
      chunk.blocks[i] = block++;
      if (block == row_blocks) {
        block = 0;
        row++;
      }
    }
    chunk_draw(place, &chunk);
    chunk_apply(f, &chunk, count, values, kept);
    values += (size_t)count * TH_DROPOUT_COLUMNS;
    kept += (size_t)count * TH_DROPOUT_COLUMNS;
    left -= count;
  }
}

TH_HOST_DEVICE void backward_by(th_activation kind, const th_nonlinearity *f, uint64_t count,
                                const th_real *restrict values, const uint8_t *restrict kept,
                                th_real *restrict deltas) {
  th_real shape = f->shape;
  th_real keep = f->keep;
  th_real scale = 1 / keep;
  if (kept == NULL)
    for (uint64_t i = 0; i < count; i++) deltas[i] *= th_activation_slope(kind, shape, values[i]);
  else
    /* The value was scaled after the activation; undone, it tells the slope. */
    for (uint64_t i = 0; i < count; i++) {
      th_real passed = deltas[i] * scale * th_activation_slope(kind, shape, values[i] * keep);
      deltas[i] = kept[i] ? passed : 0;
    }
}

/* Of an activation whose slopes were kept on the way forward. */
static void backward_kept(const th_nonlinearity *f, uint64_t count, const th_real *restrict slopes,
                          const uint8_t *restrict kept, th_real *restrict deltas) {
  th_real scale = 1 / f->keep;
  if (kept == NULL)
    for (uint64_t i = 0; i < count; i++) deltas[i] *= slopes[i];
  else
    for (uint64_t i = 0; i < count; i++) {
      th_real passed = deltas[i] * scale * slopes[i];
      deltas[i] = kept[i] ? passed : 0;
    }
}

static void backward(const th_nonlinearity *f, uint64_t count, const th_real *values,
                     const th_real *slopes, const uint8_t *kept, th_real *deltas) {
  switch (f->kind) {
    case TH_ACTIVATION_RELU:
      backward_by(TH_ACTIVATION_RELU, f, count, values, kept, deltas);
      return;
    case TH_ACTIVATION_LEAKY_RELU:
      backward_by(TH_ACTIVATION_LEAKY_RELU, f, count, values, kept, deltas);
      return;
    case TH_ACTIVATION_TANH:
      backward_by(TH_ACTIVATION_TANH, f, count, values, kept, deltas);
      return;
    case TH_ACTIVATION_SIGMOID:
      backward_by(TH_ACTIVATION_SIGMOID, f, count, values, kept, deltas);
      return;
    case TH_ACTIVATION_ELU:
      backward_by(TH_ACTIVATION_ELU, f, count, values, kept, deltas);
      return;
    case TH_ACTIVATION_GELU:
    case TH_ACTIVATION_GELU_TANH:
    case TH_ACTIVATION_SILU:
      backward_kept(f, count, slopes, kept, deltas);
      return;
  }
}

static void drop_backward(const th_nonlinearity *f, uint64_t count, const uint8_t *restrict kept,
                          th_real *restrict deltas) {
  th_real scale = 1 / f->keep;
  for (uint64_t i = 0; i < count; i++) {
    th_real passed = deltas[i] * scale;
    deltas[i] = kept[i] ? passed : 0;
  }
}

/* Beyond so many classes, the same column of TH_LOSS_ROWS rows no longer stays in the cache from
 * one loop over the classes to the next; then a row is long enough to be worked on alone. */
#define SIDE_BY_SIDE_CLASSES_MAX 64

/* What kernels/loss.h does to one row, for TH_LOSS_ROWS rows at once: with few classes, the rows
 * are the longer side. Rows beyond the batch are computed and not counted. */
TH_HOST_DEVICE void losses_side_by_side(uint32_t classes, size_t stride,
                                        const uint32_t *restrict labels,
                                        const th_real *restrict scales, th_real *restrict logits,
                                        th_real *restrict losses, uint32_t *restrict said) {
  th_real largest[TH_LOSS_ROWS];
  th_real at_label[TH_LOSS_ROWS];
  th_real total[TH_LOSS_ROWS] = {0};
  for (uint32_t i = 0; i < TH_LOSS_ROWS; i++) {
    largest[i] = logits[i * stride];
    said[i] = 0;
  }
  for (uint32_t c = 1; c < classes; c++)
    for (uint32_t i = 0; i < TH_LOSS_ROWS; i++) {
      th_real z = logits[i * stride + c];
      said[i] = z > largest[i] ? c : said[i];
      largest[i] = z > largest[i] ? z : largest[i];
    }
  for (uint32_t i = 0; i < TH_LOSS_ROWS; i++)
    at_label[i] = logits[i * stride + labels[i]] - largest[i];
  for (uint32_t c = 0; c < classes; c++)
    for (uint32_t i = 0; i < TH_LOSS_ROWS; i++) {
      th_real e = th_real_exp(logits[i * stride + c] - largest[i]);
      logits[i * stride + c] = e;
      total[i] += e;
    }
  for (uint32_t i = 0; i < TH_LOSS_ROWS; i++) {
    losses[i] = th_real_log(total[i]) - at_label[i];
    total[i] = scales[i] / total[i];
  }
  for (uint32_t c = 0; c < classes; c++)
    for (uint32_t i = 0; i < TH_LOSS_ROWS; i++) logits[i * stride + c] *= total[i];
  for (uint32_t i = 0; i < TH_LOSS_ROWS; i++) logits[i * stride + labels[i]] -= scales[i];
}

TH_HOST_DEVICE th_real weight_at(const th_real *weights, uint32_t row) {
  return weights == NULL ? 1 : weights[row];
}

static th_sums cross_entropy_few(const th_loss_rule *rule, uint32_t rows, uint32_t classes,
                                 uint32_t stride, const uint32_t *labels, const th_real *weights,
                                 th_real scale, th_real *logits) {
  th_sums sums = {.rows = rows};
  for (uint32_t first = 0; first < rows; first += TH_LOSS_ROWS) {
    uint32_t count = rows - first < TH_LOSS_ROWS ? rows - first : TH_LOSS_ROWS;
    uint32_t label[TH_LOSS_ROWS] = {0};
    th_real weight[TH_LOSS_ROWS] = {0};
    th_real scales[TH_LOSS_ROWS];
    uint32_t said[TH_LOSS_ROWS];
    th_real losses[TH_LOSS_ROWS];
    for (uint32_t i = 0; i < count; i++) {
      label[i] = labels[first + i];
      weight[i] = weight_at(weights, first + i) * th_loss_weight(rule, label[i]);
    }
    for (uint32_t i = 0; i < TH_LOSS_ROWS; i++) scales[i] = scale * weight[i];
    losses_side_by_side(classes, stride, label, scales, logits + (size_t)first * stride, losses,
                        said);
    for (uint32_t i = 0; i < count; i++) {
      sums.loss += (double)(weight[i] * losses[i]);
      sums.weight += (double)weight[i];
      sums.correct += said[i] == label[i];
    }
  }
  return sums;
}

static th_sums losses_by_row(const th_loss_rule *rule, uint32_t rows, uint32_t outputs,
                             uint32_t stride, const uint32_t *labels, const th_real *weights,
                             th_real scale, th_real *logits) {
  th_sums sums = {.rows = rows};
  for (uint32_t i = 0; i < rows; i++, logits += stride) {
    th_real weight = weight_at(weights, i);
    sums.correct += th_loss_said(rule->kind, logits, outputs) == labels[i];
    sums.weight += (double)(weight * th_loss_share(rule, labels[i]));
    sums.loss += (double)(weight * th_loss_row(rule, logits, outputs, labels[i], scale * weight));
  }
  return sums;
}

static th_sums losses(const th_loss_rule *rule, uint32_t rows, uint32_t outputs, uint32_t stride,
                      const uint32_t *labels, const th_real *weights, th_real scale,
                      th_real *logits) {
  bool is_plain = rule->kind == TH_LOSS_CROSS_ENTROPY && rule->smoothing == 0;
  if (is_plain && outputs <= SIDE_BY_SIDE_CLASSES_MAX)
    return cross_entropy_few(rule, rows, outputs, stride, labels, weights, scale, logits);
  return losses_by_row(rule, rows, outputs, stride, labels, weights, scale, logits);
}

/* The mean over the outputs is taken of a row's sum, so that a row counts as one. */
static th_sums errors(const th_loss_rule *rule, uint32_t rows, uint32_t outputs, uint32_t stride,
                      const th_real *weights, const double *shares, th_real scale,
                      th_real *errors) {
  th_sums sums = {.rows = rows};
  for (uint32_t i = 0; i < rows; i++, errors += stride) {
    th_real weight = weight_at(weights, i);
    th_real row_scale = scale * weight / (th_real)outputs;
    double loss = 0, absolute = 0, squares = 0;
    for (uint32_t o = 0; o < outputs; o++) {
      double error = (double)errors[o];
      absolute += fabs(error);
      squares += error * error;
      if (shares != NULL) sums.unexplained += error * error * shares[o];
      loss += (double)th_loss_error(rule, &errors[o], row_scale);
    }
    sums.loss += (double)weight * loss / outputs;
    sums.weight += (double)weight;
    sums.absolute += absolute / outputs;
    sums.squares += squares / outputs;
  }
  return sums;
}

static void column_sums(uint32_t rows, uint32_t width, const th_real *restrict values,
                        th_real *restrict sums) {
  for (uint32_t first = 0; first < width; first += TH_PANEL) {
    double totals[TH_PANEL] = {0};
    const th_real *panel = values + first;
    for (uint32_t r = 0; r < rows; r++, panel += width)
      for (uint32_t c = 0; c < TH_PANEL; c++) totals[c] += (double)panel[c];
    for (uint32_t c = 0; c < TH_PANEL; c++) sums[first + c] = (th_real)totals[c];
  }
}

static void add(uint64_t count, const th_real *left, const th_real *right, th_real *result) {
  for (uint64_t i = 0; i < count; i++) result[i] = left[i] + right[i];
}

static void clamp(uint64_t count, th_real bound, th_real *values) {
  /* Comparisons that a NaN fails leave it as it is. */
  for (uint64_t i = 0; i < count; i++) {
    th_real above = values[i] < -bound ? -bound : values[i];
    values[i] = above > bound ? bound : above;
  }
}

static void scale(uint64_t count, th_real factor, th_real *values) {
  for (uint64_t i = 0; i < count; i++) values[i] *= factor;
}

static void optimize(const th_optimizer *optimizer, uint64_t count,
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
    case TH_OPTIMIZER_RMSPROP:
      if (moment2 == NULL)
        for (uint64_t i = 0; i < count; i++)
          th_optimizer_rmsprop(&o, gradients[i], &parameters[i], &moment1[i]);
      else
        for (uint64_t i = 0; i < count; i++)
          th_optimizer_rmsprop_momentum(&o, gradients[i], &parameters[i], &moment1[i], &moment2[i]);
      return;
  }
}

extern const th_loops TH_LOOPS;

const th_loops TH_LOOPS = {
    .name = TH_LOOPS_NAME,
    .product = product,
    .transpose = transpose,
    .permute = permute,
    .bias = bias,
    .activate = activate,
    .drop = drop,
    .backward = backward,
    .drop_backward = drop_backward,
    .cell_forward = cell_forward,
    .cell_backward = cell_backward,
    .losses = losses,
    .errors = errors,
    .normalize_rows = normalize_rows,
    .normalize_rows_back = normalize_rows_back,
    .normalize_columns = normalize_columns,
    .normalize_columns_back = normalize_columns_back,
    .column_moments = column_moments,
    .column_dots = column_dots,
    .add = add,
    .column_sums = column_sums,
    .clamp = clamp,
    .scale = scale,
    .squares = squares,
    .optimize = optimize,
};

#include "kernels/cpu/engine.h"

static bool is_regression(const th_engine *engine) {
  return th_loss_is_regression(engine->rule.kind);
}

/* What a row adds to the weight that a sum of losses is divided by. */
static double row_share(const th_engine *engine, uint32_t row) {
  double weight = engine->row_weights == NULL ? 1 : (double)engine->row_weights[row];
  if (is_regression(engine)) return weight;
  return weight * (double)th_loss_share(&engine->rule, (uint32_t)engine->data->labels[row]);
}

/* What the gradient of the batch's mean loss is scaled by. Rows that all weigh nothing teach
 * nothing, where PyTorch would divide by zero. */
th_real th_batch_scale(const th_batch *batch) {
  const th_engine *engine = batch->engine;
  bool classes_weigh = engine->rule.kind == TH_LOSS_CROSS_ENTROPY && engine->rule.weights != NULL;
  if (!classes_weigh && engine->row_weights == NULL) return TH_REAL(1.0) / (th_real)batch->rows;
  double weight = 0;
  for (uint32_t index = 0; index < th_slice_count(batch); index++) {
    th_slice slice = th_slice_at(batch, index);
    uint32_t rows[TH_SLICE_ROWS_MAX];
    th_slice_find(batch, slice, rows);
    for (uint32_t i = 0; i < slice.rows; i++) weight += row_share(engine, rows[i]);
  }
  return weight > 0 ? (th_real)(1 / weight) : 0;
}

/* The slice's rows of the last layer. */
static th_real *slice_outputs(const th_batch *batch, th_slice slice) {
  const th_dense *last = th_engine_last(batch->engine);
  return last->deltas + (size_t)slice.first * last->linear.output_stride;
}

static th_sums labels_judge(const th_batch *batch, th_slice slice, const uint32_t *rows,
                            const th_real *weights) {
  const th_engine *engine = batch->engine;
  const th_linear *layer = &th_engine_last(engine)->linear;
  uint32_t labels[TH_SLICE_ROWS_MAX];
  for (uint32_t i = 0; i < slice.rows; i++) labels[i] = (uint32_t)engine->data->labels[rows[i]];
  return engine->loops->losses(&engine->rule, slice.rows, layer->outputs, layer->output_stride,
                               labels, weights, batch->scale, slice_outputs(batch, slice));
}

static th_sums targets_judge(const th_batch *batch, th_slice slice, const uint32_t *rows,
                             const th_real *weights) {
  const th_engine *engine = batch->engine;
  const th_linear *layer = &th_engine_last(engine)->linear;
  th_real *errors = slice_outputs(batch, slice);
  for (uint32_t i = 0; i < slice.rows; i++) {
    const float *targets = engine->data->targets + (size_t)rows[i] * layer->outputs;
    th_real *row = errors + (size_t)i * layer->output_stride;
    for (uint32_t o = 0; o < layer->outputs; o++) row[o] -= targets[o];
  }
  const double *shares = batch->order != NULL ? engine->training_shares : engine->validation_shares;
  return engine->loops->errors(&engine->rule, slice.rows, layer->outputs, layer->output_stride,
                               weights, shares, batch->scale, errors);
}

th_sums th_slice_loss(const th_batch *batch, th_slice slice, const uint32_t *rows) {
  const th_engine *engine = batch->engine;
  th_real weights[TH_SLICE_ROWS_MAX];
  for (uint32_t i = 0; i < slice.rows && engine->row_weights != NULL; i++)
    weights[i] = engine->row_weights[rows[i]];
  const th_real *wanted = engine->row_weights == NULL ? NULL : weights;
  if (engine->data->targets != NULL && is_regression(engine))
    return targets_judge(batch, slice, rows, wanted);
  if (engine->data->labels != NULL) return labels_judge(batch, slice, rows, wanted);
  return (th_sums){.rows = slice.rows};
}

/* The single logit of two classes is of class 1 against class 0, whose own is 0. */
void th_slice_logits_copy(const th_batch *batch, th_slice slice) {
  const th_model *model = batch->engine->model;
  uint32_t columns = th_model_columns(model);
  const th_real *from = slice_outputs(batch, slice);
  th_real *to = batch->logits + (size_t)slice.first * columns;
  uint32_t implied = columns - model->outputs;
  for (uint32_t i = 0; i < slice.rows; i++, to += columns) {
    memset(to, 0, implied * sizeof *to);
    memcpy(to + implied, from, model->outputs * sizeof *to);
    from += th_panel_round(model->outputs);
  }
}

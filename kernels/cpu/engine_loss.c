#include "kernels/cpu/engine.h"

/* What the gradient of the batch's mean loss is scaled by. Rows that all weigh nothing teach
 * nothing, where PyTorch would divide by zero. */
th_real th_batch_scale(const th_batch *batch) {
  const th_engine *engine = batch->engine;
  if (engine->rule.kind != TH_LOSS_CROSS_ENTROPY || engine->rule.weights == NULL)
    return TH_REAL(1.0) / (th_real)batch->rows;
  double weight = 0;
  for (uint32_t index = 0; index < th_slice_count(batch); index++) {
    th_slice slice = th_slice_at(batch, index);
    uint32_t rows[TH_SLICE_ROWS_MAX];
    th_slice_find(batch, slice, rows);
    for (uint32_t i = 0; i < slice.rows; i++)
      weight += (double)th_loss_share(&engine->rule, (uint32_t)engine->data->labels[rows[i]]);
  }
  return weight > 0 ? (th_real)(1 / weight) : 0;
}

/* The slice's rows of the last layer. */
static th_real *slice_logits(const th_batch *batch, th_slice slice) {
  const th_dense *last = th_engine_last(batch->engine);
  return last->deltas + (size_t)slice.first * last->linear.output_stride;
}

th_sums th_slice_loss(const th_batch *batch, th_slice slice, const uint32_t *rows) {
  const th_engine *engine = batch->engine;
  const th_linear *layer = &th_engine_last(engine)->linear;
  uint32_t labels[TH_SLICE_ROWS_MAX];
  for (uint32_t i = 0; i < slice.rows; i++) labels[i] = (uint32_t)engine->data->labels[rows[i]];
  th_loss loss =
      engine->loops->losses(&engine->rule, slice.rows, layer->outputs, layer->output_stride, labels,
                            batch->scale, slice_logits(batch, slice));
  return (th_sums){
      .loss = loss.sum, .weight = loss.weight, .correct = loss.correct, .rows = slice.rows};
}

/* A single logit is of class 1 against class 0, whose own is 0. */
void th_slice_logits_copy(const th_batch *batch, th_slice slice) {
  const th_model *model = batch->engine->model;
  const th_real *from = slice_logits(batch, slice);
  th_real *to = batch->logits + (size_t)slice.first * model->classes;
  uint32_t implied = model->classes - model->outputs;
  for (uint32_t i = 0; i < slice.rows; i++, to += model->classes) {
    memset(to, 0, implied * sizeof *to);
    memcpy(to + implied, from, model->outputs * sizeof *to);
    from += th_panel_round(model->outputs);
  }
}

/** The phases that judge: what rows weigh, their losses, and the gradients that these begin with
 * (kernels/cuda/phases.h). */
#ifndef TH_KERNELS_CUDA_PHASES_LOSS_H
#define TH_KERNELS_CUDA_PHASES_LOSS_H

#include "kernels/cuda/phases_rows.h"

TH_HOST_DEVICE uint32_t th_group_end(uint32_t group, uint32_t size, uint32_t count) {
  uint32_t end = (group + 1) * size;
  return end < count ? end : count;
}

/* What the sum of the batch's losses is divided by, group by group. */
TH_CUDA_PHASE void th_phase_weigh(const th_cuda_job *job, const th_cuda_batch *batch,
                                  th_lane lane) {
  for (uint32_t g = lane.index; g < th_sums_over(batch->rows); g += lane.count) {
    double sum = 0;
    for (uint32_t i = g * TH_SUM_ROWS; i < th_group_end(g, TH_SUM_ROWS, batch->rows); i++)
      sum += (double)job->area.shares[i];
    job->area.share_sums[g] = sum;
  }
}

TH_HOST_DEVICE double batch_weight(const th_cuda_job *job, uint32_t rows) {
  double weight = 0;
  for (uint32_t g = 0; g < th_sums_over(rows); g++) weight += job->area.share_sums[g];
  return weight;
}

TH_HOST_DEVICE th_sums label_judge(const th_cuda_net *net, uint32_t row, uint32_t outputs,
                                   float scale, float *logits) {
  uint32_t label = (uint32_t)net->labels[row];
  float weight = th_row_weight(net, row);
  th_sums sums = {0};
  sums.rows = 1;
  sums.correct = th_loss_said(net->rule.kind, logits, outputs) == label;
  sums.weight = (double)th_row_share(net, row);
  sums.loss = (double)(weight * th_loss_row(&net->rule, logits, outputs, label, scale * weight));
  return sums;
}

/* The mean over the outputs is taken of a row's sum, so that a row counts as one. */
TH_HOST_DEVICE th_sums target_judge(const th_cuda_net *net, const double *shares, uint32_t row,
                                    uint32_t outputs, float scale, float *numbers) {
  float weight = th_row_weight(net, row);
  th_sums sums = {0};
  sums.rows = 1;
  sums.weight = (double)weight;
  for (uint32_t o = 0; o < outputs; o++) {
    numbers[o] -= net->targets[(size_t)row * outputs + o];
    double error = (double)numbers[o];
    sums.absolute += (error < 0 ? -error : error) / outputs;
    sums.squares += error * error / outputs;
    if (shares != NULL) sums.unexplained += error * error * shares[o];
    float loss = th_loss_error(&net->rule, &numbers[o], scale * weight / (float)outputs);
    sums.loss += (double)weight * (double)loss / outputs;
  }
  return sums;
}

/* Logits become the mean loss's gradient at them. Rows that all weigh nothing teach nothing. */
TH_CUDA_PHASE void th_phase_judge(const th_cuda_job *job, const th_cuda_batch *batch,
                                  th_lane lane) {
  const th_cuda_net *net = job->net;
  const th_cuda_layer *last = &net->layers[net->layer_count - 1];
  const double *shares = batch->order != NULL ? net->training_shares : net->validation_shares;
  double weight = batch_weight(job, batch->rows);
  float scale = weight > 0 ? (float)(1 / weight) : 0;
  for (uint32_t i = lane.index; i < batch->rows; i += lane.count) {
    float *logits = th_area_at(&job->area, last->deltas_at, last->output_stride, i);
    uint32_t row = job->area.rows[i];
    th_sums sums = {0};
    sums.rows = 1;
    if (net->targets != NULL)
      sums = target_judge(net, shares, row, last->outputs, scale, logits);
    else if (net->labels != NULL)
      sums = label_judge(net, row, last->outputs, scale, logits);
    job->area.judged[i] = sums;
  }
}

/* By lane 0, while the others go on: in the order of the rows. */
TH_HOST_DEVICE void th_losses_add(const th_cuda_job *job, const th_cuda_batch *batch) {
  th_sums sums = *job->sums;
  for (uint32_t i = 0; i < batch->rows; i++) th_sums_add(&sums, &job->area.judged[i]);
  *job->sums = sums;
}

/* Of rows that teach nothing, each group for itself. */
TH_CUDA_PHASE void th_phase_collect(const th_cuda_job *job, const th_cuda_batch *batch,
                                    th_lane lane) {
  if (lane.index != 0) return;
  th_sums none = {0};
  *job->sums = none;
  th_losses_add(job, batch);
}

/* Before their losses make gradients of them. */
TH_CUDA_PHASE void th_phase_report(const th_cuda_job *job, const th_cuda_batch *batch,
                                   th_lane lane) {
  if (batch->logits == NULL) return;
  const th_cuda_layer *last = &job->net->layers[job->net->layer_count - 1];
  for (uint32_t i = lane.index; i < batch->rows * last->outputs; i += lane.count) {
    uint32_t row = i / last->outputs;
    batch->logits[i] =
        th_area_at(&job->area, last->deltas_at, last->output_stride, row)[i % last->outputs];
  }
}

#endif

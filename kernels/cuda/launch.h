/** What the blocks of a launch work on, for the kernels and for their rehearsal. */
#ifndef TH_KERNELS_CUDA_LAUNCH_H
#define TH_KERNELS_CUDA_LAUNCH_H

#include "kernels/cuda/runtime.h"

/** The s'th step of a training. */
TH_HOST_DEVICE th_cuda_batch th_training_batch(const th_cuda_training *training, uint32_t s) {
  const th_cuda_net *net = training->job.net;
  /* The first row exists, so the product fits 32 bits. */
  uint32_t first = (training->first + s) * net->batch_size;
  uint32_t left = net->training_rows - first;
  th_cuda_batch batch = {first,
                         left < net->batch_size ? left : net->batch_size,
                         training->step + s,
                         &training->order,
                         &training->optimizers[s],
                         NULL};
  return batch;
}

/** The s'th group of rows that is judged together. */
TH_HOST_DEVICE th_cuda_batch th_judging_batch(const th_cuda_judging *judging, uint32_t s) {
  const th_cuda_net *net = judging->job.net;
  uint32_t first = s * TH_CUDA_JUDGED_ROWS;
  uint32_t left = judging->rows - first;
  size_t outputs = net->layers[net->layer_count - 1].outputs;
  th_cuda_batch batch = {judging->first + first,
                         left < TH_CUDA_JUDGED_ROWS ? left : TH_CUDA_JUDGED_ROWS,
                         0,
                         NULL,
                         NULL,
                         judging->logits == NULL ? NULL : judging->logits + first * outputs};
  return batch;
}

/** The job of a block that judges that group in its own area. */
TH_HOST_DEVICE th_cuda_job th_judging_job(const th_cuda_judging *judging, uint32_t area,
                                          uint32_t s) {
  th_cuda_job job = judging->job;
  size_t rows = (size_t)area * job.area.rows_max;
  job.area.numbers += rows * job.net->area_width;
  job.area.columns += (size_t)area * job.net->area_columns;
  job.area.rows += rows;
  job.area.befores += rows;
  job.area.shares += rows;
  job.area.judged += rows;
  job.area.share_sums += (size_t)area * th_sums_over(job.area.rows_max);
  job.sums += s;
  return job;
}

#endif

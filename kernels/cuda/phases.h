/**
 * A training step as phases for lanes that work side by side.
 *
 * Within a phase no lane reads what another one writes; from one phase to the next all wait for
 * each other. A block of threads goes through them with __syncthreads between, and the tests on the
 * host lane by lane in any order, so that what a missing barrier would do shows without a GPU. What
 * a lane computes, and in which order it adds, does not depend on how many there are.
 */
#ifndef TH_KERNELS_CUDA_PHASES_H
#define TH_KERNELS_CUDA_PHASES_H

#include "kernels/cuda/phases_update.h"

/** One lane's share of one phase of a program. */
TH_HOST_DEVICE void th_phase_run(const th_cuda_job *job, const th_cuda_batch *batch,
                                 th_cuda_phase phase, th_lane lane) {
  switch ((th_cuda_phase_kind)phase.kind) {
    case TH_CUDA_FIND:
      th_phase_find(job, batch, lane);
      return;
    case TH_CUDA_GATHER:
      th_phase_gather(job, batch, lane);
      return;
    case TH_CUDA_WEIGH:
      th_phase_weigh(job, batch, lane);
      return;
    case TH_CUDA_FORWARD:
      th_phase_forward(job, batch, phase.layer, lane);
      return;
    case TH_CUDA_MEASURE:
      th_phase_measure(job, batch, phase.layer, lane);
      return;
    case TH_CUDA_NORMALIZE:
      th_phase_normalize(job, batch, phase.layer, lane);
      return;
    case TH_CUDA_REPORT:
      th_phase_report(job, batch, lane);
      return;
    case TH_CUDA_JUDGE:
      th_phase_judge(job, batch, lane);
      return;
    case TH_CUDA_COLLECT:
      th_phase_collect(job, batch, lane);
      return;
    case TH_CUDA_BACKWARD:
      th_phase_backward(job, batch, phase.layer, lane);
      return;
    case TH_CUDA_STRETCH:
      th_phase_stretch(job, batch, phase.layer, lane);
      return;
    case TH_CUDA_UNNORMALIZE:
      th_phase_unnormalize(job, batch, phase.layer, lane);
      return;
    case TH_CUDA_EMBEDDED:
      th_phase_embedded(job, batch, lane);
      return;
    case TH_CUDA_UPDATE:
      th_phase_update(job, batch, lane);
      return;
    case TH_CUDA_DIFFERENTIATE:
      th_phase_differentiate(job, batch, lane);
      return;
    case TH_CUDA_SQUARE:
      th_phase_square(job, lane);
      return;
    case TH_CUDA_UPDATE_CLIPPED:
      th_phase_update_clipped(job, batch, lane);
      return;
  }
}

#endif

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

/** A place in a program, which goes several times through the phases of a recurrent layer. {0} is
 * its beginning. */
typedef struct th_cursor {
  uint32_t phase;
  uint32_t time;
} th_cursor;

/** Go on to the next phase. @return false after the last. */
TH_HOST_DEVICE bool th_cursor_advance(th_cursor *cursor, const th_cuda_net *net,
                                      const th_cuda_program *program) {
  cursor->phase++;
  while (cursor->phase < program->count && program->phases[cursor->phase].kind == TH_CUDA_AGAIN) {
    bool is_over = ++cursor->time == net->window;
    if (is_over) cursor->time = 0;
    cursor->phase =
        is_over ? cursor->phase + 1 : cursor->phase - program->phases[cursor->phase].layer;
  }
  return cursor->phase < program->count;
}

/** One lane's share of a phase of a program. */
TH_HOST_DEVICE void th_phase_run(const th_cuda_job *job, const th_cuda_batch *batch,
                                 const th_cuda_program *program, th_cursor cursor, th_lane lane) {
  th_cuda_phase phase = program->phases[cursor.phase];
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
    case TH_CUDA_RECUR:
      th_phase_recur(job, batch, phase.layer, cursor.time, lane);
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
    case TH_CUDA_RETURN:
      th_phase_return(job, batch, lane);
      return;
    case TH_CUDA_UNROLL:
      th_phase_unroll(job, batch, phase.layer, job->net->window - 1 - cursor.time, lane);
      return;
    case TH_CUDA_CARRY:
      th_phase_carry(job, batch, phase.layer, job->net->window - 1 - cursor.time, lane);
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
    case TH_CUDA_AGAIN:
      return;
  }
}

#endif

/**
 * The learning rate of each step, as torch.optim.lr_scheduler gives it.
 *
 * In epoch e (from 0) or step s of S (from 0), both counted from the end of the warm-up:
 * - constant: learning_rate;
 * - step: learning_rate · gamma^⌊e / step_size⌋ (StepLR);
 * - exponential: learning_rate · gamma^e (ExponentialLR);
 * - cosine: from learning_rate to min_learning_rate over the epochs, half a wave
 *   (CosineAnnealingLR with T_max = the epochs);
 * - one_cycle: s by s, up from learning_rate / 25 over the first 30 % and down to that / 10⁴, each
 *   half a wave (OneCycleLR with its defaults, but momentum stays as it is);
 * - plateau: cut by plateau_factor after more than plateau_patience epochs without a loss lower by
 *   0.01 % (ReduceLROnPlateau with its defaults).
 *
 * A warm-up of w steps rises in equal steps to the schedule's first rate, 1/w of it at a time.
 * Epochs that lie wholly within it are not counted.
 */
#ifndef TH_KERNELS_SCHEDULE_H
#define TH_KERNELS_SCHEDULE_H

#include <stdint.h>

#include "kernels/spec.h"

typedef struct th_schedule {
  const th_spec *spec; /**< borrowed */
  uint32_t steps; /**< batches in an epoch */
  double plateau_rate; /**< what schedule plateau has come down to */
  double plateau_best; /**< the loss to come below; infinite before the first */
  uint32_t plateau_waited; /**< epochs since one did */
} th_schedule;

/** A schedule at its beginning. */
th_schedule th_schedule_begin(const th_spec *spec, uint32_t steps);

/** The rate of a step. @param step  over the whole training, from 0. */
double th_schedule_rate(const th_schedule *schedule, uint64_t step);

/** The same; without a schedule (NULL) the rate never changes. */
static inline double th_schedule_rate_of(const th_schedule *schedule, const th_spec *spec,
                                         uint64_t step) {
  return schedule == NULL ? spec->learning_rate : th_schedule_rate(schedule, step);
}

/**
 * Tell of an epoch's end; only schedule plateau listens.
 *
 * @param epoch  from 1.
 * @param loss   of the validation rows, or of the training rows where there are none.
 */
void th_schedule_judge(th_schedule *schedule, uint32_t epoch, double loss);

#endif

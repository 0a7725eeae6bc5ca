#include "kernels/schedule.h"

#include <math.h>

/* The defaults of torch.optim.lr_scheduler's OneCycleLR and ReduceLROnPlateau. */
#define ONE_CYCLE_RISE 0.3
#define ONE_CYCLE_START_DIVISOR 25.0
#define ONE_CYCLE_END_DIVISOR 1e4
#define PLATEAU_THRESHOLD 1e-4
#define PLATEAU_CUT_LEAST 1e-8

static const double pi = 3.14159265358979323846;

th_schedule th_schedule_begin(const th_spec *spec, uint32_t steps) {
  return (th_schedule){
      .spec = spec, .steps = steps, .plateau_rate = spec->learning_rate, .plateau_best = INFINITY};
}

static uint64_t warmup_steps(const th_schedule *schedule) {
  const th_spec *spec = schedule->spec;
  return spec->warmup_steps + (uint64_t)spec->warmup_epochs * schedule->steps;
}

/* Half a wave of the cosine from one rate to the other. */
static double wave(double from, double to, double share) {
  return to + (from - to) / 2 * (1 + cos(pi * share));
}

static double one_cycle_rate(double highest, uint64_t steps, uint64_t step) {
  double first = highest / ONE_CYCLE_START_DIVISOR;
  double turn = ONE_CYCLE_RISE * (double)steps - 1;
  double end = (double)steps - 1;
  double at = (double)step;
  if (at <= turn) return wave(first, highest, at / turn);
  return wave(highest, first / ONE_CYCLE_END_DIVISOR, (at - turn) / (end - turn));
}

/* @param epoch, step  from 0, since the end of the warm-up, of so many. */
static double rate_at(const th_schedule *schedule, uint32_t epochs, uint32_t epoch, uint64_t steps,
                      uint64_t step) {
  const th_spec *spec = schedule->spec;
  switch (spec->schedule) {
    case TH_SCHEDULE_CONSTANT:
      return spec->learning_rate;
    case TH_SCHEDULE_STEP: {
      uint32_t cuts = epoch / spec->step_size;
      return spec->learning_rate * pow(spec->gamma, cuts);
    }
    case TH_SCHEDULE_EXPONENTIAL:
      return spec->learning_rate * pow(spec->gamma, epoch);
    case TH_SCHEDULE_COSINE:
      return wave(spec->learning_rate, spec->min_learning_rate, (double)epoch / epochs);
    case TH_SCHEDULE_ONE_CYCLE:
      return one_cycle_rate(spec->learning_rate, steps, step);
    case TH_SCHEDULE_PLATEAU:
      return schedule->plateau_rate;
  }
  __builtin_unreachable();
}

double th_schedule_rate(const th_schedule *schedule, uint64_t step) {
  uint64_t warmup = warmup_steps(schedule);
  uint64_t steps = (uint64_t)schedule->spec->epochs * schedule->steps;
  /* A warm-up longer than the training rises to where the schedule would begin all the same. */
  if (warmup >= steps) steps = warmup + 1;
  uint32_t skipped = (uint32_t)(warmup / schedule->steps);
  uint32_t epochs = (uint32_t)((steps + schedule->steps - 1) / schedule->steps) - skipped;
  if (step < warmup)
    return rate_at(schedule, epochs, 0, steps - warmup, 0) * (double)(step + 1) / (double)warmup;
  uint32_t epoch = (uint32_t)(step / schedule->steps) - skipped;
  return rate_at(schedule, epochs, epoch, steps - warmup, step - warmup);
}

void th_schedule_judge(th_schedule *schedule, uint32_t epoch, double loss) {
  const th_spec *spec = schedule->spec;
  if (spec->schedule != TH_SCHEDULE_PLATEAU) return;
  if ((uint64_t)epoch * schedule->steps <= warmup_steps(schedule)) return;
  schedule->plateau_waited++;
  if (loss < schedule->plateau_best * (1 - PLATEAU_THRESHOLD)) {
    schedule->plateau_best = loss;
    schedule->plateau_waited = 0;
  }
  if (schedule->plateau_waited <= spec->plateau_patience) return;
  double cut = fmax(schedule->plateau_rate * spec->plateau_factor, spec->min_learning_rate);
  /* A cut too small to matter is left out, as there; so the rate comes to rest. */
  if (schedule->plateau_rate - cut > PLATEAU_CUT_LEAST) schedule->plateau_rate = cut;
  schedule->plateau_waited = 0;
}

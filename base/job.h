/** The words for a job: what kind it is, and where it is. */
#ifndef TH_BASE_JOB_H
#define TH_BASE_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/trainhost_types.h"

/** Whether a job in that phase is over. Takes any number, as it may come from another process. */
static inline bool th_phase_is_last(uint32_t phase) {
  return phase == TH_PHASE_DONE || phase == TH_PHASE_FAILED || phase == TH_PHASE_CANCELED;
}

/** "training" for TH_PHASE_TRAINING; "unknown" for a number that is none. Static. */
const char *th_phase_name(uint32_t phase);

/** "train", "evaluate", "predict"; "unknown" for a number that is none. Static. */
const char *th_job_kind_name(uint32_t kind);

#endif

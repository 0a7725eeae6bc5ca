#include "base/job.h"

const char *th_phase_name(uint32_t phase) {
  switch ((th_phase)phase) {
    case TH_PHASE_RECEIVING:
      return "receiving";
    case TH_PHASE_QUEUED:
      return "queued";
    case TH_PHASE_PREPARING:
      return "preparing";
    case TH_PHASE_TRAINING:
      return "training";
    case TH_PHASE_VALIDATING:
      return "validating";
    case TH_PHASE_SAVING:
      return "saving";
    case TH_PHASE_DONE:
      return "done";
    case TH_PHASE_FAILED:
      return "failed";
    case TH_PHASE_CANCELED:
      return "canceled";
  }
  return "unknown"; /* a newer daemon's */
}

const char *th_job_kind_name(uint32_t kind) {
  switch ((th_job_kind)kind) {
    case TH_JOB_TRAIN:
      return "train";
    case TH_JOB_EVALUATE:
      return "evaluate";
    case TH_JOB_PREDICT:
      return "predict";
  }
  return "unknown";
}

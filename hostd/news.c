/* What a session is told of a job: derived from the job's state and how far it was told. */
#include "base/job.h"
#include "hostd/job.h"

static void event_describe(const th_progress *progress, uint32_t kind, th_wire_event *event) {
  *event = (th_wire_event){
      .job = progress->job,
      .kind = kind,
      .status = progress->error,
      .phase = progress->phase,
      .epoch = progress->epoch,
      .step = progress->step,
      .loss = (float)progress->loss,
      .accuracy = (float)progress->accuracy,
      .validation_loss = (float)progress->validation_loss,
      .validation_accuracy = (float)progress->validation_accuracy,
  };
}

static void epoch_describe(uint64_t job, const th_epoch *epoch, uint32_t steps,
                           th_wire_event *event) {
  *event = (th_wire_event){
      .job = job,
      .kind = TH_WIRE_EVENT_EPOCH,
      .phase = TH_PHASE_TRAINING,
      .epoch = epoch->epoch,
      .step = steps,
      .loss = (float)epoch->loss,
      .accuracy = (float)epoch->accuracy,
      .validation_loss = (float)epoch->validation_loss,
      .validation_accuracy = (float)epoch->validation_accuracy,
  };
}

/* Steps that went by since the last one told. */
static uint32_t steps_between(const th_told *told, const th_progress *now) {
  uint64_t before = (uint64_t)told->epoch * now->steps + told->step;
  uint64_t after = (uint64_t)now->epoch * now->steps + now->step;
  uint64_t between = after > before + 1 ? after - before - 1 : 0;
  return between > UINT32_MAX ? UINT32_MAX : (uint32_t)between;
}

/* The phases that a session may know of: the last one only when the result is safe. */
static uint32_t phases_entered(th_job *job, const th_progress *now) {
  uint32_t entered = job->run != NULL ? th_run_phases(job->run) : 0;
  return (entered & ((1U << TH_PHASE_DONE) - 1)) | 1U << now->phase;
}

static th_error phase_tell(th_job *job, const th_progress *now, uint32_t phase,
                           th_wire_event *event) {
  event_describe(now, TH_WIRE_EVENT_PHASE, event);
  event->phase = phase;
  job->told.phases |= 1U << phase;
  job->told.phase = phase;
  return TH_OK;
}

static th_error step_tell(th_told *told, const th_progress *now, th_wire_event *event) {
  event_describe(now, TH_WIRE_EVENT_STEP, event);
  event->coalesced = steps_between(told, now);
  told->epoch = now->epoch;
  told->step = now->step;
  return TH_OK;
}

/* In the order in which things happened: the phases up to training, the epochs, the phases after
 * it. Of the many changes between training and validating only the newest is told, and of steps the
 * newest. */
th_error th_job_next_event(th_job *job, th_wire_event *event) {
  /* The snapshot comes first: when it says that the job is over, the history read after it is
   * whole. */
  th_progress now;
  th_job_progress(job, &now);
  th_told *told = &job->told;
  if (th_phase_is_last(told->phase)) return TH_ERR_AGAIN;
  uint32_t untold = phases_entered(job, &now) & ~told->phases;
  uint32_t oldest = untold == 0 ? UINT32_MAX : (uint32_t)__builtin_ctz(untold);
  if (oldest <= TH_PHASE_TRAINING) return phase_tell(job, &now, oldest, event);
  th_epoch epoch;
  if (job->run != NULL && th_run_epoch_after(job->run, told->epochs, &epoch) == TH_OK) {
    epoch_describe(job->number, &epoch, now.steps, event);
    told->epochs = epoch.epoch;
    return TH_OK;
  }
  if (untold != 0) return phase_tell(job, &now, oldest, event);
  if (now.phase != told->phase) return phase_tell(job, &now, now.phase, event);
  if (now.epoch != told->epoch || now.step != told->step) return step_tell(told, &now, event);
  return TH_ERR_AGAIN;
}

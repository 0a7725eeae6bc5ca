#include "shim/local/cursor.h"

#include "base/job.h"

/* The phases between which a training goes back and forth. */
static bool phase_is_work(uint32_t phase) {
  return phase == TH_PHASE_TRAINING || phase == TH_PHASE_VALIDATING;
}

/* The earliest phase that was entered and not told; 0 if there is none. */
static uint32_t phase_untold(const th_cursor *cursor, uint32_t entered) {
  uint32_t untold = entered & ~cursor->phases;
  return untold == 0 ? 0 : (uint32_t)__builtin_ctz(untold);
}

static void event_from_progress(const th_progress *now, th_event_kind kind, th_event *event) {
  *event = (th_event){.kind = kind,
                      .phase = (th_phase)now->phase,
                      .epoch = now->epoch,
                      .step = now->step,
                      .loss = now->loss,
                      .accuracy = now->accuracy,
                      .validation_loss = now->validation_loss,
                      .validation_accuracy = now->validation_accuracy};
}

/* The phase may be one that the run has left again; the numbers are the newest all the same. */
static void phase_tell(th_cursor *cursor, const th_progress *now, uint32_t phase, th_event *event) {
  event_from_progress(now, TH_EVENT_PHASE, event);
  event->phase = (th_phase)phase;
  if (phase == TH_PHASE_FAILED || phase == TH_PHASE_CANCELED) event->error = (th_error)now->error;
  cursor->phases |= 1U << phase;
  cursor->phase = phase;
}

/* The history is told as it happened, whatever the run is about by now. */
static void epoch_tell(th_cursor *cursor, const th_epoch *epoch, uint32_t steps, th_event *event) {
  *event = (th_event){.kind = TH_EVENT_EPOCH,
                      .phase = (th_phase)cursor->phase,
                      .epoch = epoch->epoch,
                      .step = steps,
                      .loss = epoch->loss,
                      .accuracy = epoch->accuracy,
                      .validation_loss = epoch->validation_loss,
                      .validation_accuracy = epoch->validation_accuracy};
  cursor->epoch = epoch->epoch;
}

/* Steps of an epoch whose end was told are old news, though they count as left out. */
static bool step_tell(th_cursor *cursor, const th_progress *now, th_event *event) {
  uint64_t whole_epochs = now->epoch > 0 ? now->epoch - 1 : 0;
  uint64_t steps = whole_epochs * now->steps + now->step;
  uint64_t old = (uint64_t)cursor->epoch * now->steps;
  if (steps <= old || steps <= cursor->steps) return false;
  uint64_t left_out = steps - cursor->steps - 1;
  event_from_progress(now, TH_EVENT_STEP, event);
  event->coalesced = left_out < UINT32_MAX ? (uint32_t)left_out : UINT32_MAX;
  cursor->steps = steps;
  return true;
}

th_error th_cursor_next(th_cursor *cursor, th_run *run, th_event *event) {
  if (th_phase_is_last(cursor->phase)) return TH_ERR_NOT_FOUND;
  /* In this order: a snapshot taken after its phases carries the error of the last of them, and a
   * history read after a run was saving is whole. */
  uint32_t phase = phase_untold(cursor, th_run_phases(run));
  th_progress now;
  th_run_progress(run, &now);
  th_epoch epoch;
  bool is_early = phase != 0 && phase <= TH_PHASE_VALIDATING;
  if (!is_early && th_run_epoch_after(run, cursor->epoch, &epoch) == TH_OK) {
    epoch_tell(cursor, &epoch, now.steps, event);
    return TH_OK;
  }
  if (phase == 0 && phase_is_work(now.phase) && now.phase != cursor->phase) phase = now.phase;
  if (phase != 0) {
    phase_tell(cursor, &now, phase, event);
    return TH_OK;
  }
  return step_tell(cursor, &now, event) ? TH_OK : TH_ERR_AGAIN;
}

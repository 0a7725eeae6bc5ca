/**
 * A reader's place in the story of a run. Events are made from the run's state when they are
 * asked for, so that a reader who never asks costs nothing and one who is slow loses only steps.
 */
#ifndef TH_SHIM_LOCAL_CURSOR_H
#define TH_SHIM_LOCAL_CURSOR_H

#include "runs/run.h"
#include "shim/trainhost.h"

/** `{0}` is the beginning. */
typedef struct th_cursor {
  uint32_t phases; /**< bit p: phase p was told */
  uint32_t phase; /**< told last */
  uint32_t epoch; /**< told last */
  uint64_t steps; /**< batches up to the step told last, over all epochs */
} th_cursor;

/**
 * Move on to the next event.
 *
 * @return TH_OK; TH_ERR_AGAIN if there is none yet; TH_ERR_NOT_FOUND after the last, without text.
 *
 * Order: the first entry into each phase and every epoch of the history, as they happened; between
 * them the newest turn from training to validating or back, and the newest step.
 */
th_error th_cursor_next(th_cursor *cursor, th_run *run, th_event *event);

#endif

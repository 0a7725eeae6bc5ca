#include "kernels/history.h"

#include <stdlib.h>

th_error th_history_init(th_history *history, uint32_t epochs) {
  uint32_t room = epochs < TH_HISTORY_EPOCHS_MAX ? epochs : TH_HISTORY_EPOCHS_MAX;
  *history = (th_history){.stride = 1};
  history->epochs = calloc(room == 0 ? 1 : room, sizeof *history->epochs);
  if (history->epochs == NULL)
    return th_fail(TH_ERR_SYSTEM, "no memory for a history of %u epochs", room);
  return TH_OK;
}

bool th_history_keeps(const th_history *history, uint32_t epoch) {
  return (epoch - 1) % history->stride == 0;
}

/* Epochs 1, 1 + n, … become 1, 1 + 2n, …: those at even places. */
static void history_thin(th_history *history) {
  uint32_t kept = (history->count + 1) / 2;
  for (uint32_t i = 0; i < kept; i++) history->epochs[i] = history->epochs[2 * i];
  history->count = kept;
  history->stride *= 2;
}

void th_history_append(th_history *history, const th_epoch *epoch) {
  if (history->count > 0 && !th_history_keeps(history, history->epochs[history->count - 1].epoch))
    history->count--;
  if (history->count == TH_HISTORY_EPOCHS_MAX) history_thin(history);
  history->epochs[history->count++] = *epoch;
}

void th_history_fini(th_history *history) {
  free(history->epochs);
  *history = (th_history){0};
}

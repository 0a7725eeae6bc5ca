/** The bounded history of a training. */
#ifndef TH_KERNELS_HISTORY_H
#define TH_KERNELS_HISTORY_H

#include <stdbool.h>

#include "kernels/trainer.h"

/** Reserve room for a training of so many epochs. @return TH_OK; TH_ERR_SYSTEM. */
th_error th_history_init(th_history *history, uint32_t epochs);

/** Whether the stride keeps that epoch, so that it stays when newer ones come. */
bool th_history_keeps(const th_history *history, uint32_t epoch);

/**
 * Add the newest epoch; epochs must be added in order, each once.
 *
 * A newest epoch that is not on the stride stands until the next one is added. A full history drops
 * every second epoch first and doubles its stride.
 */
void th_history_append(th_history *history, const th_epoch *epoch);

/** Takes an empty one. */
void th_history_fini(th_history *history);

#endif

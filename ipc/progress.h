/** The newest progress of a job in shared memory: one writer, any number of readers, no lock. */
#ifndef TH_IPC_PROGRESS_H
#define TH_IPC_PROGRESS_H

#include "base/error.h"
#include "ipc/wire.h"

/** Publish a snapshot. Threads: one writer at a time. Never blocks. */
void th_progress_publish(th_wire_cell *cell, const th_progress *progress);

/**
 * Read a snapshot that is consistent in itself.
 *
 * @return TH_OK; TH_ERR_AGAIN if the writer was in the way for a bounded number of tries (it was
 *         stopped in the middle, say).
 */
th_error th_progress_read(const th_wire_cell *cell, th_progress *progress);

#endif

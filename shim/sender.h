/**
 * The arrays of a job on their way through the arena: batches into free slots, and each slot free
 * again when the daemon completes it.
 *
 * The slots are shared by all jobs and threads of a session; the number of free ones is the
 * backpressure.
 */
#ifndef TH_SHIM_SENDER_H
#define TH_SHIM_SENDER_H

#include "shim/cargo.h"
#include "shim/session.h"

/**
 * Send all of it and wait until the daemon has taken it.
 *
 * @param is_refused  [out] the daemon refused a batch or ended the job: the code came through
 * shared memory, and its text is still at the daemon.
 * @return TH_OK; what the daemon refused with; TH_ERR_HOST_STALLED; TH_ERR_HOST_LOST;
 *         TH_ERR_PROTOCOL.
 *
 * Threads: takes session->lock, but not while it copies.
 */
th_error th_sender_send(th_way_session *session, th_way_job *job, const th_cargo *cargo,
                        bool *is_refused);

/** The daemon has taken a batch: its slot is free again. Wants session->lock held.
 *  @return TH_OK; TH_ERR_PROTOCOL if no such batch was sent. */
th_error th_sender_complete(th_way_session *session, const th_wire_event *event);

#endif

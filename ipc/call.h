/**
 * Requests in shared memory: at most one under way, in a place of its own in CTL, and its answer in
 * STATUS. A client that spins and a daemon that spins need no system call for a round trip; who
 * sleeps is rung as for the queues.
 *
 * A call is numbered. The client writes the request and then publishes the number, the daemon
 * writes the answer and then publishes the same number: whose turn it is follows from the two.
 */
#ifndef TH_IPC_CALL_H
#define TH_IPC_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "ipc/channel.h"
#include "ipc/wire.h"

/** The client's side, in its private memory. */
typedef struct th_caller {
  th_wire_call *call; /**< shared; NULL: there are no calls */
  const th_wire_answer *answer; /**< shared */
  uint32_t number; /**< of the newest call */
  uint32_t type; /**< likewise */
  bool is_open; /**< it was not answered yet */
} th_caller;

/** The daemon's side, likewise. */
typedef struct th_callee {
  const th_wire_call *call;
  th_wire_answer *answer;
  uint32_t number; /**< of the newest call taken, which is answered before the next is */
} th_callee;

/** Whether a request of that type and size may be called: it brings no descriptors, and its answer
 * brings none and fits. */
bool th_call_fits(uint32_t type, uint32_t body_bytes);

/** Make a call; the other one must have been answered. Then ring. */
void th_call_put(th_caller *caller, uint32_t type, const void *body, uint32_t body_bytes);

/** Whether the newest call was answered, or the daemon's number is not to be believed. Looks only.
 */
bool th_call_is_answered(const th_caller *caller);

/**
 * Take the answer to the newest call.
 *
 * @param answer  [out] private copy, its frame judged as that of a datagram is.
 * @return TH_OK; TH_ERR_AGAIN: not yet; TH_ERR_PROTOCOL. Threads: one. Never blocks.
 */
th_error th_call_take_answer(th_caller *caller, th_message *answer);

/** Whether a call waits to be taken, or the client's number is not to be believed. Looks only. */
bool th_call_is_waiting(const th_callee *callee);

/**
 * Take a call.
 *
 * @param request  [out] private copy; what it asks for is not yet judged, but that it is one that
 *                 may be called.
 * @return TH_OK; TH_ERR_AGAIN: there is none; TH_ERR_PROTOCOL. Threads: one. Never blocks.
 */
th_error th_call_take(th_callee *callee, th_message *request);

/** Answer the call that was taken; then ring. @param body_bytes  at most TH_WIRE_ANSWER_BYTES_MAX.
 */
void th_call_answer(th_callee *callee, th_error status, const void *body, uint32_t body_bytes);

#endif

/**
 * How a request travels: as a call, through shared memory, if it fits there and brings no
 * descriptors, else on the socket. Either way one at a time, and its answer is link.answer.
 */
#ifndef TH_SHIM_ASK_H
#define TH_SHIM_ASK_H

#include "shim/session.h"

/** As th_link_exchange: wants the link entered, and session->lock not held. */
th_error th_ask_exchange(th_way_session *session, th_wire_type type, const void *body,
                         uint32_t body_bytes, int64_t deadline_ns);

/** As th_link_request. */
th_error th_ask_request(th_way_session *session, th_wire_type type, const void *body,
                        uint32_t body_bytes, void *answer, uint32_t answer_bytes);

#endif

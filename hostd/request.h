/** What a client may ask, and the daemon's answers. */
#ifndef TH_HOSTD_REQUEST_H
#define TH_HOSTD_REQUEST_H

#include "hostd/session.h"

/** How a request came, and its answer goes. */
typedef enum th_request_way { TH_REQUEST_BY_SOCKET, TH_REQUEST_BY_CALL } th_request_way;

/**
 * Handle one message of a client and answer it. A message that breaks the protocol is answered with
 * its error and ends the session; a request that is refused is answered with the reason and does
 * not. Who made a call is rung by the caller.
 *
 * @param message  its descriptors are closed.
 */
void th_request_handle(th_session *session, th_message *message, th_request_way way);

#endif

/** What a client may ask on the socket, and the daemon's answers. */
#ifndef TH_HOSTD_REQUEST_H
#define TH_HOSTD_REQUEST_H

#include "hostd/session.h"

/**
 * Handle one message of a client and answer it. A message that breaks the protocol is answered with
 * its error and ends the session; a request that is refused is answered with the reason and does
 * not.
 *
 * @param message  its descriptors are closed.
 */
void th_request_handle(th_session *session, th_message *message);

#endif

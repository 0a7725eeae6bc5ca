/**
 * A session: one client, from accept to hang-up. Its socket, its shared memory, and what it may ask
 * for.
 */
#ifndef TH_HOSTD_SESSION_H
#define TH_HOSTD_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "hostd/daemon.h"
#include "hostd/loop.h"
#include "ipc/call.h"
#include "ipc/channel.h"
#include "ipc/region.h"
#include "ipc/ring.h"

typedef struct th_session {
  th_daemon *daemon;
  struct th_session *next;
  uint64_t number;
  th_peer peer;
  char client[64];
  bool is_open; /**< the hello was answered: region and doorbells are there */
  bool is_ending; /**< to be destroyed when the loop has come round */
  th_watch socket;
  th_watch bell; /**< the daemon's doorbell, which this client rings */
  int client_bell; /**< the client's doorbell for events */
  int answer_bell; /**< and for answers to calls */
  th_region region;
  th_ring submissions;
  th_ring events;
  th_callee calls;
  int64_t accepted_ns;
  uint64_t received_bytes;
} th_session;

/** How long a client may take for its hello. */
enum { TH_HELLO_TIMEOUT_MS = 2000 };

/** How often each session's heartbeat moves. */
enum { TH_HEARTBEAT_MS = 250 };

/** Begin to serve an accepted socket, which is taken over, also on failure. @return TH_OK;
 * TH_ERR_SYSTEM. */
th_error th_session_create(th_daemon *daemon, int fd, const th_peer *peer, th_session **session);

/** Whether the client has put something that a pump would take. Looks only. */
bool th_session_has_work(const th_session *session);

/**
 * Answer a call, take batches from the submission queue and tell news on the event queue, a bounded
 * amount of each.
 *
 * @return whether anything was done: then there may be more to do at once.
 */
bool th_session_pump(th_session *session);

/** Publish that the daemon is about to sleep, so that the client rings. The caller pumps once more
 * after it. */
void th_session_sleep(th_session *session);

/** Awake again, whoever rang. */
void th_session_wake(th_session *session);

/** Say a last word to the log and let the loop destroy the session. `why` NULL: it just left. */
void th_session_end(th_session *session, const char *why);

/** Close, unmap, free; its jobs are left as th_jobs_leave says. */
void th_session_destroy(th_session *session);

#endif

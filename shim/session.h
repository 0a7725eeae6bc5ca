/**
 * One session with the daemon: its link, its shared memory, and how callers' threads share both.
 *
 * `lock` guards the queues, the slots and the list of jobs, and is never held while a thread waits.
 * Who needs it together with the link enters the link first.
 *
 * No thread of our own drains the event queue: whoever waits does it for all, and sorts the events
 * into the inboxes of their jobs.
 */
#ifndef TH_SHIM_SESSION_H
#define TH_SHIM_SESSION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "ipc/call.h"
#include "ipc/engine.h"
#include "ipc/region.h"
#include "ipc/ring.h"
#include "ipc/spin.h"
#include "shim/inbox.h"
#include "shim/link.h"
#include "shim/way.h"

/** A slot of the arena. */
typedef struct th_slot {
  uint64_t cookie; /**< of the submission that the daemon holds; 0: none */
  uint64_t job;
} th_slot;

/** The daemon's heartbeat, by this process's clock. */
typedef struct th_pulse {
  uint64_t beat; /**< newest value seen */
  int64_t moved_ns; /**< when it was first seen */
  int64_t looked_ns; /**< when it was last looked at */
  int64_t stall_timeout_ns; /**< as the caller set it, but at least a few beats */
  int64_t look_every_ns;
  int64_t grace_ns; /**< who has not looked for so long must look for so long before it judges */
} th_pulse;

struct th_way_job {
  th_way_session *session;
  th_way_job *next; /**< in the session's list, until it is forgotten or the session closed */
  uint64_t number;
  uint32_t cell;
  th_job_kind kind;
  bool is_open; /**< a handle of the caller's exists */
  bool is_forgotten;
  th_inbox inbox;
  uint32_t batches_in_flight;
  th_error batch_error; /**< the first that a completion carried */
  th_progress progress; /**< newest one read; .job is 0 before the first */
};

struct th_way_session {
  th_link link;
  th_region region;
  int daemon_bell_fd, client_bell_fd, answer_bell_fd;
  th_engine engine; /**< how the watcher sleeps */
  char daemon[64], device[96]; /**< texts of the welcome */
  th_caller caller; /**< of the thread that has entered the link, as the next three */
  th_engine answers; /**< how it sleeps: with plain system calls, as for the socket's answers */
  th_spin call_spin;
  atomic_uint_fast64_t call_doorbells;
  int notice_fd; /**< rings in epoll_fd when another thread took the events that it waits for */
  int epoll_fd;
  uint32_t slot_count; /**< slots used: never more than submissions fit in their queue */

  pthread_mutex_t lock; /**< of all below */
  pthread_cond_t changed;
  bool is_watched; /**< a thread sleeps on the doorbell */
  bool is_held; /**< events stay in their queue: they may belong to a job not yet known */
  bool is_armed; /**< the caller's event loop sleeps on epoll_fd */
  th_spin spin; /**< of who watches for events */
  th_pulse pulse;
  th_ring submissions, events;
  th_way_job *jobs;
  th_slot *slots; /**< [slot_count] */
  uint32_t *free_slots; /**< [slot_count], a stack */
  uint32_t free_slot_count;
  uint64_t cookie; /**< of the newest submission */
  uint64_t bytes_sent, events_taken, doorbells;
  uint64_t events_told; /**< of events_taken, when the caller's event loop was last told of any */
};

/** As th_way.open, close and abandon. */
th_error th_session_open(const char *path, const th_adapter_options *options,
                         th_way_session **opened);
void th_session_close(th_way_session *session);
void th_session_abandon(th_way_session *session);

/* ---- waiting; every call below wants session->lock held ---- */

/** Take the events that are there, at most a queue full, and deliver them. A daemon that breaks the
 *  protocol ends the link, which th_session_sleep then reports. */
void th_session_look(th_way_session *session);

/**
 * Sleep until something may have changed; then look again. The one wait of the room.
 *
 * Gives the lock away meanwhile. May wake for nothing.
 *
 * @param deadline_ns  in the past: do not sleep.
 * @return TH_OK: look again; TH_ERR_AGAIN: the deadline passed; TH_ERR_HOST_STALLED; or what ended
 * the link.
 */
th_error th_session_sleep(th_way_session *session, int64_t deadline_ns);

/** As th_way.arm. */
th_error th_session_arm(th_way_session *session);

/** Leave events in their queue until the release, because the first events of a job may come before
 *  the answer that tells its number. */
void th_session_hold(th_way_session *session);
void th_session_release(th_way_session *session);

/** Ring the daemon if it waits for what the flag stands for. */
void th_session_ring(th_way_session *session, const _Atomic uint32_t *flag);

/** The job of that number, or NULL. */
th_way_job *th_session_job(th_way_session *session, uint64_t number);

#endif

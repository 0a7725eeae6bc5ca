/**
 * The control socket of one session: the handshake, and then requests, one at a time; what may
 * travel through shared memory does so by ask.h, in the same turns.
 *
 * A link ends once and for ever: by a hang-up, or because the daemon broke the protocol. The first
 * reason is kept and answers every later request.
 */
#ifndef TH_SHIM_LINK_H
#define TH_SHIM_LINK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

#include "base/error.h"
#include "ipc/channel.h"
#include "ipc/wire.h"

typedef struct th_link {
  int fd;
  char path[sizeof((struct sockaddr_un *)0)->sun_path];
  int64_t call_timeout_ns;
  pthread_mutex_t lock; /**< of the four below; held for moments only */
  pthread_cond_t idle;
  bool is_busy; /**< a thread asks, and the last three fields are its own */
  th_error end; /**< TH_OK: alive */
  char end_text[TH_ERROR_TEXT_BYTES_MAX];
  uint32_t request; /**< number of the newest one */
  uint32_t unanswered; /**< given up, but their answers may still come */
  th_message answer; /**< to the newest one; its descriptors are closed by th_link_leave */
} th_link;

/** What the daemon chose for a session, and the descriptors that came with it. */
typedef struct th_greeting {
  th_wire_welcome welcome;
  int fds[TH_WIRE_WELCOME_FDS]; /**< owned by the receiver */
} th_greeting;

/**
 * Connect and shake hands, under one deadline.
 *
 * @param client    this program's name for the daemon's lists.
 * @param greeting  [out] not yet judged but for magic, version and the number of descriptors.
 * @return TH_OK; TH_ERR_HOST_ABSENT; TH_ERR_HOST_STALLED; TH_ERR_HOST_LOST; TH_ERR_VERSION;
 *         TH_ERR_PROTOCOL; TH_ERR_SYSTEM; or what the daemon refused with, and its text.
 *
 * Ownership: th_link_close, also after a failure.
 */
th_error th_link_open(th_link *link, const char *path, const char *client,
                      int64_t connect_timeout_ns, th_greeting *greeting);

/** The turn of this thread to ask, until it leaves. @return TH_OK; TH_ERR_HOST_STALLED. */
th_error th_link_enter(th_link *link, int64_t deadline_ns);

/**
 * Send a request on the socket and take its answer.
 *
 * @param body  sent after the header; NULL if body_bytes is 0.
 * @return TH_OK: the answer and its descriptors last until this thread leaves; who takes them over
 *         sets fd_count to 0. TH_ERR_HOST_STALLED; TH_ERR_HOST_LOST; TH_ERR_PROTOCOL; or what the
 *         daemon refused with, and its text.
 */
th_error th_link_exchange(th_link *link, th_wire_type type, const void *body, uint32_t body_bytes,
                          int64_t deadline_ns);
void th_link_leave(th_link *link);

/**
 * Judge the answer that came some way, or why none came.
 *
 * @param error  of taking the answer: TH_ERR_AGAIN: none came in time.
 * @return as th_link_exchange. What cannot be gone on from ends the link.
 */
th_error th_link_judge_answer(th_link *link, th_error error, th_wire_type type, int64_t since_ns);

/** The answer in hand is to a request that was given up. A job that was accepted too late has
 * nobody to send its data: it is given back. */
void th_link_discard_late(th_link *link);

/** End the link because the daemon broke the protocol. @return TH_ERR_PROTOCOL. */
th_error th_link_fail_protocol(th_link *link, const char *what);

/** The moment by which a call that begins now must be answered. */
int64_t th_link_deadline_ns(const th_link *link);

/** Send a request without waiting for its answer, if that can be done at once. */
void th_link_post(th_link *link, th_wire_type type, const void *body, uint32_t body_bytes);

/** Whether the daemon hung up; looks, does not wait. Ends the link if so. */
void th_link_check_hang_up(th_link *link);

/** End the link with the text of this thread's newest failure. @return the code, as th_fail. */
th_error th_link_end(th_link *link, th_error error);

/** End the link because the daemon is gone. @return TH_ERR_HOST_LOST. */
th_error th_link_end_lost(th_link *link);

/** @return TH_OK while the link lives; else what ended it, with its text. */
th_error th_link_state(th_link *link);

/** Takes one whose open failed. */
void th_link_close(th_link *link);

#endif

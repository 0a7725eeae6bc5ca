/**
 * The other end of the socket, as a test scripts it: it keeps the protocol, or breaks it at one
 * place. It runs in a thread of the test; what it finds wrong stops the process.
 */
#ifndef TH_TESTS_SHIM_PEER_H
#define TH_TESTS_SHIM_PEER_H

#include <pthread.h>

#include "ipc/call.h"
#include "ipc/channel.h"
#include "ipc/region.h"
#include "ipc/ring.h"
#include "shim/trainhost.h"

enum {
  PEER_SLOT_BYTES = 4096,
  PEER_SLOTS = 4,
  PEER_EVENTS = 16,
  PEER_CELLS = 256,
  PEER_HEARTBEAT_MS = 10,
};

struct peer {
  char directory[32];
  char path[64];
  int listener, lock_fd, fd;
  th_region region;
  int daemon_bell, client_bell, answer_bell;
  th_ring submissions, events;
  th_callee calls;
  th_message message; /**< received last */
  void (*script)(struct peer *peer);
  void *user;
  pthread_t thread;
};

/** Listen, and run the script in a thread for the first client that connects. NULL: just listen. */
struct peer *peer_start(void (*script)(struct peer *peer), void *user);

/** Wait for the script's end, hang up and remove the socket. */
void peer_stop(struct peer *peer);

/** A manager and an adapter on the peer; options NULL: defaults. Stops the test if that fails. */
th_adapter *peer_connect(const struct peer *peer, const th_adapter_options *options);

/* ---- what scripts do ---- */

/** Take the next request, of that type. */
void peer_expect(struct peer *peer, th_wire_type type);

/** Answer it. */
void peer_answer(struct peer *peer, const void *body, uint32_t bytes, const int *fds,
                 uint32_t fd_count);
void peer_refuse(struct peer *peer, th_error status, const char *text);

/** Take a hello and make a region; the welcome can be changed before it is sent. */
void peer_greet(struct peer *peer, th_wire_welcome *welcome);
void peer_send_welcome(struct peer *peer, const th_wire_welcome *welcome);

/** Both, as they should be. */
void peer_welcome(struct peer *peer);

/** As peer_welcome, from a daemon that takes calls. */
void peer_welcome_calls(struct peer *peer);

/** Wait for the next call, of that type, and answer it. */
void peer_expect_call(struct peer *peer, th_wire_type type);
void peer_answer_call(struct peer *peer, th_error status, const void *body, uint32_t bytes);

/** Accept a start, or an attach, as that job in that cell. */
void peer_accept_job(struct peer *peer, th_wire_type type, uint64_t job, uint32_t cell);

/** Take the next batch, waiting for it. */
th_wire_submission peer_take(struct peer *peer);
void peer_complete(struct peer *peer, const th_wire_submission *submission, th_error status);

/** Take and complete all batches of a job, `bytes` in sum. */
void peer_swallow(struct peer *peer, uint64_t bytes);

/** Put an event and ring, waiting for room. */
void peer_put(struct peer *peer, const th_wire_event *event);
void peer_put_phase(struct peer *peer, uint64_t job, th_phase phase, th_error status);
void peer_put_epoch(struct peer *peer, uint64_t job, uint32_t epoch);

/** Publish a job's progress in its cell. */
void peer_publish(struct peer *peer, uint32_t cell, uint64_t job, th_phase phase);

void peer_beat(struct peer *peer);
void peer_sleep_ms(int64_t ms);

/** Wait until the client has hung up. */
void peer_await_hang_up(struct peer *peer);

/* ---- what tests need ---- */

/** 2 × 3 features, 2 labels: 32 bytes. */
extern const th_job_request peer_small_request;
enum { PEER_SMALL_BYTES = 32 };

#endif

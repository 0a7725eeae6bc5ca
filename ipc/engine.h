/**
 * How a client reaches the kernel: through io_uring, or with plain system calls. Chosen once, when
 * a session is opened; where the one that was chosen is not to be had, opening fails and says what
 * to do. There is no fallback from one to the other.
 *
 * Whoever waits leaves nothing behind in the ring: a wait is one request, which has completed or
 * was taken back when the wait ends. So threads may take turns, and none is disturbed by what
 * another one started.
 */
#ifndef TH_IPC_ENGINE_H
#define TH_IPC_ENGINE_H

#include <stdint.h>

#include "base/error.h"

/** The environment variable that names the engine, where the caller does not. */
#define TH_ENGINE_VARIABLE "TRAINING_HOST_IO"

enum { TH_ENGINE_TEXT_BYTES = 96 };

typedef struct th_engine {
  const struct th_engine_kind *kind; /**< NULL: not open */
  char text[TH_ENGINE_TEXT_BYTES]; /**< which, and why: "io_uring (the default; …)" */
  int bell_fd, socket_fd; /**< borrowed */
  int watch_fd; /**< io_uring: an epoll set of the two; else −1 */
  struct io_uring *ring; /**< io_uring: owned; else NULL */
} th_engine;

/** One row for each engine. */
typedef struct th_engine_kind {
  const char *name; /**< as callers and the environment spell it */
  th_error (*open)(th_engine *engine);
  th_error (*wait)(th_engine *engine, int64_t timeout_ns);
  void (*abandon)(th_engine *engine);
  void (*close)(th_engine *engine);
} th_engine_kind;

extern const th_engine_kind th_engine_io_uring, th_engine_syscall;

/**
 * Choose an engine, before anything is opened.
 *
 * @param name  "io_uring" or "syscall"; NULL: what TRAINING_HOST_IO says, and io_uring if it says
 *              nothing.
 * @param engine  [out] not yet open.
 * @return TH_OK; TH_ERR_USAGE naming both if it is neither. Threads: reads the environment.
 */
th_error th_engine_choose(const char *name, th_engine *engine);

/**
 * Open the engine that was chosen, and try it.
 *
 * @param bell_fd    an eventfd, borrowed until th_engine_close.
 * @param socket_fd  a socket, likewise.
 * @return TH_OK; TH_ERR_DENIED or TH_ERR_SYSTEM if the kernel does not give io_uring, naming the
 *         errno, its likely reason and the remedy.
 */
th_error th_engine_open(th_engine *engine, int bell_fd, int socket_fd);

/**
 * Sleep until the bell is rung, the socket is hung up, or the time has passed: one wait for all.
 *
 * @return TH_OK: one of the first two; TH_ERR_AGAIN: time or a signal; TH_ERR_SYSTEM.
 *
 * Threads: any, one at a time; what one leaves behind in memory must be visible to the next.
 */
th_error th_engine_wait(th_engine *engine, int64_t timeout_ns);

/** In a forked child, instead of th_engine_close: only close what was inherited. */
void th_engine_abandon(th_engine *engine);

/** Takes one that was not opened, or whose open failed. */
void th_engine_close(th_engine *engine);

#endif

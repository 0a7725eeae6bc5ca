/* The engine that goes through io_uring. */
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "ipc/engine.h"

/* A wait, and its taking back. */
enum { ENTRIES = 4 };

/* What a completion belongs to. */
enum { TAG_WATCH = 1, TAG_TAKE_BACK = 2 };

/* How the ring is set up, best first; the kernel says by EINVAL what it does not know. Not
 * SINGLE_ISSUER and DEFER_TASKRUN: they bind a ring to one thread for ever, and callers' threads
 * take turns. */
static const struct {
  unsigned flags;
  const char *name;
} setups[] = {{IORING_SETUP_COOP_TASKRUN, "COOP_TASKRUN"}, {0, "no flags"}};

enum { SETUPS = sizeof setups / sizeof setups[0] };

/* Operations that a kernel can have; the probe tells of that many. */
enum { OPCODES_MAX = 256 };

static const int opcodes[] = {IORING_OP_POLL_ADD, IORING_OP_POLL_REMOVE};

/* ---- what the kernel refuses, and what to do ---- */

/* @return 0, 1 or 2 as the sysctl has it; 0 where there is none. */
static int sysctl_disabled(void) {
  char text[4] = "0";
  FILE *file = fopen("/proc/sys/kernel/io_uring_disabled", "re");
  if (file == NULL) return 0;
  if (fgets(text, sizeof text, file) == NULL) text[0] = '0';
  fclose(file);
  return text[0] - '0';
}

/* Four answers occur in the field, and none of them says by itself who forbids it. */
static const char *refusal_reason(int number) {
  switch (number) {
    case EPERM:
    case EACCES:
      return sysctl_disabled() > 0
                 ? "the sysctl kernel.io_uring_disabled forbids it on this host"
                 : "the container's seccomp profile or a security module forbids it";
    case ENOSYS:
    case EOPNOTSUPP:
      return "the container's seccomp profile or its kernel does not have it";
    case ENOMEM:
      return "there is no memory for the ring, or RLIMIT_MEMLOCK is too low for it";
    default:
      return "the kernel refused it";
  }
}

static th_error fail_refused(const char *call, int number) {
  return th_fail(number == EPERM || number == EACCES ? TH_ERR_DENIED : TH_ERR_SYSTEM,
                 "%s: %s: %s; allow io_uring_setup, io_uring_enter and io_uring_register (and "
                 "memory for them), or set " TH_ENGINE_VARIABLE "=syscall to do without io_uring",
                 call, strerror(number), refusal_reason(number));
}

/* ---- open ---- */

static th_error ring_init(th_engine *engine) {
  int refused = 0;
  for (int i = 0; i < SETUPS; i++) {
    struct io_uring_params parameters = {.flags = setups[i].flags};
    refused = -io_uring_queue_init_params(ENTRIES, engine->ring, &parameters);
    if (refused == 0) {
      size_t used = strlen(engine->text) - 1; /* before the closing bracket */
      snprintf(engine->text + used, sizeof engine->text - used, "; %s)", setups[i].name);
      return TH_OK;
    }
    if (refused != EINVAL) break;
  }
  engine->ring->ring_fd = -1;
  return fail_refused("io_uring_setup", refused);
}

/* By what it can do, not by its version. */
static th_error ring_judge(th_engine *engine) {
  union {
    struct io_uring_probe head;
    char bytes[sizeof(struct io_uring_probe) + OPCODES_MAX * sizeof(struct io_uring_probe_op)];
  } probe = {0};
  int refused = -io_uring_register_probe(engine->ring, &probe.head, OPCODES_MAX);
  if (refused > 0) return fail_refused("io_uring_register", refused);
  bool has_all = (engine->ring->features & IORING_FEAT_EXT_ARG) != 0;
  for (size_t i = 0; i < sizeof opcodes / sizeof opcodes[0]; i++)
    has_all &= io_uring_opcode_supported(&probe.head, opcodes[i]) != 0;
  return has_all ? TH_OK : fail_refused("io_uring without POLL_ADD or EXT_ARG", EOPNOTSUPP);
}

static th_error watch_add(int epoll_fd, int fd, uint32_t events) {
  struct epoll_event event = {.events = events, .data.fd = fd};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0) return TH_OK;
  return th_fail_errno(TH_ERR_SYSTEM, "cannot watch descriptor %d", fd);
}

/* One descriptor that stands for both, so that a wait is one request. */
static th_error watch_open(th_engine *engine) {
  engine->watch_fd = epoll_create1(EPOLL_CLOEXEC);
  if (engine->watch_fd < 0) return th_fail_errno(TH_ERR_SYSTEM, "cannot make an epoll set");
  th_error error = watch_add(engine->watch_fd, engine->bell_fd, EPOLLIN);
  return error == TH_OK ? watch_add(engine->watch_fd, engine->socket_fd, EPOLLRDHUP) : error;
}

static th_error uring_wait(th_engine *engine, int64_t timeout_ns);

/* A profile may allow to make a ring and not to enter it: the first wait, of no time, tells. */
static th_error uring_open(th_engine *engine) {
  engine->ring = malloc(sizeof *engine->ring);
  if (engine->ring == NULL) return th_fail(TH_ERR_SYSTEM, "no memory for a ring");
  th_error error = ring_init(engine);
  if (error != TH_OK) return error;
  /* A child that is forked closes its descriptor and must not keep the ring's memory. */
  int kept = io_uring_ring_dontfork(engine->ring);
  error = kept == 0 ? ring_judge(engine) : fail_refused("madvise", -kept);
  if (error == TH_OK) error = watch_open(engine);
  if (error == TH_OK) error = uring_wait(engine, 0);
  return error == TH_ERR_AGAIN ? TH_OK : error;
}

/* ---- wait ---- */

static struct io_uring_sqe *entry_take(th_engine *engine) {
  struct io_uring_sqe *entry = io_uring_get_sqe(engine->ring);
  th_check(entry != NULL); /* each wait submits all that it has taken */
  return entry;
}

/* Time has passed, or a signal came: the watch is still under way, unless it completed just now.
 * It ends with two completions, whichever comes first. */
static th_error watch_take_back(th_engine *engine) {
  struct io_uring_sqe *entry = entry_take(engine);
  io_uring_prep_poll_remove(entry, TAG_WATCH);
  io_uring_sqe_set_data64(entry, TAG_TAKE_BACK);
  bool has_come = false;
  for (int left = 2; left > 0;) {
    int refused = -io_uring_submit_and_wait(engine->ring, 1);
    if (refused > 0 && refused != EINTR) return fail_refused("io_uring_enter", refused);
    struct io_uring_cqe *completion;
    while (left > 0 && io_uring_peek_cqe(engine->ring, &completion) == 0) {
      has_come |= io_uring_cqe_get_data64(completion) == TAG_WATCH && completion->res > 0;
      io_uring_cqe_seen(engine->ring, completion);
      left--;
    }
  }
  return has_come ? TH_OK : TH_ERR_AGAIN;
}

static th_error uring_wait(th_engine *engine, int64_t timeout_ns) {
  struct __kernel_timespec timeout = {.tv_sec = timeout_ns / TH_NS_PER_S,
                                      .tv_nsec = timeout_ns % TH_NS_PER_S};
  struct io_uring_sqe *entry = entry_take(engine);
  io_uring_prep_poll_add(entry, engine->watch_fd, POLLIN);
  io_uring_sqe_set_data64(entry, TAG_WATCH);
  struct io_uring_cqe *completion = NULL;
  int refused = -io_uring_submit_and_wait_timeout(engine->ring, &completion, 1, &timeout, NULL);
  /* Not always ETIME or EINTR: the kernel counts what was submitted rather than say why it woke. */
  bool has_watched = refused <= 0 || refused == ETIME || refused == EINTR;
  if (completion == NULL)
    return has_watched ? watch_take_back(engine) : fail_refused("io_uring_enter", refused);
  int watched = completion->res;
  io_uring_cqe_seen(engine->ring, completion);
  return watched > 0 ? TH_OK : fail_refused("poll through io_uring", -watched);
}

/* ---- the end ---- */

static void close_fd(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

static void uring_abandon(th_engine *engine) {
  close_fd(&engine->watch_fd);
  if (engine->ring != NULL) close_fd(&engine->ring->ring_fd);
}

static void uring_close(th_engine *engine) {
  close_fd(&engine->watch_fd);
  if (engine->ring != NULL && engine->ring->ring_fd >= 0) io_uring_queue_exit(engine->ring);
  free(engine->ring);
  engine->ring = NULL;
}

const th_engine_kind th_engine_io_uring = {
    .name = "io_uring",
    .open = uring_open,
    .wait = uring_wait,
    .abandon = uring_abandon,
    .close = uring_close,
};

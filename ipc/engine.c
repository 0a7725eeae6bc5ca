#include "ipc/engine.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

static const th_engine_kind *const kinds[] = {&th_engine_io_uring, &th_engine_syscall};

enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* ---- plain system calls ---- */

static th_error syscall_open(th_engine *engine) {
  (void)engine;
  return TH_OK;
}

static th_error syscall_wait(th_engine *engine, int64_t timeout_ns) {
  struct pollfd fds[] = {{.fd = engine->bell_fd, .events = POLLIN},
                         {.fd = engine->socket_fd, .events = POLLRDHUP}};
  struct timespec timeout = {.tv_sec = timeout_ns / TH_NS_PER_S,
                             .tv_nsec = timeout_ns % TH_NS_PER_S};
  int count = ppoll(fds, 2, &timeout, NULL);
  if (count > 0) return TH_OK;
  if (count == 0 || errno == EINTR) return TH_ERR_AGAIN;
  return th_fail_errno(TH_ERR_SYSTEM, "cannot wait for a doorbell");
}

static void syscall_close(th_engine *engine) {
  (void)engine;
}

const th_engine_kind th_engine_syscall = {
    .name = "syscall",
    .open = syscall_open,
    .wait = syscall_wait,
    .abandon = syscall_close,
    .close = syscall_close,
};

/* ---- the choice ---- */

th_error th_engine_choose(const char *name, th_engine *engine) {
  *engine = (th_engine){.bell_fd = -1, .socket_fd = -1, .watch_fd = -1};
  const char *set = getenv(TH_ENGINE_VARIABLE);
  const char *why = "as the caller chose";
  if (name == NULL && set != NULL && set[0] != '\0') {
    name = set;
    why = "as " TH_ENGINE_VARIABLE " says";
  } else if (name == NULL) {
    name = th_engine_io_uring.name;
    why = "the default";
  }
  for (int i = 0; i < KINDS; i++) {
    if (strcmp(name, kinds[i]->name) != 0) continue;
    engine->kind = kinds[i];
    snprintf(engine->text, sizeof engine->text, "%s (%s)", name, why);
    return TH_OK;
  }
  return th_fail(TH_ERR_USAGE,
                 "there is no engine \"%.64s\" (" TH_ENGINE_VARIABLE
                 "): it must be io_uring, or syscall for plain system calls",
                 name);
}

th_error th_engine_open(th_engine *engine, int bell_fd, int socket_fd) {
  engine->bell_fd = bell_fd;
  engine->socket_fd = socket_fd;
  return engine->kind->open(engine);
}

th_error th_engine_wait(th_engine *engine, int64_t timeout_ns) {
  return engine->kind->wait(engine, timeout_ns > 0 ? timeout_ns : 0);
}

void th_engine_abandon(th_engine *engine) {
  if (engine->kind != NULL) engine->kind->abandon(engine);
}

void th_engine_close(th_engine *engine) {
  if (engine->kind != NULL) engine->kind->close(engine);
  engine->kind = NULL;
}

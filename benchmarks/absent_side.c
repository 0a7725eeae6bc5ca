/* Time to error when no daemon is there: th_adapter_open, and a bare failing connect(2). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "benchmarks/pair.h"
#include "benchmarks/side.h"
#include "benchmarks/stop.h"
#include "shim/trainhost.h"

/* A name that no socket has: of this process, in a directory that all have. */
typedef struct absent {
  char path[64];
  th_manager *manager;
} absent;

static void *absent_open(const th_bench_options *options, const void *argument) {
  (void)options, (void)argument;
  char url[80];
  absent *a = malloc(sizeof *a);
  if (a == NULL) th_stop("absent");
  snprintf(a->path, sizeof a->path, "/tmp/trainhost-absent-%d.sock", (int)getpid());
  snprintf(url, sizeof url, "unix://%s", a->path);
  th_stop_unless_ok(th_manager_create(TH_MODE_HOST, url, &a->manager));
  return a;
}

static void absent_close(void *side) {
  absent *a = side;
  th_manager_close(a->manager);
  free(a);
}

static void product_measure(void *side, uint32_t count, int64_t rest_ns, th_samples *found) {
  const absent *a = side;
  for (uint32_t i = 0; i < count; i++) {
    th_adapter *adapter;
    th_rest(rest_ns);
    int64_t start_ns = th_clock_now_ns();
    th_error error = th_adapter_open(a->manager, NULL, &adapter);
    th_samples_add(found, (double)(th_clock_now_ns() - start_ns) / 1e3);
    if (error != TH_ERR_HOST_ABSENT) {
      fprintf(stderr, "th_adapter_open did not fail as it should: %s\n", th_error_name(error));
      exit(EXIT_FAILURE);
    }
  }
}

static void connect_measure(void *side, uint32_t count, int64_t rest_ns, th_samples *found) {
  const absent *a = side;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, a->path, sizeof address.sun_path - 1);
  for (uint32_t i = 0; i < count; i++) {
    th_rest(rest_ns);
    int64_t start_ns = th_clock_now_ns();
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int result = connect(fd, (const struct sockaddr *)&address, sizeof address);
    int reason = errno;
    close(fd);
    th_samples_add(found, (double)(th_clock_now_ns() - start_ns) / 1e3);
    if (result != 0 && reason == ENOENT) continue;
    fprintf(stderr, "connect did not fail as it should: %s\n", strerror(reason));
    exit(EXIT_FAILURE);
  }
}

const th_side_kind th_side_absent = {absent_open, product_measure, absent_close};
const th_side_kind th_side_absent_connect = {absent_open, connect_measure, absent_close};

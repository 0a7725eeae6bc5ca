/* A Unix socket, as programs use it that need no more: blocking calls on each side. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "benchmarks/bulk.h"
#include "benchmarks/carrier.h"
#include "benchmarks/stop.h"

/* [0] puts, [1] takes. */
static int *pair_create(int type) {
  int *fds = calloc(2, sizeof *fds);
  if (fds == NULL || socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) != 0) th_stop("socketpair");
  return fds;
}

static void *socket_create(void) {
  return pair_create(SOCK_SEQPACKET);
}

static void socket_put(void *carrier, int64_t moment_ns) {
  const int *fds = carrier;
  if (send(fds[0], &moment_ns, sizeof moment_ns, MSG_NOSIGNAL) != sizeof moment_ns) th_stop("send");
}

static int64_t socket_take(void *carrier) {
  const int *fds = carrier;
  int64_t moment_ns;
  if (recv(fds[1], &moment_ns, sizeof moment_ns, 0) != sizeof moment_ns) th_stop("recv");
  return moment_ns;
}

const th_carrier_kind th_carrier_socket = {
    .create = socket_create, .put = socket_put, .take = socket_take};

/* ---- many bytes: a stream ---- */

static void *stream_create(uint32_t bytes) {
  (void)bytes;
  return pair_create(SOCK_STREAM);
}

static void stream_send(void *bulk, const float *numbers, uint32_t bytes) {
  const int *fds = bulk;
  th_bulk_write(fds[0], numbers, bytes);
}

static void stream_receive(void *bulk, float *numbers, uint32_t bytes) {
  const int *fds = bulk;
  th_bulk_read(fds[1], numbers, bytes);
}

const th_bulk_kind th_bulk_socket = {
    .create = stream_create, .send = stream_send, .receive = stream_receive};

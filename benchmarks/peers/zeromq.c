/* ZeroMQ by ipc: its threads carry what is put on one side to a queue on the other. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zmq.h>

#include "benchmarks/bulk.h"
#include "benchmarks/carrier.h"
#include "benchmarks/stop.h"

typedef struct zeromq {
  char endpoint[64];
  void *socket;
} zeromq;

/* A name without a file, as Linux has them, so that none is left behind. */
static void *zeromq_create(void) {
  static unsigned created;
  zeromq *z = calloc(1, sizeof *z);
  if (z == NULL) th_stop("zeromq");
  snprintf(z->endpoint, sizeof z->endpoint, "ipc://@trainhost-bench-%d-%u", (int)getpid(),
           created++);
  return z;
}

/* Its threads do not survive a fork, so each side has a context of its own. */
static void zeromq_open(void *carrier, bool puts) {
  zeromq *z = carrier;
  void *context = zmq_ctx_new();
  if (context == NULL) th_stop("zmq_ctx_new");
  z->socket = zmq_socket(context, puts ? ZMQ_PUSH : ZMQ_PULL);
  if (z->socket == NULL) th_stop("zmq_socket");
  int status = puts ? zmq_connect(z->socket, z->endpoint) : zmq_bind(z->socket, z->endpoint);
  if (status != 0) th_stop(z->endpoint);
}

static void zeromq_put(void *carrier, int64_t moment_ns) {
  zeromq *z = carrier;
  if (zmq_send(z->socket, &moment_ns, sizeof moment_ns, 0) != sizeof moment_ns) th_stop("zmq_send");
}

static int64_t zeromq_take(void *carrier) {
  zeromq *z = carrier;
  int64_t moment_ns;
  if (zmq_recv(z->socket, &moment_ns, sizeof moment_ns, 0) != sizeof moment_ns) th_stop("zmq_recv");
  return moment_ns;
}

const th_carrier_kind th_carrier_zeromq = {
    .create = zeromq_create, .open = zeromq_open, .put = zeromq_put, .take = zeromq_take};

/* ---- many bytes ---- */

static void *message_create(uint32_t bytes) {
  (void)bytes;
  return zeromq_create();
}

/* The numbers are the caller's for as long as the peer runs: it need not copy them first. */
static void keep(void *numbers, void *hint) {
  (void)numbers, (void)hint;
}

static void message_send(void *bulk, const float *numbers, uint32_t bytes) {
  zeromq *z = bulk;
  zmq_msg_t message;
  if (zmq_msg_init_data(&message, (void *)(uintptr_t)numbers, bytes, keep, NULL) != 0 ||
      zmq_msg_send(&message, z->socket, 0) < 0)
    th_stop("zmq_msg_send");
}

/* What was received lies in the message: that, too, may be used where it is. */
static void message_receive(void *bulk, float *numbers, uint32_t bytes) {
  (void)numbers;
  zeromq *z = bulk;
  zmq_msg_t message;
  if (zmq_msg_init(&message) != 0 || zmq_msg_recv(&message, z->socket, 0) != (int)bytes)
    th_stop("zmq_msg_recv");
  zmq_msg_close(&message);
}

const th_bulk_kind th_bulk_zeromq = {.create = message_create,
                                     .open = zeromq_open,
                                     .send = message_send,
                                     .receive = message_receive};

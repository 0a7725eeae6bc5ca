/* The product's own carriers, as the daemon puts and the shim takes: progress cell and event queue
 * are its code, and only the processes around them are the benchmark's, because no public call says
 * when the daemon wrote what it returns. */
#include <stdlib.h>
#include <sys/socket.h>

#include "benchmarks/carrier.h"
#include "benchmarks/stop.h"
#include "ipc/doorbell.h"
#include "ipc/engine.h"
#include "ipc/progress.h"
#include "ipc/ring.h"

enum { ENTRIES = 64 };

#define LOOK_EVERY_NS INT64_C(500000000)

/* ---- the progress cell ---- */

typedef struct product_cell {
  th_wire_cell *cell; /* shared */
  int64_t seen_ns;
} product_cell;

static void *cell_create(void) {
  product_cell *c = calloc(1, sizeof *c);
  if (c == NULL) th_stop("progress cell");
  c->cell = th_carrier_share(sizeof *c->cell);
  return c;
}

/* The moment travels in a field of a whole snapshot. */
static void cell_put(void *carrier, int64_t moment_ns) {
  const product_cell *c = carrier;
  th_progress_publish(c->cell, &(th_progress){.received_bytes = (uint64_t)moment_ns});
}

static int64_t cell_take(void *carrier) {
  product_cell *c = carrier;
  th_progress progress = {.received_bytes = (uint64_t)c->seen_ns};
  while ((int64_t)progress.received_bytes == c->seen_ns) (void)th_progress_read(c->cell, &progress);
  c->seen_ns = (int64_t)progress.received_bytes;
  return c->seen_ns;
}

const th_carrier_kind th_carrier_progress = {
    .create = cell_create, .put = cell_put, .take = cell_take};

/* ---- the event queue and its doorbell ---- */

typedef struct product_memory {
  th_wire_ctl ctl;
  th_wire_status status;
  th_wire_event entries[ENTRIES];
} product_memory;

typedef struct product_events {
  product_memory *memory; /* shared */
  th_ring ring;
  th_engine engine; /* the taker's */
  int bell_fd, sockets[2]; /* the engine watches a socket, too */
} product_events;

static void *events_create(void) {
  product_events *e = calloc(1, sizeof *e);
  if (e == NULL || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, e->sockets) != 0)
    th_stop("event queue");
  th_stop_unless_ok(th_doorbell_create(&e->bell_fd));
  e->memory = th_carrier_share(sizeof *e->memory);
  return e;
}

static void events_open(void *carrier, bool puts) {
  product_events *e = carrier;
  _Atomic uint32_t *tail = &e->memory->status.event_tail, *head = &e->memory->ctl.event_head;
  th_ring_init(&e->ring, e->memory->entries, ENTRIES, puts ? tail : head, puts ? head : tail);
  if (puts) return;
  th_stop_unless_ok(th_engine_choose(NULL, &e->engine));
  th_stop_unless_ok(th_engine_open(&e->engine, e->bell_fd, e->sockets[0]));
}

static void events_put(void *carrier, int64_t moment_ns) {
  product_events *e = carrier;
  th_stop_unless_ok(th_ring_put(&e->ring, &(th_wire_event){.cookie = (uint64_t)moment_ns}));
  (void)th_doorbell_ring(&e->memory->ctl.client_sleeps, e->bell_fd);
}

/* As a watch of the shim's that does not spin. */
static int64_t events_take(void *carrier) {
  product_events *e = carrier;
  _Atomic uint32_t *sleeps = &e->memory->ctl.client_sleeps;
  th_wire_event event;
  while (th_ring_take(&e->ring, &event) != TH_OK) {
    th_doorbell_sleep(sleeps);
    if (atomic_load_explicit(&e->memory->status.event_tail, memory_order_relaxed) == e->ring.index)
      (void)th_engine_wait(&e->engine, LOOK_EVERY_NS);
    (void)th_doorbell_wake(sleeps, e->bell_fd);
  }
  return (int64_t)event.cookie;
}

const th_carrier_kind th_carrier_event = {
    .create = events_create, .open = events_open, .put = events_put, .take = events_take};

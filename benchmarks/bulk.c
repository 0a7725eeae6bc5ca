#include "benchmarks/bulk.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "benchmarks/carrier.h"
#include "benchmarks/pair.h"
#include "benchmarks/stop.h"

typedef struct bulk {
  const th_bulk_kind *kind;
  uint32_t bytes;
  float *from, *to;
  void *way;
  _Atomic int64_t *whole_ns; /* shared: when the child had all of it */
  pid_t child;
} bulk;

void th_bulk_write(int fd, const void *from, uint32_t bytes) {
  for (const char *next = from, *end = next + bytes; next < end;) {
    ssize_t written = write(fd, next, (size_t)(end - next));
    if (written <= 0) th_stop("write");
    next += written;
  }
}

void th_bulk_read(int fd, void *to, uint32_t bytes) {
  for (char *next = to, *end = next + bytes; next < end;) {
    ssize_t got = read(fd, next, (size_t)(end - next));
    if (got <= 0) th_stop("read");
    next += got;
  }
}

/* Written to, so that no page is a first one when it is measured. */
static bulk *bulk_create(const th_bulk *what) {
  bulk *b = calloc(1, sizeof *b);
  if (b == NULL) th_stop("bulk");
  *b = (bulk){.kind = what->kind, .bytes = what->bytes};
  b->from = malloc(b->bytes);
  b->to = malloc(b->bytes);
  if (b->from == NULL || b->to == NULL) th_stop("bulk");
  memset(b->to, 0, b->bytes);
  for (uint32_t i = 0; i < b->bytes / sizeof(float); i++) b->from[i] = (float)(i % 1000) * 0.37f;
  return b;
}

static void bulk_destroy(bulk *b) {
  free(b->to);
  free(b->from);
  free(b);
}

/* ---- two processes ---- */

static _Noreturn void child_run(bulk *b) {
  if (b->kind->open != NULL) b->kind->open(b->way, false);
  for (;;) {
    b->kind->receive(b->way, b->to, b->bytes);
    atomic_store(b->whole_ns, th_clock_now_ns());
  }
}

static void *two_open(const th_bench_options *options, const void *argument) {
  (void)options;
  bulk *b = bulk_create(argument);
  b->way = b->kind->create(b->bytes);
  b->whole_ns = th_carrier_share(sizeof *b->whole_ns);
  b->child = th_fork();
  if (b->child == 0) child_run(b);
  if (b->kind->open != NULL) b->kind->open(b->way, true);
  return b;
}

static void two_measure(void *side, uint32_t count, int64_t rest_ns, th_samples *found) {
  bulk *b = side;
  for (uint32_t i = 0; i < count; i++) {
    th_watchdog_feed();
    th_rest(rest_ns);
    int64_t start_ns = th_clock_now_ns(), whole_ns;
    b->kind->send(b->way, b->from, b->bytes);
    while ((whole_ns = atomic_load(b->whole_ns)) < start_ns) sched_yield();
    th_samples_add(found, (double)(whole_ns - start_ns) / 1e3);
  }
}

static void two_close(void *side) {
  bulk *b = side;
  kill(b->child, SIGKILL);
  waitpid(b->child, NULL, 0);
  bulk_destroy(b);
}

const th_side_kind th_side_bulk = {two_open, two_measure, two_close};

/* ---- one ---- */

static void *memcpy_open(const th_bench_options *options, const void *argument) {
  (void)options;
  return bulk_create(argument);
}

static void memcpy_measure(void *side, uint32_t count, int64_t rest_ns, th_samples *found) {
  bulk *b = side;
  for (uint32_t i = 0; i < count; i++) {
    th_rest(rest_ns);
    int64_t start_ns = th_clock_now_ns();
    memcpy(b->to, b->from, b->bytes);
    /* Nobody reads what was copied, and the compiler must not know. */
    __asm__ volatile("" : : "r"(b->to) : "memory");
    th_samples_add(found, (double)(th_clock_now_ns() - start_ns) / 1e3);
  }
}

static void memcpy_close(void *side) {
  bulk_destroy(side);
}

const th_side_kind th_side_bulk_memcpy = {memcpy_open, memcpy_measure, memcpy_close};

/* The machine's limits: a cache line that moves, and a thread that is woken. */
#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "benchmarks/carrier.h"
#include "benchmarks/stop.h"

/* Two lines, because adjacent ones are fetched in pairs. */
typedef struct word {
  _Alignas(128) _Atomic int64_t moment_ns;
  _Alignas(128) _Atomic uint32_t count; /* of moments put: what a futex waits on */
  _Alignas(128) int64_t seen_ns; /* the taker's own */
  uint32_t seen;
  int bell_fd; /* an eventfd */
} word;

static void *word_create(void) {
  return th_carrier_share(sizeof(word));
}

static void word_put(void *carrier, int64_t moment_ns) {
  word *w = carrier;
  atomic_store_explicit(&w->moment_ns, moment_ns, memory_order_release);
}

static int64_t word_take(void *carrier) {
  word *w = carrier;
  int64_t moment_ns;
  do {
    /* Pairs with the release in word_put. */
    moment_ns = atomic_load_explicit(&w->moment_ns, memory_order_acquire);
  } while (moment_ns == w->seen_ns);
  w->seen_ns = moment_ns;
  return moment_ns;
}

const th_carrier_kind th_carrier_cacheline = {
    .create = word_create, .put = word_put, .take = word_take};

static void *bell_create(void) {
  word *w = word_create();
  w->bell_fd = eventfd(0, EFD_CLOEXEC);
  if (w->bell_fd < 0) th_stop("eventfd");
  return w;
}

static void bell_put(void *carrier, int64_t moment_ns) {
  word *w = carrier;
  uint64_t one = 1;
  word_put(carrier, moment_ns);
  if (write(w->bell_fd, &one, sizeof one) != sizeof one) th_stop("eventfd");
}

static int64_t bell_take(void *carrier) {
  word *w = carrier;
  uint64_t count;
  if (read(w->bell_fd, &count, sizeof count) != sizeof count) th_stop("eventfd");
  return word_take(carrier);
}

const th_carrier_kind th_carrier_eventfd = {
    .create = bell_create, .put = bell_put, .take = bell_take};

static void futex_put(void *carrier, int64_t moment_ns) {
  word *w = carrier;
  word_put(carrier, moment_ns);
  atomic_fetch_add(&w->count, 1);
  if (syscall(SYS_futex, &w->count, FUTEX_WAKE, 1, NULL, NULL, 0) < 0) th_stop("futex");
}

static int64_t futex_take(void *carrier) {
  word *w = carrier;
  while (atomic_load(&w->count) == w->seen)
    if (syscall(SYS_futex, &w->count, FUTEX_WAIT, w->seen, NULL, NULL, 0) != 0 && errno != EAGAIN &&
        errno != EINTR)
      th_stop("futex");
  w->seen++;
  return word_take(carrier);
}

const th_carrier_kind th_carrier_futex = {
    .create = word_create, .put = futex_put, .take = futex_take};

/* The queue: order, bounds, wrap, and what it makes of a peer that lies. */
#include "ipc/ring.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/support/leak.h"

TestSuite(ring, .init = leak_begin, .fini = leak_end);

enum { ENTRIES_MAX = 1024 };

typedef struct entry {
  uint64_t words[TH_RING_ENTRY_BYTES / 8];
} entry;

_Static_assert(sizeof(entry) == TH_RING_ENTRY_BYTES, "an entry of the queue");

/* What lies in shared memory, and the two sides' places in it. */
typedef struct queue {
  _Alignas(128) _Atomic uint32_t tail;
  _Alignas(128) _Atomic uint32_t head;
  entry entries[ENTRIES_MAX];
  th_ring producer, consumer;
} queue;

/* Both sides begin at `start`, as if that many entries had gone through already. */
static void queue_init(queue *made, uint32_t entry_count, uint32_t start) {
  th_ring_init(&made->producer, made->entries, entry_count, &made->tail, &made->head);
  th_ring_init(&made->consumer, made->entries, entry_count, &made->head, &made->tail);
  made->producer.index = made->producer.peer_seen = start;
  made->consumer.index = made->consumer.peer_seen = start;
  atomic_init(&made->tail, start);
  atomic_init(&made->head, start);
}

/* Every word differs, so that a torn entry shows. */
static entry entry_make(uint64_t number) {
  entry made;
  for (size_t i = 0; i < sizeof made.words / 8; i++)
    made.words[i] = (number + 1) * UINT64_C(0x9E3779B97F4A7C15) + i;
  return made;
}

static bool entry_is(const entry *taken, uint64_t number) {
  entry expected = entry_make(number);
  return memcmp(taken, &expected, sizeof expected) == 0;
}

static void expect_put(queue *between, uint64_t number) {
  entry next = entry_make(number);
  cr_assert_eq(th_ring_put(&between->producer, &next), TH_OK);
}

static void expect_take(queue *between, uint64_t number) {
  entry taken;
  cr_assert_eq(th_ring_take(&between->consumer, &taken), TH_OK);
  cr_assert(entry_is(&taken, number), "entry %u", (unsigned)number);
}

static const uint32_t starts[] = {0, 1, INT32_MAX, UINT32_MAX - 8, UINT32_MAX - 1, UINT32_MAX};
enum { STARTS = sizeof starts / sizeof starts[0] };

static queue shared;

/* ---- honest peers ---- */

Test(ring, take_returns_again_when_empty) {
  queue_init(&shared, 8, 0);
  entry taken = entry_make(42);
  cr_assert_eq(th_ring_take(&shared.consumer, &taken), TH_ERR_AGAIN);
  cr_assert(entry_is(&taken, 42), "the caller's entry was touched");
  expect_put(&shared, 1);
  expect_take(&shared, 1);
  cr_assert_eq(th_ring_take(&shared.consumer, &taken), TH_ERR_AGAIN);
}

Test(ring, put_returns_again_when_full) {
  for (int i = 0; i < STARTS; i++) {
    for (uint32_t size = 1; size <= 16; size *= 2) {
      queue_init(&shared, size, starts[i]);
      for (uint32_t n = 0; n < size; n++) expect_put(&shared, n);
      entry next = entry_make(size);
      cr_assert_eq(th_ring_put(&shared.producer, &next), TH_ERR_AGAIN);
      expect_take(&shared, 0);
      cr_assert_eq(th_ring_put(&shared.producer, &next), TH_OK);
      for (uint32_t n = 1; n <= size; n++) expect_take(&shared, n);
    }
  }
}

Test(ring, entries_come_out_in_order_across_the_wrap_of_the_index) {
  for (int i = 0; i < STARTS; i++) {
    queue_init(&shared, 8, starts[i]);
    uint64_t put = 0, taken = 0;
    for (uint32_t burst = 1; burst <= 100; burst++) {
      for (uint32_t n = 0; n < burst % 8 + 1; n++) expect_put(&shared, put++);
      while (taken < put) expect_take(&shared, taken++);
    }
  }
}

Test(ring, put_many_puts_all_or_none) {
  entry many[8];
  for (uint64_t n = 0; n < 8; n++) many[n] = entry_make(n);
  for (int i = 0; i < STARTS; i++) {
    queue_init(&shared, 8, starts[i]);
    cr_assert_eq(th_ring_put_many(&shared.producer, many, 5), TH_OK);
    cr_assert_eq(th_ring_put_many(&shared.producer, many, 4), TH_ERR_AGAIN);
    cr_assert_eq(shared.tail - starts[i], 5, "a part was put");
    cr_assert_eq(th_ring_put_many(&shared.producer, many + 5, 3), TH_OK);
    for (uint64_t n = 0; n < 8; n++) expect_take(&shared, n);
    cr_assert_eq(th_ring_put_many(&shared.producer, many, 8), TH_OK);
    cr_assert_eq(th_ring_put_many(&shared.producer, many, 9), TH_ERR_AGAIN);
  }
}

Test(ring, room_is_what_can_be_put) {
  for (int i = 0; i < STARTS; i++) {
    queue_init(&shared, 8, starts[i]);
    for (uint32_t n = 0; n < 8; n++) {
      cr_assert_eq(th_ring_room(&shared.producer), 8 - n);
      expect_put(&shared, n);
    }
    cr_assert_eq(th_ring_room(&shared.producer), 0);
    expect_take(&shared, 0);
    cr_assert_eq(th_ring_room(&shared.producer), 1);
  }
}

Test(ring, what_was_taken_is_a_copy) {
  queue_init(&shared, 1, 0);
  entry taken;
  expect_put(&shared, 1);
  cr_assert_eq(th_ring_take(&shared.consumer, &taken), TH_OK);
  expect_put(&shared, 2);
  cr_assert(entry_is(&taken, 1));
}

/* ---- hostile peers ---- */

Test(ring, take_refuses_a_tail_beyond_the_ring) {
  static const uint32_t beyond[] = {9, 10, 1000, INT32_MAX, UINT32_MAX - 1, UINT32_MAX};
  for (int i = 0; i < STARTS; i++) {
    for (size_t k = 0; k < sizeof beyond / sizeof beyond[0]; k++) {
      queue_init(&shared, 8, starts[i]);
      entry taken = entry_make(42);
      atomic_store(&shared.tail, starts[i] + beyond[k]);
      cr_assert_eq(th_ring_take(&shared.consumer, &taken), TH_ERR_PROTOCOL);
      cr_assert(entry_is(&taken, 42), "the caller's entry was touched");
      cr_assert_eq(shared.head, starts[i], "the consumer moved");
    }
  }
}

Test(ring, take_refuses_a_tail_that_runs_backwards) {
  queue_init(&shared, 8, 0);
  for (uint64_t n = 0; n < 4; n++) expect_put(&shared, n);
  for (uint64_t n = 0; n < 4; n++) expect_take(&shared, n);
  entry taken;
  atomic_store(&shared.tail, 3);
  cr_assert_eq(th_ring_take(&shared.consumer, &taken), TH_ERR_PROTOCOL);
}

Test(ring, take_gives_at_most_what_the_ring_holds_however_far_the_tail_jumps) {
  queue_init(&shared, 8, UINT32_MAX - 3);
  entry taken;
  uint32_t count = 0;
  th_error error = TH_OK;
  /* The tail is always as far ahead as can be believed, and entries are whatever lies there. */
  for (int turn = 0; turn < 1000 && error == TH_OK; turn++) {
    atomic_store(&shared.tail, shared.consumer.index + 8);
    error = th_ring_take(&shared.consumer, &taken);
    count++;
  }
  cr_assert_eq(error, TH_OK);
  cr_assert_eq(shared.consumer.index, UINT32_MAX - 3 + count);
}

Test(ring, put_refuses_a_head_beyond_what_was_put) {
  static const uint32_t beyond[] = {1, 2, 8, 1000, INT32_MAX, UINT32_MAX - 8};
  for (int i = 0; i < STARTS; i++) {
    for (size_t k = 0; k < sizeof beyond / sizeof beyond[0]; k++) {
      queue_init(&shared, 8, starts[i]);
      for (uint32_t n = 0; n < 8; n++) expect_put(&shared, n);
      entry next = entry_make(8);
      atomic_store(&shared.head, starts[i] + 8 + beyond[k]);
      cr_assert_eq(th_ring_room(&shared.producer), 0);
      cr_assert_eq(th_ring_put(&shared.producer, &next), TH_ERR_PROTOCOL);
      cr_assert_eq(shared.tail, starts[i] + 8, "the producer moved");
    }
  }
}

Test(ring, put_refuses_a_head_that_runs_backwards) {
  queue_init(&shared, 8, 0);
  for (uint64_t n = 0; n < 8; n++) expect_put(&shared, n);
  for (uint64_t n = 0; n < 4; n++) expect_take(&shared, n);
  cr_assert_eq(th_ring_room(&shared.producer), 4);
  for (uint64_t n = 0; n < 4; n++) expect_put(&shared, n);
  entry next = entry_make(4);
  atomic_store(&shared.head, 3);
  cr_assert_eq(th_ring_room(&shared.producer), 0);
  cr_assert_eq(th_ring_put(&shared.producer, &next), TH_ERR_PROTOCOL);
}

Test(ring, an_index_that_a_peer_overwrites_is_not_believed) {
  queue_init(&shared, 8, 0);
  expect_put(&shared, 0);
  atomic_store(&shared.tail, 77);
  expect_put(&shared, 1);
  cr_assert_eq(shared.tail, 2, "the producer counted on from what lay in shared memory");
}

/* ---- two sides at once ---- */

#define STRESS_LIMIT_NS (20 * TH_NS_PER_S)

/* @return whether all were put in time. */
static bool stress_put(queue *between, uint64_t count) {
  int64_t deadline_ns = th_clock_deadline_ns(STRESS_LIMIT_NS);
  for (uint64_t n = 0; n < count;) {
    /* Bursts of every size, so that both ways to put are taken. */
    entry burst[8];
    uint32_t size = (uint32_t)(n * 7 % 8 + 1);
    if (size > count - n) size = (uint32_t)(count - n);
    for (uint32_t i = 0; i < size; i++) burst[i] = entry_make(n + i);
    if (th_ring_put_many(&between->producer, burst, size) == TH_OK)
      n += size;
    else if (th_clock_now_ns() > deadline_ns)
      return false;
    else
      sched_yield();
  }
  return true;
}

/* @return the first entry that is wrong or did not come in time; count if there is none. */
static uint64_t stress_take(queue *between, uint64_t count) {
  int64_t deadline_ns = th_clock_deadline_ns(STRESS_LIMIT_NS);
  for (uint64_t n = 0; n < count;) {
    entry taken;
    th_error error = th_ring_take(&between->consumer, &taken);
    if (error == TH_OK && !entry_is(&taken, n)) return n;
    if (error == TH_OK) n++;
    if (error == TH_ERR_AGAIN && th_clock_now_ns() > deadline_ns) return n;
    if (error == TH_ERR_AGAIN) sched_yield();
    if (error == TH_ERR_PROTOCOL) return n;
  }
  return count;
}

Test(ring, millions_of_entries_cross_between_processes_whole_and_in_order) {
  enum { COUNT = 3000000 };
  queue *crossing =
      mmap(NULL, sizeof *crossing, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  cr_assert_neq(crossing, MAP_FAILED);
  queue_init(crossing, 256, UINT32_MAX - COUNT / 2);
  pid_t child = fork();
  if (child == 0) _exit(stress_put(crossing, COUNT) ? 0 : 1);
  uint64_t taken = stress_take(crossing, COUNT);
  if (taken < COUNT) kill(child, SIGKILL); /* it waits for a consumer that has given up */
  int status;
  cr_assert_eq(waitpid(child, &status, 0), child);
  cr_assert_eq(taken, COUNT, "entry %u is wrong or did not come", (unsigned)taken);
  cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the producer gave up");
}

static void *stress_produce(void *count) {
  return stress_put(&shared, *(uint64_t *)count) ? count : NULL;
}

Test(ring, entries_cross_between_threads) {
  uint64_t count = 300000;
  queue_init(&shared, 16, UINT32_MAX - 1000);
  pthread_t producer;
  void *finished;
  cr_assert_eq(pthread_create(&producer, NULL, stress_produce, &count), 0);
  uint64_t taken = stress_take(&shared, count);
  pthread_join(producer, &finished);
  cr_assert_not_null(finished);
  cr_assert_eq(taken, count, "entry %u is wrong", (unsigned)taken);
}

/* Many numbered entries through a queue, and many calls, between two threads that sleep and wake
 * each other: none may be lost, doubled, out of order or torn, and nobody may sleep for ever. As a
 * program of its own it runs under the thread sanitizer, too: stress [ENTRIES]. */
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "ipc/call.h"
#include "ipc/doorbell.h"
#include "ipc/ring.h"

enum { RING_ENTRIES = 256, PUT_MAX = 16, ENTRIES_PER_CALL = 100, PATIENCE_MS = 60000 };

#define ENTRIES_DEFAULT UINT64_C(100000000)

/* What one side of a wait shares with the other. */
typedef struct bell {
  _Alignas(TH_WIRE_LINE_BYTES) _Atomic uint32_t sleeps;
  int fd;
} bell;

static uint8_t entries[RING_ENTRIES * TH_RING_ENTRY_BYTES];
static _Alignas(TH_WIRE_LINE_BYTES) _Atomic uint32_t ring_tail;
static _Alignas(TH_WIRE_LINE_BYTES) _Atomic uint32_t ring_head;
static bell taker_bell, putter_bell;
static th_wire_call call;
static th_wire_answer answer;
static uint64_t entry_count, call_count;

typedef struct entry {
  uint64_t number;
  uint64_t words[6];
  uint64_t sum;
} entry;

_Static_assert(sizeof(entry) == TH_RING_ENTRY_BYTES, "one place of a queue");

/* Splitmix64 (Steele, Lea, Flood 2014): each word depends on all bits of the number. */
static uint64_t mix(uint64_t x) {
  x += UINT64_C(0x9E3779B97F4A7C15);
  x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
  return x ^ (x >> 31);
}

static uint64_t entry_sum(const entry *one) {
  uint64_t sum = one->number;
  for (int i = 0; i < 6; i++) sum = sum * 31 + one->words[i];
  return sum;
}

static void entry_make(uint64_t number, entry *one) {
  one->number = number;
  for (int i = 0; i < 6; i++) one->words[i] = mix(number + (uint64_t)i);
  one->sum = entry_sum(one);
}

/* A wait that is not ended by a ring is a wake-up that was lost. */
static void sleep_unless(bell *own, bool (*is_there)(const void *of), const void *of) {
  th_doorbell_sleep(&own->sleeps);
  struct pollfd rung = {.fd = own->fd, .events = POLLIN};
  if (!is_there(of)) th_check(poll(&rung, 1, PATIENCE_MS) == 1);
  (void)th_doorbell_wake(&own->sleeps, own->fd);
}

/* ---- the queue ---- */

static bool has_room(const void *of) {
  th_ring look = *(const th_ring *)of;
  return th_ring_room(&look) >= PUT_MAX;
}

static bool has_entry(const void *of) {
  return th_ring_is_put(of);
}

static void *put_all(void *unused) {
  (void)unused;
  th_ring ring;
  th_ring_init(&ring, entries, RING_ENTRIES, &ring_tail, &ring_head);
  entry some[PUT_MAX];
  for (uint64_t done = 0; done < entry_count;) {
    uint32_t count = 1 + (uint32_t)(mix(done) % PUT_MAX);
    if (count > entry_count - done) count = (uint32_t)(entry_count - done);
    for (uint32_t i = 0; i < count; i++) entry_make(done + i, &some[i]);
    th_error error;
    while ((error = th_ring_put_many(&ring, some, count)) == TH_ERR_AGAIN)
      sleep_unless(&putter_bell, has_room, &ring);
    th_check(error == TH_OK);
    th_doorbell_ring(&taker_bell.sleeps, taker_bell.fd);
    done += count;
  }
  return NULL;
}

static void take_all(void) {
  th_ring ring;
  th_ring_init(&ring, entries, RING_ENTRIES, &ring_head, &ring_tail);
  for (uint64_t number = 0; number < entry_count; number++) {
    entry one;
    th_error error;
    while ((error = th_ring_take(&ring, &one)) == TH_ERR_AGAIN)
      sleep_unless(&taker_bell, has_entry, &ring);
    th_check(error == TH_OK && one.number == number && one.sum == entry_sum(&one));
    th_check(one.words[0] == mix(number));
    th_doorbell_ring(&putter_bell.sleeps, putter_bell.fd);
  }
  th_check(!th_ring_is_put(&ring));
}

/* ---- calls ---- */

static bool is_called(const void *of) {
  return th_call_is_waiting(of);
}

static bool is_answered(const void *of) {
  return th_call_is_answered(of);
}

static void *answer_all(void *unused) {
  (void)unused;
  static th_message request;
  th_callee callee = {.call = &call, .answer = &answer};
  for (uint64_t done = 0; done < call_count; done++) {
    th_error error;
    while ((error = th_call_take(&callee, &request)) == TH_ERR_AGAIN)
      sleep_unless(&taker_bell, is_called, &callee);
    entry asked;
    th_check(error == TH_OK && request.header.body_bytes == sizeof asked);
    memcpy(&asked, request.body, sizeof asked);
    th_check(asked.number == done && asked.sum == entry_sum(&asked));
    entry_make(mix(done), &asked);
    th_call_answer(&callee, TH_OK, &asked, sizeof asked);
    th_doorbell_ring(&putter_bell.sleeps, putter_bell.fd);
  }
  return NULL;
}

static void call_all(void) {
  static th_message reply;
  th_caller caller = {.call = &call, .answer = &answer};
  for (uint64_t done = 0; done < call_count; done++) {
    entry asked;
    entry_make(done, &asked);
    th_call_put(&caller, TH_WIRE_START, &asked, sizeof asked);
    th_doorbell_ring(&taker_bell.sleeps, taker_bell.fd);
    th_error error;
    while ((error = th_call_take_answer(&caller, &reply)) == TH_ERR_AGAIN)
      sleep_unless(&putter_bell, is_answered, &caller);
    th_check(error == TH_OK && reply.header.body_bytes == sizeof asked);
    memcpy(&asked, reply.body, sizeof asked);
    th_check(asked.number == mix(done) && asked.sum == entry_sum(&asked));
  }
}

/* ---- both ---- */

static void run(const char *what, uint64_t count, void *(*other)(void *), void (*own)(void)) {
  pthread_t thread;
  int64_t begin_ns = th_clock_now_ns();
  th_check(pthread_create(&thread, NULL, other, NULL) == 0);
  own();
  th_check(pthread_join(thread, NULL) == 0);
  double seconds = (double)(th_clock_now_ns() - begin_ns) / 1e9;
  printf("%" PRIu64 " %s in order, none lost, doubled or torn: %.2f s, %.2f M a second\n", count,
         what, seconds, (double)count / seconds / 1e6);
}

int main(int argc, char **argv) {
  entry_count = argc > 1 ? strtoull(argv[1], NULL, 10) : ENTRIES_DEFAULT;
  call_count = entry_count / ENTRIES_PER_CALL;
  th_check(call_count > 0);
  th_check(th_doorbell_create(&taker_bell.fd) == TH_OK);
  th_check(th_doorbell_create(&putter_bell.fd) == TH_OK);
  run("entries", entry_count, put_all, take_all);
  run("calls", call_count, answer_all, call_all);
  close(taker_bell.fd);
  close(putter_bell.fd);
  return 0;
}

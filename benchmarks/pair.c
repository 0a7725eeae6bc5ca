#include "benchmarks/pair.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "benchmarks/stop.h"

/* Shorter rests would end late by about as much. A server that is asked needs its core while the
 * child waits for the next hop. */
enum { SLEEP_NS_MIN = 200000, POLL_NS = 50000 };

typedef struct pair_turn {
  bool is_hops; /* else round trips */
  uint32_t count;
  int64_t rest_ns;
} pair_turn;

void th_rest(int64_t rest_ns) {
  int64_t until_ns = th_clock_deadline_ns(rest_ns);
  if (rest_ns >= SLEEP_NS_MIN) {
    struct timespec until = {.tv_sec = until_ns / TH_NS_PER_S, .tv_nsec = until_ns % TH_NS_PER_S};
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
  }
  while (th_clock_now_ns() < until_ns) continue;
}

void *th_carrier_share(size_t bytes) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) th_stop("mmap");
  return memory;
}

/* As they were before any thread was kept to one. */
static const cpu_set_t *cores(void) {
  static cpu_set_t allowed;
  if (CPU_COUNT(&allowed) == 0 && sched_getaffinity(0, sizeof allowed, &allowed) != 0)
    th_stop("sched_getaffinity");
  return &allowed;
}

void th_core_keep(pid_t thread, int number) {
  const cpu_set_t *allowed = cores();
  cpu_set_t chosen;
  CPU_ZERO(&chosen);
  for (int core = 0; core < CPU_SETSIZE; core++)
    if (CPU_ISSET(core, allowed) && number-- == 0) CPU_SET(core, &chosen);
  if (CPU_COUNT(&chosen) == 1 && sched_setaffinity(thread, sizeof chosen, &chosen) != 0)
    th_stop("sched_setaffinity");
}

void th_core_free(void) {
  if (sched_setaffinity(0, sizeof(cpu_set_t), cores()) != 0) th_stop("sched_setaffinity");
}

/* ---- the child ---- */

static void child_hop(const th_pair *pair, const pair_turn *turn) {
  for (uint32_t i = 0; i < turn->count; i++) {
    while (atomic_load_explicit(pair->taken, memory_order_acquire) < i)
      if (pair->kind->ask != NULL) th_rest(POLL_NS);
    th_rest(turn->rest_ns);
    pair->kind->put(pair->back, th_clock_now_ns());
  }
}

static void child_answer(const th_pair *pair, const pair_turn *turn) {
  for (uint32_t i = 0; i < turn->count; i++)
    pair->kind->put(pair->back, pair->kind->take(pair->there));
}

static _Noreturn void child_run(const th_pair *pair, int turns) {
  const th_carrier_kind *kind = pair->kind;
  pair_turn turn;
  if (kind->open != NULL) {
    kind->open(pair->back, true);
    if (kind->ask == NULL) kind->open(pair->there, false);
  }
  while (read(turns, &turn, sizeof turn) == sizeof turn) {
    if (turn.is_hops)
      child_hop(pair, &turn);
    else
      child_answer(pair, &turn);
  }
  _exit(EXIT_SUCCESS);
}

/* ---- this process ---- */

void th_pair_open(th_pair *pair, const th_carrier_kind *kind) {
  int turns[2];
  if (pipe(turns) != 0) th_stop("pipe");
  *pair = (th_pair){.kind = kind,
                    .there = kind->create(),
                    .back = kind->create(),
                    .taken = th_carrier_share(sizeof *pair->taken),
                    .turns = turns[1]};
  pair->child = th_fork();
  if (pair->child == 0) {
    close(turns[1]);
    th_core_keep(0, 1);
    child_run(pair, turns[0]);
  }
  close(turns[0]);
  if (kind->open == NULL) return;
  kind->open(pair->back, false);
  if (kind->ask == NULL) kind->open(pair->there, true);
}

static void turn_begin(th_pair *pair, const pair_turn *turn) {
  th_core_keep(0, 0);
  th_watchdog_feed();
  atomic_store(pair->taken, 0);
  if (write(pair->turns, turn, sizeof *turn) != sizeof *turn) th_stop("write to the other process");
}

void th_pair_hops(th_pair *pair, uint32_t count, int64_t rest_ns, th_samples *found) {
  turn_begin(pair, &(pair_turn){.is_hops = true, .count = count, .rest_ns = rest_ns});
  for (uint32_t i = 0; i < count; i++) {
    int64_t put_ns = pair->kind->take(pair->back);
    th_samples_add(found, (double)(th_clock_now_ns() - put_ns) / 1e3);
    atomic_store_explicit(pair->taken, i + 1, memory_order_release);
  }
  th_core_free();
}

static void trip(const th_pair *pair, int64_t start_ns) {
  if (pair->kind->ask != NULL) {
    pair->kind->ask(pair->back);
    return;
  }
  pair->kind->put(pair->there, start_ns);
  (void)pair->kind->take(pair->back);
}

void th_pair_trips(th_pair *pair, uint32_t count, int64_t rest_ns, th_samples *found) {
  uint32_t answers = pair->kind->ask == NULL ? count : 0;
  turn_begin(pair, &(pair_turn){.count = answers});
  for (uint32_t i = 0; i < count; i++) {
    th_rest(rest_ns);
    int64_t start_ns = th_clock_now_ns();
    trip(pair, start_ns);
    th_samples_add(found, (double)(th_clock_now_ns() - start_ns) / 1e3);
  }
  th_core_free();
}

void th_pair_close(th_pair *pair) {
  close(pair->turns);
  kill(pair->child, SIGKILL);
  waitpid(pair->child, NULL, 0);
}

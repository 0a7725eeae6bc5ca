#include "kernels/team.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

/* Longer than the gap between two phases of a step, shorter than anyone would notice as load. */
#define SPIN_NS INT64_C(20000)
/* Reading the clock costs about 20 pauses' worth; do it this seldom. */
#define PAUSES_PER_CLOCK 32
#define CACHE_LINE_BYTES 64

/* A thread of the team other than its owner. Each has its own bell, so that only those wanted for
 * a loop are woken. */
typedef struct th_member {
  _Alignas(CACHE_LINE_BYTES) _Atomic uint32_t bell; /* moves when there may be work */
  _Atomic uint32_t asleep;
  pthread_t thread;
  struct th_team *team;
} th_member;

/*
 * A loop is a ticket: its number above, the indices not yet taken below. A member takes an index by
 * exchanging the ticket for the next, which proves that the loop it has read about is still under
 * way. So a loop waits only for members that hold an index, never for one that has not woken yet.
 */
struct th_team {
  uint32_t size;
  uint32_t active;
  bool may_spin;
  _Atomic bool stopping;
  _Alignas(CACHE_LINE_BYTES) _Atomic uint64_t ticket;
  _Atomic uint32_t count;
  _Atomic(th_team_work *) work;
  _Atomic(void *) argument;
  _Alignas(CACHE_LINE_BYTES) _Atomic uint32_t done; /* indices of the present loop */
  _Atomic uint32_t owner_asleep;
  th_member *members; /* size − 1 */
  uint32_t started;
};

static void futex_wait(_Atomic uint32_t *word, uint32_t seen) {
  /* Woken for nothing or by a signal, the caller looks again. */
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static inline void pause_briefly(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* Whether *word left `seen` within the time that spinning is worth. */
static bool spin_while_equal(const th_team *team, _Atomic uint32_t *word, uint32_t seen) {
  if (!team->may_spin) return atomic_load_explicit(word, memory_order_acquire) != seen;
  int64_t until_ns = th_clock_now_ns() + SPIN_NS;
  do {
    for (int i = 0; i < PAUSES_PER_CLOCK; i++) {
      if (atomic_load_explicit(word, memory_order_acquire) != seen) return true;
      pause_briefly();
    }
  } while (th_clock_now_ns() < until_ns);
  return false;
}

/* Sequentially consistent on both sides: either the sleeper's flag is seen here, or the sleeper's
 * futex call sees the word that was moved before. */
static void wake_if_asleep(_Atomic uint32_t *asleep, _Atomic uint32_t *word) {
  if (atomic_load(asleep) != 0) futex_wake(word);
}

/* Work on the loop of that ticket until its indices are used up. */
static void work_on_ticket(th_team *team, uint64_t ticket) {
  uint32_t loop = (uint32_t)(ticket >> 32);
  /* These may already be of a later loop; then the exchange below fails and they are not used. */
  uint32_t count = atomic_load_explicit(&team->count, memory_order_relaxed);
  th_team_work *work = atomic_load_explicit(&team->work, memory_order_relaxed);
  void *argument = atomic_load_explicit(&team->argument, memory_order_relaxed);
  while ((uint32_t)(ticket >> 32) == loop && (uint32_t)ticket != 0) {
    if (!atomic_compare_exchange_weak_explicit(&team->ticket, &ticket, ticket - 1,
                                               memory_order_acquire, memory_order_acquire))
      continue;
    work(argument, count - (uint32_t)ticket);
    ticket--;
    /* Releases what the work wrote; pairs with the acquire in wait_until_done. The owner can only
     * be asleep for the last index. */
    if (atomic_fetch_add(&team->done, 1) + 1 == count)
      wake_if_asleep(&team->owner_asleep, &team->done);
  }
}

static void *member_main(void *argument) {
  th_member *self = argument;
  th_team *team = self->team;
  uint32_t seen = 0;
  while (!atomic_load_explicit(&team->stopping, memory_order_acquire)) {
    if (!spin_while_equal(team, &self->bell, seen)) {
      atomic_store(&self->asleep, 1);
      futex_wait(&self->bell, seen);
      atomic_store(&self->asleep, 0);
    }
    seen = atomic_load_explicit(&self->bell, memory_order_acquire);
    work_on_ticket(team, atomic_load_explicit(&team->ticket, memory_order_acquire));
  }
  return NULL;
}

static void ring_bell(th_member *member) {
  atomic_fetch_add(&member->bell, 1);
  wake_if_asleep(&member->asleep, &member->bell);
}

static void wait_until_done(th_team *team, uint32_t count) {
  uint32_t done = atomic_load_explicit(&team->done, memory_order_acquire);
  while (done < count) {
    if (!spin_while_equal(team, &team->done, done)) {
      atomic_store(&team->owner_asleep, 1);
      /* Looked at again after the flag is up: the last index may have been done in between. */
      done = atomic_load(&team->done);
      if (done < count) futex_wait(&team->done, done);
      atomic_store(&team->owner_asleep, 0);
    }
    done = atomic_load_explicit(&team->done, memory_order_acquire);
  }
}

/* The members must not take signals that the program's own threads wait for. */
static int thread_start_without_signals(th_member *member) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int failure = pthread_create(&member->thread, NULL, member_main, member);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return failure;
}

/* Whoever spins on a core that another member needs only delays it. */
static bool has_a_core_each(uint32_t size) {
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof cores, &cores) != 0) return false;
  return (uint32_t)CPU_COUNT(&cores) >= size;
}

th_error th_team_create(uint32_t size, th_team **team) {
  th_check(size > 0);
  th_team *made = aligned_alloc(CACHE_LINE_BYTES, sizeof *made);
  if (made == NULL) goto no_memory;
  memset(made, 0, sizeof *made);
  made->size = size;
  made->active = size;
  made->may_spin = has_a_core_each(size);
  made->members = aligned_alloc(CACHE_LINE_BYTES, sizeof(th_member) * size);
  if (made->members == NULL) goto no_memory;
  memset(made->members, 0, sizeof(th_member) * size);
  for (; made->started < size - 1; made->started++) {
    th_member *member = &made->members[made->started];
    member->team = made;
    int failure = thread_start_without_signals(member);
    if (failure == 0) continue;
    errno = failure;
    (void)th_fail_errno(TH_ERR_SYSTEM, "cannot start thread %u of %u for training",
                        made->started + 2, size);
    th_team_destroy(made);
    return TH_ERR_SYSTEM;
  }
  *team = made;
  return TH_OK;

no_memory:
  th_team_destroy(made);
  return th_fail(TH_ERR_SYSTEM, "no memory for a team of %u threads", size);
}

uint32_t th_team_size(const th_team *team) {
  return team->size;
}

void th_team_set_active(th_team *team, uint32_t active) {
  th_check(active > 0 && active <= team->size);
  team->active = active;
}

void th_team_run(th_team *team, uint32_t count, th_team_work *work, void *argument) {
  uint32_t helpers = (count < team->active ? count : team->active) - (count > 0);
  if (helpers == 0) {
    for (uint32_t i = 0; i < count; i++) work(argument, i);
    return;
  }
  uint64_t loop = (atomic_load_explicit(&team->ticket, memory_order_relaxed) >> 32) + 1;
  uint64_t ticket = loop << 32 | count;
  /* No member reads these for use until the ticket below is out: the last loop's is used up. */
  atomic_store_explicit(&team->count, count, memory_order_relaxed);
  atomic_store_explicit(&team->work, work, memory_order_relaxed);
  atomic_store_explicit(&team->argument, argument, memory_order_relaxed);
  atomic_store_explicit(&team->done, 0, memory_order_relaxed);
  /* Pairs with the acquires of the ticket: who takes an index sees all that was written before. */
  atomic_store_explicit(&team->ticket, ticket, memory_order_release);
  for (uint32_t i = 0; i < helpers; i++) ring_bell(&team->members[i]);
  work_on_ticket(team, ticket);
  wait_until_done(team, count);
}

void th_team_destroy(th_team *team) {
  if (team == NULL) return;
  atomic_store_explicit(&team->stopping, true, memory_order_release);
  for (uint32_t i = 0; i < team->started; i++) {
    ring_bell(&team->members[i]);
    pthread_join(team->members[i].thread, NULL);
  }
  free(team->members);
  free(team);
}

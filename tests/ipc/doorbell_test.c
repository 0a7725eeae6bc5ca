/* Sleeping and waking: the doorbell rings when it must and only then. */
#include "ipc/doorbell.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/leak.h"

static int bell;

static void bell_make(void) {
  leak_begin();
  cr_assert_eq(th_doorbell_create(&bell), TH_OK, "%s", th_error_text());
}

static void bell_close(void) {
  close(bell);
  leak_end();
}

TestSuite(doorbell, .init = bell_make, .fini = bell_close);

/* @return whether the bell was rung within the time. */
static bool is_rung(int fd, int timeout_ms) {
  struct pollfd rung = {.fd = fd, .events = POLLIN};
  return poll(&rung, 1, timeout_ms) == 1;
}

Test(doorbell, is_not_rung_for_who_is_awake) {
  _Atomic uint32_t sleeps = 0;
  cr_assert_not(th_doorbell_ring(&sleeps, bell));
  cr_assert_not(is_rung(bell, 0));
}

Test(doorbell, is_rung_for_who_sleeps_until_it_wakes) {
  _Atomic uint32_t sleeps = 0;
  th_doorbell_sleep(&sleeps);
  cr_assert(th_doorbell_ring(&sleeps, bell));
  cr_assert(th_doorbell_ring(&sleeps, bell));
  cr_assert(is_rung(bell, 0));
  th_doorbell_wake(&sleeps, bell);
  cr_assert_eq(sleeps, 0);
  cr_assert_not(is_rung(bell, 0), "a ring was left");
  cr_assert_not(th_doorbell_ring(&sleeps, bell));
}

Test(doorbell, wake_without_a_ring_does_not_wait) {
  _Atomic uint32_t sleeps = 0;
  th_doorbell_sleep(&sleeps);
  th_doorbell_wake(&sleeps, bell);
  cr_assert_eq(sleeps, 0);
}

Test(doorbell, ring_does_not_block_on_a_full_counter) {
  _Atomic uint32_t sleeps = 1;
  uint64_t full = UINT64_MAX - 1;
  cr_assert_eq(write(bell, &full, sizeof full), sizeof full);
  cr_assert(th_doorbell_ring(&sleeps, bell));
  cr_assert(is_rung(bell, 0));
}

Test(doorbell, ring_survives_a_dead_descriptor) {
  _Atomic uint32_t sleeps = 1;
  cr_assert(th_doorbell_ring(&sleeps, -1));
}

Test(doorbell, any_value_of_the_flag_but_zero_rings) {
  _Atomic uint32_t sleeps = UINT32_MAX;
  cr_assert(th_doorbell_ring(&sleeps, bell));
}

Test(doorbell, does_not_survive_exec) {
  cr_assert(fcntl(bell, F_GETFD) & FD_CLOEXEC);
  cr_assert(fcntl(bell, F_GETFL) & O_NONBLOCK);
}

/* ---- no wake-up is lost ---- */

enum { ROUNDS = 100000, DELAYS = 256, LOST_MS = 5000, SPINS_BEFORE_YIELD = 200 };

/* A ball is thrown to one who goes to sleep at that very moment. */
typedef struct court {
  _Alignas(128) _Atomic uint32_t thrown;
  _Alignas(128) _Atomic uint32_t sleeps;
  _Alignas(128) _Atomic uint32_t ready; /* round for which the catcher stands ready */
  _Alignas(128) atomic_bool is_over;
  int fd;
} court;

static void delay(uint32_t turns) {
  for (volatile uint32_t i = 0; i < turns; i++) continue;
}

/* @return false if the ball lies there, or never came, and nobody rang. */
static bool ball_catch(court *on, uint32_t round) {
  while (atomic_load_explicit(&on->thrown, memory_order_acquire) < round) {
    th_doorbell_sleep(&on->sleeps);
    bool is_there = atomic_load_explicit(&on->thrown, memory_order_acquire) >= round;
    bool is_woken = is_there || is_rung(on->fd, LOST_MS);
    th_doorbell_wake(&on->sleeps, on->fd);
    if (!is_woken) return false;
  }
  return true;
}

/* The thrower throws when it sees that the catcher is ready, which takes about as long as the
 * catcher delays: the two meet within nanoseconds, before and after. */
static bool balls_catch(court *on) {
  bool is_well = true;
  for (uint32_t round = 1; round <= ROUNDS && is_well; round++) {
    atomic_store(&on->ready, round);
    delay(round % DELAYS);
    is_well = ball_catch(on, round);
  }
  atomic_store(&on->is_over, true);
  return is_well;
}

static void balls_throw(court *on) {
  for (uint32_t round = 1; round <= ROUNDS; round++) {
    for (uint32_t spins = 1; atomic_load(&on->ready) < round; spins++) {
      if (atomic_load(&on->is_over)) return;
      if (spins % SPINS_BEFORE_YIELD == 0) sched_yield();
    }
    atomic_store_explicit(&on->thrown, round, memory_order_release);
    th_doorbell_ring(&on->sleeps, on->fd);
  }
}

Test(doorbell, no_wake_up_is_lost_between_processes) {
  court *on = mmap(NULL, sizeof *on, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  cr_assert_neq(on, MAP_FAILED);
  on->fd = bell;
  pid_t child = fork();
  if (child == 0) {
    balls_throw(on);
    _exit(0);
  }
  bool is_well = balls_catch(on);
  cr_assert_eq(waitpid(child, NULL, 0), child);
  cr_assert(is_well, "slept through ball %u", on->thrown);
}

static void *throw_thread(void *on) {
  balls_throw(on);
  return NULL;
}

Test(doorbell, no_wake_up_is_lost_between_threads) {
  static court on;
  on.fd = bell;
  pthread_t thrower;
  cr_assert_eq(pthread_create(&thrower, NULL, throw_thread, &on), 0);
  bool is_well = balls_catch(&on);
  pthread_join(thrower, NULL);
  cr_assert(is_well, "slept through ball %u", on.thrown);
}

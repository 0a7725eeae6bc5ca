/* Sleeping and waking: the doorbell rings when it must and only then. */
#include "ipc/doorbell.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
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

enum { ROUNDS = 100000, LOST_MS = 10000 };

/* One side of a game of ball: it sleeps until the ball comes and throws it back. */
typedef struct side {
  _Alignas(128) _Atomic uint32_t balls; /* thrown to this side */
  _Alignas(128) _Atomic uint32_t sleeps;
  int fd;
} side;

/* @return false if the ball lies there, or never came, and nobody rang. */
static bool ball_await(side *self, uint32_t count) {
  while (atomic_load_explicit(&self->balls, memory_order_acquire) < count) {
    th_doorbell_sleep(&self->sleeps);
    bool is_there = atomic_load_explicit(&self->balls, memory_order_acquire) >= count;
    bool is_woken = is_there || is_rung(self->fd, LOST_MS);
    th_doorbell_wake(&self->sleeps, self->fd);
    if (!is_woken) return false;
  }
  return true;
}

static void ball_throw(side *other, uint32_t count) {
  atomic_store_explicit(&other->balls, count, memory_order_release);
  th_doorbell_ring(&other->sleeps, other->fd);
}

static bool play(side *self, side *other, bool serves) {
  for (uint32_t round = 1; round <= ROUNDS; round++) {
    if (serves) ball_throw(other, round);
    if (!ball_await(self, round)) return false;
    if (!serves) ball_throw(other, round);
  }
  return true;
}

static side *court_make(void) {
  side *sides =
      mmap(NULL, 2 * sizeof *sides, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  cr_assert_neq(sides, MAP_FAILED);
  cr_assert_eq(th_doorbell_create(&sides[0].fd), TH_OK);
  cr_assert_eq(th_doorbell_create(&sides[1].fd), TH_OK);
  return sides;
}

static void court_close(side *sides) {
  close(sides[0].fd);
  close(sides[1].fd);
  munmap(sides, 2 * sizeof *sides);
}

Test(doorbell, no_wake_up_is_lost_between_processes) {
  side *sides = court_make();
  pid_t child = fork();
  if (child == 0) _exit(play(&sides[1], &sides[0], false) ? 0 : 1);
  bool is_well = play(&sides[0], &sides[1], true);
  int status;
  cr_assert_eq(waitpid(child, &status, 0), child);
  cr_assert(is_well, "slept through a ball");
  cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the other side slept through a ball");
  court_close(sides);
}

static void *play_second(void *argument) {
  side *sides = argument;
  return play(&sides[1], &sides[0], false) ? sides : NULL;
}

Test(doorbell, no_wake_up_is_lost_between_threads) {
  side *sides = court_make();
  pthread_t second;
  void *is_second_well;
  cr_assert_eq(pthread_create(&second, NULL, play_second, sides), 0);
  bool is_well = play(&sides[0], &sides[1], true);
  pthread_join(second, &is_second_well);
  cr_assert(is_well, "slept through a ball");
  cr_assert_not_null(is_second_well, "the other side slept through a ball");
  court_close(sides);
}

#include "kernels/team.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { INDICES_MAX = 1000 };

typedef struct th_tally {
  _Atomic uint32_t hits[INDICES_MAX];
  _Atomic uint32_t total;
} th_tally;

static void count_hit(void *argument, uint32_t index) {
  th_tally *tally = argument;
  atomic_fetch_add(&tally->hits[index], 1);
  atomic_fetch_add(&tally->total, 1);
}

static void check_each_index_once(th_team *team, uint32_t count) {
  static th_tally tally;
  for (uint32_t i = 0; i < INDICES_MAX; i++) atomic_store(&tally.hits[i], 0);
  atomic_store(&tally.total, 0);
  th_team_run(team, count, count_hit, &tally);
  cr_assert_eq(atomic_load(&tally.total), count);
  for (uint32_t i = 0; i < count; i++) cr_assert_eq(atomic_load(&tally.hits[i]), 1);
}

Test(team, calls_each_index_once_for_any_size) {
  static const uint32_t counts[] = {0, 1, 2, 3, 7, 64, INDICES_MAX};
  for (uint32_t size = 1; size <= 5; size++) {
    th_team *team;
    cr_assert_eq(th_team_create(size, &team), TH_OK);
    cr_assert_eq(th_team_size(team), size);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
      check_each_index_once(team, counts[i]);
    th_team_destroy(team);
  }
}

Test(team, works_with_any_number_of_active_members) {
  th_team *team;
  cr_assert_eq(th_team_create(4, &team), TH_OK);
  for (uint32_t round = 0; round < 200; round++) {
    th_team_set_active(team, 1 + round % 4);
    check_each_index_once(team, round % 9);
  }
  th_team_destroy(team);
}

/* What one loop wrote, the next one reads without any other synchronization. */
static void add_neighbours(void *argument, uint32_t index) {
  uint64_t(*cells)[2][64] = argument;
  (*cells)[1][index] = (*cells)[0][index] + (*cells)[0][(index + 1) % 64];
}

static void copy_back(void *argument, uint32_t index) {
  uint64_t(*cells)[2][64] = argument;
  (*cells)[0][index] = (*cells)[1][index];
}

Test(team, loops_see_what_the_loops_before_them_wrote) {
  enum { ROUNDS = 3000 };
  uint64_t alone[2][64] = {{1, 2, 3}};
  uint64_t together[2][64] = {{1, 2, 3}};
  th_team *team;
  cr_assert_eq(th_team_create(3, &team), TH_OK);
  for (int round = 0; round < ROUNDS; round++) {
    th_team_run(team, 64, add_neighbours, together);
    th_team_run(team, 64, copy_back, together);
    for (uint32_t i = 0; i < 64; i++) add_neighbours(alone, i);
    for (uint32_t i = 0; i < 64; i++) copy_back(alone, i);
  }
  for (int i = 0; i < 64; i++) cr_assert_eq(together[0][i], alone[0][i]);
  th_team_destroy(team);
}

static void sleep_a_little(void *argument, uint32_t index) {
  (void)argument;
  nanosleep(&(struct timespec){.tv_nsec = 1000000L * (1 + index % 3)}, NULL);
}

Test(team, waits_for_members_that_take_longer_than_any_spinning) {
  th_team *team;
  cr_assert_eq(th_team_create(3, &team), TH_OK);
  for (int round = 0; round < 20; round++) {
    th_team_run(team, 7, sleep_a_little, NULL);
    check_each_index_once(team, 16);
  }
  th_team_destroy(team);
}

static double cpu_seconds(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
         1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

Test(team, burns_no_processor_time_while_idle) {
  th_team *team;
  cr_assert_eq(th_team_create(4, &team), TH_OK);
  check_each_index_once(team, 100);
  /* Longer than any spinning, also that of the BLAS's own threads when they start. */
  usleep(200000);
  double before = cpu_seconds();
  usleep(300000);
  cr_assert_lt(cpu_seconds() - before, 0.03);
  th_team_destroy(team);
}

static void note_signal_mask(void *argument, uint32_t index) {
  _Atomic uint32_t *open_masks = argument;
  (void)index;
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, NULL, &mask);
  if (!sigismember(&mask, SIGTERM)) atomic_fetch_add(open_masks, 1);
  nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

Test(team, members_leave_signals_to_the_program) {
  th_team *team;
  sigset_t term;
  _Atomic uint32_t open_masks = 0;
  cr_assert_eq(th_team_create(3, &team), TH_OK);
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &term, NULL);
  th_team_run(team, 12, note_signal_mask, &open_masks);
  cr_assert_eq(atomic_load(&open_masks), 0);
  th_team_destroy(team);
}

Test(team, creation_fails_with_a_text_when_no_thread_can_start) {
  /* Less address space than the stacks of so many threads would take. */
  struct rlimit limit = {.rlim_cur = (rlim_t)1 << 32, .rlim_max = (rlim_t)1 << 32};
  if (sizeof(void *) < 8) cr_skip("needs an address space that can be limited");
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  cr_skip("a sanitizer's shadow does not fit the limit");
#endif
  cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
  th_team *team = NULL;
  cr_assert_eq(th_team_create(4000, &team), TH_ERR_SYSTEM);
  cr_assert_null(team);
  cr_assert_not_null(strstr(th_error_text(), "cannot start thread"));
}

Test(team, destroy_takes_null) {
  th_team_destroy(NULL);
}

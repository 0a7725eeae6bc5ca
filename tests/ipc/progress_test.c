/* The progress cell: snapshots that are consistent in themselves, whatever the writer does. */
#include "ipc/progress.h"

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

TestSuite(progress, .init = leak_begin, .fini = leak_end);

enum { WORDS = sizeof(th_progress) / 8 };

/* Every word of the n-th snapshot tells n, so that a mixture of two shows. */
static th_progress snapshot_make(uint64_t number) {
  uint64_t words[WORDS];
  th_progress made;
  for (size_t i = 0; i < WORDS; i++) words[i] = number * 64 + i;
  memcpy(&made, words, sizeof made);
  return made;
}

static bool snapshot_is(const th_progress *read, uint64_t number) {
  uint64_t words[WORDS];
  memcpy(words, read, sizeof words);
  for (size_t i = 0; i < WORDS; i++)
    if (words[i] != number * 64 + i) return false;
  return true;
}

Test(progress, a_snapshot_is_read_as_it_was_published) {
  th_wire_cell cell = {0};
  th_progress read;
  for (uint64_t n = 1; n < 100; n++) {
    th_progress published = snapshot_make(n);
    th_progress_publish(&cell, &published);
    cr_assert_eq(th_progress_read(&cell, &read), TH_OK);
    cr_assert(snapshot_is(&read, n));
  }
}

Test(progress, a_fresh_cell_reads_as_zeros) {
  th_wire_cell cell = {0};
  th_progress read = snapshot_make(1);
  static const uint8_t zeros[sizeof read];
  cr_assert_eq(th_progress_read(&cell, &read), TH_OK);
  cr_assert_arr_eq((const uint8_t *)&read, zeros, sizeof read);
}

Test(progress, the_sequence_may_wrap) {
  th_wire_cell cell = {.sequence = UINT32_MAX - 1};
  th_progress published = snapshot_make(5), read;
  th_progress_publish(&cell, &published);
  cr_assert_eq(cell.sequence, 0);
  cr_assert_eq(th_progress_read(&cell, &read), TH_OK);
  cr_assert(snapshot_is(&read, 5));
}

Test(progress, a_writer_that_stands_still_in_the_middle_is_again_soon) {
  th_wire_cell cell = {.sequence = 7};
  th_progress read = snapshot_make(3);
  int64_t since_ns = th_clock_now_ns();
  cr_assert_eq(th_progress_read(&cell, &read), TH_ERR_AGAIN);
  cr_assert_lt(th_clock_now_ns() - since_ns, TH_NS_PER_S);
  cr_assert(snapshot_is(&read, 3), "the caller's snapshot was touched");
}

typedef struct bench {
  th_wire_cell cell;
  atomic_bool is_over;
} bench;

static void publish_until_over(bench *shared) {
  for (uint64_t n = 1; !atomic_load_explicit(&shared->is_over, memory_order_relaxed); n++) {
    th_progress published = snapshot_make(n);
    th_progress_publish(&shared->cell, &published);
  }
}

/* Read until enough snapshots are well. Each must be whole, and none older than the one before. */
static void read_many(bench *shared, int wanted) {
  uint64_t newest = 0;
  int64_t deadline_ns = th_clock_deadline_ns(30 * TH_NS_PER_S);
  for (int well = 0; well < wanted;) {
    th_progress read;
    cr_assert_lt(th_clock_now_ns(), deadline_ns, "the reader starves: %d of %d", well, wanted);
    if (th_progress_read(&shared->cell, &read) == TH_ERR_AGAIN) {
      sched_yield();
      continue;
    }
    uint64_t number = read.job / 64;
    if (number > 0) cr_assert(snapshot_is(&read, number), "a mixture of snapshots");
    cr_assert_geq(number, newest, "an older snapshot came after a newer one");
    newest = number;
    well++;
  }
  cr_assert_gt(newest, 0, "nothing was published meanwhile");
}

static void *publish_thread(void *argument) {
  publish_until_over(argument);
  return NULL;
}

Test(progress, a_reader_sees_no_mixture_under_a_hot_writer) {
  static bench hot;
  pthread_t writer;
  cr_assert_eq(pthread_create(&writer, NULL, publish_thread, &hot), 0);
  while (atomic_load(&hot.cell.sequence) == 0) sched_yield();
  read_many(&hot, 200000);
  atomic_store(&hot.is_over, true);
  pthread_join(writer, NULL);
}

Test(progress, a_killed_writer_leaves_a_snapshot_or_again) {
  bench *hot = mmap(NULL, sizeof *hot, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  cr_assert_neq(hot, MAP_FAILED);
  pid_t child = fork();
  if (child == 0) {
    alarm(60); /* if the test fails, nobody else ends it */
    publish_until_over(hot);
    _exit(1);
  }
  while (atomic_load(&hot->cell.sequence) == 0) sched_yield();
  read_many(hot, 100000);
  kill(child, SIGKILL);
  cr_assert_eq(waitpid(child, NULL, 0), child);
  th_progress read;
  if (th_progress_read(&hot->cell, &read) == TH_OK)
    cr_assert(snapshot_is(&read, read.job / 64));
  else
    cr_assert_eq(hot->cell.sequence % 2, 1);
}

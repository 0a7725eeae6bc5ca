/**
 * No test leaves a descriptor open.
 *
 *   TestSuite(channel, .init = leak_begin, .fini = leak_end);
 *
 * Criterion runs each test in a process of its own, so that a count before and after is exact.
 */
#ifndef TH_TESTS_SUPPORT_LEAK_H
#define TH_TESTS_SUPPORT_LEAK_H

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static uint32_t leak_fds_before;

/** Descriptors that this process has open. The one that looks is counted each time. */
static inline uint32_t leak_count_fds(void) {
  DIR *open_fds = opendir("/proc/self/fd");
  cr_assert_not_null(open_fds);
  uint32_t count = 0;
  while (readdir(open_fds) != NULL) count++;
  closedir(open_fds);
  return count;
}

static inline void leak_begin(void) {
  leak_fds_before = leak_count_fds();
}

/* An assertion that fails after the test is printed by Criterion but does not count; a crash does.
 */
static inline void leak_end(void) {
  uint32_t after = leak_count_fds();
  if (after == leak_fds_before) return;
  fprintf(stderr, "%d descriptors more than before the test\n", (int)(after - leak_fds_before));
  abort();
}

#endif

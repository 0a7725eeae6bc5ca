/* Spinning: only where it can pay, as long as it pays. */
#include "ipc/spin.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static th_spin spin = {.may_spin = true, .learnt_ns = TH_SPIN_NS_MAX};

static bool is_never(const void *of) {
  (void)of;
  return false;
}

static bool is_set(const void *of) {
  return atomic_load((const atomic_bool *)of);
}

Test(spin, on_one_processor_is_never_allowed) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET((size_t)sched_getcpu(), &one);
  cr_assert_eq(sched_setaffinity(0, sizeof one, &one), 0);
  th_spin_init(&spin);
  th_spin_learn(&spin, true);
  for (int i = 0; i < 1000; i++)
    cr_assert_eq(th_spin_budget_ns(&spin), 0, "success teaches nothing where it is not allowed");
}

static void give_up(void) {
  int failures = 0;
  for (; spin.learnt_ns > 0; failures++) th_spin_learn(&spin, false);
  cr_assert(failures > 1 && failures < 10, "%d", failures);
}

Test(spin, is_given_up_when_it_never_pays) {
  give_up();
  cr_assert_eq(th_spin_budget_ns(&spin), 0);
}

Test(spin, that_was_given_up_is_tried_again_now_and_then) {
  give_up();
  int tried = 0;
  for (int i = 0; i < 1600; i++) {
    if (th_spin_budget_ns(&spin) == 0) continue;
    th_spin_learn(&spin, false);
    tried++;
  }
  cr_assert_eq(tried, 100);
  while (th_spin_budget_ns(&spin) == 0) continue;
  th_spin_learn(&spin, true);
  cr_assert_eq(th_spin_budget_ns(&spin), TH_SPIN_NS_MAX);
}

Test(spin, a_success_brings_all_of_it_back) {
  th_spin_learn(&spin, false);
  cr_assert_eq(th_spin_budget_ns(&spin), TH_SPIN_NS_MAX / 2);
  th_spin_learn(&spin, true);
  cr_assert_eq(th_spin_budget_ns(&spin), TH_SPIN_NS_MAX);
}

Test(spin, ends_with_the_time_or_with_what_is_waited_for) {
  atomic_bool is_there = true;
  cr_assert(th_spin_until(0, is_set, &is_there), "what is there is seen, however late it is");
  cr_assert_not(th_spin_until(0, is_never, NULL));
  int64_t begin_ns = th_clock_now_ns();
  cr_assert_not(th_spin_until(begin_ns + TH_NS_PER_MS, is_never, NULL));
  cr_assert_geq(th_clock_now_ns() - begin_ns, TH_NS_PER_MS);
}

/* ---- quotas ---- */

static char root[] = "/tmp/trainhost-spin-XXXXXX";
static char proc_file[64];

static void tree_make(void) {
  cr_assert_not_null(mkdtemp(root));
  snprintf(proc_file, sizeof proc_file, "%s/cgroup", root);
}

static void tree_remove(void) {
  char command[64];
  snprintf(command, sizeof command, "rm -rf %s", root);
  cr_assert_eq(system(command), 0);
}

TestSuite(quota, .init = tree_make, .fini = tree_remove);

static void file_put(const char *path, const char *text) {
  char command[256];
  snprintf(command, sizeof command, "mkdir -p $(dirname %s/%s)", root, path);
  cr_assert_eq(system(command), 0);
  snprintf(command, sizeof command, "%s/%s", root, path);
  FILE *file = fopen(command, "w");
  cr_assert_not_null(file);
  fputs(text, file);
  fclose(file);
}

static bool has_quota(const char *proc) {
  file_put("cgroup", proc);
  return th_spin_has_quota(proc_file, root);
}

Test(quota, none_where_there_are_no_cgroups) {
  cr_assert_not(th_spin_has_quota("/nowhere/cgroup", root));
  cr_assert_not(has_quota(""));
  cr_assert_not(has_quota("0::/\n"));
  cr_assert_not(has_quota("nonsense\n:\n::\n1:cpu\n"));
}

Test(quota, of_the_process_s_own_cgroup) {
  file_put("a/b/cpu.max", "50000 100000\n");
  cr_assert(has_quota("0::/a/b\n"));
  file_put("a/b/cpu.max", "max 100000\n");
  cr_assert_not(has_quota("0::/a/b\n"));
  cr_assert_not(has_quota("0::/a\n"));
}

Test(quota, of_a_cgroup_above_it) {
  file_put("a/cpu.max", "150000 100000\n");
  file_put("a/b/cpu.max", "max 100000\n");
  cr_assert(has_quota("0::/a/b/c\n"), "c shows no file of its own");
  cr_assert_not(has_quota("0::/ab\n"));
}

/* In a container its own cgroup is the root of what it sees. */
Test(quota, of_the_root_that_a_container_sees) {
  file_put("cpu.max", "200000 100000\n");
  cr_assert(has_quota("0::/\n"));
}

Test(quota, of_the_older_kind_of_cgroups) {
  file_put("cpu/a/cpu.cfs_quota_us", "-1\n");
  cr_assert_not(has_quota("9:memory:/a\n4:cpu,cpuacct:/a\n"));
  file_put("cpu/a/cpu.cfs_quota_us", "25000\n");
  cr_assert(has_quota("9:memory:/a\n4:cpu,cpuacct:/a\n"));
  cr_assert_not(has_quota("9:memory:/a\n4:cpuset:/a\n"), "another controller");
}

Test(quota, a_line_that_is_too_long_is_not_read_beyond_its_buffer) {
  static char line[3 * 4096];
  memset(line, 'x', sizeof line - 1);
  memcpy(line, "0::/", 4);
  cr_assert_not(has_quota(line));
}

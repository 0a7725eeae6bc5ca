/**
 * Looking again and again for a moment before going to sleep, where that pays: being woken takes
 * longer than most answers.
 *
 * How long is learnt: the longest time that can pay after a success, half as long after each
 * failure, until nothing is left; then one wait in many tries again, since of two who both sleep
 * neither would ever find out that the other could be quick. How short a sleep was says nothing: on
 * one processor, spinning would have kept the other from its work. So who is idle burns nothing.
 * With one processor, or under a quota of processor time, spinning would only take from whoever is
 * waited for: never.
 */
#ifndef TH_IPC_SPIN_H
#define TH_IPC_SPIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

/** As long as going to sleep and being woken takes: spinning longer never pays. */
#define TH_SPIN_NS_MAX INT64_C(20000)

/** What one side has learnt about one kind of wait. */
typedef struct th_spin {
  int64_t learnt_ns; /**< how long spinning can pay; 0: not at all, lately */
  uint32_t skipped; /**< waits since it was given up, or last tried again */
  bool may_spin;
} th_spin;

/** Begin with the longest time, if this process may spin at all. */
void th_spin_init(th_spin *spin);

/** How long to spin in the wait that begins now; 0: sleep at once. */
int64_t th_spin_budget_ns(th_spin *spin);

/** After spinning: whether what was waited for came. */
void th_spin_learn(th_spin *spin, bool has_come);

/** Whether a limit of processor time is set for the cgroup that `proc_file` names, or for one above
 * it. @param proc_file  as /proc/self/cgroup. @param mount  as /sys/fs/cgroup. */
bool th_spin_has_quota(const char *proc_file, const char *mount);

static inline void th_spin_relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/** Look until it is there or the time has come, which is looked at less often.
 *  @return whether it is there. */
static inline bool th_spin_until(int64_t until_ns, bool (*is_there)(const void *of),
                                 const void *of) {
  enum { LOOKS = 16 };
  do {
    for (int i = 0; i < LOOKS; i++) {
      if (is_there(of)) return true;
      th_spin_relax();
    }
  } while (th_clock_now_ns() < until_ns);
  return false;
}

#endif

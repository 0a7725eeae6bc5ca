/** Monotonic time in nanoseconds, and deadlines in it. */
#ifndef TH_BASE_CLOCK_H
#define TH_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define TH_NS_PER_MS INT64_C(1000000)
#define TH_NS_PER_S INT64_C(1000000000)

/** A time-out that never passes. */
#define TH_FOREVER INT64_MAX

/** CLOCK_MONOTONIC now. Comparable within this process only: containers may shift it. */
static inline int64_t th_clock_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * TH_NS_PER_S + now.tv_nsec;
}

/** The moment timeout_ns from now; TH_FOREVER stays TH_FOREVER, a negative one is now. */
static inline int64_t th_clock_deadline_ns(int64_t timeout_ns) {
  int64_t now = th_clock_now_ns();
  if (timeout_ns <= 0) return now;
  return timeout_ns > TH_FOREVER - now ? TH_FOREVER : now + timeout_ns;
}

#endif

/**
 * Two processes that share a carrier, this one and a child, each on a core of its own while they
 * are measured, where there are two.
 */
#ifndef TH_BENCHMARKS_PAIR_H
#define TH_BENCHMARKS_PAIR_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include "benchmarks/carrier.h"
#include "benchmarks/report.h"

typedef struct th_pair {
  const th_carrier_kind *kind;
  void *there, *back; /**< carriers, to the child and from it */
  _Atomic uint32_t *taken; /**< shared: moments that this process has taken in this turn */
  int turns; /**< a pipe to the child */
  pid_t child;
} th_pair;

/** Start the child. All of these end the process with a message when something fails. */
void th_pair_open(th_pair *pair, const th_carrier_kind *kind);

/**
 * Measure how long a moment takes from the child, which reads the clock and puts it, until this
 * process has it. Both read the same CLOCK_MONOTONIC.
 *
 * @param rest_ns  that the child rests before each, so that this process waits by then.
 * @param found    [out] in microseconds.
 */
void th_pair_hops(th_pair *pair, uint32_t count, int64_t rest_ns, th_samples *found);

/** Measure a request to the child and its answer, by this process' clock, likewise. */
void th_pair_trips(th_pair *pair, uint32_t count, int64_t rest_ns, th_samples *found);

void th_pair_close(th_pair *pair);

/**
 * Keep a thread to a core of its own, where this process may use two.
 *
 * @param thread  0: this one.
 * @param number  0 or 1: the first or the second of the cores that this process began with.
 */
void th_core_keep(pid_t thread, int number);

/** Let this thread use all of them again. */
void th_core_free(void);

/** Rest: asleep if that is long enough for it, else looking at the clock. */
void th_rest(int64_t rest_ns);

#endif

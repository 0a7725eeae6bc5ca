/** The other side of a comparison: a script that measures itself once each time that it is asked.
 */
#ifndef TH_BENCHMARKS_PEER_H
#define TH_BENCHMARKS_PEER_H

#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "benchmarks/data.h"
#include "benchmarks/options.h"

typedef struct th_peer {
  pid_t process;
  FILE *asks, *answers;
  char description[128]; /**< "2.9.0, eager, Adam(fused)" */
} th_peer;

/**
 * Start the script that the options name, and wait until it has chosen its fastest way.
 *
 * All of these exit with a message when something fails: a benchmark has nothing to save.
 *
 * @param threads    that its libraries may use.
 * @param arguments  of the script, NULL-terminated.
 */
void th_peer_start(th_peer *peer, const th_bench_options *options, uint32_t threads,
                   const char *const *arguments);

/** As above, with the arguments CASE THREADS FILE ROWS WIDTH. */
void th_peer_start_on(th_peer *peer, const th_bench_options *options, const char *name,
                      uint32_t threads, const th_bench_data *data);

/** Have it measure itself. @return what it prints: a rate. */
double th_peer_run(th_peer *peer);

/** The two halves of that: several may be asked for before the first answer is taken. */
void th_peer_ask(th_peer *peer);
double th_peer_answer(th_peer *peer);

void th_peer_stop(th_peer *peer);

#endif

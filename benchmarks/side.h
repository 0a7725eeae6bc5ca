/** One side of a comparison of times, measured a few times in each round. */
#ifndef TH_BENCHMARKS_SIDE_H
#define TH_BENCHMARKS_SIDE_H

#include "benchmarks/options.h"
#include "benchmarks/report.h"

/** How a side is measured. All of it ends the process with a message when something fails. */
typedef struct th_side_kind {
  void *(*open)(const th_bench_options *options, const void *argument);
  /** Measure it so many times, after a rest each time. @param found  [out] in microseconds. */
  void (*measure)(void *side, uint32_t count, int64_t rest_ns, th_samples *found);
  void (*close)(void *side);
} th_side_kind;

/** One way and there and back. argument: a th_carrier_kind. */
extern const th_side_kind th_side_hops, th_side_trips;

/** The product: th_adapter_health of a daemon. */
extern const th_side_kind th_side_health;

/** FastAPI, asked by httpx. argument: which way, as fastapi_peer.py has them. */
extern const th_side_kind th_side_fastapi;

/** Time to error when nobody is there: the product, a bare connect(2), libcurl. */
extern const th_side_kind th_side_absent, th_side_absent_connect, th_side_absent_http;

#endif

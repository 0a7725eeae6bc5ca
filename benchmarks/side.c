#include "benchmarks/side.h"

#include <stdlib.h>

#include "base/clock.h"
#include "benchmarks/daemon.h"
#include "benchmarks/pair.h"
#include "benchmarks/stop.h"

/* ---- pairs of processes ---- */

static void *pair_open(const th_bench_options *options, const void *argument) {
  (void)options;
  th_pair *pair = malloc(sizeof *pair);
  if (pair == NULL) th_stop("pair");
  th_pair_open(pair, argument);
  return pair;
}

static void hops_measure(void *side, uint32_t count, int64_t rest_ns, th_samples *found) {
  th_pair_hops(side, count, rest_ns, found);
}

static void trips_measure(void *side, uint32_t count, int64_t rest_ns, th_samples *found) {
  th_pair_trips(side, count, rest_ns, found);
}

static void pair_close(void *side) {
  th_pair_close(side);
  free(side);
}

const th_side_kind th_side_hops = {pair_open, hops_measure, pair_close};
const th_side_kind th_side_trips = {pair_open, trips_measure, pair_close};

/* ---- the product ---- */

static void *health_open(const th_bench_options *options, const void *argument) {
  (void)options, (void)argument;
  th_bench_daemon *daemon = malloc(sizeof *daemon);
  if (daemon == NULL) th_stop("daemon");
  th_bench_daemon_start(daemon);
  /* Its loop, which is its first thread. It has found more than one core when it started. */
  th_core_keep(daemon->process, 1);
  return daemon;
}

static void health_measure(void *side, uint32_t count, int64_t rest_ns, th_samples *found) {
  const th_bench_daemon *daemon = side;
  th_health health;
  th_watchdog_feed();
  th_core_keep(0, 0);
  for (uint32_t i = 0; i < count; i++) {
    th_rest(rest_ns);
    int64_t start_ns = th_clock_now_ns();
    th_stop_unless_ok(th_adapter_health(daemon->adapter, &health));
    th_samples_add(found, (double)(th_clock_now_ns() - start_ns) / 1e3);
  }
  th_core_free();
}

static void health_close(void *side) {
  th_bench_daemon_stop(side);
  free(side);
}

const th_side_kind th_side_health = {health_open, health_measure, health_close};

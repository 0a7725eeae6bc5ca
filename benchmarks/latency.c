/**
 * How long it takes until the other side knows: the product beside the machine's limits and beside
 * what others use, in turns.
 *
 * "hot" is one after the other, the processes awake; "asleep" is after a rest so long that all of
 * them sleep.
 */
#include <stddef.h>

#include "benchmarks/carrier.h"
#include "benchmarks/cases.h"
#include "benchmarks/rounds.h"

enum { RUNS_DEFAULT = 20 };

/* Longer than any side spins before it sleeps. A hop that is hot needs the taker to be there. */
enum { HOT_HOP_NS = 2000, ASLEEP_NS = 20000000 };

#define LIMIT TH_REPORT_TIMES
#define OTHER TH_REPORT_SPEEDUP

static const th_round_group groups[] = {
    {"hop-hot",
     "progress is written until a client that looks all the time has it",
     HOT_HOP_NS,
     0,
     {{"trainhost", &th_side_hops, &th_carrier_progress, 1000, LIMIT},
      {"cacheline", &th_side_hops, &th_carrier_cacheline, 1000, LIMIT},
      {"eventfd", &th_side_hops, &th_carrier_eventfd, 200, OTHER},
      {"unix-socket", &th_side_hops, &th_carrier_socket, 200, OTHER},
      {"zeromq", &th_side_hops, &th_carrier_zeromq, 200, OTHER},
      {"http-c", &th_side_hops, &th_carrier_http, 100, OTHER},
      {"http-c-unix", &th_side_hops, &th_carrier_http_unix, 100, OTHER},
      {"http-fastapi-keepalive", &th_side_fastapi, "hop-keepalive", 10, OTHER},
      {"http-fastapi-newclient", &th_side_fastapi, "hop-newclient", 10, OTHER}}},
    {"hop-asleep",
     "progress is written until a client that sleeps meanwhile has it",
     ASLEEP_NS,
     0,
     {{"trainhost", &th_side_hops, &th_carrier_event, 10, LIMIT},
      {"eventfd", &th_side_hops, &th_carrier_eventfd, 10, LIMIT},
      {"futex", &th_side_hops, &th_carrier_futex, 10, LIMIT},
      {"unix-socket", &th_side_hops, &th_carrier_socket, 10, OTHER},
      {"zeromq", &th_side_hops, &th_carrier_zeromq, 10, OTHER},
      {"http-fastapi-events", &th_side_fastapi, "hop-events", 10, OTHER}}},
    {"roundtrip-hot",
     "a request about the host's health and its answer, one after the other",
     0,
     0,
     {{"trainhost", &th_side_health, NULL, 500, LIMIT},
      {"cacheline", &th_side_trips, &th_carrier_cacheline, 500, LIMIT},
      {"eventfd", &th_side_trips, &th_carrier_eventfd, 200, OTHER},
      {"unix-socket", &th_side_trips, &th_carrier_socket, 200, OTHER},
      {"zeromq", &th_side_trips, &th_carrier_zeromq, 200, OTHER},
      {"http-c", &th_side_trips, &th_carrier_http, 200, OTHER},
      {"http-c-unix", &th_side_trips, &th_carrier_http_unix, 200, OTHER},
      {"http-fastapi-keepalive", &th_side_fastapi, "trip-keepalive", 50, OTHER},
      {"http-fastapi-newclient", &th_side_fastapi, "trip-newclient", 5, OTHER}}},
    {"roundtrip-asleep",
     "the same, when both sides have slept",
     ASLEEP_NS,
     0,
     {{"trainhost", &th_side_health, NULL, 10, LIMIT},
      {"eventfd", &th_side_trips, &th_carrier_eventfd, 10, LIMIT},
      {"unix-socket", &th_side_trips, &th_carrier_socket, 10, OTHER},
      {"zeromq", &th_side_trips, &th_carrier_zeromq, 10, OTHER},
      {"http-c", &th_side_trips, &th_carrier_http, 10, OTHER},
      {"http-c-unix", &th_side_trips, &th_carrier_http_unix, 10, OTHER},
      {"http-fastapi-keepalive", &th_side_fastapi, "trip-keepalive", 10, OTHER},
      {"http-fastapi-newclient", &th_side_fastapi, "trip-newclient", 5, OTHER}}},
    {"absent",
     "a client opens, and nobody is there, until it has the error",
     0,
     0,
     {{"trainhost", &th_side_absent, NULL, 500, LIMIT},
      {"connect", &th_side_absent_connect, NULL, 500, LIMIT},
      {"http-c", &th_side_absent_http, NULL, 200, OTHER},
      {"http-fastapi-keepalive", &th_side_fastapi, "absent-keepalive", 50, OTHER},
      {"http-fastapi-newclient", &th_side_fastapi, "absent-newclient", 5, OTHER}}},
};
enum { GROUPS = sizeof groups / sizeof *groups };

static uint32_t group_measure(uint32_t index, const th_bench_options *options,
                              th_report_row *rows) {
  return th_rounds_measure(&groups[index], options, rows);
}

int main(int argc, char **argv) {
  static const th_bench bench = {
      .doc =
          "Measure how soon the other side knows, beside FastAPI among others: PYTHON, which has "
          "it, runs the script PEER.",
      .runs = RUNS_DEFAULT,
      .has_cases = true,
      .has_peer = true};
  th_bench_options options = th_bench_options_read(&bench, argc, argv);
  return th_bench_cases_run(&options, GROUPS, group_measure);
}

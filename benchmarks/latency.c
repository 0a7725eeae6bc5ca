/**
 * How long it takes until the other side knows: the product beside the machine's limits and beside
 * what others use. In each round every side is measured once, a block of times, so that whatever
 * disturbs this machine disturbs all of them.
 *
 * "hot" is one after the other, the processes awake; "asleep" is after a rest so long that all of
 * them sleep.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "benchmarks/carrier.h"
#include "benchmarks/options.h"
#include "benchmarks/report.h"
#include "benchmarks/side.h"

enum { RUNS_DEFAULT = 20, SIDES_MAX = 10 };

/* Longer than any side spins before it sleeps. A hop that is hot needs the taker to be there. */
enum { HOT_HOP_NS = 2000, ASLEEP_NS = 20000000 };

typedef struct latency_side {
  const char *name;
  const th_side_kind *kind;
  const void *argument;
  uint32_t block; /* times in a round: fewer of slow ones */
  th_report_kind compared; /* the product with it */
} latency_side;

typedef struct latency_group {
  const char *name, *meaning;
  int64_t rest_ns;
  latency_side sides[SIDES_MAX]; /* the product's is the first, an empty one ends them */
} latency_group;

#define LIMIT TH_REPORT_TIMES
#define OTHER TH_REPORT_SPEEDUP

static const latency_group groups[] = {
    {"hop-hot",
     "progress is written until a client that looks all the time has it",
     HOT_HOP_NS,
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
     {{"trainhost", &th_side_hops, &th_carrier_event, 10, LIMIT},
      {"eventfd", &th_side_hops, &th_carrier_eventfd, 10, LIMIT},
      {"futex", &th_side_hops, &th_carrier_futex, 10, LIMIT},
      {"unix-socket", &th_side_hops, &th_carrier_socket, 10, OTHER},
      {"zeromq", &th_side_hops, &th_carrier_zeromq, 10, OTHER},
      {"http-fastapi-events", &th_side_fastapi, "hop-events", 10, OTHER}}},
    {"roundtrip-hot",
     "a request about the host's health and its answer, one after the other",
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
     {{"trainhost", &th_side_absent, NULL, 500, LIMIT},
      {"connect", &th_side_absent_connect, NULL, 500, LIMIT},
      {"http-c", &th_side_absent_http, NULL, 200, OTHER},
      {"http-fastapi-keepalive", &th_side_fastapi, "absent-keepalive", 50, OTHER},
      {"http-fastapi-newclient", &th_side_fastapi, "absent-newclient", 5, OTHER}}},
};
enum { GROUPS = sizeof groups / sizeof *groups, ROWS_MAX = GROUPS * SIDES_MAX };

/* A side that takes part. */
typedef struct latency_player {
  const latency_side *side;
  void *state;
  th_samples found;
} latency_player;

/* Names of rows live as long as the report. */
static const char *row_name(const latency_group *group, const latency_side *side) {
  char *name = NULL;
  if (asprintf(&name, "%s/%s", group->name, side->name) < 0) exit(EXIT_FAILURE);
  return name;
}

static void player_measure(latency_player *player, const latency_group *group) {
  player->side->kind->measure(player->state, player->side->block, group->rest_ns, &player->found);
}

/* With a first block that warms up and is not counted. */
static latency_player player_open(const latency_group *group, const latency_side *side,
                                  const th_bench_options *options) {
  latency_player player = {.side = side,
                           .state = side->kind->open(options, side->argument),
                           .found = th_samples_create(side->block * options->runs)};
  player_measure(&player, group);
  player.found.count = 0;
  return player;
}

static void player_close(latency_player *player) {
  player->side->kind->close(player->state);
  th_samples_fini(&player->found);
}

static void quantiles_print(const latency_group *group, latency_player *players, uint32_t count) {
  static const double quantiles[] = {0.5, 0.9, 0.99, 0.999};
  printf("\n%s: %s\n%-26s %12s %12s %12s %12s  us\n", group->name, group->meaning, "", "p50", "p90",
         "p99", "p99.9");
  for (uint32_t i = 0; i < count; i++) {
    printf("  %-24s", players[i].side->name);
    for (int q = 0; q < 4; q++)
      printf(" %12.3f", th_samples_quantile(&players[i].found, quantiles[q]));
    printf("\n");
  }
}

/* The product and those of the others that are wanted. @return how many; 0 without others. */
static uint32_t players_choose(const latency_group *group, const th_bench_options *options,
                               const latency_side **chosen) {
  uint32_t count = 1;
  chosen[0] = &group->sides[0];
  for (uint32_t i = 1; i < SIDES_MAX && group->sides[i].name != NULL; i++) {
    const char *name = row_name(group, &group->sides[i]);
    if (th_bench_wants(options, name)) chosen[count++] = &group->sides[i];
    free((void *)(uintptr_t)name);
  }
  return count > 1 ? count : 0;
}

/* @return how many rows of the report were written. */
static uint32_t group_measure(const latency_group *group, const th_bench_options *options,
                              th_report_row *rows) {
  const latency_side *chosen[SIDES_MAX];
  latency_player players[SIDES_MAX];
  uint32_t count = players_choose(group, options, chosen);
  if (count == 0) return 0;
  for (uint32_t i = 0; i < count; i++) players[i] = player_open(group, chosen[i], options);
  for (uint32_t run = 0; run < options->runs; run++)
    for (uint32_t i = 0; i < count; i++) player_measure(&players[i], group);
  quantiles_print(group, players, count);
  for (uint32_t i = 1; i < count; i++)
    rows[i - 1] = th_report_compare(row_name(group, chosen[i]), "us", chosen[i]->compared,
                                    &players[0].found, &players[i].found);
  /* The last first: processes forked later hold descriptors of those before. */
  for (uint32_t i = count; i-- > 0;) player_close(&players[i]);
  return count - 1;
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
  th_report_warn_of_load();
  th_report_row rows[ROWS_MAX];
  uint32_t count = 0;
  for (uint32_t i = 0; i < GROUPS; i++) count += group_measure(&groups[i], &options, rows + count);
  printf("\n");
  return th_report_finish(rows, count, options.json);
}

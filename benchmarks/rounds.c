#include "benchmarks/rounds.h"

#include <stdio.h>
#include <stdlib.h>

/* A side that takes part. */
typedef struct round_player {
  const th_round_side *side;
  void *state;
  th_samples found;
} round_player;

/* Names of rows live as long as the report. */
static const char *row_name(const th_round_group *group, const th_round_side *side) {
  char *name = NULL;
  if (asprintf(&name, "%s/%s", group->name, side->name) < 0) exit(EXIT_FAILURE);
  return name;
}

static void player_measure(round_player *player, const th_round_group *group) {
  player->side->kind->measure(player->state, player->side->block, group->rest_ns, &player->found);
}

/* With a first block that warms up and is not counted. */
static round_player player_open(const th_round_group *group, const th_round_side *side,
                                const th_bench_options *options) {
  round_player player = {.side = side,
                         .state = side->kind->open(options, side->argument),
                         .found = th_samples_create(side->block * options->runs)};
  player_measure(&player, group);
  player.found.count = 0;
  return player;
}

static void player_close(round_player *player) {
  player->side->kind->close(player->state);
  th_samples_fini(&player->found);
}

static void quantiles_print(const th_round_group *group, round_player *players, uint32_t count) {
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

/* Of microseconds, MiB a second. */
static void rates_make(th_samples *found, uint64_t bytes) {
  double mib = (double)bytes / (1 << 20);
  for (uint32_t i = 0; i < found->count; i++) found->values[i] = mib * 1e6 / found->values[i];
}

/* The product and those of the others that are wanted. @return how many; 0 without others. */
static uint32_t players_choose(const th_round_group *group, const th_bench_options *options,
                               const th_round_side **chosen) {
  uint32_t count = 1;
  chosen[0] = &group->sides[0];
  for (uint32_t i = 1; i < TH_ROUND_SIDES_MAX && group->sides[i].name != NULL; i++) {
    const char *name = row_name(group, &group->sides[i]);
    if (th_bench_wants(options, name)) chosen[count++] = &group->sides[i];
    free((void *)(uintptr_t)name);
  }
  return count > 1 ? count : 0;
}

uint32_t th_rounds_measure(const th_round_group *group, const th_bench_options *options,
                           th_report_row *rows) {
  const th_round_side *chosen[TH_ROUND_SIDES_MAX];
  round_player players[TH_ROUND_SIDES_MAX];
  uint32_t count = players_choose(group, options, chosen);
  if (count == 0) return 0;
  for (uint32_t i = 0; i < count; i++) players[i] = player_open(group, chosen[i], options);
  for (uint32_t run = 0; run < options->runs; run++)
    for (uint32_t i = 0; i < count; i++) player_measure(&players[i], group);
  quantiles_print(group, players, count);
  for (uint32_t i = 0; i < count && group->bytes > 0; i++)
    rates_make(&players[i].found, group->bytes);
  for (uint32_t i = 1; i < count; i++)
    rows[i - 1] = th_report_compare(row_name(group, chosen[i]), group->bytes > 0 ? "MiB/s" : "us",
                                    chosen[i]->compared, &players[0].found, &players[i].found);
  /* The last first: processes forked later hold descriptors of those before. */
  for (uint32_t i = count; i-- > 0;) player_close(&players[i]);
  return count - 1;
}

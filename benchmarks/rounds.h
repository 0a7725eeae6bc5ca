/**
 * Sides that take turns: in each round every one is measured once, a block of times, so that
 * whatever disturbs this machine disturbs all of them.
 */
#ifndef TH_BENCHMARKS_ROUNDS_H
#define TH_BENCHMARKS_ROUNDS_H

#include "benchmarks/cases.h"
#include "benchmarks/side.h"

enum { TH_ROUND_SIDES_MAX = TH_BENCH_CASE_ROWS_MAX };

typedef struct th_round_side {
  const char *name;
  const th_side_kind *kind;
  const void *argument; /**< of its open */
  uint32_t block; /**< times in a round: fewer of slow ones */
  th_report_kind compared; /**< the product with it; see bytes */
} th_round_side;

typedef struct th_round_group {
  const char *name, *meaning;
  int64_t rest_ns;
  uint64_t bytes; /**< that are carried each time: rates are compared then; 0: times */
  th_round_side
      sides[TH_ROUND_SIDES_MAX]; /**< the product's is the first, an empty one ends them */
} th_round_group;

/**
 * Measure those sides of a group that are wanted, and print their quantiles.
 *
 * @param rows  [out] room for TH_ROUND_SIDES_MAX rows, "GROUP/SIDE": the product beside each.
 * @return how many there are. Ends the process with a message when something fails.
 */
uint32_t th_rounds_measure(const th_round_group *group, const th_bench_options *options,
                           th_report_row *rows);

#endif

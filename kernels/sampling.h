/**
 * Which row stands at each place of an epoch: a function of seed, epoch and place, so that any
 * device can ask for any place, in any order and on any thread, and gets the same row.
 */
#ifndef TH_KERNELS_SAMPLING_H
#define TH_KERNELS_SAMPLING_H

#include "base/error.h"
#include "kernels/random.h"
#include "kernels/split.h"

/** A column of an alias table: it stands for itself if 32 random bits lie below the threshold, and
 * for the other one if not. */
typedef struct th_alias {
  uint32_t threshold;
  uint32_t other;
} th_alias;

/** The rows of a group that are trained on. */
typedef struct th_group {
  uint32_t first; /**< of its members among all */
  th_permutation order; /**< of its members; the round is its tweak */
} th_group;

/** What rows are drawn from. {0} if every row comes once an epoch. */
typedef struct th_sampling {
  th_alias *aliases; /**< [training rows] by position, if weighted */
  th_group *groups; /**< [group_count] if balanced, in the order of their ids */
  uint32_t group_count;
  uint32_t *members; /**< [training rows] positions, group by group */
} th_sampling;

/**
 * Make the tables that a specification's sampling needs, of the rows that a split trains on.
 *
 * The alias table is Vose's (1991, "A linear algorithm for generating random numbers with a given
 * distribution").
 *
 * @return TH_OK; TH_ERR_DATA if the data have no weights or groups to sample by, or all these rows
 *         weigh 0; TH_ERR_SYSTEM without memory.
 */
th_error th_sampling_init(th_sampling *sampling, const th_spec *spec, const th_data *data,
                          const th_split *split);

/** Takes an empty one. */
void th_sampling_fini(th_sampling *sampling);

/** The rows of one epoch. */
typedef struct th_order {
  th_sampling_kind kind;
  th_sampling sampling; /**< borrowed tables */
  uint64_t seed;
  uint32_t epoch; /**< from 1 */
  uint32_t rows; /**< trained on, and places in the epoch */
  th_permutation shuffled; /**< of these, if each comes once */
} th_order;

TH_HOST_DEVICE th_order th_order_of(const th_sampling *sampling, const th_spec *spec, uint32_t rows,
                                    uint32_t epoch) {
  th_order order = {.kind = spec->sampling,
                    .sampling = *sampling,
                    .seed = spec->seed,
                    .epoch = epoch,
                    .rows = rows,
                    .shuffled = th_permutation_identity(rows)};
  if (spec->sampling == TH_SAMPLING_EACH && spec->shuffle)
    order.shuffled = th_permutation_draw(rows, spec->seed, TH_RANDOM_SHUFFLE, epoch);
  return order;
}

/** A row in proportion to its weight. 64 bits choose the column, so that none of 2^32 is favoured
 * by more than 2^-32. */
TH_HOST_DEVICE uint32_t th_order_draw(const th_order *order, uint32_t place) {
  th_philox bits = th_philox_at(order->seed, place, order->epoch, 0, TH_RANDOM_SAMPLING);
  uint64_t low = (uint64_t)bits.word[1] * order->rows;
  uint32_t column = (uint32_t)(((uint64_t)bits.word[0] * order->rows + (low >> 32)) >> 32);
  th_alias alias = order->sampling.aliases[column];
  return bits.word[2] < alias.threshold ? column : alias.other;
}

/** The groups take turns from the first epoch to the last, so that any run of places, a batch say,
 * has of each group as many rows as of any other, or one more. A group whose members have all come
 * begins another round of them, in another order. */
TH_HOST_DEVICE uint32_t th_order_take(const th_order *order, uint32_t place) {
  uint64_t turn = (order->epoch - UINT64_C(1)) * order->rows + place;
  const th_group *group = &order->sampling.groups[turn % order->sampling.group_count];
  uint64_t taken = turn / order->sampling.group_count;
  uint32_t round = (uint32_t)(taken / group->order.count);
  uint32_t member = (uint32_t)(taken % group->order.count);
  uint32_t tweak = th_permutation_mix(round);
  return order->sampling
      .members[group->first + th_permutation_tweaked_at(&group->order, tweak, member)];
}

/** The position, below the training rows, of the row at a place of the epoch. */
TH_HOST_DEVICE uint32_t th_order_at(const th_order *order, uint32_t place) {
  switch (order->kind) {
    case TH_SAMPLING_EACH:
      return th_permutation_at(&order->shuffled, place);
    case TH_SAMPLING_WEIGHTED:
      return th_order_draw(order, place);
    case TH_SAMPLING_BALANCED:
      return th_order_take(order, place);
  }
  __builtin_unreachable();
}

#endif

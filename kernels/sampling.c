#include "kernels/sampling.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/check.h"
#include "kernels/data.h"

static th_error fail_memory(uint32_t rows) {
  return th_fail(TH_ERR_SYSTEM, "no memory to sample from %u rows", rows);
}

/* ---- weighted ---- */

static th_alias alias_of(double probability, uint32_t other) {
  double threshold = probability * 0x1p32 + 0.5;
  return (th_alias){.threshold = threshold < UINT32_MAX ? (uint32_t)threshold : UINT32_MAX,
                    .other = other};
}

/**
 * Fill the columns of the light rows up with what the heavy ones have too much.
 *
 * @param shares    [rows] [in,out] weights in units of their mean: 1 on average.
 * @param worklist  [rows] room for the light rows, from its beginning, and the heavy, from its end.
 */
static void columns_fill(double *shares, uint32_t *worklist, uint32_t rows, th_alias *aliases) {
  uint32_t light = 0, heavy = rows, heaviest = 0;
  for (uint32_t i = 0; i < rows; i++) {
    heaviest = shares[i] > shares[heaviest] ? i : heaviest;
    worklist[shares[i] < 1 ? light++ : --heavy] = i;
  }
  while (light > 0 && heavy < rows) {
    uint32_t taker = worklist[--light], giver = worklist[heavy];
    aliases[taker] = alias_of(shares[taker], giver);
    shares[giver] -= 1 - shares[taker];
    if (shares[giver] >= 1) continue;
    heavy++;
    worklist[light++] = giver;
  }
  /* Rounding leaves some light without a giver, and heavy ones with a full column. None that
   * weighs 0 may be drawn for it. */
  while (light > 0) {
    uint32_t taker = worklist[--light];
    aliases[taker] = alias_of(shares[taker], heaviest);
  }
  for (; heavy < rows; heavy++) aliases[worklist[heavy]] = alias_of(1, worklist[heavy]);
}

static th_error weighted_init(th_sampling *sampling, const th_data *data, const th_split *split) {
  uint32_t rows = split->training_rows;
  double *shares = calloc(rows, sizeof *shares);
  uint32_t *worklist = calloc(rows, sizeof *worklist);
  sampling->aliases = calloc(rows, sizeof *sampling->aliases);
  bool has_memory = shares != NULL && worklist != NULL && sampling->aliases != NULL;
  double sum = 0;
  for (uint32_t i = 0; i < rows && has_memory; i++)
    sum += shares[i] = (double)data->weights[th_split_row(split, i)];
  for (uint32_t i = 0; i < rows && has_memory; i++) shares[i] *= rows / sum;
  if (has_memory) columns_fill(shares, worklist, rows, sampling->aliases);
  free(shares);
  free(worklist);
  return has_memory ? TH_OK : fail_memory(rows);
}

/* ---- balanced ---- */

static int key_compare(const void *a, const void *b) {
  uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
  return (left > right) - (left < right);
}

/* The group in the upper half, the position in the lower. */
static uint64_t *keys_sorted(const th_data *data, const th_split *split) {
  uint32_t rows = split->training_rows;
  uint64_t *keys = calloc(rows, sizeof *keys);
  for (uint32_t i = 0; i < rows && keys != NULL; i++)
    keys[i] = (uint64_t)(uint32_t)data->groups[th_split_row(split, i)] << 32 | i;
  if (keys != NULL) qsort(keys, rows, sizeof *keys, key_compare);
  return keys;
}

static bool group_begins(const uint64_t *keys, uint32_t i) {
  return i == 0 || keys[i] >> 32 != keys[i - 1] >> 32;
}

static void groups_describe(th_sampling *sampling, const uint64_t *keys, uint32_t rows,
                            uint64_t seed) {
  uint32_t group = 0;
  for (uint32_t first = 0, end; first < rows; first = end, group++) {
    for (end = first + 1; end < rows && !group_begins(keys, end); end++) continue;
    sampling->groups[group] = (th_group){
        .first = first, .order = th_permutation_draw(end - first, seed, TH_RANDOM_SAMPLING, group)};
  }
  for (uint32_t i = 0; i < rows; i++) sampling->members[i] = (uint32_t)keys[i];
}

static th_error balanced_init(th_sampling *sampling, const th_spec *spec, const th_data *data,
                              const th_split *split) {
  uint32_t rows = split->training_rows;
  uint64_t *keys = keys_sorted(data, split);
  if (keys == NULL) return fail_memory(rows);
  /* A split leaves rows to train on. */
  th_check(rows > 0);
  for (uint32_t i = 0; i < rows; i++) sampling->group_count += group_begins(keys, i);
  sampling->groups = calloc(sampling->group_count, sizeof *sampling->groups);
  sampling->members = calloc(rows, sizeof *sampling->members);
  bool has_memory = sampling->groups != NULL && sampling->members != NULL;
  if (has_memory) groups_describe(sampling, keys, rows, spec->seed);
  free(keys);
  return has_memory ? TH_OK : fail_memory(rows);
}

static th_error fail_missing(const char *sampling, const char *array) {
  return th_fail(TH_ERR_DATA,
                 "%s: sampling is \"%s\" and the rows have none; give %s, or set sampling to "
                 "\"each\"",
                 array, sampling, array);
}

th_error th_sampling_init(th_sampling *sampling, const th_spec *spec, const th_data *data,
                          const th_split *split) {
  *sampling = (th_sampling){0};
  switch (spec->sampling) {
    case TH_SAMPLING_EACH:
      return TH_OK;
    case TH_SAMPLING_WEIGHTED:
      return data->weights == NULL ? fail_missing("weighted", "weights")
                                   : weighted_init(sampling, data, split);
    case TH_SAMPLING_BALANCED:
      return data->groups == NULL ? fail_missing("balanced", "groups")
                                  : balanced_init(sampling, spec, data, split);
  }
  __builtin_unreachable();
}

void th_sampling_fini(th_sampling *sampling) {
  free(sampling->aliases);
  free(sampling->groups);
  free(sampling->members);
  *sampling = (th_sampling){0};
}

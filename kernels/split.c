#include "kernels/split.h"

#include <stdbool.h>
#include <stdlib.h>

static uint32_t share(double fraction, uint64_t rows) {
  return (uint32_t)(fraction * (double)rows + 0.5);
}

/**
 * How many rows of each class validate: the share of all rows up to the class's last, if rows were
 * sorted by class, less that up to its first. So the shares add up to the share of all, and none is
 * off by a whole row.
 *
 * @param quotas  [classes] [in,out] zero; on return rows to draw.
 */
static void quotas_count(const th_data *data, uint32_t classes, double fraction, uint32_t *quotas) {
  for (uint64_t r = 0; r < data->rows; r++) quotas[data->labels[r]]++;
  uint64_t before = 0;
  for (uint32_t c = 0; c < classes; c++) {
    uint64_t after = before + quotas[c];
    quotas[c] = share(fraction, after) - share(fraction, before);
    before = after;
  }
}

/* In the order drawn on the seed, the first rows of each class validate. */
static th_error stratify(th_split *split, const th_data *data, uint32_t classes, double fraction) {
  uint32_t *quotas = calloc(classes, sizeof *quotas);
  split->rows = malloc(data->rows * sizeof *split->rows);
  if (quotas == NULL || split->rows == NULL) {
    free(quotas);
    return th_fail(TH_ERR_SYSTEM, "no memory to split %u rows of %u classes",
                   split->training_rows + split->validation_rows, classes);
  }
  quotas_count(data, classes, fraction, quotas);
  uint32_t trained = 0;
  uint32_t validated = split->training_rows;
  for (uint32_t i = 0; i < data->rows; i++) {
    uint32_t row = th_permutation_at(&split->order, i);
    uint32_t *quota = &quotas[data->labels[row]];
    uint32_t *place = *quota > 0 ? &validated : &trained;
    if (*quota > 0) --*quota;
    split->rows[(*place)++] = row;
  }
  free(quotas);
  return TH_OK;
}

static th_error rows_count(th_split *split, const th_spec *spec, uint32_t rows) {
  bool by_number = spec->validation_rows > 0;
  if (by_number && spec->validation_rows >= rows)
    return th_fail(TH_ERR_DATA, "validation_rows is %u of %u rows: none is left to train on",
                   spec->validation_rows, rows);
  split->validation_rows = by_number ? spec->validation_rows : share(spec->validation_split, rows);
  split->training_rows = rows - split->validation_rows;
  if (split->training_rows > 0 && (spec->validation_split == 0 || split->validation_rows > 0))
    return TH_OK;
  return th_fail(TH_ERR_DATA,
                 "validation_split %g of %u rows leaves %u to train on and %u to validate on; "
                 "both need at least one",
                 spec->validation_split, rows, split->training_rows, split->validation_rows);
}

/* ---- folds ---- */

static th_error folds_fit(const th_spec *spec, uint32_t rows) {
  uint64_t parts = (uint64_t)spec->folds + (spec->split == TH_SPLIT_LAST);
  if (rows >= parts) return TH_OK;
  return th_fail(TH_ERR_DATA, "folds is %u of %u rows: every fold needs a row", spec->folds, rows);
}

static void walk_forward(th_split *split, const th_spec *spec, uint32_t rows) {
  uint64_t blocks = (uint64_t)spec->folds + 1;
  split->training_rows = (uint32_t)(spec->fold * (uint64_t)rows / blocks);
  uint32_t end = (uint32_t)((spec->fold + UINT64_C(1)) * rows / blocks);
  split->validation_rows = end - split->training_rows;
}

/**
 * Where in the deal each class begins: as if rows were sorted by class and dealt like cards, so
 * that the folds differ by a row at most, of every class and in all.
 *
 * @param next  [classes] [in,out] zero; on return the card that the class's first row is.
 */
static void deal_begin(const th_data *data, uint32_t classes, uint64_t *next) {
  for (uint64_t r = 0; r < data->rows; r++) next[data->labels[r]]++;
  uint64_t before = 0;
  for (uint32_t c = 0; c < classes; c++) {
    uint64_t count = next[c];
    next[c] = before;
    before += count;
  }
}

/* In the order drawn on the seed. Without strata all rows are of one class. */
static th_error deal(th_split *split, const th_spec *spec, const th_data *data, uint32_t classes) {
  bool is_stratified = spec->split == TH_SPLIT_STRATIFIED;
  uint64_t *next = calloc(classes, sizeof *next);
  split->rows = malloc(data->rows * sizeof *split->rows);
  if (next == NULL || split->rows == NULL) {
    free(next);
    return th_fail(TH_ERR_SYSTEM, "no memory to cut rows into %u folds", spec->folds);
  }
  if (is_stratified) deal_begin(data, classes, next);
  uint32_t rows = (uint32_t)data->rows, held = spec->fold - 1;
  split->validation_rows = (rows - held + spec->folds - 1) / spec->folds;
  split->training_rows = rows - split->validation_rows;
  uint32_t trained = 0, validated = split->training_rows;
  for (uint32_t i = 0; i < rows; i++) {
    uint32_t row = th_permutation_at(&split->order, i);
    uint64_t card = next[is_stratified ? data->labels[row] : 0]++;
    uint32_t *place = card % spec->folds == held ? &validated : &trained;
    split->rows[(*place)++] = row;
  }
  free(next);
  return TH_OK;
}

static th_error folds_divide(th_split *split, const th_spec *spec, const th_data *data,
                             uint32_t classes) {
  uint32_t rows = (uint32_t)data->rows;
  th_error error = folds_fit(spec, rows);
  if (error != TH_OK) return error;
  if (spec->split == TH_SPLIT_LAST) {
    walk_forward(split, spec, rows);
    return TH_OK;
  }
  split->order = th_permutation_draw(rows, spec->seed, TH_RANDOM_SPLIT, 0);
  return deal(split, spec, data, classes);
}

th_error th_split_init(th_split *split, const th_spec *spec, const th_data *data,
                       uint32_t classes) {
  uint32_t rows = (uint32_t)data->rows;
  *split = (th_split){.order = th_permutation_identity(rows)};
  if (spec->folds > 0) return folds_divide(split, spec, data, classes);
  th_error error = rows_count(split, spec, rows);
  if (error != TH_OK) return error;
  if (spec->validation_split == 0 || spec->split == TH_SPLIT_LAST) return TH_OK;
  split->order = th_permutation_draw(rows, spec->seed, TH_RANDOM_SPLIT, 0);
  if (spec->split == TH_SPLIT_STRATIFIED)
    error = stratify(split, data, classes, spec->validation_split);
  return error;
}

void th_split_fini(th_split *split) {
  free(split->rows);
  *split = (th_split){0};
}

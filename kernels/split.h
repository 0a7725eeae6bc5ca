/** Which rows a training learns from and which it is judged by. */
#ifndef TH_KERNELS_SPLIT_H
#define TH_KERNELS_SPLIT_H

#include <stdint.h>

#include "base/error.h"
#include "kernels/random.h"
#include "kernels/trainer.h"

/** Rows by position: those of the first positions are trained on, the others validate. */
typedef struct th_split {
  uint32_t training_rows, validation_rows;
  th_permutation order; /**< position → row */
  uint32_t *rows; /**< the same as a list, instead of it; NULL unless stratified or a fold */
} th_split;

/**
 * Divide the rows of a data set.
 *
 * A fraction of N rows is ⌊fraction · N + ½⌋ of them. The last rows, by fraction or by number,
 * validate in their own order. Random ones are drawn on the seed. Stratified ones, too, but of each
 * class within one row of its share.
 *
 * Folds are the same for whichever of them validates, and each row validates in one of them. Of the
 * split "last", the rows are cut into one more block than there are folds, in their order: fold k
 * is trained on the first k blocks and validated on the next (walk-forward; rows after that are not
 * used), so that no training sees what comes after its validation.
 *
 * @param classes  above every label.
 * @return TH_OK; TH_ERR_DATA if there would be no row to train on, or none to validate on where
 *         some are asked for; TH_ERR_SYSTEM without memory.
 */
th_error th_split_init(th_split *split, const th_spec *spec, const th_data *data, uint32_t classes);

/** The row at a position. */
static inline uint32_t th_split_row(const th_split *split, uint32_t position) {
  return split->rows != NULL ? split->rows[position] : th_permutation_at(&split->order, position);
}

/** Takes an empty one. */
void th_split_fini(th_split *split);

#endif

/** Predictions as a table that a person or a spreadsheet reads. */
#ifndef TH_CLI_PREDICTIONS_H
#define TH_CLI_PREDICTIONS_H

#include <stdbool.h>

#include "base/buffer.h"
#include "base/error.h"

/**
 * Make CSV of predictions. A line has the row's number, from 1. Of logits there follow the class,
 * which is the likeliest, from 0, and each class's probability; of a regression's outputs, these.
 *
 * @param npy         a .npy file, float32 [rows, classes or targets]; used up, th_buffer_fini as
 *                    ever.
 * @param are_logits  and not a regression's outputs.
 * @param csv         [out] owned by the caller.
 * @return TH_OK; TH_ERR_DATA if a number is NaN or infinite; TH_ERR_SYSTEM.
 */
th_error th_predictions_to_csv(th_buffer *npy, bool are_logits, th_buffer *csv);

#endif

/** Logits as a table that a person or a spreadsheet reads. */
#ifndef TH_CLI_LOGITS_H
#define TH_CLI_LOGITS_H

#include "base/buffer.h"
#include "base/error.h"

/**
 * Make CSV of logits: row (from 1), class (the likeliest, from 0), and each class's probability.
 *
 * @param npy  a .npy file, float32 [rows, classes]; used up, th_buffer_fini as ever.
 * @param csv  [out] owned by the caller.
 * @return TH_OK; TH_ERR_DATA if a logit is NaN or infinite; TH_ERR_SYSTEM.
 */
th_error th_logits_to_csv(th_buffer *npy, th_buffer *csv);

#endif

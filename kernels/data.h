/** A data set looked at once, before anything is made of it. */
#ifndef TH_KERNELS_DATA_H
#define TH_KERNELS_DATA_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "kernels/trainer.h"

#define TH_DIGEST_TEXT_BYTES 80

/** What a survey finds out. */
typedef struct th_data_facts {
  uint32_t classes; /**< one more than the largest label; 0 without labels */
  char digest[TH_DIGEST_TEXT_BYTES]; /**< "blake2b-256:…" over the features, then the labels */
} th_data_facts;

/** Told now and then that a survey goes on. */
typedef void th_data_listener(void *user);

/**
 * Check sizes, features and labels, and digest them.
 *
 * @param classes  what labels must lie below; 0: whatever they are.
 * @return TH_OK; TH_ERR_DATA naming the row, and the column, of what is NaN, infinite or out of
 *         range; TH_ERR_SYSTEM if the digest cannot be made.
 */
th_error th_data_survey(const th_data *data, uint32_t classes, th_data_listener *listener,
                        void *user, th_data_facts *facts);

#endif

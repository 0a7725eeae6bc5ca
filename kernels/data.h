/** A data set, looked at once before anything is made of it. */
#ifndef TH_KERNELS_DATA_H
#define TH_KERNELS_DATA_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/** A data set in the caller's memory, which must outlive what uses it. */
typedef struct th_data {
  const float *features; /**< [rows, width] */
  const int32_t *labels; /**< [rows], in [0, classes); NULL to predict, or with targets */
  const float *targets; /**< [rows, target_width] numbers to come near to; NULL with labels */
  const float *weights; /**< [rows], 0 or above: what each row counts; NULL: all the same */
  const int32_t *groups; /**< [rows], 0 or above: what each row belongs to; NULL: all to one */
  uint64_t rows;
  uint32_t width;
  uint32_t target_width; /**< 0 without targets */
} th_data;

#define TH_DIGEST_TEXT_BYTES 80

/** What a survey finds out. */
typedef struct th_data_facts {
  uint32_t classes; /**< one more than the largest label; 0 without labels */
  uint32_t groups; /**< one more than the largest group; 0 without groups */
  /** "blake2b-256:…" over the bytes of the features and of the labels, then of targets, weights and
   * groups, each of these after its name, so that the same bytes as another array give another
   * digest. What is not there is left out. */
  char digest[TH_DIGEST_TEXT_BYTES];
} th_data_facts;

/** Told now and then that a survey goes on. */
typedef void th_data_listener(void *user);

/**
 * Check sizes and every array that is there, and digest them.
 *
 * @param classes  what labels must lie below; 0: whatever they are.
 * @return TH_OK; TH_ERR_DATA naming the array and the row, and the column, of what is NaN,
 * infinite, negative or out of range, or weights that are all 0; TH_ERR_SYSTEM if the digest cannot
 * be made.
 */
th_error th_data_survey(const th_data *data, uint32_t classes, th_data_listener *listener,
                        void *user, th_data_facts *facts);

#endif

#include "kernels/data.h"

#include <inttypes.h>
#include <math.h>
#include <sodium.h>
#include <stdbool.h>
#include <string.h>

#define DIGEST_BYTES 32
#define DIGEST_NAME "blake2b-256:"

/* What is looked at before the listener hears of it: a few milliseconds' worth. */
#define CHUNK_NUMBERS ((uint64_t)1 << 20)

/* Not finite is an exponent of ones only. Whole numbers instead of isfinite, and no early way out,
 * so that the loop vectorizes: data are nearly always good. */
static bool all_finite(const float *values, uint64_t count) {
  const uint32_t exponent = UINT32_C(0x7F800000);
  uint32_t bad = 0;
  for (uint64_t i = 0; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, &values[i], sizeof bits);
    bad |= (bits & exponent) == exponent;
  }
  return bad == 0;
}

static th_error first_not_finite(const th_data *data, uint64_t first) {
  uint64_t i = first;
  while (isfinite(data->features[i])) i++;
  return th_fail(TH_ERR_DATA, "features: row %" PRIu64 ", column %" PRIu64 " (from 0) is %s",
                 i / data->width, i % data->width, isnan(data->features[i]) ? "NaN" : "infinite");
}

static th_error features_survey(const th_data *data, crypto_generichash_state *digest,
                                th_data_listener *listener, void *user) {
  uint64_t count = data->rows * data->width;
  for (uint64_t first = 0; first < count; first += CHUNK_NUMBERS) {
    uint64_t numbers = count - first < CHUNK_NUMBERS ? count - first : CHUNK_NUMBERS;
    const float *chunk = data->features + first;
    if (!all_finite(chunk, numbers)) return first_not_finite(data, first);
    crypto_generichash_update(digest, (const unsigned char *)chunk, numbers * sizeof *chunk);
    listener(user);
  }
  return TH_OK;
}

static th_error labels_survey(const th_data *data, uint32_t classes,
                              crypto_generichash_state *digest, uint32_t *seen) {
  uint32_t bound = classes == 0 ? INT32_MAX : classes;
  int32_t largest = 0;
  for (uint64_t i = 0; i < data->rows; i++) {
    if (data->labels[i] < 0 || (uint32_t)data->labels[i] >= bound)
      return th_fail(TH_ERR_DATA, "labels: row %" PRIu64 " (from 0) is %d, not in [0, %u)", i,
                     data->labels[i], bound);
    if (data->labels[i] > largest) largest = data->labels[i];
  }
  crypto_generichash_update(digest, (const unsigned char *)data->labels,
                            data->rows * sizeof *data->labels);
  *seen = (uint32_t)largest + 1;
  return TH_OK;
}

static th_error sizes_check(const th_data *data) {
  if (data->rows == 0) return th_fail(TH_ERR_DATA, "features: there are no rows");
  if (data->width == 0) return th_fail(TH_ERR_DATA, "features: there are no columns");
  /* Rows and columns are sizes of matrices, which the BLAS takes as an int. */
  if (data->rows > INT32_MAX)
    return th_fail(TH_ERR_DATA, "features: %" PRIu64 " rows are more than %d", data->rows,
                   INT32_MAX);
  if (data->width > INT32_MAX)
    return th_fail(TH_ERR_DATA, "features: %u columns are more than %d", data->width, INT32_MAX);
  return TH_OK;
}

th_error th_data_survey(const th_data *data, uint32_t classes, th_data_listener *listener,
                        void *user, th_data_facts *facts) {
  *facts = (th_data_facts){0};
  crypto_generichash_state digest;
  unsigned char bytes[DIGEST_BYTES];
  th_error error = sizes_check(data);
  if (error != TH_OK) return error;
  if (sodium_init() < 0 || crypto_generichash_init(&digest, NULL, 0, sizeof bytes) != 0)
    return th_fail(TH_ERR_SYSTEM, "libsodium cannot be initialized");
  error = features_survey(data, &digest, listener, user);
  if (error == TH_OK && data->labels != NULL)
    error = labels_survey(data, classes, &digest, &facts->classes);
  if (error != TH_OK) return error;
  crypto_generichash_final(&digest, bytes, sizeof bytes);
  memcpy(facts->digest, DIGEST_NAME, sizeof DIGEST_NAME);
  sodium_bin2hex(facts->digest + strlen(DIGEST_NAME), sizeof facts->digest - strlen(DIGEST_NAME),
                 bytes, sizeof bytes);
  return TH_OK;
}

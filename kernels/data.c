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

/* An array of numbers, [rows, width]. */
typedef struct number_array {
  const char *name;
  const float *values;
  uint64_t rows;
  uint32_t width;
} number_array;

static th_error first_not_finite(const number_array *array, uint64_t first) {
  uint64_t i = first;
  while (isfinite(array->values[i])) i++;
  return th_fail(TH_ERR_DATA, "%s: row %" PRIu64 ", column %" PRIu64 " (from 0) is %s", array->name,
                 i / array->width, i % array->width, isnan(array->values[i]) ? "NaN" : "infinite");
}

/* Who looks, and what has been seen. */
typedef struct data_survey {
  crypto_generichash_state digest;
  th_data_listener *listener;
  void *user;
} data_survey;

static void digest_add(data_survey *survey, const void *bytes, uint64_t count) {
  crypto_generichash_update(&survey->digest, bytes, count);
}

/* Before an array that may be missing, so that the same bytes as another array make another digest.
 */
static void digest_add_name(data_survey *survey, const char *name) {
  digest_add(survey, name, strlen(name));
}

static th_error numbers_survey(const number_array *array, data_survey *survey) {
  uint64_t count = array->rows * array->width;
  for (uint64_t first = 0; first < count; first += CHUNK_NUMBERS) {
    uint64_t numbers = count - first < CHUNK_NUMBERS ? count - first : CHUNK_NUMBERS;
    const float *chunk = array->values + first;
    if (!all_finite(chunk, numbers)) return first_not_finite(array, first);
    digest_add(survey, chunk, numbers * sizeof *chunk);
    survey->listener(survey->user);
  }
  return TH_OK;
}

/* Numbers of classes or groups: from 0, and below a bound. @param count  [out] one more than the
 * largest. */
static th_error indices_survey(const char *name, const int32_t *values, uint64_t rows,
                               uint32_t bound, data_survey *survey, uint32_t *count) {
  int32_t largest = 0;
  for (uint64_t i = 0; i < rows; i++) {
    if (values[i] < 0 || (uint32_t)values[i] >= bound)
      return th_fail(TH_ERR_DATA, "%s: row %" PRIu64 " (from 0) is %d, not in [0, %u)", name, i,
                     values[i], bound);
    if (values[i] > largest) largest = values[i];
  }
  digest_add(survey, values, rows * sizeof *values);
  *count = (uint32_t)largest + 1;
  return TH_OK;
}

static th_error features_survey(const th_data *data, data_survey *survey) {
  const number_array features = {"features", data->features, data->rows, data->width};
  return numbers_survey(&features, survey);
}

static th_error labels_survey(const th_data *data, uint32_t classes, data_survey *survey,
                              th_data_facts *facts) {
  if (data->labels == NULL) return TH_OK;
  uint32_t bound = classes == 0 ? INT32_MAX : classes;
  return indices_survey("labels", data->labels, data->rows, bound, survey, &facts->classes);
}

static th_error targets_survey(const th_data *data, data_survey *survey) {
  if (data->targets == NULL) return TH_OK;
  const number_array targets = {"targets", data->targets, data->rows, data->target_width};
  digest_add_name(survey, targets.name);
  return numbers_survey(&targets, survey);
}

static th_error weights_judge(const th_data *data) {
  bool is_any = false;
  for (uint64_t i = 0; i < data->rows; i++) {
    if (data->weights[i] < 0)
      return th_fail(TH_ERR_DATA, "weights: row %" PRIu64 " (from 0) is %g: a row counts 0 or more",
                     i, (double)data->weights[i]);
    if (data->weights[i] > 0) is_any = true;
  }
  if (is_any) return TH_OK;
  return th_fail(TH_ERR_DATA,
                 "weights: all are 0, so that no row counts; give some a weight above 0, or leave "
                 "the weights out");
}

static th_error weights_survey(const th_data *data, data_survey *survey) {
  if (data->weights == NULL) return TH_OK;
  const number_array weights = {"weights", data->weights, data->rows, 1};
  digest_add_name(survey, weights.name);
  th_error error = numbers_survey(&weights, survey);
  return error == TH_OK ? weights_judge(data) : error;
}

static th_error groups_survey(const th_data *data, data_survey *survey, th_data_facts *facts) {
  if (data->groups == NULL) return TH_OK;
  digest_add_name(survey, "groups");
  return indices_survey("groups", data->groups, data->rows, INT32_MAX, survey, &facts->groups);
}

/* Rows and columns are sizes of matrices, which the BLAS takes as an int. */
static th_error sizes_check(const th_data *data) {
  if (data->rows == 0) return th_fail(TH_ERR_DATA, "features: there are no rows");
  if (data->width == 0) return th_fail(TH_ERR_DATA, "features: there are no columns");
  if (data->targets != NULL && data->target_width == 0)
    return th_fail(TH_ERR_DATA, "targets: there are no columns");
  if (data->rows > INT32_MAX)
    return th_fail(TH_ERR_DATA, "features: %" PRIu64 " rows are more than %d", data->rows,
                   INT32_MAX);
  if (data->width > INT32_MAX)
    return th_fail(TH_ERR_DATA, "features: %u columns are more than %d", data->width, INT32_MAX);
  if (data->target_width > INT32_MAX)
    return th_fail(TH_ERR_DATA, "targets: %u columns are more than %d", data->target_width,
                   INT32_MAX);
  return TH_OK;
}

static void digest_print(data_survey *survey, char text[TH_DIGEST_TEXT_BYTES]) {
  unsigned char bytes[DIGEST_BYTES];
  crypto_generichash_final(&survey->digest, bytes, sizeof bytes);
  memcpy(text, DIGEST_NAME, sizeof DIGEST_NAME);
  sodium_bin2hex(text + strlen(DIGEST_NAME), TH_DIGEST_TEXT_BYTES - strlen(DIGEST_NAME), bytes,
                 sizeof bytes);
}

th_error th_data_survey(const th_data *data, uint32_t classes, th_data_listener *listener,
                        void *user, th_data_facts *facts) {
  data_survey survey = {.listener = listener, .user = user};
  *facts = (th_data_facts){0};
  th_error error = sizes_check(data);
  if (error != TH_OK) return error;
  if (sodium_init() < 0 || crypto_generichash_init(&survey.digest, NULL, 0, DIGEST_BYTES) != 0)
    return th_fail(TH_ERR_SYSTEM, "libsodium cannot be initialized");
  error = features_survey(data, &survey);
  if (error == TH_OK) error = labels_survey(data, classes, &survey, facts);
  if (error == TH_OK) error = targets_survey(data, &survey);
  if (error == TH_OK) error = weights_survey(data, &survey);
  if (error == TH_OK) error = groups_survey(data, &survey, facts);
  if (error == TH_OK) digest_print(&survey, facts->digest);
  return error;
}

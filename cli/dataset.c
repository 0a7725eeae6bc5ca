#include "cli/dataset.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* How the flags call an array: --labels, --label-column, --validation-labels. */
static const struct {
  const char *file, *column;
} words[TH_ARRAY_DATA_COUNT] = {
    [TH_ARRAY_FEATURES] = {"data", NULL},       [TH_ARRAY_LABELS] = {"labels", "label"},
    [TH_ARRAY_TARGETS] = {"targets", "target"}, [TH_ARRAY_WEIGHTS] = {"weights", "weight"},
    [TH_ARRAY_GROUPS] = {"groups", "group"},
};

/* ---- what the flags say ---- */

static bool is_named(const th_arguments *arguments, th_array array) {
  return arguments->files[array] != NULL || arguments->columns[array] != NULL;
}

static th_error sources_judge(const th_arguments *arguments) {
  for (int i = TH_ARRAY_LABELS; i < TH_ARRAY_DATA_COUNT; i++)
    if (arguments->files[i] != NULL && arguments->columns[i] != NULL)
      return th_fail(TH_ERR_USAGE,
                     "--%s and --%s-column are both given: the %s come from one place",
                     words[i].file, words[i].column, words[i].file);
  return TH_OK;
}

static th_error answers_judge(const th_arguments *arguments) {
  bool has_labels = is_named(arguments, TH_ARRAY_LABELS);
  bool has_targets = is_named(arguments, TH_ARRAY_TARGETS);
  if (has_labels && has_targets)
    return th_fail(TH_ERR_USAGE,
                   "labels and targets are both given: a row has a class or numbers to come near "
                   "to");
  if (has_labels || has_targets) return TH_OK;
  return th_fail(TH_ERR_USAGE,
                 "--labels is missing: the file with the labels, or --label-column NAME if they "
                 "are a column of the data; for a regression --targets or --target-column");
}

/* The rows that validate have the same arrays as the others, from files or columns as those. */
static th_error validation_array_judge(const th_arguments *arguments, th_array array) {
  const char *word = words[array].file;
  bool has_rows = arguments->validation_files[TH_ARRAY_FEATURES] != NULL;
  bool is_given = arguments->validation_files[array] != NULL;
  if (is_given && arguments->columns[array] != NULL)
    return th_fail(TH_ERR_USAGE,
                   "--validation-%s and --%s-column are both given: the %s come from one place",
                   word, words[array].column, word);
  if (is_given && !has_rows)
    return th_fail(TH_ERR_USAGE, "--validation-%s is given and --validation-data is missing", word);
  if (is_given && arguments->files[array] == NULL)
    return th_fail(TH_ERR_USAGE, "--validation-%s is given and --%s is missing", word, word);
  if (has_rows && !is_given && arguments->files[array] != NULL)
    return th_fail(TH_ERR_USAGE, "--validation-%s is missing: the %s of %.80s", word, word,
                   arguments->validation_files[TH_ARRAY_FEATURES]);
  return TH_OK;
}

th_error th_dataset_judge(const th_arguments *arguments, th_job_kind kind) {
  if (arguments->files[TH_ARRAY_FEATURES] == NULL)
    return th_fail(TH_ERR_USAGE, "--data is missing: the file with the features");
  th_error error = sources_judge(arguments);
  if (error == TH_OK && kind != TH_JOB_PREDICT) error = answers_judge(arguments);
  for (int i = TH_ARRAY_LABELS; i < TH_ARRAY_DATA_COUNT && error == TH_OK; i++)
    error = validation_array_judge(arguments, (th_array)i);
  return error;
}

/* ---- reading ---- */

/* How many elements, all of four bytes, a row of the array has. */
static uint32_t columns_of(const th_table *table, int array) {
  if (array == TH_ARRAY_FEATURES) return table->width;
  return array == TH_ARRAY_TARGETS ? table->target_width : 1;
}

static th_error features_read(const char *path, th_table *table) {
  th_numbers features;
  th_error error = th_features_read(path, &features);
  if (error != TH_OK) return error;
  table->arrays[TH_ARRAY_FEATURES] = features.values;
  table->rows = features.rows;
  table->width = features.width;
  return TH_OK;
}

/* Labels or groups are indices, targets and weights numbers. @param rows  [out] how many it has. */
static th_error array_read(const char *path, th_array array, th_table *table, uint64_t *rows) {
  if (array == TH_ARRAY_LABELS || array == TH_ARRAY_GROUPS) {
    th_indices indices;
    th_error error = th_indices_read(path, &indices);
    if (error != TH_OK) return error;
    table->arrays[array] = indices.values;
    *rows = indices.rows;
    return TH_OK;
  }
  th_numbers numbers;
  th_error error = th_numbers_read(path, &numbers);
  if (error != TH_OK) return error;
  table->arrays[array] = numbers.values;
  *rows = numbers.rows;
  if (array == TH_ARRAY_TARGETS)
    table->target_width = numbers.width;
  else if (numbers.width != 1)
    return th_fail(TH_ERR_DATA, "%s has %u numbers a row, where one is wanted", path,
                   numbers.width);
  return TH_OK;
}

/* Rows that do not match are told here, where both files can be named; the host could only count.
 */
static th_error array_join(const th_arguments *arguments, th_array array, th_table *table) {
  uint64_t rows;
  const char *path = arguments->files[array];
  th_error error = array_read(path, array, table, &rows);
  if (error != TH_OK || rows == table->rows) return error;
  return th_fail(TH_ERR_DATA,
                 "%s has %" PRIu64 " rows and %s has %" PRIu64
                 " %s: there must be one for each "
                 "row",
                 arguments->files[TH_ARRAY_FEATURES], table->rows, path, rows, words[array].file);
}

static bool has_columns(const th_arguments *arguments) {
  for (int i = 0; i < TH_ARRAY_DATA_COUNT; i++)
    if (arguments->columns[i] != NULL) return true;
  return false;
}

/* Large files take seconds to unpack and to convert, and nothing should look stuck. */
static th_error arrays_read(const th_arguments *arguments, th_display *display, th_table *table) {
  const char *data = arguments->files[TH_ARRAY_FEATURES];
  th_display_note(display, "reading %s", data);
  th_error error = has_columns(arguments) ? th_csv_read_table(data, arguments->columns, table)
                                          : features_read(data, table);
  for (int i = TH_ARRAY_LABELS; i < TH_ARRAY_DATA_COUNT && error == TH_OK; i++) {
    if (arguments->files[i] == NULL) continue;
    th_display_note(display, "reading %s", arguments->files[i]);
    error = array_join(arguments, (th_array)i, table);
  }
  return error;
}

/* What there is to be compared with predictions, in a file that serves to train, too. */
static void answers_drop(th_table *table) {
  for (int i = TH_ARRAY_LABELS; i <= TH_ARRAY_WEIGHTS; i++) {
    free(table->arrays[i]);
    table->arrays[i] = NULL;
  }
  table->target_width = 0;
}

th_error th_dataset_read(const th_arguments *arguments, th_job_kind kind, th_display *display,
                         th_table *table) {
  th_table read = {0};
  th_error error = arrays_read(arguments, display, &read);
  if (error == TH_OK && kind == TH_JOB_PREDICT) answers_drop(&read);
  if (error == TH_OK)
    *table = read;
  else
    th_table_fini(&read);
  return error;
}

/* ---- rows that validate ---- */

static th_error append_judge(const th_arguments *arguments, const th_table *table,
                             const th_table *more) {
  for (int i = 0; i < TH_ARRAY_DATA_COUNT; i++) {
    uint32_t have = columns_of(table, i), come = columns_of(more, i);
    if (have != come)
      return th_fail(TH_ERR_DATA, "%s has %u columns and %s %u: both must have the same",
                     arguments->validation_files[i], come, arguments->files[i], have);
  }
  if (more->rows > UINT32_MAX)
    return th_fail(TH_ERR_LIMIT, "%s has %" PRIu64 " rows, more than %" PRIu32,
                   arguments->validation_files[TH_ARRAY_FEATURES], more->rows, UINT32_MAX);
  return TH_OK;
}

/* Both are in memory, so that the sum of their sizes is no more than can be counted. */
static th_error rows_append(th_table *table, const th_table *more) {
  uint64_t rows = table->rows + more->rows;
  for (int i = 0; i < TH_ARRAY_DATA_COUNT; i++) {
    if (table->arrays[i] == NULL) continue;
    size_t row_bytes = columns_of(table, i) * sizeof(float);
    char *longer = realloc(table->arrays[i], rows * row_bytes);
    if (longer == NULL) return th_fail(TH_ERR_SYSTEM, "no memory for %" PRIu64 " rows", rows);
    table->arrays[i] = longer;
    memcpy(longer + table->rows * row_bytes, more->arrays[i], more->rows * row_bytes);
  }
  table->rows = rows;
  return TH_OK;
}

th_error th_dataset_append_validation(const th_arguments *arguments, th_display *display,
                                      th_table *table, uint32_t *appended) {
  *appended = 0;
  if (arguments->validation_files[TH_ARRAY_FEATURES] == NULL) return TH_OK;
  th_table more = {0};
  th_arguments named = *arguments;
  memcpy(named.files, arguments->validation_files, sizeof named.files);
  th_error error = th_dataset_read(&named, TH_JOB_TRAIN, display, &more);
  if (error == TH_OK) error = append_judge(arguments, table, &more);
  if (error == TH_OK) error = rows_append(table, &more);
  if (error == TH_OK) *appended = (uint32_t)more.rows;
  th_table_fini(&more);
  return error;
}

/* ---- what is done with it ---- */

void th_dataset_lend(const th_table *table, th_job_request *request) {
  request->rows = table->rows;
  request->width = table->width;
  request->features = table->arrays[TH_ARRAY_FEATURES];
  request->labels = table->arrays[TH_ARRAY_LABELS];
  request->targets = table->arrays[TH_ARRAY_TARGETS];
  request->target_width = table->target_width;
  request->weights = table->arrays[TH_ARRAY_WEIGHTS];
  request->groups = table->arrays[TH_ARRAY_GROUPS];
}

th_data th_dataset_view(const th_table *table) {
  return (th_data){.features = table->arrays[TH_ARRAY_FEATURES],
                   .labels = table->arrays[TH_ARRAY_LABELS],
                   .targets = table->arrays[TH_ARRAY_TARGETS],
                   .weights = table->arrays[TH_ARRAY_WEIGHTS],
                   .groups = table->arrays[TH_ARRAY_GROUPS],
                   .rows = table->rows,
                   .width = table->width,
                   .target_width = table->target_width};
}

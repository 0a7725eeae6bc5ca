#include "cli/dataset.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static th_error validation_judge(const th_arguments *arguments) {
  bool has_data = arguments->validation_data != NULL;
  bool has_labels = arguments->validation_labels != NULL;
  if (has_labels && arguments->label_column != NULL)
    return th_fail(TH_ERR_USAGE,
                   "--validation-labels and --label-column are both given: the labels come from "
                   "one place");
  if (has_labels && !has_data)
    return th_fail(TH_ERR_USAGE, "--validation-labels is given and --validation-data is missing");
  if (has_data && !has_labels && arguments->label_column == NULL)
    return th_fail(TH_ERR_USAGE, "--validation-labels is missing: the labels of %.80s",
                   arguments->validation_data);
  return TH_OK;
}

th_error th_dataset_judge(const th_arguments *arguments, bool has_labels) {
  if (arguments->data == NULL)
    return th_fail(TH_ERR_USAGE, "--data is missing: the file with the features");
  if (arguments->labels != NULL && arguments->label_column != NULL)
    return th_fail(TH_ERR_USAGE,
                   "--labels and --label-column are both given: the labels come from one place");
  if (has_labels && arguments->labels == NULL && arguments->label_column == NULL)
    return th_fail(TH_ERR_USAGE,
                   "--labels is missing: the file with the labels, or --label-column NAME if they "
                   "are a column of the data");
  return validation_judge(arguments);
}

/* Told here, where both files can be named; the host could only count. */
static th_error rows_judge(const th_arguments *arguments, const th_dataset *dataset) {
  if (dataset->features.rows == dataset->labels.rows) return TH_OK;
  return th_fail(TH_ERR_DATA,
                 "%s has %" PRIu64 " rows and %s has %" PRIu64
                 " labels: there must be one label for each row",
                 arguments->data, dataset->features.rows, arguments->labels, dataset->labels.rows);
}

static th_error two_files_read(const th_arguments *arguments, bool has_labels, th_display *display,
                               th_dataset *dataset) {
  th_display_note(display, "reading %s", arguments->data);
  th_error error = th_features_read(arguments->data, &dataset->features);
  if (error != TH_OK || !has_labels) return error;
  /* Large files take seconds to unpack and to convert, and nothing should look stuck. */
  th_display_note(display, "reading %s", arguments->labels);
  error = th_labels_read(arguments->labels, &dataset->labels);
  return error == TH_OK ? rows_judge(arguments, dataset) : error;
}

th_error th_dataset_read(const th_arguments *arguments, bool has_labels, th_display *display,
                         th_dataset *dataset) {
  th_dataset read = {0};
  th_error error;
  if (arguments->label_column != NULL) {
    th_display_note(display, "reading %s", arguments->data);
    error =
        th_csv_read_labeled(arguments->data, arguments->label_column, &read.features, &read.labels);
    if (error == TH_OK && !has_labels) th_labels_fini(&read.labels);
  } else {
    error = two_files_read(arguments, has_labels, display, &read);
  }
  if (error != TH_OK)
    th_dataset_fini(&read);
  else
    *dataset = read;
  return error;
}

static th_error append_judge(const th_arguments *arguments, const th_dataset *dataset,
                             const th_dataset *more) {
  if (more->features.width != dataset->features.width)
    return th_fail(TH_ERR_DATA, "%s has %u columns and %s %u: both must have the same",
                   arguments->validation_data, more->features.width, arguments->data,
                   dataset->features.width);
  if (more->features.rows > UINT32_MAX)
    return th_fail(TH_ERR_LIMIT, "%s has %" PRIu64 " rows, more than %" PRIu32,
                   arguments->validation_data, more->features.rows, UINT32_MAX);
  return TH_OK;
}

/* Both are in memory, so that the sum of their sizes is no more than can be counted. */
static th_error rows_append(th_dataset *dataset, const th_dataset *more) {
  size_t row_bytes = dataset->features.width * sizeof *dataset->features.values;
  uint64_t rows = dataset->features.rows + more->features.rows;
  float *values = realloc(dataset->features.values, rows * row_bytes);
  if (values != NULL) dataset->features.values = values;
  int32_t *labels = realloc(dataset->labels.values, rows * sizeof *labels);
  if (labels != NULL) dataset->labels.values = labels;
  if (values == NULL || labels == NULL)
    return th_fail(TH_ERR_SYSTEM, "no memory for %" PRIu64 " rows", rows);
  memcpy(values + dataset->features.rows * dataset->features.width, more->features.values,
         more->features.rows * row_bytes);
  memcpy(labels + dataset->labels.rows, more->labels.values, more->labels.rows * sizeof *labels);
  dataset->features.rows = dataset->labels.rows = rows;
  return TH_OK;
}

th_error th_dataset_append_validation(const th_arguments *arguments, th_display *display,
                                      th_dataset *dataset, uint32_t *appended) {
  *appended = 0;
  if (arguments->validation_data == NULL) return TH_OK;
  th_dataset more = {0};
  th_arguments named = *arguments;
  named.data = arguments->validation_data;
  named.labels = arguments->validation_labels;
  th_error error = th_dataset_read(&named, true, display, &more);
  if (error == TH_OK) error = append_judge(arguments, dataset, &more);
  if (error == TH_OK) error = rows_append(dataset, &more);
  if (error == TH_OK) *appended = (uint32_t)more.features.rows;
  th_dataset_fini(&more);
  return error;
}

void th_dataset_fini(th_dataset *dataset) {
  th_features_fini(&dataset->features);
  th_labels_fini(&dataset->labels);
}

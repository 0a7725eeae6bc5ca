#include "cli/dataset.h"

#include <inttypes.h>

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
  return TH_OK;
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

void th_dataset_fini(th_dataset *dataset) {
  th_features_fini(&dataset->features);
  th_labels_fini(&dataset->labels);
}

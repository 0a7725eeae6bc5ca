/** The data set that flags name. */
#ifndef TH_CLI_DATASET_H
#define TH_CLI_DATASET_H

#include <stdbool.h>

#include "cli/display.h"
#include "cli/flags.h"
#include "formats/table.h"

typedef struct th_dataset {
  th_features features;
  th_labels labels; /**< empty: none were asked for */
} th_dataset;

/** Whether the flags name a data set, with labels or without. @return TH_OK; TH_ERR_USAGE. */
th_error th_dataset_judge(const th_arguments *arguments, bool has_labels);

/**
 * Read it, saying so on the display.
 *
 * A label column is left out of the features also where no labels are asked for, so that one file
 * serves to train and to predict.
 *
 * @return TH_OK; TH_ERR_DATA naming both files if their rows do not match; as the readers.
 */
th_error th_dataset_read(const th_arguments *arguments, bool has_labels, th_display *display,
                         th_dataset *dataset);

/**
 * Read the rows of --validation-data, as the flags have it for the others, and append them.
 *
 * @param appended  [out] how many; 0 without that flag.
 * @return as th_dataset_read; TH_ERR_DATA if they are of another width; TH_ERR_LIMIT if they are
 *         more than a specification can count.
 */
th_error th_dataset_append_validation(const th_arguments *arguments, th_display *display,
                                      th_dataset *dataset, uint32_t *appended);

/** Takes an empty one. */
void th_dataset_fini(th_dataset *dataset);

#endif

/** The data set that flags name. */
#ifndef TH_CLI_DATASET_H
#define TH_CLI_DATASET_H

#include "cli/display.h"
#include "cli/flags.h"
#include "formats/table.h"
#include "kernels/data.h"
#include "shim/trainhost.h"

/** Whether the flags name a data set as a job of that kind wants it. @return TH_OK; TH_ERR_USAGE.
 */
th_error th_dataset_judge(const th_arguments *arguments, th_job_kind kind);

/**
 * Read it, saying so on the display.
 *
 * Columns that are named are left out of the features also where a job of that kind takes no such
 * array, so that one file serves to train and to predict.
 *
 * @param arguments  judged.
 * @param table      [out] owned by the caller (th_table_fini).
 * @return TH_OK; TH_ERR_DATA naming both files if their rows do not match; as the readers.
 */
th_error th_dataset_read(const th_arguments *arguments, th_job_kind kind, th_display *display,
                         th_table *table);

/**
 * Read the rows of --validation-data, as the flags have it for the others, and append them.
 *
 * @param appended  [out] how many; 0 without that flag.
 * @return as th_dataset_read; TH_ERR_DATA if they are of another width; TH_ERR_LIMIT if they are
 *         more than a specification can count.
 */
th_error th_dataset_append_validation(const th_arguments *arguments, th_display *display,
                                      th_table *table, uint32_t *appended);

/** Name its arrays and their sizes in a request. They stay the table's. */
void th_dataset_lend(const th_table *table, th_job_request *request);

/** The same as data to survey. They stay the table's. */
th_data th_dataset_view(const th_table *table);

#endif

/** What came of the settings of a sweep: means and deviations over their folds and seeds. */
#ifndef TH_CLI_SUMMARY_H
#define TH_CLI_SUMMARY_H

#include <jansson.h>

#include "cli/results.h"

/**
 * The settings as a JSON array, best first: those that are done in every combination before the
 * others; each by the mean of what orders the rows.
 *
 * A mean is over the combinations that are done, a deviation that of a sample (by n − 1).
 *
 * @return NULL without memory; owned by the caller.
 */
json_t *th_summary_to_json(const th_results *results);

/** The same as a table, on standard output. @return TH_OK; TH_ERR_SYSTEM. */
th_error th_summary_print(const th_results *results);

#endif

/** What evaluate and predict have in common: a model applied to a data set. */
#ifndef TH_CLI_APPLY_H
#define TH_CLI_APPLY_H

#include "cli/flags.h"
#include "shim/trainhost.h"

/** Apply the model that the flags name to the data that they name, and tell or write what comes
 * out. */
th_error th_apply_run(th_job_kind kind, const th_arguments *arguments);

#endif

/* trainhost evaluate: how well a model does on labeled data. */
#include "cli/apply.h"
#include "cli/commands.h"

static th_error run(const th_arguments *arguments) {
  return th_apply_run(TH_JOB_EVALUATE, arguments);
}

static const struct argp_option rows[] = {
    TH_ROW_MODEL,
    TH_ROWS_DATA,
    {0},
};

const th_command th_command_evaluate = {
    .name = "evaluate",
    .summary = "say how well a model does on data with labels or targets",
    .doc =
        "Print a model's loss and accuracy on labeled data, and with up to 12 classes which are "
        "taken for which; of a regression, on data with targets, its loss, R² and errors.",
    .rows = rows,
    .run = run,
};

/* trainhost predict: what a model says of data. */
#include "cli/apply.h"
#include "cli/commands.h"

static th_error run(const th_arguments *arguments) {
  return th_apply_run(TH_JOB_PREDICT, arguments);
}

/* One file serves to train and to predict. */
#define ROW_LEFT_COLUMN(name, array, what) \
  TH_ROW_COLUMN(name, array, "Leave this column of the data, " what ", out of the features")

static const struct argp_option rows[] = {
    TH_ROW_MODEL,
    TH_ROW_DATA,
    TH_ROW_GROUPS,
    TH_ROW_TAKEN_COLUMN("group-column", TH_ARRAY_GROUPS, "groups"),
    ROW_LEFT_COLUMN("label-column", TH_ARRAY_LABELS, "labels"),
    ROW_LEFT_COLUMN("target-column", TH_ARRAY_TARGETS, "targets"),
    ROW_LEFT_COLUMN("weight-column", TH_ARRAY_WEIGHTS, "weights"),
    TH_ROW_OUT("Write the predictions here; the name decides what they are"),
    {0},
};

const th_command th_command_predict = {
    .name = "predict",
    .summary = "apply a model to data",
    .doc =
        "Apply a model to data and write what it says of each row."
        "\v"
        "If FILE ends in .npy, it gets the logits: float32 [rows, classes]. If it ends in .csv, "
        "it gets a header and a line for each row: the row's number from 1, the likeliest class "
        "from 0, and the probability of each class. Of a regression both get its outputs, one for "
        "each target.",
    .rows = rows,
    .run = run,
};

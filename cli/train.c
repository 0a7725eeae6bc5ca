/* trainhost train: a data set becomes a model. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/dataset.h"
#include "cli/epochs.h"
#include "cli/fields.h"
#include "cli/follow.h"
#include "cli/model.h"
#include "cli/outcome.h"
#include "cli/output.h"
#include "formats/file.h"

static th_error checkpoint_judge(const th_arguments *arguments) {
  const char *path = arguments->checkpoint;
  if (path == NULL) return TH_OK;
  if (arguments->detach)
    return th_fail(TH_ERR_USAGE,
                   "--checkpoint %.80s cannot be kept: --detach returns before there is one; "
                   "trainhost result JOB --checkpoint FILE fetches the newest",
                   path);
  if (strcmp(path, arguments->out) == 0)
    return th_fail(TH_ERR_USAGE,
                   "--checkpoint and --out are both %.80s: one of model and checkpoint would be "
                   "written over the other",
                   path);
  return th_file_check_writable(path);
}

/* All that is wrong with the command line is told before a file is read or a host is asked. */
static th_error arguments_judge(const th_arguments *arguments) {
  th_error error = th_dataset_judge(arguments, TH_JOB_TRAIN);
  if (error != TH_OK) return error;
  if (arguments->detach && arguments->out != NULL)
    return th_fail(TH_ERR_USAGE,
                   "--detach returns before there is a model, so --out cannot be written: fetch it "
                   "with trainhost result JOB --out %s",
                   arguments->out);
  if (!arguments->detach && arguments->out == NULL)
    return th_fail(TH_ERR_USAGE,
                   "--out is missing: the file for the model, without which the training would be "
                   "lost; or --detach leaves the model with the host");
  if (arguments->resume != NULL && arguments->init != NULL)
    return th_fail(TH_ERR_USAGE,
                   "--resume and --init are both given: a training goes on from a checkpoint or "
                   "begins with a model");
  if (arguments->detach && arguments->history != NULL)
    return th_fail(TH_ERR_USAGE,
                   "--history %.80s cannot be written: --detach returns before there is one; the "
                   "model's card has it, too",
                   arguments->history);
  error = checkpoint_judge(arguments);
  if (error == TH_OK && arguments->history != NULL)
    error = th_file_check_writable(arguments->history);
  if (error != TH_OK || arguments->detach) return error;
  return th_outcome_judge(TH_JOB_TRAIN, arguments->out);
}

/* Asked of the open host, because the environment is the manager's to read. */
static th_error mode_judge(const th_host *host, const th_arguments *arguments,
                           const th_spec *fields) {
  if (!th_host_is_local(host)) return TH_OK;
  if (arguments->detach)
    return th_fail(TH_ERR_USAGE,
                   "--detach needs a host to go on with the job, and local mode trains in this "
                   "process; set USE_TRAINING_HOST_SERVICE=true");
  if (fields->checkpoint_epochs == 0 || arguments->checkpoint != NULL) return TH_OK;
  return th_fail(TH_ERR_USAGE,
                 "checkpoint_epochs is %u, and local mode has no host to keep a checkpoint: "
                 "--checkpoint FILE says where it goes",
                 fields->checkpoint_epochs);
}

/* What a training needs, read. Everything is freed as soon as the host has it. */
typedef struct train_inputs {
  th_spec fields;
  th_buffer spec; /* the fields as JSON */
  th_buffer model; /* or a checkpoint */
  th_table dataset;
} train_inputs;

static void inputs_free(train_inputs *inputs) {
  th_buffer_fini(&inputs->spec);
  th_buffer_fini(&inputs->model);
  th_table_fini(&inputs->dataset);
}

static th_error model_read(const th_arguments *arguments, th_buffer *model) {
  if (arguments->resume != NULL)
    return th_model_file_read("--resume", arguments->resume, true, model);
  if (arguments->init != NULL) return th_model_file_read("--init", arguments->init, false, model);
  return TH_OK;
}

static th_error inputs_read(const th_arguments *arguments, th_display *display,
                            train_inputs *inputs) {
  th_error error = model_read(arguments, &inputs->model);
  if (error == TH_OK) error = th_dataset_read(arguments, TH_JOB_TRAIN, display, &inputs->dataset);
  if (error != TH_OK) return error;
  uint32_t appended;
  error = th_dataset_append_validation(arguments, display, &inputs->dataset, &appended);
  if (appended > 0) inputs->fields.validation_rows = appended;
  return error == TH_OK ? th_spec_format(&inputs->fields, &inputs->spec) : error;
}

static th_error job_start(th_host *host, const th_arguments *arguments, const train_inputs *inputs,
                          th_display *display, th_job **job) {
  th_job_request request = {
      .kind = TH_JOB_TRAIN,
      .spec = inputs->spec.data,
      .model = inputs->model.data,
      .model_bytes = inputs->model.bytes,
      .detach = arguments->detach,
  };
  th_dataset_lend(&inputs->dataset, &request);
  return th_follow_start(host, &request, display, job);
}

/* The commands that come next, ready to be copied. */
static void detached_tell(uint64_t number) {
  th_output_json(json_pack("{s:s, s:I, s:s, s:s, s:b}", "event", "result", "job",
                           (json_int_t)number, "kind", "train", "mode", "host", "detached", 1));
  th_output_text("job %" PRIu64
                 " goes on at the host\n"
                 "trainhost status %" PRIu64 " shows it, trainhost result %" PRIu64
                 " --wait --out FILE fetches the model\n",
                 number, number, number);
}

/* The history first, while the host still has its card; a model is worth more than its history, so
 * that one which cannot be written is told when the model is safe. */
static th_error outcome_take(th_host *host, th_job *job, th_result *result,
                             const th_arguments *arguments) {
  bool has_history = arguments->history != NULL && !result->is_checkpoint;
  th_error history = TH_OK;
  if (has_history) history = th_epochs_write(result->card, result->card_bytes, arguments->history);
  th_error error = th_outcome_take(host, job, result, arguments->out, arguments->checkpoint);
  return error != TH_OK ? error : history;
}

static th_error train_with(th_host *host, const th_arguments *arguments, train_inputs *inputs) {
  th_display display;
  th_job *job = NULL;
  th_result result = {0};
  th_checkpoint_file checkpoint = {.path = arguments->checkpoint,
                                   .epochs = inputs->fields.checkpoint_epochs};
  th_display_init(&display, TH_JOB_TRAIN);
  th_error error = inputs_read(arguments, &display, inputs);
  if (error == TH_OK) error = job_start(host, arguments, inputs, &display, &job);
  th_display_clear(&display);
  /* The training may take hours, and the host has a copy. */
  inputs_free(inputs);
  if (error != TH_OK) return error;
  if (arguments->detach) {
    detached_tell(th_job_number(job));
  } else {
    error = th_follow_end(job, &display, TH_FOLLOW_CANCELS, &checkpoint, &result);
    if (error == TH_OK) error = outcome_take(host, job, &result, arguments);
    th_result_fini(&result);
  }
  th_job_close(job);
  return error;
}

/* The host is asked before the data are read: if it is absent, that is known at once. */
static th_error run(const th_arguments *arguments) {
  th_host host = {0};
  train_inputs inputs = {0};
  th_error error = th_fields_spec(arguments, &inputs.fields);
  if (error == TH_OK) error = arguments_judge(arguments);
  if (error == TH_OK) error = th_host_open(&host);
  if (error == TH_OK) error = mode_judge(&host, arguments, &inputs.fields);
  if (error == TH_OK) error = train_with(&host, arguments, &inputs);
  inputs_free(&inputs);
  th_host_close(&host);
  return error;
}

static const struct argp_option rows[] = {
    TH_ROWS_DATA,
    {"validation-data", TH_FLAG_VALIDATION + TH_ARRAY_FEATURES, "FILE", 0,
     "Validate on the rows of this file instead of a part of the data", 1},
    {"validation-labels", TH_FLAG_VALIDATION + TH_ARRAY_LABELS, "FILE", 0,
     "Labels of the rows that validate", 1},
    {"validation-targets", TH_FLAG_VALIDATION + TH_ARRAY_TARGETS, "FILE", 0,
     "Targets of the rows that validate", 1},
    {"validation-weights", TH_FLAG_VALIDATION + TH_ARRAY_WEIGHTS, "FILE", 0,
     "Weights of the rows that validate", 1},
    {"validation-groups", TH_FLAG_VALIDATION + TH_ARRAY_GROUPS, "FILE", 0,
     "Groups of the rows that validate", 1},
    {"init", TH_FLAG_INIT, "FILE", 0, "Begin with the parameters of this model", 1},
    {"resume", TH_FLAG_RESUME, "FILE", 0, "Go on from this checkpoint, with the same data", 1},
    {"checkpoint", TH_FLAG_CHECKPOINT, "FILE", 0,
     "Keep the newest checkpoint of checkpoint_epochs here, and that of Ctrl-C", 2},
    {"history", TH_FLAG_HISTORY, "FILE", 0,
     "Write losses, accuracies and rate of each epoch as CSV", 2},
    {"profile", TH_FLAG_PROFILE, "NAME", 0,
     "Start from the values of a profile, ktrdr; other fields take precedence", 2},
    {"spec", TH_FLAG_SPEC, "FILE", 0,
     "Read the fields below from this JSON file; flags take precedence", 2},
    TH_ROW_OUT(
        "Write the model here (safetensors) and its card beside it: model.safetensors, model.json"),
    {"detach", TH_FLAG_DETACH, NULL, 0,
     "Print the job's number and return as soon as the host has the data", 2},
    {0},
};

const th_command th_command_train = {
    .name = "train",
    .summary = "train a model on data with labels or targets",
    .doc =
        "Train a net on data with labels or targets and write it as safetensors."
        "\v"
        "The last flags are the fields of a specification; a field in a file of --spec has the "
        "same name with _ for -. Ctrl-C cancels the job, or with --checkpoint stops it so that "
        "--resume goes on from there; a second Ctrl-C ends at once.\n\n"
        "Example: trainhost train --data x.npy --labels y.npy --hidden 64,32 --epochs 20 "
        "--out model.safetensors",
    .rows = rows,
    .has_fields = true,
    .run = run,
};

/* trainhost train: a data set becomes a model. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/dataset.h"
#include "cli/fields.h"
#include "cli/follow.h"
#include "cli/outcome.h"
#include "cli/output.h"
#include "formats/file.h"

/* All that is wrong with the command line is told before a file is read or a host is asked. */
static th_error arguments_judge(const th_arguments *arguments) {
  th_error error = th_dataset_judge(arguments, true);
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
  return arguments->detach ? TH_OK : th_outcome_judge(TH_JOB_TRAIN, arguments->out);
}

/* Asked of the open host, because the environment is the manager's to read. */
static th_error mode_judge(const th_host *host, const th_arguments *arguments) {
  if (!arguments->detach || !th_host_is_local(host)) return TH_OK;
  return th_fail(TH_ERR_USAGE,
                 "--detach needs a host to go on with the job, and local mode trains in this "
                 "process; set USE_TRAINING_HOST_SERVICE=true");
}

/* What a training needs, read. Everything is freed as soon as the host has it. */
typedef struct train_inputs {
  th_buffer spec;
  th_buffer checkpoint;
  th_dataset dataset;
} train_inputs;

static void inputs_free(train_inputs *inputs) {
  th_buffer_fini(&inputs->spec);
  th_buffer_fini(&inputs->checkpoint);
  th_dataset_fini(&inputs->dataset);
}

static th_error inputs_read(const th_arguments *arguments, th_display *display,
                            train_inputs *inputs) {
  th_error error = TH_OK;
  if (arguments->resume != NULL) error = th_file_read(arguments->resume, &inputs->checkpoint);
  return error == TH_OK ? th_dataset_read(arguments, true, display, &inputs->dataset) : error;
}

static th_error job_start(th_host *host, const th_arguments *arguments, const train_inputs *inputs,
                          th_display *display, th_job **job) {
  const th_job_request request = {
      .kind = TH_JOB_TRAIN,
      .spec = inputs->spec.data,
      .rows = inputs->dataset.features.rows,
      .width = inputs->dataset.features.width,
      .features = inputs->dataset.features.values,
      .labels = inputs->dataset.labels.values,
      .model = inputs->checkpoint.data,
      .model_bytes = inputs->checkpoint.bytes,
      .detach = arguments->detach,
  };
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

static th_error train_with(th_host *host, const th_arguments *arguments, train_inputs *inputs) {
  th_display display;
  th_job *job = NULL;
  th_result result = {0};
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
    error = th_follow_end(job, &display, TH_FOLLOW_CANCELS, &result);
    if (error == TH_OK) error = th_outcome_take(host, job, &result, arguments->out);
    th_result_fini(&result);
  }
  th_job_close(job);
  return error;
}

/* The host is asked before the data are read: if it is absent, that is known at once. */
static th_error run(const th_arguments *arguments) {
  th_spec spec;
  th_host host = {0};
  train_inputs inputs = {0};
  th_error error = th_fields_spec(arguments, &spec);
  if (error == TH_OK) error = th_spec_format(&spec, &inputs.spec);
  if (error == TH_OK) error = arguments_judge(arguments);
  if (error == TH_OK) error = th_host_open(&host);
  if (error == TH_OK) error = mode_judge(&host, arguments);
  if (error == TH_OK) error = train_with(&host, arguments, &inputs);
  inputs_free(&inputs);
  th_host_close(&host);
  return error;
}

static const struct argp_option rows[] = {
    TH_ROW_DATA,
    TH_ROW_LABELS,
    TH_ROW_LABEL_COLUMN("Take the labels from this column of the data, a CSV file with a header"),
    {"resume", TH_FLAG_RESUME, "FILE", 0, "Go on from this checkpoint, with the same data", 1},
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
    .summary = "train a model on labeled data",
    .doc =
        "Train a multi-layer perceptron on labeled data and write it as safetensors."
        "\v"
        "The last flags are the fields of a specification; a field in a file of --spec has the "
        "same name with _ for -. Ctrl-C cancels the job, a second Ctrl-C ends at once.\n\n"
        "Example: trainhost train --data x.npy --labels y.npy --hidden 64,32 --epochs 20 "
        "--out model.safetensors",
    .rows = rows,
    .has_fields = true,
    .run = run,
};

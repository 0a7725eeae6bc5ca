#include "cli/apply.h"

#include "cli/dataset.h"
#include "cli/follow.h"
#include "cli/model.h"
#include "cli/outcome.h"

static th_error arguments_judge(th_job_kind kind, const th_arguments *arguments) {
  if (arguments->model == NULL)
    return th_fail(TH_ERR_USAGE, "--model is missing: a file that trainhost train wrote");
  th_error error = th_dataset_judge(arguments, kind);
  if (error != TH_OK) return error;
  if (kind == TH_JOB_PREDICT && arguments->out == NULL)
    return th_fail(TH_ERR_USAGE,
                   "--out is missing: a name in .npy for logits, or in .csv for classes and "
                   "probabilities; of a regression for its outputs");
  return th_outcome_judge(kind, arguments->out);
}

/* Model and data are needed until the host has them, and no longer. */
static th_error job_start(th_host *host, th_job_kind kind, const th_arguments *arguments,
                          th_display *display, th_job **job) {
  th_buffer model = {0};
  th_table dataset = {0};
  th_error error = th_model_file_read("--model", arguments->model, false, &model);
  if (error == TH_OK) error = th_dataset_read(arguments, kind, display, &dataset);
  if (error == TH_OK) {
    th_job_request request = {.kind = kind, .model = model.data, .model_bytes = model.bytes};
    th_dataset_lend(&dataset, &request);
    error = th_follow_start(host, &request, display, job);
  }
  th_display_clear(display);
  th_buffer_fini(&model);
  th_table_fini(&dataset);
  return error;
}

static th_error apply_with(th_host *host, th_job_kind kind, const th_arguments *arguments) {
  th_display display;
  th_job *job = NULL;
  th_result result = {0};
  th_display_init(&display, kind);
  th_error error = job_start(host, kind, arguments, &display, &job);
  if (error != TH_OK) return error;
  error = th_follow_end(job, &display, TH_FOLLOW_CANCELS, NULL, &result);
  if (error == TH_OK) error = th_outcome_take(host, job, &result, arguments->out, NULL);
  th_result_fini(&result);
  th_job_close(job);
  return error;
}

th_error th_apply_run(th_job_kind kind, const th_arguments *arguments) {
  th_host host = {0};
  th_error error = arguments_judge(kind, arguments);
  if (error == TH_OK) error = th_host_open(&host);
  if (error == TH_OK) error = apply_with(&host, kind, arguments);
  th_host_close(&host);
  return error;
}

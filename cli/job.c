/* trainhost cancel, result, forget: what can be done with a job at the host, by its number. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/job.h"
#include "cli/commands.h"
#include "cli/follow.h"
#include "cli/outcome.h"
#include "cli/output.h"
#include "formats/file.h"

/* Open a host that has jobs beyond this process. Whatever the outcome, th_host_close. */
static th_error host_open(th_host *host, uint64_t number) {
  th_error error = th_host_open(host);
  if (error != TH_OK || !th_host_is_local(host)) return error;
  return th_fail(TH_ERR_USAGE,
                 "local mode has no jobs beyond the process that trains: set "
                 "USE_TRAINING_HOST_SERVICE=true to ask a host for job %" PRIu64,
                 number);
}

/* Find the job there, too. Whatever the outcome, th_job_close and th_host_close. */
static th_error job_open(const th_arguments *arguments, th_host *host, th_job **job) {
  th_error error = host_open(host, arguments->job);
  if (error != TH_OK) return error;
  return th_job_attach(host->adapter, arguments->job, job);
}

/* What is done with the job once it is found. */
typedef th_error job_errand(th_host *host, th_job *job, const th_arguments *arguments);

static th_error job_run(const th_arguments *arguments, job_errand *errand) {
  th_host host = {0};
  th_job *job = NULL;
  th_error error = job_open(arguments, &host, &job);
  if (error == TH_OK) error = errand(&host, job, arguments);
  th_job_close(job);
  th_host_close(&host);
  return error;
}

static void done_tell(const char *verb, uint64_t number) {
  th_output_json(
      json_pack("{s:s, s:I, s:b}", "event", "result", "job", (json_int_t)number, verb, 1));
  th_output_text("job %" PRIu64 " is %s\n", number, verb);
}

/* ---- cancel ---- */

/* A job that is over would take the cancel without a word, and the caller would believe that it
 * came in time. */
static th_error not_over_judge(th_host *host, uint64_t number) {
  th_job_info *jobs;
  size_t count;
  th_error error = th_adapter_jobs(host->adapter, &jobs, &count);
  if (error != TH_OK) return error;
  for (size_t i = 0; i < count && error == TH_OK; i++)
    if (jobs[i].progress.job == number && th_phase_is_last(jobs[i].progress.phase))
      error = th_fail(TH_ERR_NOT_FOUND, "job %" PRIu64 " is %s: there is nothing left to cancel",
                      number, th_phase_name(jobs[i].progress.phase));
  free(jobs);
  return error;
}

/* By number and not through a handle: another program may follow the job. */
static th_error cancel_run(const th_arguments *arguments) {
  th_host host = {0};
  th_error error = host_open(&host, arguments->job);
  if (error == TH_OK) error = not_over_judge(&host, arguments->job);
  if (error == TH_OK) error = th_adapter_cancel(host.adapter, arguments->job);
  if (error == TH_OK) done_tell("canceled", arguments->job);
  th_host_close(&host);
  return error;
}

const th_command th_command_cancel = {
    .name = "cancel",
    .summary = "end a job at the host",
    .doc = "End a job at the host, within a step; also one that another program follows.",
    .job = TH_JOB_ARGUMENT_REQUIRED,
    .run = cancel_run,
};

/* ---- forget ---- */

static th_error forget(th_host *host, th_job *job, const th_arguments *arguments) {
  (void)host;
  th_error error = th_job_forget(job);
  if (error == TH_OK) done_tell("forgotten", arguments->job);
  return error;
}

static th_error forget_run(const th_arguments *arguments) {
  return job_run(arguments, forget);
}

const th_command th_command_forget = {
    .name = "forget",
    .summary = "delete a job and its result at the host",
    .doc = "Delete a job and its result at the host; a job that is not over is canceled first.",
    .job = TH_JOB_ARGUMENT_REQUIRED,
    .run = forget_run,
};

/* ---- result ---- */

/* Only the result itself says of which kind the job was, and so whether it has anything to write.
 */
static th_error out_judge(th_job_kind kind, const char *out) {
  if (out == NULL && kind != TH_JOB_EVALUATE)
    return th_fail(TH_ERR_USAGE, "--out is missing: where the result of a job of kind %s goes",
                   th_job_kind_name(kind));
  return th_outcome_judge(kind, out);
}

static th_error fail_not_over(th_job *job) {
  th_progress progress = {0};
  th_error error = th_job_progress(job, &progress);
  (void)error; /* Without it the phase is told as unknown. */
  uint64_t number = th_job_number(job);
  return th_fail(TH_ERR_BUSY,
                 "job %" PRIu64 " is not over: it is %s, %.0f %% done; --wait waits for it", number,
                 th_phase_name(progress.phase), progress.fraction * 100);
}

static th_error result_fetch(th_job *job, const th_arguments *arguments, th_result *fetched) {
  if (arguments->wait) {
    th_display display;
    th_display_init(&display, TH_JOB_TRAIN);
    return th_follow_end(job, &display, TH_FOLLOW_LEAVES, NULL, fetched);
  }
  th_error error = th_job_result(job, fetched);
  return error == TH_ERR_AGAIN ? fail_not_over(job) : error;
}

/* The host keeps it: only its user knows when the file is where it belongs. */
static th_error result(th_host *host, th_job *job, const th_arguments *arguments) {
  th_result fetched = {0};
  th_error error = result_fetch(job, arguments, &fetched);
  if (error == TH_OK) error = out_judge(fetched.kind, arguments->out);
  if (error == TH_OK) error = th_outcome_write(&fetched, arguments->out);
  if (error == TH_OK) error = th_outcome_tell(host, arguments->job, &fetched, arguments->out);
  th_result_fini(&fetched);
  return error;
}

static th_error fail_no_checkpoint(uint64_t number) {
  return th_fail(TH_ERR_BUSY,
                 "job %" PRIu64
                 " has left no checkpoint yet; it does so after every checkpoint_epochs epochs, if "
                 "its specification has that field",
                 number);
}

static th_error checkpoint(th_host *host, th_job *job, const th_arguments *arguments) {
  th_result fetched = {0};
  th_error error = th_job_checkpoint(job, &fetched);
  if (error == TH_ERR_AGAIN) error = fail_no_checkpoint(arguments->job);
  if (error == TH_OK) error = th_outcome_write(&fetched, arguments->checkpoint);
  if (error == TH_OK)
    error = th_outcome_tell(host, arguments->job, &fetched, arguments->checkpoint);
  th_result_fini(&fetched);
  return error;
}

static th_error result_run(const th_arguments *arguments) {
  if (arguments->checkpoint == NULL) return job_run(arguments, result);
  if (arguments->out != NULL || arguments->wait)
    return th_fail(TH_ERR_USAGE,
                   "--checkpoint asks for the newest checkpoint, of a job that may still run: give "
                   "it without --out and --wait");
  th_error error = th_file_check_writable(arguments->checkpoint);
  return error == TH_OK ? job_run(arguments, checkpoint) : error;
}

static const struct argp_option result_rows[] = {
    TH_ROW_OUT("Write the model (and its card beside it) or the predictions here"),
    {"checkpoint", TH_FLAG_CHECKPOINT, "FILE", 0,
     "Write the newest checkpoint of a training here instead, whether it is over or not", 2},
    {"wait", TH_FLAG_WAIT, NULL, 0,
     "Follow the job until it is over; Ctrl-C ends that, and not the job", 2},
    {0},
};

const th_command th_command_result = {
    .name = "result",
    .summary = "fetch what a job ended with",
    .doc = "Fetch what a job ended with. The host keeps it until trainhost forget.",
    .rows = result_rows,
    .job = TH_JOB_ARGUMENT_REQUIRED,
    .run = result_run,
};

/* trainhost status: the jobs and sessions at the host. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/job.h"
#include "cli/commands.h"
#include "cli/host.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/words.h"

/* What the host says at one moment. */
typedef struct host_snapshot {
  th_job_info *jobs;
  size_t job_count;
  th_session_info *sessions;
  size_t session_count;
} host_snapshot;

static void snapshot_free(host_snapshot *snapshot) {
  free(snapshot->jobs);
  free(snapshot->sessions);
  *snapshot = (host_snapshot){0};
}

/* Leave only the job asked for. */
static th_error job_choose(host_snapshot *snapshot, uint64_t number) {
  for (size_t i = 0; i < snapshot->job_count; i++) {
    if (snapshot->jobs[i].progress.job != number) continue;
    snapshot->jobs[0] = snapshot->jobs[i];
    snapshot->job_count = 1;
    snapshot->session_count = 0;
    return TH_OK;
  }
  return th_fail(TH_ERR_NOT_FOUND,
                 "there is no job %" PRIu64 " of this user; trainhost status lists them", number);
}

/* Two questions, so a job may have ended between them; each row is true by itself. */
static th_error snapshot_take(th_host *host, const th_arguments *arguments,
                              host_snapshot *snapshot) {
  th_error error = th_adapter_jobs(host->adapter, &snapshot->jobs, &snapshot->job_count);
  if (error == TH_OK)
    error = th_adapter_sessions(host->adapter, &snapshot->sessions, &snapshot->session_count);
  if (error == TH_OK && arguments->has_job) error = job_choose(snapshot, arguments->job);
  return error;
}

/* ---- for a script ---- */

static json_t *job_to_json(const th_job_info *job) {
  const th_progress *progress = &job->progress;
  return json_pack(
      "{s:I, s:o, s:s, s:s, s:b, s:s, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, "
      "s:o, s:o, s:o, s:o}",
      "job", (json_int_t)progress->job, "name", th_output_string(job->name), "kind",
      th_job_kind_name(job->kind), "phase", th_phase_name(progress->phase), "is_checkpoint",
      job->is_checkpoint, "error", th_error_name((th_error)progress->error), "session",
      (json_int_t)job->session, "uid", (json_int_t)job->uid, "queue_position",
      (json_int_t)progress->queue_position, "fraction", th_output_number(progress->fraction),
      "epoch", (json_int_t)progress->epoch, "epochs", (json_int_t)progress->epochs, "step",
      (json_int_t)progress->step, "steps", (json_int_t)progress->steps, "best_epoch",
      (json_int_t)progress->best_epoch, "loss", th_output_number(progress->loss), "accuracy",
      th_output_number(progress->accuracy), "validation_loss",
      th_output_number(progress->validation_loss), "validation_accuracy",
      th_output_number(progress->validation_accuracy), "samples_per_second",
      th_output_number(progress->samples_per_second), "elapsed_seconds",
      th_output_number(progress->elapsed_seconds), "eta_seconds",
      th_output_number(progress->eta_seconds));
}

static json_t *session_to_json(const th_session_info *session) {
  return json_pack(
      "{s:I, s:o, s:i, s:I, s:I, s:I, s:I, s:I}", "session", (json_int_t)session->session, "client",
      th_output_string(session->client), "pid", (int)session->pid, "uid", (json_int_t)session->uid,
      "gid", (json_int_t)session->gid, "jobs", (json_int_t)session->jobs, "connected_ms",
      (json_int_t)session->connected_ms, "received_bytes", (json_int_t)session->received_bytes);
}

static void json_tell(const th_host *host, const host_snapshot *snapshot) {
  json_t *jobs = json_array(), *sessions = json_array();
  int failed = jobs == NULL || sessions == NULL;
  for (size_t i = 0; i < snapshot->job_count && !failed; i++)
    failed = json_array_append_new(jobs, job_to_json(&snapshot->jobs[i]));
  for (size_t i = 0; i < snapshot->session_count && !failed; i++)
    failed = json_array_append_new(sessions, session_to_json(&snapshot->sessions[i]));
  json_t *object = failed ? NULL
                          : json_pack("{s:s, s:s, s:O, s:O}", "event", "result", "mode",
                                      th_host_mode_name(host), "jobs", jobs, "sessions", sessions);
  json_decref(jobs);
  json_decref(sessions);
  th_output_json(object);
}

/* ---- for a person ---- */

static th_word epoch_word(const th_progress *progress) {
  th_word word = {"-"};
  if (progress->epochs > 0)
    snprintf(word.text, sizeof word.text, "%u/%u", progress->epoch, progress->epochs);
  return word;
}

/* A queued job's place matters more than that it is queued, and that a stopped one can go on more
 * than that it was canceled. */
static th_word state_word(const th_job_info *job) {
  const th_progress *progress = &job->progress;
  th_word word;
  if (job->is_checkpoint)
    snprintf(word.text, sizeof word.text, "checkpoint");
  else if (progress->phase == TH_PHASE_QUEUED && progress->queue_position > 0)
    snprintf(word.text, sizeof word.text, "queued %u", progress->queue_position);
  else
    snprintf(word.text, sizeof word.text, "%s", th_phase_name(progress->phase));
  return word;
}

/* The columns of a table that is read at 100 columns; the name comes last, as it may be long. */
static void job_print(th_job_info *job) {
  const th_progress *progress = &job->progress;
  th_words_disarm(job->name);
  bool has_eta = progress->phase < TH_PHASE_DONE && !isnan(progress->eta_seconds);
  bool has_loss = !isnan(progress->loss);
  th_output_text("%6" PRIu64 "  %-8s  %-10s  %4.0f%%  %9s  %9s  %8s  %8s  %s\n", progress->job,
                 th_job_kind_name(job->kind), state_word(job).text, floor(progress->fraction * 100),
                 epoch_word(progress).text,
                 th_words_score(has_loss ? progress->loss : progress->validation_loss).text,
                 th_words_score(has_loss ? progress->accuracy : progress->validation_accuracy).text,
                 has_eta ? th_words_duration(progress->eta_seconds).text : "-", job->name);
}

static void jobs_print(host_snapshot *snapshot) {
  if (snapshot->job_count == 0) {
    th_output_text("no jobs\n");
    return;
  }
  th_output_text("%6s  %-8s  %-10s  %5s  %9s  %9s  %8s  %8s  %s\n", "JOB", "KIND", "STATE", "DONE",
                 "EPOCH", "LOSS", "ACCURACY", "ETA", "NAME");
  for (size_t i = 0; i < snapshot->job_count; i++) job_print(&snapshot->jobs[i]);
}

static void sessions_print(host_snapshot *snapshot) {
  if (snapshot->session_count == 0) return;
  th_output_text("\n%7s  %7s  %6s  %4s  %10s  %10s  %s\n", "SESSION", "PID", "UID", "JOBS",
                 "CONNECTED", "RECEIVED", "CLIENT");
  for (size_t i = 0; i < snapshot->session_count; i++) {
    th_session_info *session = &snapshot->sessions[i];
    th_words_disarm(session->client);
    th_output_text("%7" PRIu64 "  %7d  %6u  %4u  %10s  %10s  %s\n", session->session, session->pid,
                   session->uid, session->jobs,
                   th_words_duration((double)session->connected_ms / 1000).text,
                   th_words_bytes(session->received_bytes).text, session->client);
  }
}

static void snapshot_tell(const th_host *host, host_snapshot *snapshot) {
  if (th_output_is_json()) {
    json_tell(host, snapshot);
    return;
  }
  jobs_print(snapshot);
  sessions_print(snapshot);
}

/* ---- watching ---- */

/* A job asked for that is over changes no more. */
static bool is_over(const host_snapshot *snapshot, const th_arguments *arguments) {
  return arguments->has_job && th_phase_is_last(snapshot->jobs[0].progress.phase);
}

static th_error show(th_host *host, const th_arguments *arguments, bool *is_last) {
  host_snapshot now = {0};
  th_error error = snapshot_take(host, arguments, &now);
  if (error == TH_OK) {
    snapshot_tell(host, &now);
    *is_last = is_over(&now, arguments);
  }
  snapshot_free(&now);
  return error;
}

static th_error watch(th_host *host, const th_arguments *arguments) {
  bool is_terminal = isatty(STDOUT_FILENO), is_last = false;
  th_interrupt_watch();
  while (!th_interrupt_came()) {
    /* Home and clear, so that each list stands where the last one stood. */
    th_output_text(is_terminal ? "\x1b[H\x1b[2J" : "");
    th_error error = show(host, arguments, &is_last);
    if (error != TH_OK || is_last) return error;
    th_output_text(is_terminal ? "" : "\n");
    if (!th_output_flush()) return TH_OK;
    /* A signal ends it early. */
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
  }
  return TH_OK;
}

/* Not an error: a script that lists jobs gets the empty list that is the truth. */
static th_error local_tell(const th_host *host, const th_arguments *arguments) {
  if (arguments->has_job)
    return th_fail(TH_ERR_NOT_FOUND,
                   "local mode has no jobs beyond the process that trains: set "
                   "USE_TRAINING_HOST_SERVICE=true to ask a host for job %" PRIu64,
                   arguments->job);
  json_tell(host, &(host_snapshot){0});
  th_output_text("local mode: each process trains by itself, and there is no host to list jobs\n");
  return TH_OK;
}

static th_error run(const th_arguments *arguments) {
  th_host host = {0};
  bool is_last;
  th_error error = th_host_open(&host);
  if (error == TH_OK && th_host_is_local(&host))
    error = local_tell(&host, arguments);
  else if (error == TH_OK)
    error = arguments->watch ? watch(&host, arguments) : show(&host, arguments, &is_last);
  th_host_close(&host);
  return error;
}

static const struct argp_option rows[] = {
    {"watch", TH_FLAG_WATCH, NULL, 0,
     "Show it anew every second, until Ctrl-C or until JOB is over", 1},
    {0},
};

const th_command th_command_status = {
    .name = "status",
    .summary = "list this user's jobs and sessions, or show one job",
    .doc = "List this user's jobs and sessions at the host, or show one job.",
    .rows = rows,
    .job = TH_JOB_ARGUMENT_OPTIONAL,
    .run = run,
};

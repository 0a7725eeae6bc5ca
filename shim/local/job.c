#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/job.h"
#include "shim/cargo.h"
#include "shim/local/session.h"

/* Jobs kept at once, results and all. */
#define JOBS_MAX 1024

/* Waiting threads are not woken for steps more often than this: a step may take microseconds, and
 * the cores that would tell of it are those that train. */
#define STEP_NEWS_NS (10 * TH_NS_PER_MS)

/* ---- news ---- */

static void session_notify(th_way_session *session) {
  session->news++;
  pthread_cond_broadcast(&session->changed);
  if (!session->is_armed) return;
  session->is_armed = false;
  uint64_t one = 1;
  /* It cannot be full: it is emptied whenever it is armed. */
  ssize_t written = write(session->event_fd, &one, sizeof one);
  (void)written;
}

/* The end of an epoch is always news: its event must not wait for the next step. */
static bool progress_is_news(th_local_job *job, const th_progress *progress) {
  int64_t now_ns = th_clock_now_ns();
  bool is_news = progress->phase != job->phase || progress->epoch != job->epoch ||
                 progress->step == progress->steps || now_ns >= job->step_news_ns;
  if (!is_news) return false;
  job->phase = progress->phase;
  job->epoch = progress->epoch;
  job->step_news_ns = now_ns + STEP_NEWS_NS;
  return true;
}

/* ---- checkpoints ---- */

static void saved_replace(th_local_job *job, th_buffer newest) {
  pthread_mutex_lock(&job->saved_lock);
  th_buffer old = job->saved;
  job->saved = newest;
  pthread_mutex_unlock(&job->saved_lock);
  th_buffer_fini(&old);
}

/* On a thread of the scheduler. Without memory for a newer one the older one stays. */
static void run_saved(void *user, th_run *run, th_outcome *outcome, const th_progress *end) {
  (void)run;
  (void)end;
  if (!outcome->is_checkpoint) return;
  saved_replace(user, outcome->output);
  outcome->output = (th_buffer){0};
}

/* ---- the life of a job ---- */

void th_local_job_destroy(th_local_job *job) {
  th_run_destroy(job->run);
  th_buffer_fini(&job->saved);
  pthread_mutex_destroy(&job->saved_lock);
  free(job);
}

/* With the lock: free a job that nobody can ask for any more. Whoever makes the last of the three
 * conditions true sweeps. */
static void job_sweep(th_local_job *job) {
  if (!job->is_forgotten || !job->is_over || job->handles > 0) return;
  th_local_job **at = &job->session->jobs;
  while (*at != job) at = &(*at)->next;
  *at = job->next;
  th_local_job_destroy(job);
}

/* On a thread of the scheduler. */
static void run_changed(void *user, th_run *run, const th_progress *progress) {
  (void)run;
  th_local_job *job = user;
  th_way_session *session = job->session;
  if (th_phase_is_last(progress->phase)) saved_replace(job, (th_buffer){0});
  pthread_mutex_lock(&session->lock);
  if (progress_is_news(job, progress)) session_notify(session);
  if (th_phase_is_last(progress->phase)) {
    job->is_over = true;
    job_sweep(job);
  }
  pthread_mutex_unlock(&session->lock);
}

/* ---- jobs ---- */

/* Sizes that overflow here do so in th_run_create, which multiplies again to judge them. */
static th_run_request request_convert(const th_job_request *request, const th_cargo *cargo) {
  th_run_request converted = {
      .kind = request->kind,
      .spec = request->spec != NULL ? request->spec : "",
      .rows = request->rows,
      .width = request->width,
      .target_width = cargo->target_width,
      .keeps_data = request->keep_data,
      .saver = run_saved,
  };
  converted.spec_bytes = strlen(converted.spec);
  memcpy(converted.array_bytes, cargo->bytes, sizeof converted.array_bytes);
  return converted;
}

/* Copied, because the caller may change or free its arrays as soon as the call returns. */
static th_error arrays_copy(th_run *run, const th_cargo *cargo) {
  for (int i = 0; i < TH_ARRAY_COUNT; i++) {
    if (cargo->bytes[i] == 0) continue;
    th_error error = th_run_receive(run, (th_array)i, 0, cargo->data[i], (size_t)cargo->bytes[i]);
    if (error != TH_OK) return error;
  }
  return TH_OK;
}

/* With the lock; NULL if there is none, or it was forgotten. */
static th_local_job *job_find(th_way_session *session, uint64_t number) {
  th_local_job *job = session->jobs;
  while (job != NULL && (job->is_forgotten || th_run_job(job->run) != number)) job = job->next;
  return job;
}

static th_error fail_no_job(uint64_t number) {
  return th_fail(TH_ERR_NOT_FOUND, "this process has no job %" PRIu64, number);
}

/* The caller's handle of the job keeps its run. */
static th_error data_find(th_way_session *session, uint64_t number, th_run **run) {
  pthread_mutex_lock(&session->lock);
  const th_local_job *job = job_find(session, number);
  if (job != NULL) *run = job->run;
  pthread_mutex_unlock(&session->lock);
  return job != NULL ? TH_OK : fail_no_job(number);
}

static void handle_link(th_way_job *handle, th_local_job *job) {
  th_way_session *session = job->session;
  handle->job = job;
  handle->next = session->handles;
  session->news++; /* It begins with what happened before. */
  session->handles = handle;
  job->handles++;
}

/* A number is used up even if the job is refused later: numbers grow, and need not be dense. */
static th_error job_admit(th_way_session *session, uint64_t *number) {
  pthread_mutex_lock(&session->lock);
  bool has_room = th_local_jobs_count(session) < JOBS_MAX;
  if (has_room) *number = ++session->number;
  pthread_mutex_unlock(&session->lock);
  if (has_room) return TH_OK;
  return th_fail(TH_ERR_BUSY, "this process keeps %d jobs already; forget one first", JOBS_MAX);
}

/* The run is made whole before anyone can see it, so that a refusal leaves nothing behind. */
static th_error job_create(th_way_session *session, const th_job_request *request, uint64_t data_of,
                           th_local_job **created) {
  uint64_t number = 0;
  th_cargo cargo = th_cargo_of(request);
  th_run_request converted = request_convert(request, &cargo);
  th_error error = job_admit(session, &number);
  if (error == TH_OK && data_of != 0) error = data_find(session, data_of, &converted.data_of);
  if (error != TH_OK) return error;
  th_local_job *job = calloc(1, sizeof *job);
  if (job == NULL) return th_fail_errno(TH_ERR_SYSTEM, "cannot allocate a job");
  job->session = session;
  pthread_mutex_init(&job->saved_lock, NULL);
  error = th_run_create(number, &converted, &session->device, run_changed, job, &job->run);
  if (error == TH_OK) error = arrays_copy(job->run, &cargo);
  if (error == TH_OK) {
    *created = job;
    return TH_OK;
  }
  th_local_job_destroy(job);
  return error;
}

static th_error job_start(th_way_session *session, const th_job_request *request, uint64_t data_of,
                          th_way_job **started) {
  th_way_job *handle = calloc(1, sizeof *handle);
  if (handle == NULL) return th_fail_errno(TH_ERR_SYSTEM, "cannot allocate a job's handle");
  th_local_job *job = NULL;
  th_error error = job_create(session, request, data_of, &job);
  if (error != TH_OK) {
    free(handle);
    return error;
  }
  th_progress begin;
  th_run_progress(job->run, &begin);
  pthread_mutex_lock(&session->lock);
  session->bytes_taken += begin.received_bytes;
  job->next = session->jobs;
  session->jobs = job;
  handle_link(handle, job);
  pthread_mutex_unlock(&session->lock);
  th_scheduler_add(session->scheduler, job->run, TH_LOCAL_SESSION);
  *started = handle;
  return TH_OK;
}

/* A new handle begins at the beginning, so that who attaches is told the whole story. */
static th_error job_attach(th_way_session *session, uint64_t number, th_way_job **attached) {
  th_way_job *handle = calloc(1, sizeof *handle);
  if (handle == NULL) return th_fail_errno(TH_ERR_SYSTEM, "cannot allocate a job's handle");
  pthread_mutex_lock(&session->lock);
  th_local_job *job = job_find(session, number);
  if (job != NULL) handle_link(handle, job);
  pthread_mutex_unlock(&session->lock);
  if (job == NULL) {
    free(handle);
    return fail_no_job(number);
  }
  *attached = handle;
  return TH_OK;
}

static uint64_t job_number(const th_way_job *handle) {
  return th_run_job(handle->job->run);
}

static th_error job_progress(th_way_job *handle, th_progress *progress) {
  th_run_progress(handle->job->run, progress);
  return TH_OK;
}

static void session_wait(th_way_session *session, int64_t deadline_ns) {
  struct timespec until = {.tv_sec = deadline_ns / TH_NS_PER_S,
                           .tv_nsec = deadline_ns % TH_NS_PER_S};
  pthread_cond_clockwait(&session->changed, &session->lock, CLOCK_MONOTONIC, &until);
}

/* Looked at and slept on under one lock, which run_changed takes to wake: nothing is missed. */
static th_error job_next(th_way_job *handle, th_event *event, int64_t timeout_ns) {
  th_way_session *session = handle->job->session;
  int64_t deadline_ns = timeout_ns < 0 ? TH_FOREVER : th_clock_deadline_ns(timeout_ns);
  pthread_mutex_lock(&session->lock);
  th_error error = th_cursor_next(&handle->cursor, handle->job->run, event);
  while (error == TH_ERR_AGAIN && th_clock_now_ns() < deadline_ns) {
    session_wait(session, deadline_ns);
    error = th_cursor_next(&handle->cursor, handle->job->run, event);
  }
  if (error == TH_OK) session->events++;
  pthread_mutex_unlock(&session->lock);
  uint64_t number = job_number(handle);
  if (error == TH_ERR_NOT_FOUND)
    return th_fail(error, "job %" PRIu64 " is over and its last event was taken", number);
  if (error == TH_ERR_AGAIN && timeout_ns != 0)
    return th_fail(TH_ERR_TIMEOUT, "nothing new from job %" PRIu64 " in the time given", number);
  return error;
}

static th_error buffer_copy(const th_buffer *from, void **data, size_t *bytes) {
  /* A NUL follows, for what is text. */
  char *copy = malloc(from->bytes + 1);
  if (copy == NULL)
    return th_fail_errno(TH_ERR_SYSTEM, "cannot allocate %zu bytes for a result", from->bytes);
  if (from->bytes > 0) memcpy(copy, from->data, from->bytes);
  copy[from->bytes] = '\0';
  *data = copy;
  *bytes = from->bytes;
  return TH_OK;
}

static th_error outcome_copy(const th_outcome *outcome, th_result *result) {
  void *card;
  th_error error = buffer_copy(&outcome->card, &card, &result->card_bytes);
  if (error != TH_OK) return error;
  if (outcome->output.bytes > 0)
    error = buffer_copy(&outcome->output, &result->output, &result->output_bytes);
  if (error != TH_OK) {
    free(card);
    return error;
  }
  result->card = card;
  return TH_OK;
}

static th_error known_judge(const th_way_job *handle) {
  th_local_job *job = handle->job;
  pthread_mutex_lock(&job->session->lock);
  bool is_forgotten = job->is_forgotten;
  pthread_mutex_unlock(&job->session->lock);
  if (!is_forgotten) return TH_OK;
  return th_fail(TH_ERR_NOT_FOUND, "job %" PRIu64 " was forgotten, and its result with it",
                 job_number(handle));
}

/* An outcome never changes again, and the handle keeps it: it is copied without the lock. */
static th_error job_result(th_way_job *handle, th_result *result) {
  th_run *run = handle->job->run;
  th_error error = known_judge(handle);
  if (error != TH_OK) return error;
  if (!th_run_is_over(run)) return TH_ERR_AGAIN;
  const th_outcome *outcome = th_run_outcome(run);
  if (outcome->error != TH_OK && !outcome->is_checkpoint)
    return th_fail(outcome->error, "%s", outcome->text);
  th_result copy = {.kind = th_run_kind(run), .is_checkpoint = outcome->is_checkpoint};
  error = outcome_copy(outcome, &copy);
  if (error == TH_OK) *result = copy;
  return error;
}

static th_error saved_copy(th_local_job *job, th_result *result) {
  const th_outcome saved = {.output = job->saved};
  th_result copy = {.kind = TH_JOB_TRAIN, .is_checkpoint = true};
  if (job->saved.bytes == 0) return TH_ERR_AGAIN;
  th_error error = outcome_copy(&saved, &copy);
  if (error == TH_OK) *result = copy;
  return error;
}

/* One that is over has let go of what it saved on the way: its outcome says what it has left. */
static th_error job_checkpoint(th_way_job *handle, th_result *result) {
  th_local_job *job = handle->job;
  th_error error = known_judge(handle);
  if (error != TH_OK) return error;
  if (!th_run_is_over(job->run)) {
    pthread_mutex_lock(&job->saved_lock);
    error = saved_copy(job, result);
    pthread_mutex_unlock(&job->saved_lock);
    return error;
  }
  if (th_run_outcome(job->run)->is_checkpoint) return job_result(handle, result);
  return th_fail(TH_ERR_NOT_FOUND, "job %" PRIu64 " is over and has left no checkpoint",
                 job_number(handle));
}

/* Out of the lists at once; the memory goes when the run is over and its handles are closed. */
static th_error job_forget(th_way_job *handle) {
  th_local_job *job = handle->job;
  pthread_mutex_lock(&job->session->lock);
  bool is_forgotten = job->is_forgotten;
  job->is_forgotten = true;
  pthread_mutex_unlock(&job->session->lock);
  if (is_forgotten)
    return th_fail(TH_ERR_NOT_FOUND, "job %" PRIu64 " was forgotten before", job_number(handle));
  th_run_cancel(job->run);
  if (th_run_is_over(job->run)) th_run_drop_data(job->run);
  return TH_OK;
}

static void job_close(th_way_job *handle) {
  if (handle == NULL) return;
  th_local_job *job = handle->job;
  th_way_session *session = job->session;
  pthread_mutex_lock(&session->lock);
  th_way_job **at = &session->handles;
  while (*at != handle) at = &(*at)->next;
  *at = handle->next;
  job->handles--;
  job_sweep(job);
  pthread_mutex_unlock(&session->lock);
  free(handle);
}

/* ---- the way ---- */

/* Without the session's lock: it may call run_changed. The handle keeps the run meanwhile. */
static th_error job_cancel(th_way_session *session, uint64_t number) {
  th_way_job *handle;
  th_error error = job_attach(session, number, &handle);
  if (error != TH_OK) return error;
  th_run_cancel(handle->job->run);
  job_close(handle);
  return TH_OK;
}

static th_error job_stop(th_way_job *handle) {
  th_run_stop(handle->job->run);
  return TH_OK;
}

const th_way th_way_local = {
    .error_text = th_error_text,
    .open = th_local_open,
    .close = th_local_close,
    .health = th_local_health,
    .jobs = th_local_jobs,
    .sessions = th_local_sessions,
    .statistics = th_local_statistics,
    .fd = th_local_fd,
    .arm = th_local_arm,
    .start = job_start,
    .attach = job_attach,
    .number = job_number,
    .progress = job_progress,
    .next = job_next,
    .cancel = job_cancel,
    .stop = job_stop,
    .result = job_result,
    .checkpoint = job_checkpoint,
    .forget = job_forget,
    .job_close = job_close,
};

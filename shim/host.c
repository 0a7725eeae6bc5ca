/* The way to the daemon: what each call of th_way does with a session's link and queues. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "ipc/progress.h"
#include "shim/ask.h"
#include "shim/listing.h"
#include "shim/result.h"
#include "shim/sender.h"

/* ---- the list of jobs ---- */

th_way_job *th_session_job(th_way_session *session, uint64_t number) {
  for (th_way_job *job = session->jobs; job != NULL; job = job->next)
    if (job->number == number) return job;
  return NULL;
}

/* NULL without memory; the text says so. */
static th_way_job *job_create(th_way_session *session) {
  th_way_job *job = calloc(1, sizeof *job);
  if (job == NULL) {
    (void)th_fail(TH_ERR_SYSTEM, "no memory for a job");
    return NULL;
  }
  if (th_inbox_init(&job->inbox) != TH_OK) {
    free(job);
    return NULL;
  }
  job->session = session;
  job->is_open = true;
  return job;
}

static void job_destroy(th_way_job *job) {
  th_inbox_fini(&job->inbox);
  free(job);
}

static void job_unlink(th_way_job *job) {
  th_way_job **link = &job->session->jobs;
  while (*link != NULL && *link != job) link = &(*link)->next;
  if (*link == job) *link = job->next;
}

/* The daemon gives a cell to another job only when it has forgotten the one before, at whoever's
 * request: that one will tell nothing more. This also bounds the list by the number of cells. */
static void cell_take_over(th_way_session *session, uint32_t cell) {
  for (th_way_job **link = &session->jobs; *link != NULL;) {
    th_way_job *job = *link;
    if (job->cell != cell) {
      link = &job->next;
      continue;
    }
    *link = job->next;
    job->is_forgotten = true;
    if (!job->is_open) job_destroy(job);
  }
}

static th_error job_answer_judge(th_way_session *session, const th_wire_job *answer) {
  if (answer->job == 0 || answer->cell >= session->region.geometry.cell_count ||
      answer->kind < TH_JOB_TRAIN || answer->kind > TH_JOB_PREDICT)
    return th_link_end(&session->link, th_fail(TH_ERR_PROTOCOL,
                                               "trainhostd at %s broke the protocol: job %" PRIu64
                                               " of kind %u in cell %u of %u",
                                               session->link.path, answer->job, answer->kind,
                                               answer->cell, session->region.geometry.cell_count));
  return TH_OK;
}

static th_error job_exchange(th_way_session *session, th_wire_type type, const void *body,
                             uint32_t body_bytes, int64_t deadline_ns, th_wire_job *answer) {
  th_link *link = &session->link;
  th_error error = th_ask_exchange(session, type, body, body_bytes, deadline_ns);
  if (error != TH_OK) return error;
  if (link->answer.header.body_bytes != sizeof *answer)
    return th_link_fail_protocol(link, "an answer of another size");
  memcpy(answer, link->answer.body, sizeof *answer);
  return job_answer_judge(session, answer);
}

/* Put a job on the list as the daemon answered. Between question and answer no event is taken, so
 * that the job's first one finds its inbox. */
static th_error job_request(th_way_job *job, th_wire_type type, const void *body,
                            uint32_t body_bytes) {
  th_way_session *session = job->session;
  int64_t deadline_ns = th_link_deadline_ns(&session->link);
  th_error error = th_link_enter(&session->link, deadline_ns);
  if (error != TH_OK) return error;
  pthread_mutex_lock(&session->lock);
  th_session_hold(session);
  pthread_mutex_unlock(&session->lock);
  th_wire_job answer = {0};
  error = job_exchange(session, type, body, body_bytes, deadline_ns, &answer);
  pthread_mutex_lock(&session->lock);
  if (error == TH_OK) {
    job->number = answer.job;
    job->cell = answer.cell;
    job->kind = (th_job_kind)answer.kind;
    cell_take_over(session, job->cell);
    job->next = session->jobs;
    session->jobs = job;
  }
  th_session_release(session);
  pthread_mutex_unlock(&session->lock);
  th_link_leave(&session->link);
  return error;
}

/* ---- start ---- */

static th_error start_body(const th_job_request *request, uint64_t data_of, const th_cargo *cargo,
                           uint8_t **body, uint32_t *body_bytes) {
  size_t spec_bytes = request->spec == NULL ? 0 : strlen(request->spec);
  size_t spec_bytes_max = TH_WIRE_BODY_BYTES_MAX - sizeof(th_wire_start);
  if (spec_bytes > spec_bytes_max)
    return th_fail(TH_ERR_LIMIT, "spec is %zu bytes long; at most %zu can be sent", spec_bytes,
                   spec_bytes_max);
  th_wire_start start = {.kind = request->kind,
                         .flags = (request->detach ? TH_WIRE_START_DETACH : 0) |
                                  (request->keep_data ? TH_WIRE_START_KEEP_DATA : 0),
                         .rows = request->rows,
                         .width = request->width,
                         .target_width = cargo->target_width,
                         .spec_bytes = (uint32_t)spec_bytes,
                         .data_of = data_of};
  memcpy(start.array_bytes, cargo->bytes, sizeof cargo->bytes);
  uint8_t *bytes = malloc(sizeof start + spec_bytes);
  if (bytes == NULL) return th_fail(TH_ERR_SYSTEM, "no memory for a request");
  memcpy(bytes, &start, sizeof start);
  if (spec_bytes > 0) memcpy(bytes + sizeof start, request->spec, spec_bytes);
  *body = bytes;
  *body_bytes = (uint32_t)(sizeof start + spec_bytes);
  return TH_OK;
}

/* A code that came in shared memory has its text at the daemon. If that cannot be had, the code
 * alone must do. */
static th_error refusal_explain(th_way_job *job, th_error error) {
  th_result result;
  if (th_result_fetch(job, TH_WIRE_RESULT, &result) == error) return error;
  th_result_fini(&result);
  return th_fail(error, "trainhostd took no more data for job %" PRIu64 ": %s", job->number,
                 th_error_name(error));
}

/* Nothing may stay behind; and nobody waits for a daemon that has just failed to answer. The text
 * of the failure outlives what this may record. */
static void job_give_up(th_way_job *job) {
  th_way_session *session = job->session;
  char text[TH_ERROR_TEXT_BYTES_MAX];
  strcpy(text, th_error_text());
  th_wire_job body = {.job = job->number};
  if (job->number != 0) th_link_post(&session->link, TH_WIRE_FORGET, &body, sizeof body);
  pthread_mutex_lock(&session->lock);
  job_unlink(job);
  pthread_mutex_unlock(&session->lock);
  job_destroy(job);
  (void)th_fail(TH_OK, "%s", text);
}

static th_error job_start(th_way_job *job, const th_job_request *request, uint64_t data_of) {
  th_cargo cargo = th_cargo_of(request);
  uint8_t *body = NULL;
  uint32_t body_bytes = 0;
  th_error error = start_body(request, data_of, &cargo, &body, &body_bytes);
  if (error != TH_OK) return error;
  error = job_request(job, TH_WIRE_START, body, body_bytes);
  free(body);
  if (error != TH_OK) return error;
  bool is_refused;
  error = th_sender_send(job->session, job, &cargo, &is_refused);
  return is_refused ? refusal_explain(job, error) : error;
}

static th_error host_start(th_way_session *session, const th_job_request *request, uint64_t data_of,
                           th_way_job **started) {
  th_way_job *job = job_create(session);
  if (job == NULL) return TH_ERR_SYSTEM;
  th_error error = job_start(job, request, data_of);
  if (error != TH_OK) {
    job_give_up(job);
    return error;
  }
  *started = job;
  return TH_OK;
}

/* ---- attach ---- */

/* A handle that was closed left its job on the list, with all that has come since. */
static th_error job_reopen(th_way_session *session, uint64_t number, th_way_job **reopened) {
  th_error error = TH_ERR_AGAIN;
  pthread_mutex_lock(&session->lock);
  th_way_job *job = th_session_job(session, number);
  if (job != NULL && job->is_open) {
    error = th_fail(TH_ERR_BUSY, "this adapter has a handle of job %" PRIu64 " already: close it",
                    number);
  } else if (job != NULL) {
    job->is_open = true;
    *reopened = job;
    error = TH_OK;
  }
  pthread_mutex_unlock(&session->lock);
  return error;
}

static th_error host_attach(th_way_session *session, uint64_t number, th_way_job **attached) {
  th_error error = th_link_state(&session->link);
  if (error == TH_OK) error = job_reopen(session, number, attached);
  if (error != TH_ERR_AGAIN) return error;
  th_way_job *job = job_create(session);
  if (job == NULL) return TH_ERR_SYSTEM;
  th_wire_job body = {.job = number};
  error = job_request(job, TH_WIRE_ATTACH, &body, sizeof body);
  if (error != TH_OK) {
    job_destroy(job);
    return error;
  }
  *attached = job;
  return TH_OK;
}

/* ---- jobs ---- */

static uint64_t host_number(const th_way_job *job) {
  return job->number;
}

/* The cell may be another job's by now, or be written just now: then the last one read still holds.
 */
static th_error host_progress(th_way_job *job, th_progress *progress) {
  th_progress newest;
  th_error error = th_progress_read(&job->session->region.cells[job->cell], &newest);
  if (error == TH_OK && newest.job == job->number) job->progress = newest;
  if (job->progress.job == 0) return TH_ERR_AGAIN;
  *progress = job->progress;
  return TH_OK;
}

static th_error fail_told_all(const th_way_job *job) {
  return th_fail(TH_ERR_NOT_FOUND, "job %" PRIu64 " %s: it has no more events", job->number,
                 job->is_forgotten ? "was forgotten" : "is over");
}

static th_error fail_nothing_new(const th_way_job *job, int64_t timeout_ns) {
  if (timeout_ns == 0) return TH_ERR_AGAIN;
  return th_fail(TH_ERR_TIMEOUT, "job %" PRIu64 " told nothing new within %" PRId64 " ms",
                 job->number, timeout_ns / TH_NS_PER_MS);
}

static th_error host_next(th_way_job *job, th_event *event, int64_t timeout_ns) {
  th_way_session *session = job->session;
  int64_t deadline_ns = timeout_ns < 0 ? TH_FOREVER : th_clock_deadline_ns(timeout_ns);
  th_error error;
  pthread_mutex_lock(&session->lock);
  do {
    th_session_look(session);
    error = th_inbox_take(&job->inbox, event);
    if (error == TH_OK) break;
    if (job->is_forgotten || th_inbox_is_over(&job->inbox))
      error = fail_told_all(job);
    else
      error = th_session_sleep(session, deadline_ns);
  } while (error == TH_OK);
  pthread_mutex_unlock(&session->lock);
  if (error == TH_ERR_AGAIN) return fail_nothing_new(job, timeout_ns);
  return error;
}

static th_error host_cancel(th_way_session *session, uint64_t number) {
  th_wire_job body = {.job = number};
  return th_ask_request(session, TH_WIRE_CANCEL, &body, sizeof body, NULL, 0);
}

static th_error host_stop(th_way_job *job) {
  th_wire_job body = {.job = job->number};
  return th_ask_request(job->session, TH_WIRE_STOP, &body, sizeof body, NULL, 0);
}

static th_error host_result(th_way_job *job, th_result *result) {
  return th_result_fetch(job, TH_WIRE_RESULT, result);
}

static th_error host_checkpoint(th_way_job *job, th_result *result) {
  return th_result_fetch(job, TH_WIRE_CHECKPOINT, result);
}

static th_error host_forget(th_way_job *job) {
  th_way_session *session = job->session;
  th_wire_job body = {.job = job->number};
  th_error error = th_ask_request(session, TH_WIRE_FORGET, &body, sizeof body, NULL, 0);
  if (error != TH_OK) return error;
  pthread_mutex_lock(&session->lock);
  job->is_forgotten = true;
  pthread_mutex_unlock(&session->lock);
  return TH_OK;
}

static void host_job_close(th_way_job *job) {
  th_way_session *session = job->session;
  pthread_mutex_lock(&session->lock);
  job->is_open = false;
  bool is_needed = !job->is_forgotten;
  if (!is_needed) job_unlink(job);
  pthread_mutex_unlock(&session->lock);
  if (!is_needed) job_destroy(job);
}

/* ---- session ---- */

static th_error host_health(th_way_session *session, th_health *health) {
  th_wire_health wire;
  int64_t asked_ns = th_clock_now_ns();
  th_error error = th_ask_request(session, TH_WIRE_PING, NULL, 0, &wire, sizeof wire);
  if (error != TH_OK) return error;
  *health = (th_health){.round_trip_ns = (uint64_t)(th_clock_now_ns() - asked_ns),
                        .uptime_ms = wire.uptime_ms,
                        .sessions = wire.sessions,
                        .sessions_max = wire.sessions_max,
                        .jobs_running = wire.jobs_running,
                        .jobs_queued = wire.jobs_queued,
                        .jobs_kept = wire.jobs_kept,
                        .threads = wire.threads,
                        .data_bytes = wire.data_bytes,
                        .data_bytes_max = wire.data_bytes_max};
  memcpy(health->daemon, session->daemon, sizeof health->daemon);
  memcpy(health->device, session->device, sizeof health->device);
  memcpy(health->io, session->engine.text, sizeof health->io);
  return TH_OK;
}

static void host_statistics(th_way_session *session, th_statistics *statistics) {
  pthread_mutex_lock(&session->lock);
  statistics->bytes_sent = session->bytes_sent;
  statistics->events = session->events_taken;
  statistics->doorbells =
      session->doorbells + atomic_load_explicit(&session->call_doorbells, memory_order_relaxed);
  pthread_mutex_unlock(&session->lock);
}

static int host_fd(th_way_session *session) {
  return session->epoll_fd;
}

static th_error host_arm(th_way_session *session) {
  pthread_mutex_lock(&session->lock);
  th_error error = th_session_arm(session);
  pthread_mutex_unlock(&session->lock);
  return error;
}

const th_way th_way_host = {
    .error_text = th_error_text,
    .open = th_session_open,
    .close = th_session_close,
    .abandon = th_session_abandon,
    .health = host_health,
    .jobs = th_listing_jobs,
    .sessions = th_listing_sessions,
    .statistics = host_statistics,
    .fd = host_fd,
    .arm = host_arm,
    .start = host_start,
    .attach = host_attach,
    .number = host_number,
    .progress = host_progress,
    .next = host_next,
    .cancel = host_cancel,
    .stop = host_stop,
    .result = host_result,
    .checkpoint = host_checkpoint,
    .forget = host_forget,
    .job_close = host_job_close,
};

/* The public calls: each goes the adapter's way, is counted, and brings the way's text along. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/job.h"
#include "shim/inbox.h"
#include "shim/manager.h"
#include "shim/plugin.h"
#include "shim/request.h"
#include "shim/way.h"

struct th_adapter {
  const th_way *way;
  th_way_session *session;
  th_mode mode;
  th_adapter *next; /* in the list of open adapters */
  bool is_inherited; /* by a forked child, which may not use it */
  atomic_uint_fast32_t users; /* the caller, until it closes it, and every handle of a job */
  atomic_uint_fast64_t requests, errors, jobs_started;
};

struct th_job {
  th_adapter *adapter;
  th_way_job *job;
  uint64_t number;
  th_phase end; /* the last phase, once it was told; else 0 */
  th_error end_error;
};

/* ---- fork ---- */

static pthread_mutex_t adapters_lock = PTHREAD_MUTEX_INITIALIZER;
static th_adapter *adapters;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static int fork_error;

static void adapters_freeze(void) {
  pthread_mutex_lock(&adapters_lock);
}

static void adapters_thaw(void) {
  pthread_mutex_unlock(&adapters_lock);
}

static void adapters_abandon(void) {
  for (th_adapter *adapter = adapters; adapter != NULL; adapter = adapter->next) {
    adapter->is_inherited = true;
    if (adapter->way->abandon != NULL) adapter->way->abandon(adapter->session);
  }
  adapters = NULL;
  pthread_mutex_unlock(&adapters_lock);
}

static void fork_watch(void) {
  fork_error = pthread_atfork(adapters_freeze, adapters_thaw, adapters_abandon);
}

static void adapters_add(th_adapter *adapter) {
  pthread_mutex_lock(&adapters_lock);
  adapter->next = adapters;
  adapters = adapter;
  pthread_mutex_unlock(&adapters_lock);
}

static void adapters_remove(th_adapter *adapter) {
  pthread_mutex_lock(&adapters_lock);
  th_adapter **link = &adapters;
  while (*link != adapter) link = &(*link)->next;
  *link = adapter->next;
  pthread_mutex_unlock(&adapters_lock);
}

static th_error owner_judge(const th_adapter *adapter) {
  if (!adapter->is_inherited) return TH_OK;
  return th_fail(TH_ERR_USAGE,
                 "this adapter was opened before a fork and belongs to the parent process; open "
                 "one in the child");
}

/* ---- counting, and the way's text ---- */

/* A plug-in has a copy of base/error of its own: its text is taken over into this library's. */
static th_error way_judge(const th_adapter *adapter, th_error error) {
  if (error != TH_OK && error != TH_ERR_AGAIN)
    (void)th_fail(error, "%s", adapter->way->error_text());
  return error;
}

static th_error request_count(th_adapter *adapter, th_error error) {
  atomic_fetch_add_explicit(&adapter->requests, 1, memory_order_relaxed);
  if (error != TH_OK && error != TH_ERR_AGAIN)
    atomic_fetch_add_explicit(&adapter->errors, 1, memory_order_relaxed);
  return way_judge(adapter, error);
}

/* ---- adapter ---- */

static th_error options_judge(const th_adapter_options *options) {
  if (options->connect_timeout_ns < 0 || options->call_timeout_ns < 0 ||
      options->stall_timeout_ns < 0)
    return th_fail(TH_ERR_USAGE,
                   "a time-out of an adapter is negative: it must have a bound, and 0 "
                   "means the default");
  return TH_OK;
}

static th_error adapter_connect(th_adapter *adapter, const th_manager *manager,
                                const th_adapter_options *options) {
  pthread_once(&fork_once, fork_watch);
  if (fork_error != 0) return th_fail(TH_ERR_SYSTEM, "no memory to watch for forks");
  adapter->mode = th_manager_mode(manager);
  adapter->way = &th_way_host;
  th_error error = options_judge(options);
  if (error == TH_OK && adapter->mode == TH_MODE_LOCAL) error = th_plugin_load(&adapter->way);
  if (error != TH_OK) return error;
  error = adapter->way->open(th_manager_path(manager), options, &adapter->session);
  return way_judge(adapter, error);
}

th_error th_adapter_open(const th_manager *manager, const th_adapter_options *options,
                         th_adapter **opened) {
  static const th_adapter_options defaults = {0};
  th_adapter *adapter = calloc(1, sizeof *adapter);
  if (adapter == NULL) return th_fail(TH_ERR_SYSTEM, "no memory for an adapter");
  th_error error = adapter_connect(adapter, manager, options != NULL ? options : &defaults);
  if (error != TH_OK) {
    free(adapter);
    return error;
  }
  atomic_init(&adapter->users, 1);
  adapters_add(adapter);
  *opened = adapter;
  return TH_OK;
}

/* In a forked child the way's locks and threads are in no known state: what it holds is left to the
 * child's end. Acquire and release, so that who is last sees what the others did. */
static void adapter_release(th_adapter *adapter) {
  if (atomic_fetch_sub_explicit(&adapter->users, 1, memory_order_acq_rel) > 1) return;
  if (!adapter->is_inherited) {
    adapters_remove(adapter);
    adapter->way->close(adapter->session);
  }
  free(adapter);
}

void th_adapter_close(th_adapter *adapter) {
  if (adapter != NULL) adapter_release(adapter);
}

th_mode th_adapter_mode(const th_adapter *adapter) {
  return adapter->mode;
}

th_error th_adapter_health(th_adapter *adapter, th_health *health) {
  th_error error = owner_judge(adapter);
  if (error != TH_OK) return error;
  return request_count(adapter, adapter->way->health(adapter->session, health));
}

th_error th_adapter_jobs(th_adapter *adapter, th_job_info **jobs, size_t *count) {
  th_error error = owner_judge(adapter);
  if (error != TH_OK) return error;
  return request_count(adapter, adapter->way->jobs(adapter->session, jobs, count));
}

th_error th_adapter_sessions(th_adapter *adapter, th_session_info **sessions, size_t *count) {
  th_error error = owner_judge(adapter);
  if (error != TH_OK) return error;
  return request_count(adapter, adapter->way->sessions(adapter->session, sessions, count));
}

void th_adapter_statistics(th_adapter *adapter, th_statistics *statistics) {
  *statistics = (th_statistics){0};
  if (!adapter->is_inherited) adapter->way->statistics(adapter->session, statistics);
  statistics->mode = adapter->mode;
  statistics->requests = atomic_load_explicit(&adapter->requests, memory_order_relaxed);
  statistics->errors = atomic_load_explicit(&adapter->errors, memory_order_relaxed);
  statistics->jobs_started = atomic_load_explicit(&adapter->jobs_started, memory_order_relaxed);
}

int th_adapter_fd(th_adapter *adapter) {
  return adapter->is_inherited ? -1 : adapter->way->fd(adapter->session);
}

th_error th_adapter_arm(th_adapter *adapter) {
  th_error error = owner_judge(adapter);
  if (error != TH_OK) return error;
  return way_judge(adapter, adapter->way->arm(adapter->session));
}

/* ---- jobs ---- */

/* The handle is made before the job is asked for: once the host has a job, nothing may fail. */
static th_error job_create(th_adapter *adapter, th_job **job) {
  *job = calloc(1, sizeof **job);
  if (*job == NULL) return th_fail(TH_ERR_SYSTEM, "no memory for a job");
  (*job)->adapter = adapter;
  return TH_OK;
}

static th_error job_hand_over(th_job *job, th_error error, th_job **handed) {
  (void)request_count(job->adapter, error);
  if (error != TH_OK) {
    free(job);
    return error;
  }
  atomic_fetch_add_explicit(&job->adapter->users, 1, memory_order_relaxed);
  job->number = job->adapter->way->number(job->job);
  *handed = job;
  return TH_OK;
}

static th_error sharing_judge(const th_adapter *adapter, const th_job_request *request) {
  if (request->data_of == NULL || request->data_of->adapter == adapter) return TH_OK;
  return th_fail(TH_ERR_USAGE, "data_of is a job of another adapter; start both with the same one");
}

th_error th_job_start(th_adapter *adapter, const th_job_request *request, th_job **started) {
  th_job *job;
  th_error error = owner_judge(adapter);
  if (error == TH_OK) error = th_request_judge(request);
  if (error == TH_OK) error = sharing_judge(adapter, request);
  if (error == TH_OK) error = job_create(adapter, &job);
  if (error != TH_OK) return error;
  uint64_t data_of = request->data_of != NULL ? request->data_of->number : 0;
  error = adapter->way->start(adapter->session, request, data_of, &job->job);
  if (error == TH_OK) atomic_fetch_add_explicit(&adapter->jobs_started, 1, memory_order_relaxed);
  return job_hand_over(job, error, started);
}

/* What was started before job `failed` is forgotten again. A host that does not answer has it end
 * with the session. */
static th_error jobs_undo(th_job **jobs, uint32_t failed, uint32_t count, th_error error) {
  char text[TH_ERROR_TEXT_BYTES_MAX];
  snprintf(text, sizeof text, "%s", th_error_text());
  for (uint32_t i = failed; i-- > 0;) {
    th_error ignored = th_job_forget(jobs[i]);
    (void)ignored;
    th_job_close(jobs[i]);
  }
  return th_fail(error, "job %u of %u: %s", failed + 1, count, text);
}

th_error th_jobs_start(th_adapter *adapter, const th_job_request *request, const char *const *specs,
                       uint32_t count, th_job **jobs) {
  if (count == 0) return th_fail(TH_ERR_USAGE, "count is 0: there is no job to start");
  if (request->spec != NULL)
    return th_fail(TH_ERR_USAGE,
                   "the request has a spec: of many jobs each has its own, so it must be NULL");
  th_job_request one = *request;
  one.keep_data = true;
  for (uint32_t i = 0; i < count; i++) {
    one.spec = specs[i];
    th_error error = th_job_start(adapter, &one, &jobs[i]);
    if (error != TH_OK) return jobs_undo(jobs, i, count, error);
    /* The others have of the first what is not their own: every array but the model. */
    one = (th_job_request){.kind = request->kind,
                           .model = request->model,
                           .model_bytes = request->model_bytes,
                           .detach = request->detach,
                           .keep_data = request->keep_data,
                           .data_of = jobs[0]};
  }
  return TH_OK;
}

th_error th_job_attach(th_adapter *adapter, uint64_t number, th_job **attached) {
  th_job *job;
  th_error error = owner_judge(adapter);
  if (error == TH_OK) error = job_create(adapter, &job);
  if (error != TH_OK) return error;
  return job_hand_over(job, adapter->way->attach(adapter->session, number, &job->job), attached);
}

uint64_t th_job_number(const th_job *job) {
  return job->number;
}

th_error th_job_progress(th_job *job, th_progress *progress) {
  th_error error = owner_judge(job->adapter);
  if (error != TH_OK) return error;
  return way_judge(job->adapter, job->adapter->way->progress(job->job, progress));
}

th_error th_job_next(th_job *job, th_event *event, int64_t timeout_ns) {
  th_error error = owner_judge(job->adapter);
  if (error != TH_OK) return error;
  error = job->adapter->way->next(job->job, event, timeout_ns);
  if (error == TH_OK && event->kind == TH_EVENT_PHASE && th_phase_is_last(event->phase)) {
    job->end = event->phase;
    job->end_error = event->error;
  }
  return way_judge(job->adapter, error);
}

/* The event has the code; the text is asked for where the result would be. */
static th_error job_outcome(th_job *job) {
  if (job->end == TH_PHASE_DONE) return TH_OK;
  th_result result;
  th_error error = th_job_result(job, &result);
  if (error == job->end_error) return error;
  if (error == TH_OK) {
    th_result_fini(&result);
    return th_fail(job->end_error, "job %" PRIu64 " was stopped; its result is a checkpoint",
                   job->number);
  }
  return th_fail(job->end_error, "job %" PRIu64 " ended as %s; why cannot be had", job->number,
                 th_error_name(job->end_error));
}

th_error th_job_follow(th_job *job, th_job_callback *callback, void *user) {
  while (job->end == 0) {
    th_event event;
    th_error error = th_job_next(job, &event, TH_WAIT_FOREVER);
    if (error != TH_OK) return error;
    if (callback != NULL && !callback(user, job, &event)) return TH_ERR_AGAIN;
  }
  return job_outcome(job);
}

th_error th_adapter_cancel(th_adapter *adapter, uint64_t number) {
  th_error error = owner_judge(adapter);
  if (error != TH_OK) return error;
  return request_count(adapter, adapter->way->cancel(adapter->session, number));
}

th_error th_job_cancel(th_job *job) {
  return th_adapter_cancel(job->adapter, job->number);
}

th_error th_job_stop(th_job *job) {
  th_error error = owner_judge(job->adapter);
  if (error != TH_OK) return error;
  return request_count(job->adapter, job->adapter->way->stop(job->job));
}

th_error th_job_checkpoint(th_job *job, th_result *result) {
  th_error error = owner_judge(job->adapter);
  if (error != TH_OK) return error;
  return request_count(job->adapter, job->adapter->way->checkpoint(job->job, result));
}

th_error th_job_result(th_job *job, th_result *result) {
  th_error error = owner_judge(job->adapter);
  if (error != TH_OK) return error;
  return request_count(job->adapter, job->adapter->way->result(job->job, result));
}

th_error th_job_forget(th_job *job) {
  th_error error = owner_judge(job->adapter);
  if (error != TH_OK) return error;
  return request_count(job->adapter, job->adapter->way->forget(job->job));
}

void th_job_close(th_job *job) {
  if (job == NULL) return;
  if (!job->adapter->is_inherited) job->adapter->way->job_close(job->job);
  adapter_release(job->adapter);
  free(job);
}

void th_result_fini(th_result *result) {
  free(result->output);
  free(result->card);
  *result = (th_result){0};
}

const char *th_version(void) {
  return TH_VERSION;
}

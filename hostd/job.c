#include "hostd/job.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/job.h"
#include "hostd/log.h"
#include "ipc/progress.h"

/* Steps can be shorter than the way to the client: no more than one a millisecond wakes the loop.
 * Cells carry every step all the same. */
enum { STEP_NEWS_NS = 1000000 };

/* ---- on the training thread ---- */

static void jobs_poke(th_jobs *jobs) {
  uint64_t one = 1;
  ssize_t written = write(jobs->poke_fd, &one, sizeof one);
  /* The counter is full only if the loop was poked already. */
  th_check(written == sizeof one || errno == EAGAIN);
}

static void cell_publish(th_job *job, const th_progress *progress) {
  pthread_mutex_lock(&job->cell_lock);
  if (job->cell != NULL) th_progress_publish(job->cell, progress);
  pthread_mutex_unlock(&job->cell_lock);
}

static th_record record_make(const th_job *job, const th_outcome *outcome,
                             const th_progress *progress) {
  th_record record = {.job = job->number,
                      .uid = job->uid,
                      .kind = job->kind,
                      .is_checkpoint = outcome->is_checkpoint,
                      .progress = *progress};
  memcpy(record.name, job->name, sizeof record.name);
  if (outcome->error != TH_OK) memcpy(record.text, outcome->text, sizeof record.text);
  return record;
}

/* What a daemon finds if this one is killed. A disk that refuses it costs no training, and is told
 * once and not after every few epochs. */
static void run_saved(void *user, th_run *run, th_outcome *outcome, const th_progress *end) {
  (void)run;
  th_job *job = user;
  if (atomic_load(&job->is_abandoned)) return;
  th_record record = record_make(job, outcome, end);
  th_error error = outcome->is_checkpoint
                       ? th_store_save(job->jobs->store, &record, &outcome->output, &outcome->card)
                       : th_fail(outcome->error, "%s", outcome->text);
  if (error != TH_OK && !job->has_unsaved)
    th_log(TH_LOG_ERROR, "job %" PRIu64 ": no checkpoint of epoch %u: %s; the training goes on",
           job->number, end->epoch, th_error_text());
  job->has_unsaved = error != TH_OK;
}

/* The result is made safe on the thread that made it, so that the loop never waits for a disk. If
 * the disk refuses, the run keeps the result in memory and it is served from there. */
static void job_finish(th_job *job, th_run *run, const th_progress *progress) {
  const th_outcome *outcome = th_run_outcome(run);
  job->record = record_make(job, outcome, progress);
  if (atomic_load(&job->is_abandoned)) return;
  job->is_stored =
      th_store_save(job->jobs->store, &job->record, &outcome->output, &outcome->card) == TH_OK;
  if (!job->is_stored)
    th_log(TH_LOG_ERROR, "job %" PRIu64 ": %s; its result is kept in memory until it is collected",
           job->number, th_error_text());
}

static bool step_is_news(th_jobs *jobs) {
  int64_t now = th_clock_now_ns();
  if (now - atomic_load_explicit(&jobs->poked_ns, memory_order_relaxed) < STEP_NEWS_NS)
    return false;
  atomic_store_explicit(&jobs->poked_ns, now, memory_order_relaxed);
  return true;
}

static void run_changed(void *user, th_run *run, const th_progress *progress) {
  th_job *job = user;
  th_jobs *jobs = job->jobs;
  if (th_phase_is_last(progress->phase)) {
    job_finish(job, run, progress);
    /* From here on the job is the loop's and may be gone. Pairs with the acquire in th_job_is_over.
     */
    atomic_store_explicit(&job->is_over, true, memory_order_release);
    jobs_poke(jobs);
    return;
  }
  cell_publish(job, progress);
  bool is_step = progress->phase == TH_PHASE_TRAINING && progress->step < progress->steps;
  if (!is_step || step_is_news(jobs)) jobs_poke(jobs);
}

/* ---- on the loop's thread ---- */

static void job_destroy(th_job *job) {
  th_run_destroy(job->run);
  pthread_mutex_destroy(&job->cell_lock);
  free(job);
}

static th_job *job_create(th_jobs *jobs, uint64_t number, uint32_t uid, th_job_kind kind) {
  th_job *job = calloc(1, sizeof *job);
  if (job == NULL) return NULL;
  job->jobs = jobs;
  job->number = number;
  job->uid = uid;
  job->kind = kind;
  pthread_mutex_init(&job->cell_lock, NULL);
  return job;
}

/* In order of number: new jobs have the highest, those read from disk come in any order. */
static void table_insert(th_jobs *jobs, th_job *job) {
  uint32_t i = jobs->count++;
  for (; i > 0 && jobs->table[i - 1]->number > job->number; i--)
    jobs->table[i] = jobs->table[i - 1];
  jobs->table[i] = job;
}

static void table_remove(th_jobs *jobs, th_job *job) {
  uint32_t i = 0;
  while (jobs->table[i] != job) i++;
  jobs->count--;
  memmove(&jobs->table[i], &jobs->table[i + 1], (jobs->count - i) * sizeof *jobs->table);
}

static th_error record_recover(void *user, const th_record *record) {
  th_jobs *jobs = user;
  if (jobs->count == jobs->limits.jobs_max)
    return th_fail(TH_ERR_IO, "%s holds more than %u jobs; start with a higher --jobs-max",
                   jobs->store->dir, jobs->limits.jobs_max);
  th_job *job = job_create(jobs, record->job, record->uid, record->kind);
  if (job == NULL) return th_fail(TH_ERR_SYSTEM, "no memory for the job table");
  memcpy(job->name, record->name, sizeof job->name);
  job->record = *record;
  job->is_detached = job->is_scheduled = job->is_settled = job->is_stored = true;
  atomic_store(&job->is_over, true);
  table_insert(jobs, job);
  return TH_OK;
}

static void record_skipped(void *user) {
  (void)user;
  th_log(TH_LOG_WARNING, "%s; left as it is", th_error_text());
}

th_error th_jobs_open(th_store *store, const th_device *device, th_scheduler *scheduler,
                      const th_job_limits *limits, int poke_fd, th_jobs *jobs) {
  *jobs = (th_jobs){.store = store,
                    .device = device,
                    .scheduler = scheduler,
                    .limits = *limits,
                    .poke_fd = poke_fd};
  jobs->table = calloc(limits->jobs_max, sizeof *jobs->table);
  if (jobs->table == NULL) return th_fail(TH_ERR_SYSTEM, "no memory for the job table");
  return th_store_each(store, record_recover, record_skipped, jobs);
}

/* The sum cannot be lied into an overflow: each size is compared with what is left. */
static th_error limits_judge(const th_jobs *jobs, const th_run_request *request) {
  if (jobs->count >= jobs->limits.jobs_max)
    return th_fail(TH_ERR_BUSY,
                   "the host holds %u jobs, its limit; wait for one, or collect or delete finished "
                   "ones (trainhost result, trainhost forget)",
                   jobs->count);
  uint64_t most = jobs->limits.data_bytes_max, left = most;
  for (int i = 0; i < TH_ARRAY_COUNT; i++) {
    if (request->array_bytes[i] > left)
      return th_fail(TH_ERR_LIMIT,
                     "the job's data are larger than the %" PRIu64
                     " MiB that the host allows for all jobs; start it with a higher --data-max",
                     most >> 20);
    left -= request->array_bytes[i];
  }
  uint64_t held = th_jobs_data_bytes(jobs);
  if (held > left)
    return th_fail(TH_ERR_BUSY,
                   "other jobs hold %" PRIu64 " of %" PRIu64
                   " MiB for data and this one needs %" PRIu64 "; try again when one has ended",
                   held >> 20, most >> 20, (most - left) >> 20);
  return TH_OK;
}

static void job_log_accepted(const th_job *job, const th_run_request *request) {
  const char *kind = th_job_kind_name(job->kind);
  if (request->data_of != NULL)
    th_log(TH_LOG_INFO, "job %" PRIu64 " (%s): accepted from uid %u, with the data of job %" PRIu64,
           job->number, kind, job->uid, th_run_job(request->data_of));
  else
    th_log(TH_LOG_INFO, "job %" PRIu64 " (%s): accepted from uid %u, %" PRIu64 " rows of %u",
           job->number, kind, job->uid, request->rows, request->width);
}

th_error th_jobs_start(th_jobs *jobs, uint32_t uid, const th_run_request *request, bool detach,
                       th_job **started) {
  uint64_t number;
  th_run_request with_saver = *request;
  with_saver.saver = run_saved;
  th_error error = limits_judge(jobs, request);
  if (error == TH_OK) error = th_store_take_number(jobs->store, &number);
  if (error != TH_OK) return error;
  th_job *job = job_create(jobs, number, uid, request->kind);
  if (job == NULL) return th_fail(TH_ERR_SYSTEM, "no memory for a job");
  error = th_run_create(number, &with_saver, jobs->device, run_changed, job, &job->run);
  if (error != TH_OK) {
    job_destroy(job);
    return error;
  }
  strncpy(job->name, th_run_name(job->run), sizeof job->name - 1);
  job->is_detached = detach;
  table_insert(jobs, job);
  job_log_accepted(job, request);
  *started = job;
  return TH_OK;
}

th_error th_jobs_find(th_jobs *jobs, uint64_t number, uint32_t uid, th_job **found) {
  for (uint32_t i = 0; i < jobs->count; i++) {
    th_job *job = jobs->table[i];
    if (job->number != number || atomic_load(&job->is_abandoned)) continue;
    if (job->uid != uid && uid != 0) break;
    *found = job;
    return TH_OK;
  }
  return th_fail(TH_ERR_NOT_FOUND, "no job %" PRIu64 "; trainhost status lists them", number);
}

th_error th_jobs_find_data(th_jobs *jobs, uint64_t number, uint32_t uid, th_run **run) {
  th_job *job;
  th_error error = th_jobs_find(jobs, number, uid, &job);
  if (error != TH_OK) return error;
  if (job->run == NULL)
    return th_fail(TH_ERR_NOT_FOUND, "the data of job %" PRIu64 " are gone; send them anew",
                   number);
  *run = job->run;
  return TH_OK;
}

static bool cell_is_taken(const th_jobs *jobs, uint64_t session, uint32_t index) {
  for (uint32_t i = 0; i < jobs->count; i++)
    if (jobs->table[i]->session == session && jobs->table[i]->cell_index == index) return true;
  return false;
}

static void cell_set(th_job *job, th_wire_cell *cell) {
  pthread_mutex_lock(&job->cell_lock);
  job->cell = cell;
  pthread_mutex_unlock(&job->cell_lock);
}

th_error th_jobs_attach(th_jobs *jobs, th_job *job, uint64_t session, th_wire_cell *cells,
                        uint32_t cell_count) {
  if (job->session == session) return TH_OK;
  if (job->session != 0)
    return th_fail(TH_ERR_BUSY, "job %" PRIu64 " is followed by session %" PRIu64, job->number,
                   job->session);
  uint32_t index = 0;
  while (index < cell_count && cell_is_taken(jobs, session, index)) index++;
  if (index == cell_count)
    return th_fail(TH_ERR_BUSY,
                   "this session follows %u jobs, its limit; forget one, or open another",
                   cell_count);
  th_progress progress;
  th_job_progress(job, &progress);
  th_progress_publish(&cells[index], &progress);
  job->session = session;
  job->cell_index = index;
  job->told = (th_told){0};
  cell_set(job, &cells[index]);
  return TH_OK;
}

void th_job_begin(th_job *job) {
  bool is_waiting = job->run != NULL && !job->is_scheduled && !th_job_is_over(job);
  if (!is_waiting || !th_run_is_received(job->run)) return;
  job->is_scheduled = true;
  th_scheduler_add(job->jobs->scheduler, job->run, job->uid);
}

/* Jobs that waited for the data of another: those go on, in order of number, or will never be
 * whole. */
static void sharers_look(th_jobs *jobs) {
  for (uint32_t i = 0; i < jobs->count; i++) {
    th_job *job = jobs->table[i];
    th_job_begin(job);
    if (job->run != NULL && !th_job_is_over(job) && th_run_is_lost(job->run))
      th_run_cancel(job->run);
  }
}

th_error th_job_receive(th_job *job, uint32_t array, uint64_t offset, const void *bytes,
                        uint32_t count) {
  if (array >= TH_ARRAY_COUNT)
    return th_fail(TH_ERR_PROTOCOL, "job %" PRIu64 " has no array %u", job->number, array);
  if (th_job_is_over(job))
    return th_fail(TH_ERR_CANCELED, "job %" PRIu64 " was canceled while it was received",
                   job->number);
  if (job->is_scheduled)
    return th_fail(TH_ERR_PROTOCOL, "job %" PRIu64 " has all its data", job->number);
  th_error error = th_run_receive(job->run, (th_array)array, offset, bytes, count);
  if (error == TH_OK && th_run_is_received(job->run)) sharers_look(job->jobs);
  return error;
}

void th_job_cancel(th_job *job) {
  if (job->run != NULL) th_run_cancel(job->run);
}

void th_job_stop(th_job *job) {
  if (job->run != NULL) th_run_stop(job->run);
}

bool th_job_is_over(th_job *job) {
  /* Pairs with the release in run_changed: the record and the store are complete. */
  return atomic_load_explicit(&job->is_over, memory_order_acquire);
}

void th_job_progress(th_job *job, th_progress *progress) {
  if (th_job_is_over(job)) {
    *progress = job->record.progress;
    return;
  }
  th_run_progress(job->run, progress);
  if (!th_phase_is_last(progress->phase)) return;
  progress->phase = TH_PHASE_SAVING;
  progress->error = TH_OK;
}

/* ---- the end of a job ---- */

static void job_detach(th_job *job) {
  cell_set(job, NULL);
  job->session = 0;
  if (job->run != NULL && th_job_is_over(job)) th_run_drop_data(job->run);
}

static void job_delete(th_jobs *jobs, th_job *job) {
  if (th_store_forget(jobs->store, job->number) != TH_OK)
    th_log(TH_LOG_WARNING, "job %" PRIu64 ": %s", job->number, th_error_text());
  table_remove(jobs, job);
  job_destroy(job);
}

void th_jobs_forget(th_jobs *jobs, th_job *job) {
  job_detach(job);
  atomic_store(&job->is_abandoned, true);
  if (th_job_is_over(job))
    job_delete(jobs, job);
  else
    th_job_cancel(job);
}

/* A result is worth keeping even if its client is gone: it may come back for it. */
static bool job_is_worth_keeping(th_job *job) {
  if (!th_job_is_over(job)) return job->is_detached && job->is_scheduled;
  return job->record.progress.phase == TH_PHASE_DONE || job->record.is_checkpoint ||
         job->is_detached;
}

void th_jobs_leave(th_jobs *jobs, uint64_t session) {
  for (uint32_t i = jobs->count; i-- > 0;) {
    th_job *job = jobs->table[i];
    if (job->session != session) continue;
    if (job_is_worth_keeping(job))
      job_detach(job);
    else
      th_jobs_forget(jobs, job);
  }
}

static void job_settle(th_jobs *jobs, th_job *job) {
  const th_progress *end = &job->record.progress;
  job->is_settled = true;
  if (end->phase == TH_PHASE_DONE)
    th_log(TH_LOG_INFO, "job %" PRIu64 " (%s): done in %.1f s", job->number,
           th_job_kind_name(job->kind), end->elapsed_seconds);
  else
    th_log(TH_LOG_INFO, "job %" PRIu64 " (%s): %s", job->number, th_job_kind_name(job->kind),
           job->record.text);
  if (atomic_load(&job->is_abandoned))
    job_delete(jobs, job);
  else
    cell_publish(job, end);
}

/* The run holds the history until the session was told all of it, the result if the disk refused
 * it, and the data if it keeps them for the session's next jobs. */
static void run_release(th_job *job) {
  bool is_told = job->session == 0 || job->told.phase == job->record.progress.phase;
  if (job->run == NULL || !is_told) return;
  if (job->session == 0) th_run_drop_data(job->run);
  if (!job->is_stored || th_run_bytes(job->run) > 0) return;
  th_run_destroy(job->run);
  job->run = NULL;
}

void th_jobs_settle(th_jobs *jobs) {
  for (uint32_t i = jobs->count; i-- > 0;) {
    th_job *job = jobs->table[i];
    if (!th_job_is_over(job)) continue;
    if (job->is_settled)
      run_release(job);
    else
      job_settle(jobs, job);
  }
  sharers_look(jobs);
}

uint64_t th_jobs_data_bytes(const th_jobs *jobs) {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < jobs->count; i++) {
    th_job *job = jobs->table[i];
    if (job->run != NULL) bytes += th_run_bytes(job->run);
  }
  return bytes;
}

void th_jobs_close(th_jobs *jobs) {
  for (uint32_t i = 0; i < jobs->count; i++) job_destroy(jobs->table[i]);
  free(jobs->table);
  *jobs = (th_jobs){0};
}

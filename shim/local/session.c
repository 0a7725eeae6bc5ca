#include "shim/local/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/job.h"

_Static_assert(sizeof((th_health *)NULL)->device == TH_DEVICE_NAME_BYTES_MAX, "copied whole");

/* Jobs that share the cores at once. Few: the more there are, the later the first is done. */
#define JOBS_ACTIVE_MAX 4

void th_local_close(th_way_session *session) {
  if (session == NULL) return;
  /* Ends what runs, so that no observer is left. */
  th_scheduler_destroy(session->scheduler);
  while (session->jobs != NULL) {
    th_local_job *job = session->jobs;
    session->jobs = job->next;
    th_local_job_destroy(job);
  }
  if (session->event_fd >= 0) close(session->event_fd);
  pthread_cond_destroy(&session->changed);
  pthread_mutex_destroy(&session->lock);
  free(session);
}

/* What can fail, in the order in which th_local_close undoes it. */
static th_error session_start(th_way_session *session) {
  session->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (session->event_fd < 0) return th_fail_errno(TH_ERR_SYSTEM, "cannot make an eventfd");
  th_error error = th_device_open("cpu", &session->device);
  if (error != TH_OK) return error;
  return th_scheduler_create(session->device.threads, session->device.threads_each, JOBS_ACTIVE_MAX,
                             &session->scheduler);
}

/* There is no socket to find, so the path means nothing here. */
th_error th_local_open(const char *path, const th_adapter_options *options,
                       th_way_session **opened) {
  (void)path;
  th_way_session *session = calloc(1, sizeof *session);
  if (session == NULL) return th_fail_errno(TH_ERR_SYSTEM, "cannot allocate a local session");
  pthread_mutex_init(&session->lock, NULL);
  pthread_cond_init(&session->changed, NULL);
  session->opened_ns = th_clock_now_ns();
  bool is_named = options != NULL && options->client != NULL;
  const char *client = is_named ? options->client : program_invocation_short_name;
  strncpy(session->client, client, sizeof session->client - 1);
  th_error error = session_start(session);
  if (error != TH_OK) {
    th_local_close(session);
    return error;
  }
  *opened = session;
  return TH_OK;
}

/* A job whose data are being checked counts as running: it has its share of the cores. */
static void health_count(const th_local_job *job, th_health *health) {
  th_progress progress;
  th_run_progress(job->run, &progress);
  health->data_bytes += th_run_bytes(job->run);
  if (th_phase_is_last(progress.phase))
    health->jobs_kept++;
  else if (progress.phase <= TH_PHASE_QUEUED)
    health->jobs_queued++;
  else
    health->jobs_running++;
}

static uint64_t session_age_ms(const th_way_session *session) {
  return (uint64_t)((th_clock_now_ns() - session->opened_ns) / TH_NS_PER_MS);
}

th_error th_local_health(th_way_session *session, th_health *health) {
  int64_t begin_ns = th_clock_now_ns();
  *health = (th_health){.daemon = "local " TH_VERSION,
                        .io = "none",
                        .uptime_ms = session_age_ms(session),
                        .sessions = 1,
                        .sessions_max = 1,
                        .threads = session->device.threads};
  memcpy(health->device, session->device.name, sizeof health->device);
  pthread_mutex_lock(&session->lock);
  for (const th_local_job *job = session->jobs; job != NULL; job = job->next)
    if (!job->is_forgotten) health_count(job, health);
  pthread_mutex_unlock(&session->lock);
  health->round_trip_ns = (uint64_t)(th_clock_now_ns() - begin_ns);
  return TH_OK;
}

uint32_t th_local_jobs_count(const th_way_session *session) {
  uint32_t count = 0;
  for (const th_local_job *job = session->jobs; job != NULL; job = job->next)
    if (!job->is_forgotten) count++;
  return count;
}

static void job_describe(const th_local_job *job, th_job_info *info) {
  *info = (th_job_info){
      .kind = th_run_kind(job->run), .session = TH_LOCAL_SESSION, .uid = (uint32_t)getuid()};
  th_run_progress(job->run, &info->progress);
  info->is_checkpoint =
      th_phase_is_last(info->progress.phase) && th_run_outcome(job->run)->is_checkpoint;
  strncpy(info->name, th_run_name(job->run), sizeof info->name - 1);
}

/* The table has the newest job first, so the list is filled from its end. */
th_error th_local_jobs(th_way_session *session, th_job_info **jobs, size_t *count) {
  pthread_mutex_lock(&session->lock);
  uint32_t rows = th_local_jobs_count(session);
  /* One more than needed: an empty list is no failure. */
  th_job_info *list = calloc(rows + 1, sizeof *list);
  uint32_t row = rows;
  for (const th_local_job *job = session->jobs; list != NULL && job != NULL; job = job->next)
    if (!job->is_forgotten) job_describe(job, &list[--row]);
  pthread_mutex_unlock(&session->lock);
  if (list == NULL) return th_fail_errno(TH_ERR_SYSTEM, "cannot allocate a list of %u jobs", rows);
  *jobs = list;
  *count = rows;
  return TH_OK;
}

th_error th_local_sessions(th_way_session *session, th_session_info **sessions, size_t *count) {
  th_session_info *info = calloc(1, sizeof *info);
  if (info == NULL) return th_fail_errno(TH_ERR_SYSTEM, "cannot allocate a list of 1 session");
  *info = (th_session_info){.session = TH_LOCAL_SESSION,
                            .uid = (uint32_t)getuid(),
                            .gid = (uint32_t)getgid(),
                            .pid = (int32_t)getpid(),
                            .connected_ms = session_age_ms(session)};
  memcpy(info->client, session->client, sizeof info->client);
  pthread_mutex_lock(&session->lock);
  info->jobs = th_local_jobs_count(session);
  info->received_bytes = session->bytes_taken;
  pthread_mutex_unlock(&session->lock);
  *sessions = info;
  *count = 1;
  return TH_OK;
}

void th_local_statistics(th_way_session *session, th_statistics *statistics) {
  pthread_mutex_lock(&session->lock);
  statistics->bytes_sent = session->bytes_taken;
  statistics->events = session->events;
  statistics->doorbells = 0;
  pthread_mutex_unlock(&session->lock);
}

int th_local_fd(th_way_session *session) {
  return session->event_fd;
}

/* Looks ahead with a copy of the handle's place, which stays where it is. */
static bool handle_has_event(const th_way_job *handle) {
  th_cursor ahead = handle->cursor;
  th_event event;
  return th_cursor_next(&ahead, handle->job->run, &event) == TH_OK;
}

/* Armed first, then looked at: what comes between the two rings. */
th_error th_local_arm(th_way_session *session) {
  uint64_t rings;
  pthread_mutex_lock(&session->lock);
  ssize_t emptied = read(session->event_fd, &rings, sizeof rings);
  (void)emptied; /* It may not have been rung. */
  bool has_event = false;
  /* Each is told once: events of a job that nobody reads must not keep a loop awake. */
  bool has_news = session->news != session->news_told;
  session->news_told = session->news;
  for (const th_way_job *handle = session->handles; has_news && handle != NULL;
       handle = handle->next)
    if (handle_has_event(handle)) has_event = true;
  session->is_armed = !has_event;
  pthread_mutex_unlock(&session->lock);
  return has_event ? TH_ERR_AGAIN : TH_OK;
}

#include "hostd/request.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/job.h"
#include "hostd/log.h"
#include "ipc/doorbell.h"

/* Sizes of the queues; a session follows as many jobs as it has cells. */
enum {
  SUBMISSION_ENTRIES = 256,
  EVENT_ENTRIES = 1024,
  CELL_COUNT = 64,
  SLOT_COUNT = 16,
  PAGE_BYTES = 4096,

};

/* An answer in the making. Filled by one request at a time, on the loop's thread. */
typedef struct th_answer {
  uint8_t body[TH_WIRE_BODY_BYTES_MAX];
  uint32_t bytes;
  int fds[TH_WIRE_FDS_MAX]; /* borrowed, but for those from `owned_from` on */
  uint32_t fd_count;
  uint32_t owned_from;
} th_answer;

static void answer_add(th_answer *answer, const void *bytes, size_t count) {
  memcpy(answer->body + answer->bytes, bytes, count);
  answer->bytes += (uint32_t)count;
}

static bool answer_has_room(const th_answer *answer, size_t count) {
  return count <= sizeof answer->body - answer->bytes;
}

/* Bodies come as bytes without alignment. */
#define body_read(message, target) memcpy((target), (message)->body, sizeof *(target))

/* ---- hello ---- */

static th_error hello_judge(th_session *session, const th_wire_hello *hello) {
  const th_daemon *daemon = session->daemon;
  if (hello->magic != TH_WIRE_MAGIC)
    return th_fail(TH_ERR_PROTOCOL, "the hello does not begin with trainhost's magic number");
  if (hello->version_max < TH_WIRE_VERSION_MIN || hello->version_min > TH_WIRE_VERSION_MAX)
    return th_fail(
        TH_ERR_VERSION,
        "trainhostd " TH_VERSION
        " speaks protocol versions %d to %d and %s speaks %u to %u; update the older one",
        TH_WIRE_VERSION_MIN, TH_WIRE_VERSION_MAX, session->client, hello->version_min,
        hello->version_max);
  if (daemon->session_count > daemon->options->sessions_max)
    return th_fail(TH_ERR_BUSY, "the host serves %u clients, its limit (--sessions-max)",
                   daemon->options->sessions_max);
  return TH_OK;
}

static void bell_ready(th_watch *watch) {
  th_session *session = watch->owner;
  (void)th_doorbell_wake(&session->region.status->daemon_sleeps, watch->fd);
}

static th_error session_open(th_session *session) {
  uint64_t slot_bytes = session->daemon->options->arena_bytes / SLOT_COUNT;
  th_region *region = &session->region;
  th_region_geometry geometry = {
      .submission_entries = SUBMISSION_ENTRIES,
      .event_entries = EVENT_ENTRIES,
      .cell_count = CELL_COUNT,
      .slot_bytes = (uint32_t)(slot_bytes / PAGE_BYTES * PAGE_BYTES),
      .slot_count = SLOT_COUNT,
  };
  th_error error = th_region_create(&geometry, region);
  if (error == TH_OK) error = th_doorbell_create(&session->bell.fd);
  if (error == TH_OK) error = th_doorbell_create(&session->client_bell);
  if (error == TH_OK) error = th_doorbell_create(&session->answer_bell);
  session->bell.ready = bell_ready;
  if (error == TH_OK) error = th_loop_add(&session->daemon->loop, &session->bell);
  if (error != TH_OK) return error;
  th_ring_init(&session->submissions, region->submissions, SUBMISSION_ENTRIES,
               &region->status->submission_head, &region->ctl->submission_tail);
  th_ring_init(&session->events, region->events, EVENT_ENTRIES, &region->status->event_tail,
               &region->ctl->event_head);
  session->calls = (th_callee){.call = &region->ctl->call, .answer = &region->status->answer};
  session->is_open = true;
  return TH_OK;
}

static th_error handle_hello(th_session *session, const th_message *message, th_answer *answer) {
  th_wire_hello hello;
  body_read(message, &hello);
  if (session->is_open) return th_fail(TH_ERR_PROTOCOL, "a second hello");
  memcpy(session->client, hello.client, sizeof session->client - 1);
  th_error error = hello_judge(session, &hello);
  if (error == TH_OK) error = session_open(session);
  if (error != TH_OK) {
    th_session_end(session, th_error_text());
    return error;
  }
  th_wire_welcome welcome = {.magic = TH_WIRE_MAGIC,
                             .version = TH_WIRE_VERSION_MAX,
                             .features = hello.features & TH_WIRE_FEATURE_CALLS,
                             .session = session->number,
                             .heartbeat_ms = TH_HEARTBEAT_MS,
                             .daemon = "trainhostd " TH_VERSION};
  th_region_describe(&session->region, &welcome);
  snprintf(welcome.device, sizeof welcome.device, "%s", session->daemon->device.name);
  answer_add(answer, &welcome, sizeof welcome);
  const int fds[TH_WIRE_WELCOME_FDS] = {session->region.ctl_fd,   session->region.status_fd,
                                        session->region.arena_fd, session->bell.fd,
                                        session->client_bell,     session->answer_bell};
  memcpy(answer->fds, fds, sizeof fds);
  answer->fd_count = answer->owned_from = TH_WIRE_WELCOME_FDS;
  th_log(TH_LOG_DEBUG, "session %" PRIu64 " (pid %d, uid %u, %s): opened", session->number,
         (int)session->peer.pid, (unsigned)session->peer.uid, session->client);
  return TH_OK;
}

/* ---- health and lists ---- */

static void jobs_count(const th_jobs *jobs, th_wire_health *health) {
  for (uint32_t i = 0; i < jobs->count; i++) {
    th_progress progress;
    th_job_progress(jobs->table[i], &progress);
    if (th_phase_is_last(progress.phase))
      health->jobs_kept++;
    else if (progress.phase <= TH_PHASE_QUEUED)
      health->jobs_queued++;
    else
      health->jobs_running++;
  }
}

static th_error handle_ping(th_session *session, const th_message *message, th_answer *answer) {
  (void)message;
  const th_daemon *daemon = session->daemon;
  th_wire_health health = {
      .uptime_ms = (uint64_t)(th_clock_now_ns() - daemon->started_ns) / TH_NS_PER_MS,
      .sessions = daemon->session_count,
      .sessions_max = daemon->options->sessions_max,
      .threads = daemon->device.threads,
      .data_bytes = th_jobs_data_bytes(&daemon->jobs),
      .data_bytes_max = daemon->jobs.limits.data_bytes_max,
  };
  jobs_count(&daemon->jobs, &health);
  answer_add(answer, &health, sizeof health);
  return TH_OK;
}

static bool uid_may_see(const th_session *session, uint32_t uid) {
  return session->peer.uid == 0 || session->peer.uid == uid;
}

static th_error handle_jobs(th_session *session, const th_message *message, th_answer *answer) {
  th_wire_list list;
  th_wire_listing listing = {0};
  body_read(message, &list);
  answer->bytes = sizeof listing;
  const th_jobs *jobs = &session->daemon->jobs;
  for (uint32_t i = 0; i < jobs->count; i++) {
    th_job *job = jobs->table[i];
    if (job->number <= list.after || !uid_may_see(session, job->uid)) continue;
    if (atomic_load(&job->is_abandoned)) continue;
    th_wire_job_row row = {.session = job->session, .kind = job->kind, .uid = job->uid};
    if (!answer_has_room(answer, sizeof row)) {
      listing.more = 1;
      break;
    }
    th_job_progress(job, &row.progress);
    row.is_checkpoint = th_job_is_over(job) && job->record.is_checkpoint;
    memcpy(row.name, job->name, sizeof row.name);
    answer_add(answer, &row, sizeof row);
    listing.count++;
  }
  memcpy(answer->body, &listing, sizeof listing);
  return TH_OK;
}

static uint32_t session_jobs(const th_session *session) {
  const th_jobs *jobs = &session->daemon->jobs;
  uint32_t count = 0;
  for (uint32_t i = 0; i < jobs->count; i++) count += jobs->table[i]->session == session->number;
  return count;
}

/* The lowest number above `after`: the list is newest first, the answer oldest first. */
static th_session *session_after(th_session *asking, uint64_t after) {
  th_session *best = NULL;
  for (th_session *other = asking->daemon->sessions; other != NULL; other = other->next)
    if (other->is_open && other->number > after && uid_may_see(asking, other->peer.uid) &&
        (best == NULL || other->number < best->number))
      best = other;
  return best;
}

static void session_describe(const th_session *session, th_wire_session_row *row) {
  *row = (th_wire_session_row){
      .session = session->number,
      .uid = session->peer.uid,
      .gid = session->peer.gid,
      .pid = session->peer.pid,
      .jobs = session_jobs(session),
      .connected_ms = (uint64_t)(th_clock_now_ns() - session->accepted_ns) / TH_NS_PER_MS,
      .received_bytes = session->received_bytes,
  };
  memcpy(row->client, session->client, sizeof row->client);
}

static th_error handle_sessions(th_session *session, const th_message *message, th_answer *answer) {
  th_wire_list list;
  th_wire_listing listing = {0};
  body_read(message, &list);
  answer->bytes = sizeof listing;
  for (th_session *other = session; (other = session_after(session, list.after)) != NULL;) {
    th_wire_session_row row;
    if (!answer_has_room(answer, sizeof row)) {
      listing.more = 1;
      break;
    }
    session_describe(other, &row);
    answer_add(answer, &row, sizeof row);
    listing.count++;
    list.after = other->number;
  }
  memcpy(answer->body, &listing, sizeof listing);
  return TH_OK;
}

/* ---- jobs ---- */

static th_error answer_attached(th_session *session, th_job *job, th_answer *answer) {
  th_error error = th_jobs_attach(&session->daemon->jobs, job, session->number,
                                  session->region.cells, session->region.geometry.cell_count);
  if (error != TH_OK) return error;
  th_wire_job attached = {.job = job->number, .cell = job->cell_index, .kind = job->kind};
  answer_add(answer, &attached, sizeof attached);
  return TH_OK;
}

static th_error start_judge(const th_wire_start *start, uint32_t body_bytes) {
  if (start->spec_bytes != body_bytes - sizeof *start)
    return th_fail(TH_ERR_PROTOCOL, "a start announces %u bytes of specification and carries %zu",
                   start->spec_bytes, body_bytes - sizeof *start);
  if ((start->flags & ~(TH_WIRE_START_DETACH | TH_WIRE_START_KEEP_DATA)) != 0)
    return th_fail(TH_ERR_USAGE, "a start with flags 0x%x that this daemon does not know",
                   start->flags);
  for (int i = TH_ARRAY_COUNT; i < TH_WIRE_ARRAYS_MAX; i++)
    if (start->array_bytes[i] != 0)
      return th_fail(TH_ERR_USAGE, "a start with an array %d that this daemon does not know", i);
  return TH_OK;
}

/* A job that its session cannot follow. The text of why outlives that of its cancellation. */
static void job_withdraw(th_jobs *jobs, th_job *job) {
  char text[TH_ERROR_TEXT_BYTES_MAX];
  strcpy(text, th_error_text());
  th_jobs_forget(jobs, job);
  (void)th_fail(TH_OK, "%s", text);
}

static th_error handle_start(th_session *session, const th_message *message, th_answer *answer) {
  th_wire_start start;
  body_read(message, &start);
  th_error error = start_judge(&start, message->header.body_bytes);
  if (error != TH_OK) return error;
  th_run_request request = {.kind = (th_job_kind)start.kind,
                            .spec = (const char *)message->body + sizeof start,
                            .spec_bytes = start.spec_bytes,
                            .rows = start.rows,
                            .width = start.width,
                            .target_width = start.target_width,
                            .keeps_data = (start.flags & TH_WIRE_START_KEEP_DATA) != 0};
  memcpy(request.array_bytes, start.array_bytes, sizeof request.array_bytes);
  th_jobs *jobs = &session->daemon->jobs;
  th_job *job;
  if (start.data_of != 0)
    error = th_jobs_find_data(jobs, start.data_of, session->peer.uid, &request.data_of);
  if (error == TH_OK)
    error = th_jobs_start(jobs, session->peer.uid, &request,
                          (start.flags & TH_WIRE_START_DETACH) != 0, &job);
  if (error != TH_OK) return error;
  error = answer_attached(session, job, answer);
  if (error == TH_OK)
    th_job_begin(job);
  else
    job_withdraw(jobs, job);
  return error;
}

static th_error job_find(th_session *session, const th_message *message, th_job **job) {
  th_wire_job named;
  body_read(message, &named);
  return th_jobs_find(&session->daemon->jobs, named.job, session->peer.uid, job);
}

static th_error handle_attach(th_session *session, const th_message *message, th_answer *answer) {
  th_job *job;
  th_error error = job_find(session, message, &job);
  return error == TH_OK ? answer_attached(session, job, answer) : error;
}

static th_error handle_cancel(th_session *session, const th_message *message, th_answer *answer) {
  (void)answer;
  th_job *job;
  th_error error = job_find(session, message, &job);
  if (error == TH_OK) th_job_cancel(job);
  return error;
}

static th_error handle_stop(th_session *session, const th_message *message, th_answer *answer) {
  (void)answer;
  th_job *job;
  th_error error = job_find(session, message, &job);
  if (error == TH_OK) th_job_stop(job);
  return error;
}

static th_error handle_forget(th_session *session, const th_message *message, th_answer *answer) {
  (void)answer;
  th_job *job;
  th_error error = job_find(session, message, &job);
  if (error == TH_OK) th_jobs_forget(&session->daemon->jobs, job);
  return error;
}

typedef th_error result_opener(th_job *job, int fds[2], th_wire_result *result);

static th_error answer_opened(th_session *session, const th_message *message, result_opener *open,
                              th_answer *answer) {
  th_job *job;
  int fds[2];
  th_wire_result result;
  th_error error = job_find(session, message, &job);
  if (error == TH_OK) error = open(job, fds, &result);
  if (error != TH_OK) return error;
  for (int i = 0; i < 2; i++)
    if (fds[i] >= 0) answer->fds[answer->fd_count++] = fds[i];
  answer_add(answer, &result, sizeof result);
  return TH_OK;
}

static th_error handle_result(th_session *session, const th_message *message, th_answer *answer) {
  return answer_opened(session, message, th_job_open_result, answer);
}

static th_error handle_checkpoint(th_session *session, const th_message *message,
                                  th_answer *answer) {
  return answer_opened(session, message, th_job_open_checkpoint, answer);
}

/* ---- dispatch ---- */

typedef th_error request_handler(th_session *session, const th_message *message, th_answer *answer);

static const struct {
  request_handler *handle;
  uint32_t bytes_min, bytes_max;
} request_rows[] = {
    [TH_WIRE_HELLO] = {handle_hello, sizeof(th_wire_hello), sizeof(th_wire_hello)},
    [TH_WIRE_PING] = {handle_ping, 0, 0},
    [TH_WIRE_START] = {handle_start, sizeof(th_wire_start), TH_WIRE_BODY_BYTES_MAX},
    [TH_WIRE_ATTACH] = {handle_attach, sizeof(th_wire_job), sizeof(th_wire_job)},
    [TH_WIRE_CANCEL] = {handle_cancel, sizeof(th_wire_job), sizeof(th_wire_job)},
    [TH_WIRE_RESULT] = {handle_result, sizeof(th_wire_job), sizeof(th_wire_job)},
    [TH_WIRE_FORGET] = {handle_forget, sizeof(th_wire_job), sizeof(th_wire_job)},
    [TH_WIRE_JOBS] = {handle_jobs, sizeof(th_wire_list), sizeof(th_wire_list)},
    [TH_WIRE_SESSIONS] = {handle_sessions, sizeof(th_wire_list), sizeof(th_wire_list)},
    [TH_WIRE_STOP] = {handle_stop, sizeof(th_wire_job), sizeof(th_wire_job)},
    [TH_WIRE_CHECKPOINT] = {handle_checkpoint, sizeof(th_wire_job), sizeof(th_wire_job)},
};

enum { REQUEST_ROWS = sizeof request_rows / sizeof request_rows[0] };

static th_error request_judge(const th_session *session, const th_message *message) {
  const th_wire_header *header = &message->header;
  if (message->fd_count != 0)
    return th_fail(TH_ERR_PROTOCOL, "a request with descriptors, which none takes");
  if (header->type >= REQUEST_ROWS || request_rows[header->type].handle == NULL)
    return th_fail(TH_ERR_PROTOCOL, "a request of unknown type %u", header->type);
  if (header->body_bytes < request_rows[header->type].bytes_min ||
      header->body_bytes > request_rows[header->type].bytes_max)
    return th_fail(TH_ERR_PROTOCOL, "a request of type %u with %u bytes", header->type,
                   header->body_bytes);
  if (!session->is_open && header->type != TH_WIRE_HELLO)
    return th_fail(TH_ERR_PROTOCOL, "a request before the hello");
  return TH_OK;
}

static void answer_send(th_session *session, const th_wire_header *header, const void *body,
                        const th_answer *answer) {
  th_error error = th_channel_send(session->socket.fd, header, body, answer->fds, answer->fd_count,
                                   th_clock_now_ns());
  if (error == TH_ERR_AGAIN)
    th_session_end(session, "does not read its answers");
  else if (error != TH_OK)
    th_session_end(session, error == TH_ERR_HOST_LOST ? NULL : th_error_text());
}

static void answer_give(th_session *session, const th_wire_header *request, th_error status,
                        const th_answer *answer, th_request_way way) {
  const char *text = status == TH_OK ? NULL : status == TH_ERR_AGAIN ? "not yet" : th_error_text();
  const void *body = text == NULL ? (const void *)answer->body : text;
  th_wire_header header = {
      .type = request->type,
      .request = request->request,
      .status = status,
      .body_bytes = text == NULL ? answer->bytes : (uint32_t)strlen(text),
  };
  if (way == TH_REQUEST_BY_CALL)
    th_call_answer(&session->calls, status, body, header.body_bytes);
  else
    answer_send(session, &header, body, answer);
}

void th_request_handle(th_session *session, th_message *message, th_request_way way) {
  static th_answer answer;
  answer.bytes = answer.fd_count = answer.owned_from = 0;
  th_error error = request_judge(session, message);
  if (error == TH_OK) error = request_rows[message->header.type].handle(session, message, &answer);
  th_message_close_fds(message, 0);
  answer_give(session, &message->header, error, &answer, way);
  for (uint32_t i = answer.owned_from; i < answer.fd_count; i++) close(answer.fds[i]);
  if (error == TH_ERR_PROTOCOL) th_session_end(session, th_error_text());
}

#include "hostd/session.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "hostd/log.h"
#include "hostd/request.h"
#include "ipc/doorbell.h"

/* What one session may do before the next has its turn. */
enum { REQUESTS_PER_TURN = 16, BATCHES_PER_TURN = 4, EVENTS_PER_TURN = 256 };

static void socket_ready(th_watch *watch) {
  th_session *session = watch->owner;
  th_message *message = &session->daemon->message;
  for (int i = 0; i < REQUESTS_PER_TURN && !session->is_ending; i++) {
    th_error error = th_channel_receive(watch->fd, message, th_clock_now_ns());
    if (error == TH_ERR_AGAIN) return;
    if (error == TH_ERR_HOST_LOST)
      th_session_end(session, NULL);
    else if (error != TH_OK)
      th_session_end(session, th_error_text());
    else
      th_request_handle(session, message, TH_REQUEST_BY_SOCKET);
  }
}

th_error th_session_create(th_daemon *daemon, int fd, const th_peer *peer, th_session **created) {
  th_session *session = calloc(1, sizeof *session);
  if (session == NULL) {
    close(fd);
    return th_fail(TH_ERR_SYSTEM, "no memory for a session");
  }
  session->daemon = daemon;
  session->number = daemon->next_session++;
  session->peer = *peer;
  session->region = TH_REGION_NONE;
  session->socket = (th_watch){.fd = fd, .ready = socket_ready, .owner = session};
  session->bell = (th_watch){.fd = -1, .owner = session};
  session->client_bell = session->answer_bell = -1;
  session->accepted_ns = th_clock_now_ns();
  th_error error = th_loop_add(&daemon->loop, &session->socket);
  if (error != TH_OK) {
    close(fd);
    free(session);
    return error;
  }
  *created = session;
  return TH_OK;
}

/* ---- calls ---- */

/* @return whether there was one. */
static bool call_take(th_session *session) {
  th_message *message = &session->daemon->message;
  th_error error = th_call_take(&session->calls, message);
  if (error == TH_ERR_AGAIN) return false;
  if (error == TH_OK)
    th_request_handle(session, message, TH_REQUEST_BY_CALL);
  else
    th_session_end(session, th_error_text());
  return true;
}

/* ---- batches ---- */

/* Judge the private copy of a submission. The client's memory is not looked at twice. */
static th_error submission_find_job(th_session *session, const th_wire_submission *submission,
                                    th_job **job) {
  const th_region_geometry *geometry = &session->region.geometry;
  if (submission->slot >= geometry->slot_count)
    return th_fail(TH_ERR_PROTOCOL, "a submission names slot %u of %u", submission->slot,
                   geometry->slot_count);
  if (submission->bytes == 0 || submission->bytes > geometry->slot_bytes)
    return th_fail(TH_ERR_PROTOCOL, "a submission of %u bytes; a slot holds %u", submission->bytes,
                   geometry->slot_bytes);
  th_error error = th_jobs_find(&session->daemon->jobs, submission->job, session->peer.uid, job);
  if (error == TH_OK && (*job)->session != session->number)
    error = th_fail(TH_ERR_NOT_FOUND, "job %" PRIu64 " is not this session's", submission->job);
  return error;
}

static th_error submission_take(th_session *session, const th_wire_submission *submission) {
  th_job *job;
  th_error error = submission_find_job(session, submission, &job);
  if (error != TH_OK) return error;
  const uint8_t *batch =
      session->region.arena + (size_t)submission->slot * session->region.geometry.slot_bytes;
  session->received_bytes += submission->bytes;
  return th_job_receive(job, submission->array, submission->array_offset, batch, submission->bytes);
}

static void submission_complete(th_session *session, const th_wire_submission *submission,
                                th_error status) {
  th_wire_event event = {.job = submission->job,
                         .cookie = submission->cookie,
                         .kind = TH_WIRE_EVENT_COMPLETION,
                         .status = status,
                         .slot = submission->slot};
  /* There is room: it was looked at before the submission was taken. */
  if (th_ring_put(&session->events, &event) != TH_OK) th_session_end(session, th_error_text());
}

/* A job that was canceled while its data were under way is weather; only a broken protocol ends the
 * session. */
static void batches_take(th_session *session) {
  for (int i = 0; i < BATCHES_PER_TURN && th_ring_room(&session->events) > 0; i++) {
    th_wire_submission submission;
    th_error error = th_ring_take(&session->submissions, &submission);
    if (error == TH_ERR_AGAIN) return;
    if (error == TH_OK) {
      error = submission_take(session, &submission);
      submission_complete(session, &submission, error);
    }
    if (error == TH_ERR_PROTOCOL) {
      th_session_end(session, th_error_text());
      return;
    }
  }
}

/* ---- news ---- */

static void news_tell(th_session *session) {
  th_jobs *jobs = &session->daemon->jobs;
  int told = 0;
  for (uint32_t i = 0; i < jobs->count; i++) {
    th_job *job = jobs->table[i];
    if (job->session != session->number) continue;
    th_wire_event event;
    while (told < EVENTS_PER_TURN && th_ring_room(&session->events) > 0 &&
           th_job_next_event(job, &event) == TH_OK) {
      (void)th_ring_put(&session->events, &event);
      told++;
    }
  }
}

/* News that found no room wait in the jobs; the client rings when it has taken events. */
static void room_want(th_session *session) {
  atomic_uint *wants = &session->region.status->daemon_wants_room;
  if (th_ring_room(&session->events) == 0)
    th_doorbell_sleep(wants);
  else
    atomic_store_explicit(wants, 0, memory_order_relaxed);
}

static bool is_serving(const th_session *session) {
  return session->is_open && !session->is_ending;
}

bool th_session_has_work(const th_session *session) {
  return is_serving(session) &&
         (th_call_is_waiting(&session->calls) || th_ring_is_put(&session->submissions));
}

bool th_session_pump(th_session *session) {
  if (!is_serving(session)) return false;
  uint32_t before = session->events.index;
  const th_wire_ctl *ctl = session->region.ctl;
  bool is_called = call_take(session);
  if (is_called) th_doorbell_ring(&ctl->client_awaits, session->answer_bell);
  if (!session->is_ending) batches_take(session);
  if (session->is_ending) return false;
  news_tell(session);
  /* Every batch taken puts a completion, so this index alone tells of batches and news. */
  bool is_told = session->events.index != before;
  if (is_told) th_doorbell_ring(&ctl->client_sleeps, session->client_bell);
  room_want(session);
  return is_called || is_told;
}

void th_session_sleep(th_session *session) {
  if (session->is_open) th_doorbell_sleep(&session->region.status->daemon_sleeps);
}

void th_session_wake(th_session *session) {
  if (!session->is_open) return;
  /* A ring that comes meanwhile stays in the bell, and costs the next wait nothing but a look. */
  atomic_store_explicit(&session->region.status->daemon_sleeps, 0, memory_order_relaxed);
}

/* ---- the end ---- */

void th_session_end(th_session *session, const char *why) {
  if (session->is_ending) return;
  session->is_ending = true;
  th_log(why == NULL ? TH_LOG_DEBUG : TH_LOG_WARNING,
         "session %" PRIu64 " (pid %d, uid %u%s%s): %s", session->number, (int)session->peer.pid,
         (unsigned)session->peer.uid, session->client[0] != '\0' ? ", " : "", session->client,
         why == NULL ? "left" : why);
}

void th_session_destroy(th_session *session) {
  th_loop *loop = &session->daemon->loop;
  th_jobs_leave(&session->daemon->jobs, session->number);
  th_loop_remove(loop, &session->socket);
  close(session->socket.fd);
  if (session->bell.fd >= 0) {
    th_loop_remove(loop, &session->bell);
    close(session->bell.fd);
  }
  if (session->client_bell >= 0) close(session->client_bell);
  if (session->answer_bell >= 0) close(session->answer_bell);
  th_region_fini(&session->region);
  free(session);
}

#include "shim/sender.h"

#include <string.h>

#include "base/check.h"
#include "base/clock.h"

/* Small batches are announced together, for one look of the daemon; a large one at once, so that
 * the daemon copies it out while the next is copied in. */
enum { STAGED_MAX = 8, STAGED_BYTES_MAX = 256 * 1024 };

/* How far one job has come. */
typedef struct th_sending {
  th_way_session *session;
  th_way_job *job;
  const th_cargo *cargo;
  uint32_t array;
  uint64_t offset;
  th_wire_submission staged[STAGED_MAX]; /* copied into their slots, not yet announced */
  uint32_t staged_count;
  uint64_t staged_bytes;
} th_sending;

/* ---- slots ---- */

static void slot_free(th_way_session *session, uint32_t slot) {
  session->slots[slot] = (th_slot){0};
  session->free_slots[session->free_slot_count++] = slot;
}

th_error th_sender_complete(th_way_session *session, const th_wire_event *event) {
  if (event->slot >= session->slot_count)
    return th_fail(TH_ERR_PROTOCOL, "the daemon completed a batch in slot %u of %u", event->slot,
                   session->slot_count);
  const th_slot *slot = &session->slots[event->slot];
  if (event->cookie == 0 || slot->cookie != event->cookie || slot->job != event->job)
    return th_fail(TH_ERR_PROTOCOL, "the daemon completed a batch in slot %u that was not sent",
                   event->slot);
  if (event->status > TH_OK || event->status < TH_ERR_SYSTEM)
    return th_fail(TH_ERR_PROTOCOL, "the daemon completed a batch with unknown status %d",
                   event->status);
  slot_free(session, event->slot);
  th_way_job *job = th_session_job(session, event->job);
  if (job == NULL) return TH_OK; /* Its start has failed meanwhile. */
  th_check(job->batches_in_flight > 0);
  job->batches_in_flight--;
  if (job->batch_error == TH_OK) job->batch_error = (th_error)event->status;
  return TH_OK;
}

/* ---- batches ---- */

static bool is_copied(th_sending *sending) {
  const th_cargo *cargo = sending->cargo;
  while (sending->array < TH_ARRAY_COUNT && sending->offset == cargo->bytes[sending->array]) {
    sending->array++;
    sending->offset = 0;
  }
  return sending->array == TH_ARRAY_COUNT;
}

/* Copy the next batch into a slot that is ours; nobody else looks at it yet. */
static void batch_stage(th_sending *sending, uint32_t slot) {
  const th_region *region = &sending->session->region;
  uint64_t rest = sending->cargo->bytes[sending->array] - sending->offset;
  uint32_t slot_bytes = region->geometry.slot_bytes;
  uint32_t bytes = rest < slot_bytes ? (uint32_t)rest : slot_bytes;
  const uint8_t *from = sending->cargo->data[sending->array];
  memcpy(region->arena + (size_t)slot * slot_bytes, from + sending->offset, bytes);
  sending->staged[sending->staged_count++] = (th_wire_submission){
      .job = sending->job->number,
      .array_offset = sending->offset,
      .array = sending->array,
      .slot = slot,
      .bytes = bytes,
  };
  sending->offset += bytes;
  sending->staged_bytes += bytes;
}

/* A watcher that waits for a slot is not woken by this, but looks again before long. */
static void staged_drop(th_sending *sending) {
  if (sending->staged_count > 0) pthread_cond_broadcast(&sending->session->changed);
  for (uint32_t i = 0; i < sending->staged_count; i++)
    slot_free(sending->session, sending->staged[i].slot);
  sending->staged_count = 0;
}

/* No more batches are under way than fit in the queue, and each was taken from it before it was
 * completed: a queue without room is one whose other side lies. */
static th_error staged_put(th_sending *sending) {
  th_way_session *session = sending->session;
  if (sending->staged_count == 0) return TH_OK;
  for (uint32_t i = 0; i < sending->staged_count; i++)
    sending->staged[i].cookie = session->cookie + 1 + i;
  th_error error = th_ring_put_many(&session->submissions, sending->staged, sending->staged_count);
  if (error != TH_OK)
    return th_link_end(&session->link, th_fail(TH_ERR_PROTOCOL,
                                               "trainhostd at %s completes batches that it has "
                                               "not taken from their queue",
                                               session->link.path));
  for (uint32_t i = 0; i < sending->staged_count; i++)
    session->slots[sending->staged[i].slot] =
        (th_slot){.cookie = sending->staged[i].cookie, .job = sending->job->number};
  session->cookie += sending->staged_count;
  session->bytes_sent += sending->staged_bytes;
  sending->job->batches_in_flight += sending->staged_count;
  sending->staged_count = 0;
  sending->staged_bytes = 0;
  th_session_ring(session, &session->region.status->daemon_sleeps);
  return TH_OK;
}

/* ---- waiting ---- */

/* A job that ended early takes no more batches, and one that was forgotten completes none. */
static th_error job_state(const th_way_job *job) {
  if (job->batch_error != TH_OK) return job->batch_error;
  if (job->is_forgotten) return TH_ERR_NOT_FOUND;
  return th_inbox_is_over(&job->inbox) ? job->inbox.error : TH_OK;
}

static th_error sleep_once(th_way_session *session) {
  return th_session_sleep(session, TH_FOREVER);
}

/* What is staged is announced before this thread sleeps: others may wait for those very slots. */
static th_error slot_take(th_sending *sending, uint32_t *slot) {
  th_way_session *session = sending->session;
  for (;;) {
    th_error error = job_state(sending->job);
    if (error == TH_OK && session->free_slot_count > 0) break;
    if (error == TH_OK) error = staged_put(sending);
    if (error == TH_OK) error = sleep_once(session);
    if (error != TH_OK) return error;
    th_session_look(session);
  }
  *slot = session->free_slots[--session->free_slot_count];
  return TH_OK;
}

static th_error completions_await(th_sending *sending) {
  th_way_session *session = sending->session;
  while (sending->job->batches_in_flight > 0) {
    th_error error = job_state(sending->job);
    if (error == TH_OK) error = sleep_once(session);
    if (error != TH_OK) return error;
    th_session_look(session);
  }
  return sending->job->batch_error;
}

static th_error all_send(th_sending *sending) {
  th_way_session *session = sending->session;
  while (!is_copied(sending)) {
    uint32_t slot;
    th_error error = slot_take(sending, &slot);
    if (error != TH_OK) return error;
    pthread_mutex_unlock(&session->lock);
    batch_stage(sending, slot);
    pthread_mutex_lock(&session->lock);
    bool is_full = sending->staged_count == STAGED_MAX || sending->staged_bytes >= STAGED_BYTES_MAX;
    if (is_full) error = staged_put(sending);
    if (error != TH_OK) return error;
  }
  th_error error = staged_put(sending);
  return error == TH_OK ? completions_await(sending) : error;
}

th_error th_sender_send(th_way_session *session, th_way_job *job, const th_cargo *cargo,
                        bool *is_refused) {
  th_sending sending = {.session = session, .job = job, .cargo = cargo};
  pthread_mutex_lock(&session->lock);
  th_error error = all_send(&sending);
  staged_drop(&sending);
  *is_refused = error != TH_OK && error == job_state(job);
  pthread_mutex_unlock(&session->lock);
  return error;
}

/* How threads wait for events.
 *
 * One thread at a time watches: it sleeps on the doorbell and the socket for all. The others
 * follow: they sleep on a condition, which is broadcast whenever events were taken and when a watch
 * ends. No wake-up is lost, because
 *
 * - a watcher publishes that it sleeps and then looks at the queue once more, before it gives the
 *   lock away: an event is seen then, or its producer sees the flag and rings. If it spins first,
 *   without the lock, it looks whether anybody took events meanwhile;
 * - only the watcher empties the doorbell. If another thread takes the event first, the ring still
 *   ends the watch;
 * - a follower decides to sleep under the lock, and all events are taken under it. When a watch
 *   ends, the first follower to wake becomes the next watcher;
 * - an armed event loop is a sleeper without a thread. A watch that ends sets the flag again for
 *   it, and whoever takes events rings an eventfd of its own. */
#include <inttypes.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "ipc/doorbell.h"
#include "shim/sender.h"
#include "shim/session.h"

/* ---- taking events ---- */

/* Acquire is th_ring_take's affair; this only decides whether to sleep. */
static bool is_put(const void *of) {
  return th_ring_is_put(of);
}

static th_error news_convert(const th_wire_event *wire, th_phase phase, th_event *event) {
  bool is_phase = wire->kind == TH_WIRE_EVENT_PHASE;
  if (is_phase && (wire->phase < TH_PHASE_RECEIVING || wire->phase > TH_PHASE_CANCELED))
    return th_fail(TH_ERR_PROTOCOL, "the daemon tells of a phase %u, which there is not",
                   wire->phase);
  *event = (th_event){
      .kind = (th_event_kind)(wire->kind - TH_WIRE_EVENT_PHASE + TH_EVENT_PHASE),
      .phase = is_phase ? (th_phase)wire->phase : phase,
      .epoch = wire->epoch,
      .step = wire->step,
      .coalesced = wire->coalesced,
      .loss = wire->loss,
      .accuracy = wire->accuracy,
      .validation_loss = wire->validation_loss,
      .validation_accuracy = wire->validation_accuracy,
  };
  if (event->phase == TH_PHASE_CANCELED) event->error = TH_ERR_CANCELED;
  /* An unknown reason is still a failure. */
  if (event->phase == TH_PHASE_FAILED)
    event->error = wire->status < TH_OK && wire->status >= TH_ERR_SYSTEM ? (th_error)wire->status
                                                                         : TH_ERR_PROTOCOL;
  return TH_OK;
}

/* News of jobs that nobody here follows are no mistake: the daemon may not know yet that a job was
 * given up. */
static th_error news_deliver(th_way_session *session, const th_wire_event *wire) {
  th_way_job *job = th_session_job(session, wire->job);
  if (job == NULL) return TH_OK;
  th_event event;
  th_error error = news_convert(wire, job->inbox.phase, &event);
  if (error == TH_OK) th_inbox_put(&job->inbox, &event);
  return error;
}

static th_error event_deliver(th_way_session *session, const th_wire_event *event) {
  switch (event->kind) {
    case TH_WIRE_EVENT_COMPLETION:
      return th_sender_complete(session, event);
    case TH_WIRE_EVENT_PHASE:
    case TH_WIRE_EVENT_EPOCH:
    case TH_WIRE_EVENT_STEP:
      return news_deliver(session, event);
  }
  return th_fail(TH_ERR_PROTOCOL, "the daemon put an event of unknown kind %u", event->kind);
}

void th_session_ring(th_way_session *session, const _Atomic uint32_t *flag) {
  if (th_doorbell_ring(flag, session->daemon_bell_fd)) session->doorbells++;
}

static void notice_give(th_way_session *session) {
  uint64_t one = 1;
  ssize_t written = write(session->notice_fd, &one, sizeof one);
  (void)written; /* It is full only if it was rung before. */
  session->is_armed = false;
}

static th_error events_take(th_way_session *session, uint32_t *taken) {
  for (*taken = 0; *taken < session->region.geometry.event_entries; ++*taken) {
    th_wire_event event;
    th_error error = th_ring_take(&session->events, &event);
    if (error == TH_OK) error = event_deliver(session, &event);
    if (error != TH_OK) return error;
  }
  return TH_OK;
}

void th_session_look(th_way_session *session) {
  if (session->is_held) return;
  uint32_t taken;
  th_error error = events_take(session, &taken);
  if (error == TH_ERR_AGAIN && taken == 0) return;
  if (error != TH_OK && error != TH_ERR_AGAIN)
    (void)th_link_end(&session->link, th_fail(error, "trainhostd at %s broke the protocol: %s",
                                              session->link.path, th_error_text()));
  session->events_taken += taken;
  th_session_ring(session, &session->region.status->daemon_wants_room);
  pthread_cond_broadcast(&session->changed);
  if (session->is_armed) notice_give(session);
}

/* ---- sleeping ---- */

/* Who looks after a long absence, or was itself stopped together with the daemon, has not seen a
 * heart stand still: it must watch for a few beats first. */
static bool heart_stands_still(th_way_session *session, int64_t now_ns) {
  th_pulse *pulse = &session->pulse;
  uint64_t beat = atomic_load_explicit(&session->region.status->heartbeat, memory_order_relaxed);
  int64_t verdict_ns = pulse->moved_ns + pulse->stall_timeout_ns;
  if (beat != pulse->beat) {
    pulse->beat = beat;
    pulse->moved_ns = now_ns;
  } else if (now_ns - pulse->looked_ns > pulse->grace_ns && verdict_ns < now_ns + pulse->grace_ns) {
    pulse->moved_ns = now_ns + pulse->grace_ns - pulse->stall_timeout_ns;
  }
  pulse->looked_ns = now_ns;
  return now_ns - pulse->moved_ns >= pulse->stall_timeout_ns;
}

static th_error fail_stalled(th_way_session *session) {
  return th_fail(TH_ERR_HOST_STALLED,
                 "the heartbeat of trainhostd at %s has stood still for %" PRId64
                 " ms: it is stopped or blocked; the session goes on if it does",
                 session->link.path, session->pulse.stall_timeout_ns / TH_NS_PER_MS);
}

/* Spin for a moment if that has paid lately. @return whether an event came. */
static bool watch_spin(th_way_session *session, int64_t until_ns) {
  int64_t budget_ns = th_spin_budget_ns(&session->spin);
  if (budget_ns == 0) return false;
  th_ring events = session->events;
  int64_t spin_until_ns = th_clock_now_ns() + budget_ns;
  pthread_mutex_unlock(&session->lock);
  bool is_there =
      th_spin_until(spin_until_ns < until_ns ? spin_until_ns : until_ns, is_put, &events);
  pthread_mutex_lock(&session->lock);
  /* Another thread may have taken what this one waits for; nobody would ring for that any more. */
  is_there |= session->events.index != events.index;
  th_spin_learn(&session->spin, is_there);
  return is_there;
}

/* A bell that was not rung leaves only the hang-up to have woken the watch. With both at once the
 * bell comes first, and the next watch ends at once. */
static void watch_engine(th_way_session *session, int64_t until_ns) {
  _Atomic uint32_t *flag = &session->region.ctl->client_sleeps;
  pthread_mutex_unlock(&session->lock);
  th_error error = th_engine_wait(&session->engine, until_ns - th_clock_now_ns());
  pthread_mutex_lock(&session->lock);
  bool is_rung = th_doorbell_wake(flag, session->client_bell_fd);
  if (error == TH_ERR_SYSTEM) (void)th_link_end(&session->link, error);
  if (error == TH_OK && !is_rung) th_link_check_hang_up(&session->link);
}

static void watch(th_way_session *session, int64_t until_ns) {
  session->is_watched = true;
  if (!watch_spin(session, until_ns)) {
    _Atomic uint32_t *flag = &session->region.ctl->client_sleeps;
    th_doorbell_sleep(flag);
    if (th_ring_is_put(&session->events))
      (void)th_doorbell_wake(flag, session->client_bell_fd);
    else
      watch_engine(session, until_ns);
    if (session->is_armed) th_doorbell_sleep(flag);
  }
  session->is_watched = false;
  pthread_cond_broadcast(&session->changed);
}

static void follow(th_way_session *session, int64_t until_ns) {
  struct timespec until = {.tv_sec = until_ns / TH_NS_PER_S, .tv_nsec = until_ns % TH_NS_PER_S};
  pthread_cond_clockwait(&session->changed, &session->lock, CLOCK_MONOTONIC, &until);
}

th_error th_session_sleep(th_way_session *session, int64_t deadline_ns) {
  int64_t now_ns = th_clock_now_ns();
  if (now_ns >= deadline_ns) th_link_check_hang_up(&session->link);
  th_error error = th_link_state(&session->link);
  if (error != TH_OK) return error;
  if (now_ns >= deadline_ns) return TH_ERR_AGAIN;
  if (heart_stands_still(session, now_ns)) return fail_stalled(session);
  int64_t until_ns = now_ns + session->pulse.look_every_ns;
  if (until_ns > deadline_ns) until_ns = deadline_ns;
  if (session->is_watched || session->is_held)
    follow(session, until_ns);
  else
    watch(session, until_ns);
  return TH_OK;
}

/* ---- the caller's own event loop ---- */

static bool inboxes_are_empty(const th_way_session *session) {
  for (const th_way_job *job = session->jobs; job != NULL; job = job->next)
    if (job->is_open && job->inbox.count > 0) return false;
  return true;
}

static void notice_empty(th_way_session *session) {
  uint64_t count;
  ssize_t taken = read(session->notice_fd, &count, sizeof count);
  (void)taken; /* It may be empty already. */
}

th_error th_session_arm(th_way_session *session) {
  _Atomic uint32_t *flag = &session->region.ctl->client_sleeps;
  notice_empty(session);
  if (!session->is_watched) (void)th_doorbell_wake(flag, session->client_bell_fd);
  session->is_armed = true;
  th_doorbell_sleep(flag);
  th_session_look(session);
  bool has_news = session->events_taken != session->events_told && !inboxes_are_empty(session);
  session->events_told = session->events_taken;
  if (!has_news && th_link_state(&session->link) == TH_OK) return TH_OK;
  session->is_armed = false;
  return TH_ERR_AGAIN;
}

/* ---- events of a job not yet known ---- */

void th_session_hold(th_way_session *session) {
  session->is_held = true;
}

void th_session_release(th_way_session *session) {
  session->is_held = false;
  th_session_look(session);
  pthread_cond_broadcast(&session->changed);
}

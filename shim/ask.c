#include "shim/ask.h"

#include <string.h>

#include "base/clock.h"
#include "ipc/doorbell.h"

static bool is_answered(const void *of) {
  return th_call_is_answered(of);
}

/* A bell of its own, so that an answer wakes neither who watches for events nor an event loop. A
 * wait that the bell did not end was ended by the hang-up; but the daemon's last word is an answer,
 * so that is looked for first. */
static th_error answer_sleep(th_way_session *session, int64_t deadline_ns) {
  _Atomic uint32_t *awaits = &session->region.ctl->client_awaits;
  for (;;) {
    int64_t left_ns = deadline_ns - th_clock_now_ns();
    th_error error = TH_ERR_AGAIN;
    th_doorbell_sleep(awaits);
    if (!th_call_is_answered(&session->caller)) error = th_engine_wait(&session->answers, left_ns);
    bool is_rung = th_doorbell_wake(awaits, session->answer_bell_fd);
    if (th_call_is_answered(&session->caller)) return TH_OK;
    if (error == TH_OK && !is_rung) th_link_check_hang_up(&session->link);
    if (error == TH_OK || (error == TH_ERR_AGAIN && left_ns > 0))
      error = th_link_state(&session->link);
    if (error != TH_OK) return error;
  }
}

static th_error answer_await(th_way_session *session, int64_t since_ns, int64_t deadline_ns) {
  th_spin *spin = &session->call_spin;
  int64_t budget_ns = th_spin_budget_ns(spin);
  if (budget_ns > 0) {
    int64_t until_ns = since_ns + budget_ns;
    bool has_come = th_spin_until(until_ns < deadline_ns ? until_ns : deadline_ns, is_answered,
                                  &session->caller);
    th_spin_learn(spin, has_come);
    if (has_come) return TH_OK;
  }
  return answer_sleep(session, deadline_ns);
}

/* An answer that nobody waits for any more frees the place for the next call. */
static th_error late_answer_take(th_way_session *session) {
  th_caller *caller = &session->caller;
  if (!caller->is_open || !th_call_is_answered(caller)) return TH_OK;
  th_error error = th_call_take_answer(caller, &session->link.answer);
  if (error != TH_OK) return th_link_judge_answer(&session->link, error, caller->type, 0);
  th_link_discard_late(&session->link);
  return TH_OK;
}

static th_error call(th_way_session *session, th_wire_type type, const void *body,
                     uint32_t body_bytes, int64_t deadline_ns) {
  th_link *link = &session->link;
  th_error error = th_link_state(link);
  if (error != TH_OK) return error;
  int64_t since_ns = th_clock_now_ns();
  th_call_put(&session->caller, type, body, body_bytes);
  if (th_doorbell_ring(&session->region.status->daemon_sleeps, session->daemon_bell_fd))
    atomic_fetch_add_explicit(&session->call_doorbells, 1, memory_order_relaxed);
  error = answer_await(session, since_ns, deadline_ns);
  if (error != TH_OK && error != TH_ERR_AGAIN) return error;
  if (error == TH_OK) error = th_call_take_answer(&session->caller, &link->answer);
  return th_link_judge_answer(link, error, type, since_ns);
}

/* A call that was given up keeps its place until it is answered. */
th_error th_ask_exchange(th_way_session *session, th_wire_type type, const void *body,
                         uint32_t body_bytes, int64_t deadline_ns) {
  th_caller *caller = &session->caller;
  if (caller->call == NULL || !th_call_fits(type, body_bytes))
    return th_link_exchange(&session->link, type, body, body_bytes, deadline_ns);
  th_error error = late_answer_take(session);
  if (error != TH_OK) return error;
  if (caller->is_open) return th_link_exchange(&session->link, type, body, body_bytes, deadline_ns);
  return call(session, type, body, body_bytes, deadline_ns);
}

th_error th_ask_request(th_way_session *session, th_wire_type type, const void *body,
                        uint32_t body_bytes, void *answer, uint32_t answer_bytes) {
  th_link *link = &session->link;
  int64_t deadline_ns = th_link_deadline_ns(link);
  th_error error = th_link_enter(link, deadline_ns);
  if (error != TH_OK) return error;
  error = th_ask_exchange(session, type, body, body_bytes, deadline_ns);
  if (error == TH_OK && link->answer.header.body_bytes != answer_bytes)
    error = th_link_fail_protocol(link, "an answer of another size");
  if (error == TH_OK && answer_bytes > 0) memcpy(answer, link->answer.body, answer_bytes);
  th_link_leave(link);
  return error;
}

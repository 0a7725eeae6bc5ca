/* Requests that travel as calls, through shared memory: answered as those on the socket are, and
 * not believed more. */
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "ipc/doorbell.h"
#include "tests/shim/session.h"
#include "tests/support/leak.h"

TestSuite(ask, .init = leak_begin, .fini = leak_end);

static const th_adapter_options impatient = {.call_timeout_ns = 100 * TH_NS_PER_MS};

static th_health health;

static void answer_health(struct peer *server) {
  th_wire_health wire = {.uptime_ms = 7, .jobs_kept = 3};
  peer_answer_call(server, TH_OK, &wire, sizeof wire);
}

/* ---- as it should be ---- */

static void serve_calls(struct peer *server) {
  peer_welcome_calls(server);
  for (int i = 0; i < 3; i++) {
    peer_expect_call(server, TH_WIRE_PING);
    answer_health(server);
  }
  struct pollfd socket = {.fd = server->fd, .events = POLLIN};
  th_check(poll(&socket, 1, 0) == 0); /* nothing came on the socket */
  peer_expect_call(server, TH_WIRE_CANCEL);
  th_wire_job job;
  memcpy(&job, server->message.body, sizeof job);
  th_check(job.job == 12);
  peer_answer_call(server, TH_ERR_NOT_FOUND, "no job 12", 9);
  peer_await_hang_up(server);
}

Test(ask, calls_are_answered_without_the_socket) {
  begin_with(serve_calls, NULL);
  for (int i = 0; i < 3; i++)
    cr_assert_eq(th_adapter_health(adapter, &health), TH_OK, "%s", th_error_text());
  cr_assert_eq(health.uptime_ms, 7);
  cr_assert_eq(health.jobs_kept, 3);
  cr_assert_str_eq(health.daemon, "peer");
  cr_assert_str_eq(health.device, "none");
  cr_assert_eq(th_adapter_cancel(adapter, 12), TH_ERR_NOT_FOUND);
  cr_assert_str_eq(th_error_text(), "no job 12");
  end();
}

static void answer_after_a_while(struct peer *server) {
  peer_welcome_calls(server);
  for (int i = 0; i < 5; i++) {
    peer_expect_call(server, TH_WIRE_PING);
    peer_sleep_ms(30);
    peer_beat(server);
    answer_health(server);
  }
  peer_await_hang_up(server);
}

Test(ask, who_sleeps_until_the_answer_is_woken) {
  begin_with(answer_after_a_while, NULL);
  for (int i = 0; i < 5; i++) {
    cr_assert_eq(th_adapter_health(adapter, &health), TH_OK, "%s", th_error_text());
    cr_assert_geq(health.round_trip_ns, 29 * TH_NS_PER_MS);
    cr_assert_lt(health.round_trip_ns, 10 * TH_NS_PER_S);
  }
  end();
}

/* The first event of a job may come before the answer that tells its number. */
static void accept_after_the_first_event(struct peer *server) {
  peer_welcome_calls(server);
  peer_expect_call(server, TH_WIRE_START);
  peer_put_phase(server, 5, TH_PHASE_RECEIVING, TH_OK);
  peer_sleep_ms(30);
  th_wire_job job = {.job = 5, .cell = 2, .kind = TH_JOB_TRAIN};
  peer_answer_call(server, TH_OK, &job, sizeof job);
  peer_swallow(server, PEER_SMALL_BYTES);
  peer_put_phase(server, 5, TH_PHASE_DONE, TH_OK);
  peer_await_hang_up(server);
}

Test(ask, a_job_started_by_a_call_gets_its_first_event) {
  begin_with(accept_after_the_first_event, NULL);
  th_job *job;
  th_event event;
  cr_assert_eq(th_job_start(adapter, &peer_small_request, &job), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_number(job), 5);
  cr_assert_eq(th_job_next(job, &event, TH_WAIT_FOREVER), TH_OK);
  cr_assert_eq(event.phase, TH_PHASE_RECEIVING);
  cr_assert_eq(th_job_next(job, &event, TH_WAIT_FOREVER), TH_OK);
  cr_assert_eq(event.phase, TH_PHASE_DONE);
  th_job_close(job);
  end();
}

static void expect_a_long_start_on_the_socket(struct peer *server) {
  peer_welcome_calls(server);
  peer_accept_job(server, TH_WIRE_START, 1, 0);
  peer_swallow(server, PEER_SMALL_BYTES);
  peer_expect_call(server, TH_WIRE_FORGET);
  peer_answer_call(server, TH_OK, NULL, 0);
  peer_await_hang_up(server);
}

Test(ask, what_does_not_fit_a_call_goes_on_the_socket) {
  begin_with(expect_a_long_start_on_the_socket, NULL);
  char spec[TH_WIRE_CALL_BYTES_MAX + 1];
  memset(spec, ' ', sizeof spec);
  spec[0] = '{', spec[sizeof spec - 2] = '}', spec[sizeof spec - 1] = '\0';
  th_job_request request = peer_small_request;
  request.spec = spec;
  th_job *job;
  cr_assert_eq(th_job_start(adapter, &request, &job), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_forget(job), TH_OK, "%s", th_error_text());
  th_job_close(job);
  end();
}

/* ---- threads ---- */

static void tell_and_answer(struct peer *server) {
  peer_welcome_calls(server);
  peer_expect_call(server, TH_WIRE_ATTACH);
  th_wire_job job = {.job = 1, .cell = 0, .kind = TH_JOB_TRAIN};
  peer_answer_call(server, TH_OK, &job, sizeof job);
  for (uint32_t i = 1; i <= 200; i++) {
    peer_expect_call(server, TH_WIRE_PING);
    if (i % 4 == 0) peer_sleep_ms(1); /* both sleep */
    if (i % 2 == 0) peer_put_epoch(server, 1, i);
    answer_health(server);
    if (i % 2 == 1) peer_put_epoch(server, 1, i);
    peer_beat(server);
  }
  peer_put_phase(server, 1, TH_PHASE_DONE, TH_OK);
  peer_await_hang_up(server);
}

static void *follow(void *job) {
  return th_job_follow(job, NULL, NULL) == TH_ERR_NOT_FOUND ? NULL : job;
}

/* One thread asks while another one follows: each is woken for its own. */
Test(ask, an_asker_and_a_follower_do_not_disturb_each_other) {
  begin_with(tell_and_answer, NULL);
  th_job *job;
  pthread_t follower;
  cr_assert_eq(th_job_attach(adapter, 1, &job), TH_OK, "%s", th_error_text());
  cr_assert_eq(pthread_create(&follower, NULL, follow, job), 0);
  for (int i = 0; i < 200; i++)
    cr_assert_eq(th_adapter_health(adapter, &health), TH_OK, "%d: %s", i, th_error_text());
  pthread_join(follower, NULL);
  th_job_close(job);
  end();
}

/* ---- too late ---- */

static void answer_late(struct peer *server) {
  peer_welcome_calls(server);
  peer_expect_call(server, TH_WIRE_PING);
  peer_expect(server, TH_WIRE_PING); /* the place of calls is taken: on the socket */
  th_wire_health wire = {.uptime_ms = 8};
  peer_answer(server, &wire, sizeof wire, NULL, 0);
  answer_health(server);
  peer_expect_call(server, TH_WIRE_PING);
  wire.uptime_ms = 9;
  peer_answer_call(server, TH_OK, &wire, sizeof wire);
  peer_await_hang_up(server);
}

Test(ask, an_answer_that_comes_too_late_is_not_taken_for_another) {
  begin_with(answer_late, &impatient);
  cr_assert_eq(th_adapter_health(adapter, &health), TH_ERR_HOST_STALLED);
  assert_text("has not answered a health request");
  assert_text(peer->path);
  cr_assert_eq(th_adapter_health(adapter, &health), TH_OK, "%s", th_error_text());
  cr_assert_eq(health.uptime_ms, 8);
  peer_sleep_ms(30);
  cr_assert_eq(th_adapter_health(adapter, &health), TH_OK, "%s", th_error_text());
  cr_assert_eq(health.uptime_ms, 9);
  end();
}

static void accept_late(struct peer *server) {
  peer_welcome_calls(server);
  peer_expect_call(server, TH_WIRE_START);
  peer_sleep_ms(150);
  th_wire_job job = {.job = 3, .cell = 0, .kind = TH_JOB_TRAIN};
  peer_answer_call(server, TH_OK, &job, sizeof job);
  peer_expect(server, TH_WIRE_FORGET);
  memcpy(&job, server->message.body, sizeof job);
  th_check(job.job == 3);
  peer_answer(server, NULL, 0, NULL, 0);
  peer_expect_call(server, TH_WIRE_PING);
  answer_health(server);
  peer_await_hang_up(server);
}

Test(ask, a_job_accepted_too_late_is_given_back) {
  begin_with(accept_late, &impatient);
  th_job *job;
  cr_assert_eq(th_job_start(adapter, &peer_small_request, &job), TH_ERR_HOST_STALLED);
  peer_sleep_ms(200);
  cr_assert_eq(th_adapter_health(adapter, &health), TH_OK, "%s", th_error_text());
  end();
}

/* ---- the daemon's end, and its errors ---- */

static void die_when_called(struct peer *server) {
  peer_welcome_calls(server);
  peer_expect_call(server, TH_WIRE_PING);
  peer_sleep_ms(20); /* the caller sleeps */
  close(server->fd);
  server->fd = -1;
}

Test(ask, who_waits_for_a_dead_daemon_is_told_at_once) {
  begin_with(die_when_called, NULL);
  int64_t begin_ns = th_clock_now_ns();
  cr_assert_eq(th_adapter_health(adapter, &health), TH_ERR_HOST_LOST);
  cr_assert_lt(th_clock_now_ns() - begin_ns, 1000 * TH_NS_PER_MS);
  cr_assert_eq(th_adapter_health(adapter, &health), TH_ERR_HOST_LOST);
  assert_text(peer->path);
  end();
}

static void refuse_and_die(struct peer *server) {
  peer_welcome_calls(server);
  peer_expect_call(server, TH_WIRE_PING);
  peer_sleep_ms(20);
  peer_answer_call(server, TH_ERR_PROTOCOL, "a ping with a beard", 19);
  close(server->fd);
  server->fd = -1;
}

Test(ask, the_last_word_before_the_hang_up_is_heard) {
  begin_with(refuse_and_die, NULL);
  cr_assert_eq(th_adapter_health(adapter, &health), TH_ERR_PROTOCOL);
  assert_text("a ping with a beard");
  end();
}

static void answer_another_call(struct peer *server) {
  server->region.status->answer.number += 5;
}

static void answer_with_too_much(struct peer *server) {
  server->region.status->answer.body_bytes = TH_WIRE_ANSWER_BYTES_MAX + 1;
  server->region.status->answer.number += 1;
}

static void answer_with_too_little(struct peer *server) {
  peer_answer_call(server, TH_OK, "ok", 2);
}

static void answer_with_an_unknown_status(struct peer *server) {
  peer_answer_call(server, (th_error)-99, "?", 1);
}

static void answer_with_again(struct peer *server) {
  peer_answer_call(server, TH_ERR_AGAIN, NULL, 0);
}

static void (*broken_answer)(struct peer *server);

static void answer_broken(struct peer *server) {
  peer_welcome_calls(server);
  peer_expect_call(server, TH_WIRE_PING);
  broken_answer(server);
  th_doorbell_ring(&server->region.ctl->client_awaits, server->answer_bell);
  peer_await_hang_up(server);
}

Test(ask, a_broken_answer_ends_the_session) {
  static void (*const all[])(struct peer *) = {answer_another_call, answer_with_too_much,
                                               answer_with_too_little,
                                               answer_with_an_unknown_status, answer_with_again};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    broken_answer = all[i];
    begin_with(answer_broken, &impatient);
    th_error error = th_adapter_health(adapter, &health);
    cr_assert_eq(error, TH_ERR_PROTOCOL, "answer %zu: %s", i, th_error_text());
    cr_assert_eq(th_adapter_health(adapter, &health), TH_ERR_PROTOCOL);
    assert_text(peer->path);
    end();
  }
}

static void welcome_with_more(struct peer *server) {
  th_wire_welcome welcome;
  peer_greet(server, &welcome);
  welcome.features = 3;
  peer_send_welcome(server, &welcome);
  peer_await_hang_up(server);
}

Test(ask, features_that_were_not_asked_for_break_the_protocol) {
  peer = peer_start(welcome_with_more, NULL);
  char url[80];
  snprintf(url, sizeof url, "unix://%s", peer->path);
  th_manager *manager;
  cr_assert_eq(th_manager_create(TH_MODE_HOST, url, &manager), TH_OK);
  cr_assert_eq(th_adapter_open(manager, NULL, &adapter), TH_ERR_PROTOCOL);
  assert_text("features");
  th_manager_close(manager);
  peer_stop(peer);
}

/* ---- an event loop of the caller's ---- */

static void answer_then_tell(struct peer *server) {
  peer_welcome_calls(server);
  for (int i = 0; i < 100; i++) {
    peer_expect_call(server, TH_WIRE_PING);
    if (i % 4 == 0) peer_sleep_ms(1); /* the caller sleeps */
    answer_health(server);
  }
  peer_put_phase(server, 1, TH_PHASE_DONE, TH_OK);
  peer_await_hang_up(server);
}

Test(ask, an_armed_event_loop_is_not_woken_by_answers_to_others) {
  begin_with(answer_then_tell, NULL);
  struct pollfd loop = {.fd = th_adapter_fd(adapter), .events = POLLIN};
  for (int i = 0; i < 100; i++) {
    cr_assert_eq(th_adapter_arm(adapter), TH_OK);
    cr_assert_eq(th_adapter_health(adapter, &health), TH_OK, "%s", th_error_text());
    if (i < 99) cr_assert_eq(poll(&loop, 1, 0), 0, "round %d", i);
  }
  cr_assert_eq(poll(&loop, 1, 10000), 1, "an event wakes it");
  end();
}

/* ---- what it costs ---- */

static void stay_awake(struct peer *server) {
  peer_welcome_calls(server);
  for (int i = 0; i < 100; i++) {
    while (!th_call_is_waiting(&server->calls)) sched_yield();
    th_check(th_call_take(&server->calls, &server->message) == TH_OK);
    answer_health(server);
  }
  peer_expect_call(server, TH_WIRE_PING);
  answer_health(server);
  peer_await_hang_up(server);
}

Test(ask, a_daemon_that_is_awake_is_not_rung) {
  begin_with(stay_awake, NULL);
  th_statistics statistics;
  for (int i = 0; i < 100; i++) cr_assert_eq(th_adapter_health(adapter, &health), TH_OK);
  th_adapter_statistics(adapter, &statistics);
  cr_assert_eq(statistics.doorbells, 0);
  peer_sleep_ms(50);
  cr_assert_eq(th_adapter_health(adapter, &health), TH_OK);
  th_adapter_statistics(adapter, &statistics);
  cr_assert_eq(statistics.doorbells, 1);
  end();
}

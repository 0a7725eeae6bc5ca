/* Events on their way from the queue to the threads that wait for them. */
#include <criterion/criterion.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "ipc/doorbell.h"
#include "tests/shim/peer.h"
#include "tests/support/leak.h"

TestSuite(events, .init = leak_begin, .fini = leak_end);

/* The peer attaches jobs 1, 2, … in cells 0, 1, … and then runs the test's script. */
enum { JOBS_MAX = 4 };

static struct peer *peer;
static th_adapter *adapter;
static th_job *jobs[JOBS_MAX];
static uint32_t job_count;
static void (*script)(struct peer *server);

static void attach_then_run(struct peer *server) {
  peer_welcome(server);
  for (uint32_t i = 0; i < job_count; i++) peer_accept_job(server, TH_WIRE_ATTACH, i + 1, i);
  script(server);
}

static void begin(uint32_t count, void (*then)(struct peer *server), int64_t stall_timeout_ns) {
  job_count = count;
  script = then;
  th_adapter_options options = {.stall_timeout_ns = stall_timeout_ns};
  peer = peer_start(attach_then_run, NULL);
  adapter = peer_connect(peer, &options);
  for (uint32_t i = 0; i < count; i++)
    cr_assert_eq(th_job_attach(adapter, i + 1, &jobs[i]), TH_OK, "%s", th_error_text());
}

static void end(void) {
  for (uint32_t i = 0; i < job_count; i++) th_job_close(jobs[i]);
  th_adapter_close(adapter);
  peer_stop(peer);
}

/* The default bound on a heartbeat is longer than these tests last. */
static void begin_unwatched(uint32_t count, void (*then)(struct peer *server)) {
  begin(count, then, 0);
}

static th_event next(th_job *job) {
  th_event event;
  cr_assert_eq(th_job_next(job, &event, 5 * TH_NS_PER_S), TH_OK, "%s", th_error_text());
  return event;
}

/* ---- order and content ---- */

static void tell_a_life(struct peer *server) {
  peer_put_phase(server, 1, TH_PHASE_TRAINING, TH_OK);
  peer_put_epoch(server, 1, 1);
  th_wire_event step = {.job = 1, .kind = TH_WIRE_EVENT_STEP, .epoch = 2, .step = 5, .loss = 0.25F};
  peer_put(server, &step);
  peer_put_phase(server, 1, TH_PHASE_DONE, TH_OK);
  peer_await_hang_up(server);
}

Test(events, come_in_order_and_end_with_the_job) {
  begin_unwatched(1, tell_a_life);
  th_event event = next(jobs[0]);
  cr_assert_eq(event.kind, TH_EVENT_PHASE);
  cr_assert_eq(event.phase, TH_PHASE_TRAINING);
  event = next(jobs[0]);
  cr_assert_eq(event.kind, TH_EVENT_EPOCH);
  cr_assert_eq(event.epoch, 1);
  cr_assert_eq(event.phase, TH_PHASE_TRAINING, "the phase of the moment is told with each event");
  event = next(jobs[0]);
  cr_assert_eq(event.kind, TH_EVENT_STEP);
  cr_assert_eq(event.step, 5);
  cr_assert_float_eq(event.loss, 0.25, 0);
  event = next(jobs[0]);
  cr_assert_eq(event.phase, TH_PHASE_DONE);
  cr_assert_eq(th_job_next(jobs[0], &event, TH_WAIT_FOREVER), TH_ERR_NOT_FOUND);
  cr_assert_eq(th_job_next(jobs[0], &event, 0), TH_ERR_NOT_FOUND);
  cr_assert_eq(th_job_follow(jobs[0], NULL, NULL), TH_OK, "a job followed to its end is done");
  end();
}

static void stay_silent(struct peer *server) {
  peer_await_hang_up(server);
}

Test(events, none_is_again_or_a_timeout) {
  begin_unwatched(1, stay_silent);
  th_event event;
  cr_assert_eq(th_job_next(jobs[0], &event, 0), TH_ERR_AGAIN);
  int64_t begin_ns = th_clock_now_ns();
  cr_assert_eq(th_job_next(jobs[0], &event, 60 * TH_NS_PER_MS), TH_ERR_TIMEOUT);
  int64_t took_ns = th_clock_now_ns() - begin_ns;
  cr_assert_geq(took_ns, 60 * TH_NS_PER_MS);
  cr_assert_lt(took_ns, 1000 * TH_NS_PER_MS);
  cr_assert_not_null(strstr(th_error_text(), "60 ms"), "%s", th_error_text());
  end();
}

static int64_t thread_cpu_ns(void) {
  struct timespec used;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return used.tv_sec * TH_NS_PER_S + used.tv_nsec;
}

static void beat_for_a_second(struct peer *server) {
  for (int i = 0; i < 100; i++) {
    peer_beat(server);
    peer_sleep_ms(10);
  }
  peer_await_hang_up(server);
}

Test(events, waiting_for_none_costs_no_cpu) {
  begin(1, beat_for_a_second, 200 * TH_NS_PER_MS);
  th_event event;
  int64_t before_ns = thread_cpu_ns();
  cr_assert_eq(th_job_next(jobs[0], &event, 900 * TH_NS_PER_MS), TH_ERR_TIMEOUT);
  cr_assert_lt(thread_cpu_ns() - before_ns, 45 * TH_NS_PER_MS);
  end();
}

/* ---- follow ---- */

static void fail_with_text(struct peer *server) {
  peer_put_epoch(server, 1, 1);
  peer_put_epoch(server, 1, 2);
  peer_put_phase(server, 1, TH_PHASE_FAILED, TH_ERR_DATA);
  peer_expect(server, TH_WIRE_RESULT);
  peer_refuse(server, TH_ERR_DATA, "row 7, column 2 is NaN");
  peer_await_hang_up(server);
}

static bool count_events(void *user, th_job *job, const th_event *event) {
  (void)job;
  (void)event;
  ++*(int *)user;
  return true;
}

Test(events, follow_returns_the_jobs_error_with_the_daemons_text) {
  begin_unwatched(1, fail_with_text);
  int count = 0;
  cr_assert_eq(th_job_follow(jobs[0], count_events, &count), TH_ERR_DATA);
  cr_assert_str_eq(th_error_text(), "row 7, column 2 is NaN");
  cr_assert_eq(count, 3);
  end();
}

static void be_canceled_and_die(struct peer *server) {
  peer_put_phase(server, 1, TH_PHASE_CANCELED, TH_OK);
  peer_sleep_ms(20);
  shutdown(server->fd, SHUT_RDWR);
}

Test(events, follow_returns_the_jobs_error_even_if_its_text_is_lost) {
  begin_unwatched(1, be_canceled_and_die);
  peer_sleep_ms(50);
  cr_assert_eq(th_job_follow(jobs[0], NULL, NULL), TH_ERR_CANCELED,
               "a cancellation without a reason has one");
  cr_assert_not_null(strstr(th_error_text(), "job 1"), "%s", th_error_text());
  end();
}

static bool stop_at_first(void *user, th_job *job, const th_event *event) {
  (void)job;
  (void)event;
  ++*(int *)user;
  return false;
}

static void tell_two_epochs(struct peer *server) {
  peer_put_epoch(server, 1, 1);
  peer_put_epoch(server, 1, 2);
  peer_await_hang_up(server);
}

Test(events, follow_stops_when_the_callback_says_so) {
  begin_unwatched(1, tell_two_epochs);
  int count = 0;
  cr_assert_eq(th_job_follow(jobs[0], stop_at_first, &count), TH_ERR_AGAIN);
  cr_assert_eq(count, 1);
  cr_assert_eq(next(jobs[0]).epoch, 2, "the job goes on");
  end();
}

/* ---- the daemon's death and silence ---- */

static void die(struct peer *server) {
  peer_put_epoch(server, 1, 1);
  peer_publish(server, 0, 1, TH_PHASE_TRAINING);
  peer_sleep_ms(50);
  shutdown(server->fd, SHUT_RDWR);
}

Test(events, a_waiting_thread_learns_of_the_daemons_death_at_once) {
  begin_unwatched(1, die);
  th_event event = next(jobs[0]);
  int64_t begin_ns = th_clock_now_ns();
  cr_assert_eq(th_job_next(jobs[0], &event, TH_WAIT_FOREVER), TH_ERR_HOST_LOST);
  cr_assert_lt(th_clock_now_ns() - begin_ns, 500 * TH_NS_PER_MS);
  cr_assert_not_null(strstr(th_error_text(), peer->path), "%s", th_error_text());
  cr_assert_eq(th_job_next(jobs[0], &event, 0), TH_ERR_HOST_LOST);
  th_progress progress;
  cr_assert_eq(th_job_progress(jobs[0], &progress), TH_OK, "the last progress can still be read");
  cr_assert_eq(progress.phase, TH_PHASE_TRAINING);
  end();
}

static void put_and_die(struct peer *server) {
  peer_put_epoch(server, 1, 1);
  peer_put_phase(server, 1, TH_PHASE_DONE, TH_OK);
  shutdown(server->fd, SHUT_RDWR);
}

Test(events, what_was_told_before_the_death_is_still_heard) {
  begin_unwatched(1, put_and_die);
  peer_sleep_ms(50);
  th_health health;
  cr_assert_eq(th_adapter_health(adapter, &health), TH_ERR_HOST_LOST);
  cr_assert_eq(next(jobs[0]).epoch, 1);
  cr_assert_eq(next(jobs[0]).phase, TH_PHASE_DONE);
  end();
}

static void put_sleep_and_die(struct peer *server) {
  peer_put_epoch(server, 1, 1);
  peer_sleep_ms(50);
  shutdown(server->fd, SHUT_RDWR);
}

Test(events, an_event_loop_learns_of_the_daemons_death) {
  begin_unwatched(1, put_sleep_and_die);
  (void)next(jobs[0]);
  struct pollfd ready = {.fd = th_adapter_fd(adapter), .events = POLLIN};
  cr_assert_eq(th_adapter_arm(adapter), TH_OK);
  cr_assert_eq(poll(&ready, 1, 1000), 1);
  th_event event;
  cr_assert_eq(th_job_next(jobs[0], &event, 0), TH_ERR_HOST_LOST);
  cr_assert_eq(th_adapter_arm(adapter), TH_ERR_AGAIN, "never sleep on a dead session");
  end();
}

static void hang_then_go_on(struct peer *server) {
  for (int i = 0; i < 10; i++) {
    peer_beat(server);
    peer_sleep_ms(10);
  }
  peer_sleep_ms(500);
  for (int i = 0; i < 20; i++) {
    peer_beat(server);
    peer_sleep_ms(10);
  }
  peer_put_epoch(server, 1, 1);
  peer_await_hang_up(server);
}

Test(events, a_daemon_that_hangs_is_stalled_until_its_heart_beats_again) {
  begin(1, hang_then_go_on, 100 * TH_NS_PER_MS);
  th_event event;
  int64_t begin_ns = th_clock_now_ns();
  cr_assert_eq(th_job_next(jobs[0], &event, TH_WAIT_FOREVER), TH_ERR_HOST_STALLED);
  int64_t took_ns = th_clock_now_ns() - begin_ns;
  cr_assert_geq(took_ns, 150 * TH_NS_PER_MS, "it was alive for 100 ms: %ld", took_ns);
  cr_assert_lt(took_ns, 590 * TH_NS_PER_MS);
  cr_assert_not_null(strstr(th_error_text(), "100 ms"), "%s", th_error_text());
  peer_sleep_ms(500);
  cr_assert_eq(next(jobs[0]).epoch, 1, "the session goes on");
  end();
}

static void beat_then_tell(struct peer *server) {
  for (int i = 0; i < 40; i++) {
    peer_beat(server);
    peer_sleep_ms(10);
  }
  peer_put_epoch(server, 1, 1);
  peer_await_hang_up(server);
}

Test(events, a_long_silence_with_a_heartbeat_is_no_stall) {
  begin(1, beat_then_tell, 100 * TH_NS_PER_MS);
  cr_assert_eq(next(jobs[0]).epoch, 1);
  end();
}

Test(events, who_looks_after_a_long_absence_gives_the_heart_time_to_beat) {
  begin(1, stay_silent, 100 * TH_NS_PER_MS);
  peer_sleep_ms(300);
  th_event event;
  cr_assert_eq(th_job_next(jobs[0], &event, 5 * TH_NS_PER_MS), TH_ERR_TIMEOUT);
  cr_assert_eq(th_job_next(jobs[0], &event, TH_WAIT_FOREVER), TH_ERR_HOST_STALLED);
  end();
}

/* ---- a hostile daemon ---- */

static void put_unknown_kind(struct peer *server) {
  peer_put(server, &(th_wire_event){.job = 1, .kind = 9});
  peer_await_hang_up(server);
}
static void put_unknown_phase(struct peer *server) {
  peer_put_phase(server, 1, (th_phase)10, TH_OK);
  peer_await_hang_up(server);
}
static void put_completion_of_no_slot(struct peer *server) {
  peer_put(server,
           &(th_wire_event){
               .job = 1, .kind = TH_WIRE_EVENT_COMPLETION, .cookie = 1, .slot = UINT32_MAX});
  peer_await_hang_up(server);
}
static void put_completion_of_no_batch(struct peer *server) {
  peer_put(server, &(th_wire_event){.job = 0, .kind = TH_WIRE_EVENT_COMPLETION, .slot = 1});
  peer_await_hang_up(server);
}
static void claim_too_many_events(struct peer *server) {
  atomic_store(&server->region.status->event_tail, PEER_EVENTS + 1);
  th_doorbell_ring(&server->region.ctl->client_sleeps, server->client_bell);
  peer_await_hang_up(server);
}

Test(events, what_a_broken_daemon_puts_ends_the_session) {
  static void (*const scripts[])(struct peer *) = {
      put_unknown_kind, put_unknown_phase, put_completion_of_no_slot, put_completion_of_no_batch,
      claim_too_many_events};
  for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
    begin_unwatched(1, scripts[i]);
    th_event event;
    cr_expect_eq(th_job_next(jobs[0], &event, 5 * TH_NS_PER_S), TH_ERR_PROTOCOL, "script %zu", i);
    cr_expect_eq(th_job_next(jobs[0], &event, 0), TH_ERR_PROTOCOL, "it stays so");
    end();
  }
}

static void tell_of_strangers(struct peer *server) {
  for (uint64_t job = 50; job < 150; job++) peer_put_epoch(server, job, 1);
  peer_put_epoch(server, 1, 3);
  peer_await_hang_up(server);
}

Test(events, news_of_unknown_jobs_are_passed_over) {
  begin_unwatched(1, tell_of_strangers);
  cr_assert_eq(next(jobs[0]).epoch, 3);
  th_statistics statistics;
  th_adapter_statistics(adapter, &statistics);
  cr_assert_eq(statistics.events, 101);
  end();
}

/* ---- several readers ---- */

enum { EPOCHS = 500 };

static void tell_all_in_turn(struct peer *server) {
  for (uint32_t epoch = 1; epoch <= EPOCHS; epoch++)
    for (uint64_t job = 1; job <= JOBS_MAX; job++) peer_put_epoch(server, job, epoch);
  for (uint64_t job = 1; job <= JOBS_MAX; job++) peer_put_phase(server, job, TH_PHASE_DONE, TH_OK);
  peer_await_hang_up(server);
}

/* Returns how many epochs came in order, as a pointer. */
static void *read_to_the_end(void *argument) {
  th_job *job = argument;
  th_event event;
  uint32_t epochs = 0;
  while (th_job_next(job, &event, 5 * TH_NS_PER_S) == TH_OK)
    if (event.kind == TH_EVENT_EPOCH && event.epoch == epochs + 1) epochs++;
  return (void *)(uintptr_t)epochs;
}

Test(events, each_of_several_threads_hears_all_of_its_own_job) {
  begin_unwatched(JOBS_MAX, tell_all_in_turn);
  pthread_t threads[JOBS_MAX];
  for (int i = 0; i < JOBS_MAX; i++)
    cr_assert_eq(pthread_create(&threads[i], NULL, read_to_the_end, jobs[i]), 0);
  for (int i = 0; i < JOBS_MAX; i++) {
    void *epochs;
    pthread_join(threads[i], &epochs);
    cr_assert_eq((uintptr_t)epochs, EPOCHS, "job %d heard %lu", i + 1, (uintptr_t)epochs);
  }
  end();
}

static void tell_one_much_and_another_little(struct peer *server) {
  for (uint32_t epoch = 1; epoch <= 30000; epoch++) peer_put_epoch(server, 1, epoch);
  peer_put_epoch(server, 2, 77);
  peer_await_hang_up(server);
}

Test(events, a_job_that_nobody_reads_holds_up_no_other) {
  begin_unwatched(2, tell_one_much_and_another_little);
  cr_assert_eq(next(jobs[1]).epoch, 77);
  cr_assert_eq(next(jobs[0]).epoch, 1);
  end();
}

static void tell_when_rung(struct peer *server) {
  for (uint32_t epoch = 1; epoch <= 200; epoch++) {
    peer_expect(server, TH_WIRE_CANCEL);
    peer_put_epoch(server, 1, epoch);
    peer_answer(server, NULL, 0, NULL, 0);
  }
  peer_await_hang_up(server);
}

/* One thread sleeps; another takes its events from under it, by waiting for a job that has none. */
Test(events, a_thread_is_woken_though_another_took_its_event) {
  begin_unwatched(2, tell_when_rung);
  pthread_t thread;
  cr_assert_eq(pthread_create(&thread, NULL, read_to_the_end, jobs[0]), 0);
  int64_t begin_ns = th_clock_now_ns();
  for (int i = 0; i < 200; i++) {
    th_event event;
    cr_assert_eq(th_job_cancel(jobs[1]), TH_OK);
    cr_assert_eq(th_job_next(jobs[1], &event, 0), TH_ERR_AGAIN);
  }
  th_event none;
  cr_assert_eq(th_job_next(jobs[1], &none, 10 * TH_NS_PER_MS), TH_ERR_TIMEOUT);
  shutdown(peer->fd, SHUT_RDWR);
  void *epochs;
  pthread_join(thread, &epochs);
  cr_assert_eq((uintptr_t)epochs, 200);
  cr_assert_lt(th_clock_now_ns() - begin_ns, 3 * TH_NS_PER_S);
  end();
}

/* ---- the caller's event loop ---- */

static void tell_slowly(struct peer *server) {
  for (uint32_t epoch = 1; epoch <= 20; epoch++) {
    peer_sleep_ms(3);
    peer_put_epoch(server, 1, epoch);
  }
  peer_put_phase(server, 1, TH_PHASE_DONE, TH_OK);
  peer_await_hang_up(server);
}

static void tell_slowly_of_the_second(struct peer *server) {
  peer_put_epoch(server, 2, 1);
  peer_sleep_ms(100);
  peer_put_phase(server, 2, TH_PHASE_DONE, TH_OK);
  peer_await_hang_up(server);
}

/* As trainhost.h says: arm, wait, take all. Returns the epochs heard. */
static uint32_t loop_until_over(th_job *job) {
  struct pollfd ready = {.fd = th_adapter_fd(adapter), .events = POLLIN};
  th_event event;
  uint32_t epochs = 0;
  for (;;) {
    th_error error = th_adapter_arm(adapter);
    if (error == TH_OK && poll(&ready, 1, 2000) != 1) return 0;
    while ((error = th_job_next(job, &event, 0)) == TH_OK)
      if (event.kind == TH_EVENT_EPOCH) epochs++;
    if (error != TH_ERR_AGAIN) return epochs;
  }
}

Test(events, an_event_loop_hears_all) {
  begin_unwatched(1, tell_slowly);
  cr_assert_eq(loop_until_over(jobs[0]), 20);
  end();
}

Test(events, an_event_loop_hears_all_though_another_thread_waits) {
  begin(2, tell_slowly, 0);
  pthread_t thread;
  cr_assert_eq(pthread_create(&thread, NULL, read_to_the_end, jobs[1]), 0);
  peer_sleep_ms(1);
  cr_assert_eq(loop_until_over(jobs[0]), 20);
  shutdown(peer->fd, SHUT_RDWR);
  pthread_join(thread, NULL);
  end();
}

static void tell_one_that_nobody_reads(struct peer *server) {
  peer_put_epoch(server, 1, 1);
  tell_slowly_of_the_second(server);
}

Test(events, an_event_loop_sleeps_though_nobody_reads_another_job) {
  begin_unwatched(2, tell_one_that_nobody_reads);
  struct pollfd ready = {.fd = th_adapter_fd(adapter), .events = POLLIN};
  th_event event;
  cr_assert_eq(next(jobs[1]).epoch, 1);
  cr_assert_eq(th_adapter_arm(adapter), TH_ERR_AGAIN, "told once of the epoch of the first");
  cr_assert_eq(th_job_next(jobs[1], &event, 0), TH_ERR_AGAIN);
  cr_assert_eq(th_adapter_arm(adapter), TH_OK);
  cr_assert_eq(poll(&ready, 1, 2000), 1, "the second tells of its end");
  while (th_adapter_arm(adapter) == TH_OK) cr_assert_eq(poll(&ready, 1, 2000), 1);
  cr_assert_eq(next(jobs[1]).phase, TH_PHASE_DONE);
  cr_assert_eq(next(jobs[0]).epoch, 1, "and nothing was lost");
  end();
}

Test(events, an_armed_adapter_is_silent_until_something_happens) {
  begin_unwatched(1, stay_silent);
  struct pollfd ready = {.fd = th_adapter_fd(adapter), .events = POLLIN};
  cr_assert_eq(th_adapter_arm(adapter), TH_OK);
  cr_assert_eq(poll(&ready, 1, 20), 0);
  end();
}

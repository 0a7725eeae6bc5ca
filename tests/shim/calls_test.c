/* Requests and their answers: matched by number, bounded in time, and not believed without a look.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/shim/session.h"
#include "tests/support/leak.h"

TestSuite(calls, .init = leak_begin, .fini = leak_end);

static const th_adapter_options impatient = {.call_timeout_ns = 100 * TH_NS_PER_MS};

/* ---- health ---- */

static void answer_health(struct peer *server) {
  th_wire_health health = {.uptime_ms = 7, .sessions = 1, .jobs_kept = 3, .data_bytes_max = 99};
  peer_answer(server, &health, sizeof health, NULL, 0);
}

static void serve_health(struct peer *server) {
  th_wire_welcome welcome;
  peer_greet(server, &welcome);
  memset(welcome.daemon, 'd', sizeof welcome.daemon); /* not terminated */
  strcpy(welcome.device, "cpu");
  peer_send_welcome(server, &welcome);
  peer_expect(server, TH_WIRE_PING);
  answer_health(server);
  peer_await_hang_up(server);
}

Test(calls, health_tells_what_the_daemon_says) {
  begin_with(serve_health, NULL);
  th_health health;
  cr_assert_eq(th_adapter_health(adapter, &health), TH_OK, "%s", th_error_text());
  cr_assert_eq(health.uptime_ms, 7);
  cr_assert_eq(health.jobs_kept, 3);
  cr_assert_eq(health.data_bytes_max, 99);
  cr_assert_eq(strlen(health.daemon), sizeof health.daemon - 1);
  cr_assert_str_eq(health.device, "cpu");
  cr_assert_gt(health.round_trip_ns, 0);
  bool is_plain = getenv("TRAINING_HOST_IO") != NULL;
  cr_assert_eq(strncmp(health.io, is_plain ? "syscall (as " : "io_uring (the ", 12), 0, "%s",
               health.io);
  end();
}

static void answer_late(struct peer *server) {
  peer_welcome(server);
  peer_expect(server, TH_WIRE_PING);
  peer_sleep_ms(200);
  answer_health(server);
  peer_expect(server, TH_WIRE_PING);
  answer_health(server);
  peer_await_hang_up(server);
}

Test(calls, an_answer_that_comes_too_late_is_not_taken_for_another) {
  begin_with(answer_late, &impatient);
  th_health health;
  int64_t begin_ns = th_clock_now_ns();
  cr_assert_eq(th_adapter_health(adapter, &health), TH_ERR_HOST_STALLED);
  cr_assert_lt(th_clock_now_ns() - begin_ns, 190 * TH_NS_PER_MS);
  assert_text(peer->path);
  peer_sleep_ms(150);
  cr_assert_eq(th_adapter_health(adapter, &health), TH_OK, "%s", th_error_text());
  th_statistics statistics;
  th_adapter_statistics(adapter, &statistics);
  cr_assert_eq(statistics.requests, 2);
  cr_assert_eq(statistics.errors, 1);
  cr_assert_eq(statistics.mode, TH_MODE_HOST);
  end();
}

static void answer_another_number(struct peer *server) {
  peer_welcome(server);
  peer_expect(server, TH_WIRE_PING);
  server->message.header.request += 5;
  answer_health(server);
  peer_await_hang_up(server);
}

Test(calls, an_answer_to_no_request_ends_the_session) {
  begin_with(answer_another_number, NULL);
  th_health health;
  cr_assert_eq(th_adapter_health(adapter, &health), TH_ERR_PROTOCOL);
  cr_assert_eq(th_adapter_health(adapter, &health), TH_ERR_PROTOCOL);
  assert_text("no request");
  end();
}

static void answer_another_type(struct peer *server) {
  peer_welcome(server);
  peer_expect(server, TH_WIRE_PING);
  server->message.header.type = TH_WIRE_CANCEL;
  answer_health(server);
  peer_await_hang_up(server);
}

Test(calls, an_answer_of_another_type_ends_the_session) {
  begin_with(answer_another_type, NULL);
  th_health health;
  cr_assert_eq(th_adapter_health(adapter, &health), TH_ERR_PROTOCOL);
  end();
}

static void answer_short(struct peer *server) {
  peer_welcome(server);
  peer_expect(server, TH_WIRE_PING);
  peer_answer(server, "ok", 2, NULL, 0);
  peer_await_hang_up(server);
}

Test(calls, a_short_answer_ends_the_session) {
  begin_with(answer_short, NULL);
  th_health health;
  cr_assert_eq(th_adapter_health(adapter, &health), TH_ERR_PROTOCOL);
  end();
}

static void answer_with_descriptors(struct peer *server) {
  peer_welcome(server);
  peer_expect(server, TH_WIRE_PING);
  th_wire_health health = {0};
  const int fds[] = {server->listener, server->listener};
  peer_answer(server, &health, sizeof health, fds, 2);
  peer_await_hang_up(server);
}

Test(calls, descriptors_that_nobody_asked_for_are_closed) {
  begin_with(answer_with_descriptors, NULL);
  th_health health;
  cr_assert_eq(th_adapter_health(adapter, &health), TH_OK);
  end();
}

/* ---- the daemon's death ---- */

static void die_when_asked(struct peer *server) {
  peer_welcome(server);
  peer_expect(server, TH_WIRE_PING);
  close(server->fd);
  server->fd = -1;
}

Test(calls, after_the_daemon_died_every_call_says_so_at_once) {
  begin_with(die_when_asked, NULL);
  int64_t begin_ns = th_clock_now_ns();
  th_health health;
  th_job_info *jobs;
  th_session_info *sessions;
  th_job *job;
  size_t count;
  cr_assert_eq(th_adapter_health(adapter, &health), TH_ERR_HOST_LOST);
  cr_assert_eq(th_adapter_health(adapter, &health), TH_ERR_HOST_LOST);
  cr_assert_eq(th_adapter_jobs(adapter, &jobs, &count), TH_ERR_HOST_LOST);
  cr_assert_eq(th_adapter_sessions(adapter, &sessions, &count), TH_ERR_HOST_LOST);
  cr_assert_eq(th_job_start(adapter, &peer_small_request, &job), TH_ERR_HOST_LOST);
  cr_assert_eq(th_job_attach(adapter, 1, &job), TH_ERR_HOST_LOST);
  cr_assert_eq(th_adapter_arm(adapter), TH_ERR_AGAIN);
  assert_text(peer->path);
  cr_assert_lt(th_clock_now_ns() - begin_ns, 500 * TH_NS_PER_MS);
  end();
}

/* ---- lists ---- */

static void answer_page(struct peer *server, uint64_t first, uint32_t count, uint32_t more) {
  struct {
    th_wire_listing head;
    th_wire_job_row rows[3];
  } page = {.head = {.count = count, .more = more}};
  for (uint32_t i = 0; i < count; i++) {
    page.rows[i] = (th_wire_job_row){.progress.job = first + i, .kind = TH_JOB_TRAIN, .uid = 5};
    memset(page.rows[i].name, 'n', sizeof page.rows[i].name);
  }
  peer_answer(server, &page, (uint32_t)(sizeof page.head + count * sizeof page.rows[0]), NULL, 0);
}

static uint64_t expect_list(struct peer *server) {
  peer_expect(server, TH_WIRE_JOBS);
  th_wire_list list;
  memcpy(&list, server->message.body, sizeof list);
  return list.after;
}

static void serve_pages(struct peer *server) {
  peer_welcome(server);
  bool is_right = expect_list(server) == 0;
  answer_page(server, 10, 3, 1);
  is_right &= expect_list(server) == 12;
  answer_page(server, is_right ? 20 : 0, 2, 0);
  (void)expect_list(server);
  answer_page(server, 0, 0, 0);
  peer_await_hang_up(server);
}

Test(calls, a_list_is_asked_for_page_by_page) {
  begin_with(serve_pages, NULL);
  th_job_info *jobs;
  size_t count;
  cr_assert_eq(th_adapter_jobs(adapter, &jobs, &count), TH_OK, "%s", th_error_text());
  cr_assert_eq(count, 5);
  cr_assert_eq(jobs[0].progress.job, 10);
  cr_assert_eq(jobs[4].progress.job, 21);
  cr_assert_eq(jobs[4].uid, 5);
  cr_assert_eq(strlen(jobs[0].name), sizeof jobs[0].name - 1);
  free(jobs);
  cr_assert_eq(th_adapter_jobs(adapter, &jobs, &count), TH_OK);
  cr_assert_eq(count, 0);
  free(jobs);
  end();
}

static void serve_same_page(struct peer *server) {
  peer_welcome(server);
  (void)expect_list(server);
  answer_page(server, 10, 3, 1);
  (void)expect_list(server);
  answer_page(server, 10, 3, 1);
  peer_await_hang_up(server);
}

static void serve_empty_page_with_more(struct peer *server) {
  peer_welcome(server);
  (void)expect_list(server);
  answer_page(server, 10, 0, 1);
  peer_await_hang_up(server);
}

static void serve_wrong_count(struct peer *server) {
  peer_welcome(server);
  (void)expect_list(server);
  th_wire_listing head = {.count = UINT32_MAX};
  peer_answer(server, &head, sizeof head, NULL, 0);
  peer_await_hang_up(server);
}

Test(calls, a_list_without_end_or_reason_ends_the_session) {
  static void (*const scripts[])(struct peer *) = {serve_same_page, serve_empty_page_with_more,
                                                   serve_wrong_count};
  for (size_t i = 0; i < 3; i++) {
    begin_with(scripts[i], NULL);
    th_job_info *jobs;
    size_t count;
    cr_assert_eq(th_adapter_jobs(adapter, &jobs, &count), TH_ERR_PROTOCOL, "script %zu", i);
    end();
  }
}

static void serve_sessions(struct peer *server) {
  peer_welcome(server);
  peer_expect(server, TH_WIRE_SESSIONS);
  struct {
    th_wire_listing head;
    th_wire_session_row row;
  } page = {.head.count = 1, .row = {.session = 4, .pid = 12, .client = "someone"}};
  peer_answer(server, &page, sizeof page, NULL, 0);
  peer_await_hang_up(server);
}

Test(calls, sessions_are_listed) {
  begin_with(serve_sessions, NULL);
  th_session_info *sessions;
  size_t count;
  cr_assert_eq(th_adapter_sessions(adapter, &sessions, &count), TH_OK, "%s", th_error_text());
  cr_assert_eq(count, 1);
  cr_assert_eq(sessions[0].session, 4);
  cr_assert_eq(sessions[0].pid, 12);
  cr_assert_str_eq(sessions[0].client, "someone");
  free(sessions);
  end();
}

/* ---- results ---- */

static int file_of(const char *text) {
  int fd = memfd_create("result", MFD_CLOEXEC);
  cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
  return fd;
}

/* A result as announced, with those files; −1: none. */
static void answer_result(struct peer *server, const th_wire_result *result, int output, int card) {
  int fds[2] = {-1, -1};
  uint32_t count = 0;
  if (output >= 0) fds[count++] = output;
  if (card >= 0) fds[count++] = card;
  peer_answer(server, result, sizeof *result, fds, count);
  if (output >= 0) close(output);
  if (card >= 0) close(card);
}

static void serve_results(struct peer *server) {
  peer_welcome(server);
  peer_accept_job(server, TH_WIRE_ATTACH, 9, 0);
  peer_expect(server, TH_WIRE_RESULT);
  answer_result(server, &(th_wire_result){.kind = TH_JOB_TRAIN, .output_bytes = 5, .card_bytes = 2},
                file_of("model"), file_of("{}"));
  peer_expect(server, TH_WIRE_RESULT);
  answer_result(server, &(th_wire_result){.kind = TH_JOB_TRAIN, .card_bytes = 2}, -1,
                file_of("{}"));
  peer_expect(server, TH_WIRE_RESULT);
  answer_result(server,
                &(th_wire_result){.kind = TH_JOB_TRAIN, .output_bytes = 5, .is_checkpoint = 1},
                file_of("state"), -1);
  peer_expect(server, TH_WIRE_RESULT);
  peer_refuse(server, TH_ERR_AGAIN, "not yet");
  peer_expect(server, TH_WIRE_RESULT);
  peer_refuse(server, TH_ERR_DIVERGED, "the loss became NaN in epoch 3, step 7");
  peer_await_hang_up(server);
}

Test(calls, a_result_is_read_whole) {
  begin_with(serve_results, NULL);
  th_job *job;
  th_result result;
  cr_assert_eq(th_job_attach(adapter, 9, &job), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_result(job, &result), TH_OK, "%s", th_error_text());
  cr_assert_eq(result.output_bytes, 5);
  cr_assert_arr_eq(result.output, "model", 5);
  cr_assert_str_eq(result.card, "{}");
  cr_assert_eq(result.card_bytes, 2);
  cr_assert_not(result.is_checkpoint);
  th_result_fini(&result);
  cr_assert_eq(th_job_result(job, &result), TH_OK, "without output: %s", th_error_text());
  cr_assert_null(result.output);
  th_result_fini(&result);
  cr_assert_eq(th_job_result(job, &result), TH_OK, "without card: %s", th_error_text());
  cr_assert(result.is_checkpoint);
  cr_assert_str_eq(result.card, "");
  th_result_fini(&result);
  cr_assert_eq(th_job_result(job, &result), TH_ERR_AGAIN);
  cr_assert_eq(th_job_result(job, &result), TH_ERR_DIVERGED);
  cr_assert_str_eq(th_error_text(), "the loss became NaN in epoch 3, step 7");
  th_result_fini(&result);
  th_job_close(job);
  end();
}

static void serve_broken_results(struct peer *server) {
  peer_welcome(server);
  peer_accept_job(server, TH_WIRE_ATTACH, 9, 0);
  static const th_wire_result broken[] = {
      {.kind = TH_JOB_TRAIN, .output_bytes = 4, .card_bytes = 2}, /* the file is longer */
      {.kind = TH_JOB_TRAIN, .output_bytes = 6, .card_bytes = 2}, /* the file is shorter */
      {.kind = TH_JOB_TRAIN, .output_bytes = UINT64_MAX, .card_bytes = 2},
      {.kind = TH_JOB_TRAIN, .output_bytes = 5}, /* a file too many */
      {.kind = 77, .output_bytes = 5, .card_bytes = 2},
      {.kind = TH_JOB_PREDICT, .output_bytes = 5, .card_bytes = 2},
  };
  for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
    peer_expect(server, TH_WIRE_RESULT);
    answer_result(server, &broken[i], file_of("model"), file_of("{}"));
  }
  peer_expect(server, TH_WIRE_RESULT);
  answer_result(server, &(th_wire_result){.kind = TH_JOB_TRAIN, .output_bytes = 5},
                open("/dev/zero", O_RDONLY), -1);
  peer_await_hang_up(server);
}

Test(calls, a_result_that_is_not_as_announced_is_refused) {
  begin_with(serve_broken_results, NULL);
  th_job *job;
  cr_assert_eq(th_job_attach(adapter, 9, &job), TH_OK);
  for (int i = 0; i < 7; i++) {
    th_result result;
    cr_assert_eq(th_job_result(job, &result), TH_ERR_PROTOCOL, "result %d", i);
    cr_assert_null(result.output);
  }
  th_job_close(job);
  end();
}

/* ---- attach, cancel, forget ---- */

static void serve_attach(struct peer *server) {
  peer_welcome(server);
  peer_expect(server, TH_WIRE_ATTACH);
  peer_refuse(server, TH_ERR_NOT_FOUND, "no job 8");
  peer_publish(server, 2, 9, TH_PHASE_TRAINING);
  peer_accept_job(server, TH_WIRE_ATTACH, 9, 2);
  peer_expect(server, TH_WIRE_CANCEL);
  peer_answer(server, NULL, 0, NULL, 0);
  peer_put_epoch(server, 9, 1);
  peer_expect(server, TH_WIRE_FORGET);
  peer_answer(server, NULL, 0, NULL, 0);
  peer_await_hang_up(server);
}

Test(calls, a_job_can_be_attached_canceled_and_forgotten) {
  begin_with(serve_attach, NULL);
  th_job *job, *again;
  th_event event;
  th_progress progress;
  cr_assert_eq(th_job_attach(adapter, 8, &job), TH_ERR_NOT_FOUND);
  cr_assert_str_eq(th_error_text(), "no job 8");
  cr_assert_eq(th_job_attach(adapter, 9, &job), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_number(job), 9);
  cr_assert_eq(th_job_progress(job, &progress), TH_OK);
  cr_assert_eq(progress.phase, TH_PHASE_TRAINING);
  cr_assert_eq(th_job_attach(adapter, 9, &again), TH_ERR_BUSY, "two handles share one inbox");
  cr_assert_eq(th_job_cancel(job), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_next(job, &event, TH_NS_PER_S), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_forget(job), TH_OK);
  cr_assert_eq(th_job_next(job, &event, TH_WAIT_FOREVER), TH_ERR_NOT_FOUND);
  th_job_close(job);
  end();
}

static void serve_reopen(struct peer *server) {
  peer_welcome(server);
  peer_accept_job(server, TH_WIRE_ATTACH, 9, 0);
  peer_expect(server, TH_WIRE_PING);
  peer_put_epoch(server, 9, 1);
  peer_put_phase(server, 9, TH_PHASE_DONE, TH_OK);
  answer_health(server);
  peer_await_hang_up(server);
}

Test(calls, a_handle_opened_again_has_what_came_meanwhile) {
  begin_with(serve_reopen, NULL);
  th_job *job;
  th_health health;
  th_event event;
  cr_assert_eq(th_job_attach(adapter, 9, &job), TH_OK);
  th_job_close(job);
  cr_assert_eq(th_adapter_health(adapter, &health), TH_OK);
  cr_assert_eq(th_job_attach(adapter, 9, &job), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_next(job, &event, 0), TH_OK);
  cr_assert_eq(event.epoch, 1);
  cr_assert_eq(th_job_next(job, &event, 0), TH_OK);
  cr_assert_eq(event.phase, TH_PHASE_DONE);
  th_job_close(job);
  end();
}

static void reuse_cell(struct peer *server) {
  peer_welcome(server);
  peer_accept_job(server, TH_WIRE_ATTACH, 8, 1);
  peer_accept_job(server, TH_WIRE_ATTACH, 9, 1);
  peer_await_hang_up(server);
}

Test(calls, a_job_whose_cell_was_given_away_tells_nothing_more) {
  begin_with(reuse_cell, NULL);
  th_job *old, *new;
  th_event event;
  cr_assert_eq(th_job_attach(adapter, 8, &old), TH_OK);
  cr_assert_eq(th_job_attach(adapter, 9, &new), TH_OK);
  cr_assert_eq(th_job_next(old, &event, TH_WAIT_FOREVER), TH_ERR_NOT_FOUND);
  cr_assert_eq(th_job_next(new, &event, 0), TH_ERR_AGAIN);
  th_job_close(old);
  th_job_close(new);
  end();
}

static void attach_oddly(struct peer *server) {
  peer_welcome(server);
  peer_accept_job(server, TH_WIRE_ATTACH, 9, PEER_CELLS);
  peer_await_hang_up(server);
}

Test(calls, a_cell_that_there_is_not_ends_the_session) {
  begin_with(attach_oddly, NULL);
  th_job *job;
  cr_assert_eq(th_job_attach(adapter, 9, &job), TH_ERR_PROTOCOL);
  assert_text("cell 256 of 256");
  end();
}

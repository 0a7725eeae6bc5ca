/* Jobs being started: the request, their arrays' way through the arena, and what is left if it
 * fails. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "tests/shim/session.h"
#include "tests/support/leak.h"

TestSuite(start, .init = leak_begin, .fini = leak_end);

/* Start the small job, which is expected to fail with that code. */
static void assert_start_fails(th_error expected) {
  th_job *job;
  th_error error = th_job_start(adapter, &peer_small_request, &job);
  cr_assert_eq(error, expected, "%s: %s", th_error_name(error), th_error_text());
}

/* ---- what arrives ---- */

/* Many slots and an odd rest; then arrays of less than a slot or little more. */
enum {
  ROWS = 1000,
  WIDTH = 37,
  TARGET_WIDTH = 2,
  FEATURES_BYTES = ROWS * WIDTH * 4,
  TARGETS_BYTES = ROWS * TARGET_WIDTH * 4,
  COLUMN_BYTES = ROWS * 4,
  MODEL_BYTES = 4099,
  ALL_BYTES = FEATURES_BYTES + TARGETS_BYTES + 2 * COLUMN_BYTES + MODEL_BYTES,
};

static uint8_t received[TH_ARRAY_COUNT][FEATURES_BYTES];
static uint64_t received_bytes[TH_ARRAY_COUNT];

static void batch_receive(struct peer *server, const th_wire_submission *batch, uint64_t job) {
  bool is_good = batch->job == job && batch->array < TH_ARRAY_COUNT && batch->slot < PEER_SLOTS &&
                 batch->bytes > 0 && batch->bytes <= PEER_SLOT_BYTES &&
                 batch->array_offset == received_bytes[batch->array];
  if (!is_good) abort();
  memcpy(received[batch->array] + batch->array_offset,
         server->region.arena + (size_t)batch->slot * PEER_SLOT_BYTES, batch->bytes);
  received_bytes[batch->array] += batch->bytes;
}

static th_wire_start announced;
static char announced_spec[64];

static void receive_all(struct peer *server) {
  peer_welcome(server);
  peer_publish(server, 3, 70, TH_PHASE_RECEIVING);
  peer_expect(server, TH_WIRE_START);
  memcpy(&announced, server->message.body, sizeof announced);
  memcpy(announced_spec, server->message.body + sizeof announced, announced.spec_bytes);
  /* News may come before the answer; they must not be lost. */
  peer_put_phase(server, 70, TH_PHASE_RECEIVING, TH_OK);
  peer_sleep_ms(5);
  th_wire_job answer = {.job = 70, .cell = 3, .kind = TH_JOB_TRAIN};
  peer_answer(server, &answer, sizeof answer, NULL, 0);
  for (uint64_t taken = 0; taken < ALL_BYTES;) {
    th_wire_submission batch = peer_take(server);
    batch_receive(server, &batch, 70);
    taken += batch.bytes;
    peer_complete(server, &batch, TH_OK);
  }
  peer_put_phase(server, 70, TH_PHASE_QUEUED, TH_OK);
  peer_await_hang_up(server);
}

static float features[ROWS * WIDTH];
static float targets[ROWS * TARGET_WIDTH];
static float weights[ROWS];
static int32_t groups[ROWS];
static uint8_t model[MODEL_BYTES];

static const th_job_request large_request = {.kind = TH_JOB_TRAIN,
                                             .spec = "{\"epochs\": 3}",
                                             .rows = ROWS,
                                             .width = WIDTH,
                                             .features = features,
                                             .targets = targets,
                                             .target_width = TARGET_WIDTH,
                                             .weights = weights,
                                             .groups = groups,
                                             .model = model,
                                             .model_bytes = MODEL_BYTES,
                                             .detach = true};

Test(start, sends_every_byte_in_order) {
  for (int i = 0; i < ROWS * WIDTH; i++) features[i] = (float)i;
  for (int i = 0; i < ROWS * TARGET_WIDTH; i++) targets[i] = (float)-i;
  for (int i = 0; i < ROWS; i++) weights[i] = (float)(groups[i] = i);
  for (int i = 0; i < MODEL_BYTES; i++) model[i] = (uint8_t)(i * 7);
  begin_with(receive_all, NULL);
  th_job *job;
  cr_assert_eq(th_job_start(adapter, &large_request, &job), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_number(job), 70);
  th_statistics statistics;
  th_adapter_statistics(adapter, &statistics);
  cr_assert_eq(statistics.bytes_sent, ALL_BYTES);
  cr_assert_eq(statistics.jobs_started, 1);
  th_job_close(job);
  end();
  cr_assert_eq(announced.kind, TH_JOB_TRAIN);
  cr_assert_eq(announced.flags, TH_WIRE_START_DETACH);
  cr_assert_eq(announced.rows, ROWS);
  cr_assert_eq(announced.width, WIDTH);
  cr_assert_eq(announced.target_width, TARGET_WIDTH);
  static const uint64_t sizes[TH_WIRE_ARRAYS_MAX] = {
      FEATURES_BYTES, 0, TARGETS_BYTES, COLUMN_BYTES, COLUMN_BYTES, MODEL_BYTES};
  cr_assert_arr_eq(announced.array_bytes, sizes, sizeof sizes);
  cr_assert_str_eq(announced_spec, "{\"epochs\": 3}");
  cr_assert_arr_eq(received[TH_ARRAY_FEATURES], features, FEATURES_BYTES);
  cr_assert_arr_eq(received[TH_ARRAY_TARGETS], targets, TARGETS_BYTES);
  cr_assert_arr_eq(received[TH_ARRAY_WEIGHTS], weights, COLUMN_BYTES);
  cr_assert_arr_eq(received[TH_ARRAY_GROUPS], groups, COLUMN_BYTES);
  cr_assert_arr_eq(received[TH_ARRAY_MODEL], model, MODEL_BYTES);
}

Test(start, loses_no_event_that_comes_before_the_answer) {
  begin_with(receive_all, NULL);
  th_job *job;
  th_event event;
  cr_assert_eq(th_job_start(adapter, &large_request, &job), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_next(job, &event, TH_NS_PER_S), TH_OK);
  cr_assert_eq(event.phase, TH_PHASE_RECEIVING);
  cr_assert_eq(th_job_next(job, &event, TH_NS_PER_S), TH_OK);
  cr_assert_eq(event.phase, TH_PHASE_QUEUED);
  th_progress progress;
  cr_assert_eq(th_job_progress(job, &progress), TH_OK);
  cr_assert_eq(progress.job, 70);
  th_job_close(job);
  end();
}

/* ---- refusals ---- */

static void refuse(struct peer *server) {
  peer_welcome(server);
  peer_expect(server, TH_WIRE_START);
  peer_refuse(server, TH_ERR_USAGE, "unknown field \"epoch\"; did you mean \"epochs\"?");
  peer_await_hang_up(server);
}

Test(start, returns_the_daemons_refusal_with_its_text) {
  begin_with(refuse, NULL);
  assert_start_fails(TH_ERR_USAGE);
  cr_assert_str_eq(th_error_text(), "unknown field \"epoch\"; did you mean \"epochs\"?");
  end();
}

static void just_serve(struct peer *server) {
  peer_welcome(server);
  peer_await_hang_up(server);
}

Test(start, judges_the_request_before_anything_is_sent) {
  begin_with(just_serve, NULL);
  th_job *job;
  th_job_request request = peer_small_request;
  request.labels = NULL;
  cr_assert_eq(th_job_start(adapter, &request, &job), TH_ERR_USAGE);
  request = peer_small_request;
  request.rows = UINT64_MAX / 2;
  cr_assert_eq(th_job_start(adapter, &request, &job), TH_ERR_DATA);
  th_statistics statistics;
  th_adapter_statistics(adapter, &statistics);
  cr_assert_eq(statistics.requests, 0);
  end();
}

Test(start, refuses_a_specification_that_no_request_can_carry) {
  begin_with(just_serve, NULL);
  static char spec[TH_WIRE_BODY_BYTES_MAX];
  memset(spec, ' ', sizeof spec - 1);
  th_job_request request = peer_small_request;
  request.spec = spec;
  th_job *job;
  cr_assert_eq(th_job_start(adapter, &request, &job), TH_ERR_LIMIT);
  cr_assert_not_null(strstr(th_error_text(), "65535"), "%s", th_error_text());
  end();
}

static uint64_t expect_forget(struct peer *server) {
  peer_expect(server, TH_WIRE_FORGET);
  th_wire_job body;
  memcpy(&body, server->message.body, sizeof body);
  return body.job;
}

static uint64_t forgotten_job;

static void refuse_a_batch(struct peer *server) {
  peer_welcome(server);
  peer_accept_job(server, TH_WIRE_START, 5, 0);
  th_wire_submission batch = peer_take(server);
  peer_complete(server, &batch, TH_ERR_SYSTEM);
  peer_expect(server, TH_WIRE_RESULT);
  peer_refuse(server, TH_ERR_SYSTEM, "no memory for 32 bytes");
  forgotten_job = expect_forget(server);
  peer_await_hang_up(server);
}

Test(start, a_batch_refused_ends_it_with_the_daemons_text_and_leaves_nothing) {
  begin_with(refuse_a_batch, NULL);
  assert_start_fails(TH_ERR_SYSTEM);
  cr_assert_str_eq(th_error_text(), "no memory for 32 bytes");
  end();
  cr_assert_eq(forgotten_job, 5);
}

static uint64_t forgotten_in_order[2];
static th_wire_start shared;

static void refuse_the_third(struct peer *server) {
  peer_welcome(server);
  peer_accept_job(server, TH_WIRE_START, 5, 0);
  peer_swallow(server, PEER_SMALL_BYTES);
  peer_expect(server, TH_WIRE_START);
  memcpy(&shared, server->message.body, sizeof shared);
  th_wire_job answer = {.job = 6, .cell = 1, .kind = TH_JOB_TRAIN};
  peer_answer(server, &answer, sizeof answer, NULL, 0);
  peer_expect(server, TH_WIRE_START);
  peer_refuse(server, TH_ERR_BUSY, "64 jobs are there already");
  for (int i = 0; i < 2; i++) {
    forgotten_in_order[i] = expect_forget(server);
    peer_answer(server, NULL, 0, NULL, 0);
  }
  peer_await_hang_up(server);
}

Test(start, many_jobs_are_all_started_or_forgotten_again) {
  begin_with(refuse_the_third, NULL);
  const char *const specs[3] = {NULL, "{}", NULL};
  th_job *jobs[3];
  cr_assert_eq(th_jobs_start(adapter, &peer_small_request, specs, 3, jobs), TH_ERR_BUSY, "%s",
               th_error_text());
  cr_assert_str_eq(th_error_text(), "job 3 of 3: 64 jobs are there already");
  end();
  cr_assert_eq(forgotten_in_order[0], 6);
  cr_assert_eq(forgotten_in_order[1], 5, "the data go last");
  cr_assert_eq(shared.data_of, 5);
  cr_assert_eq(shared.array_bytes[0], 0, "the data are announced a second time");
}

static void refuse_a_batch_and_die(struct peer *server) {
  peer_welcome(server);
  peer_accept_job(server, TH_WIRE_START, 5, 0);
  th_wire_submission batch = peer_take(server);
  peer_complete(server, &batch, TH_ERR_PROTOCOL);
  shutdown(server->fd, SHUT_RDWR);
}

Test(start, a_batch_refused_has_a_text_even_if_the_daemons_is_lost) {
  begin_with(refuse_a_batch_and_die, NULL);
  th_manager *none;
  cr_assert_eq(th_manager_create((th_mode)0, NULL, &none), TH_ERR_USAGE, "an older text");
  th_job *job;
  th_error error = th_job_start(adapter, &peer_small_request, &job);
  cr_assert(error == TH_ERR_PROTOCOL || error == TH_ERR_HOST_LOST, "%s", th_error_name(error));
  bool names_job = strstr(th_error_text(), "job 5") != NULL;
  bool names_socket = strstr(th_error_text(), peer->path) != NULL;
  cr_assert(names_job || names_socket, "%s", th_error_text());
  end();
}

static void cancel_on_the_way(struct peer *server) {
  peer_welcome(server);
  peer_accept_job(server, TH_WIRE_START, 5, 0);
  (void)peer_take(server);
  peer_put_phase(server, 5, TH_PHASE_CANCELED, TH_ERR_CANCELED);
  peer_expect(server, TH_WIRE_RESULT);
  peer_refuse(server, TH_ERR_AGAIN, "");
  forgotten_job = expect_forget(server);
  peer_await_hang_up(server);
}

Test(start, a_job_canceled_while_its_data_are_sent_ends_it) {
  begin_with(cancel_on_the_way, NULL);
  assert_start_fails(TH_ERR_CANCELED);
  cr_assert_not_null(strstr(th_error_text(), "job 5"), "%s", th_error_text());
  end();
  cr_assert_eq(forgotten_job, 5);
}

/* ---- a daemon that dies or hangs ---- */

static void die_with_the_data(struct peer *server) {
  peer_welcome(server);
  peer_accept_job(server, TH_WIRE_START, 5, 0);
  (void)peer_take(server);
  shutdown(server->fd, SHUT_RDWR);
}

Test(start, the_daemons_death_ends_it_at_once) {
  begin_with(die_with_the_data, NULL);
  int64_t begin_ns = th_clock_now_ns();
  assert_start_fails(TH_ERR_HOST_LOST);
  cr_assert_lt(th_clock_now_ns() - begin_ns, 500 * TH_NS_PER_MS);
  end();
}

static void hang_with_the_data(struct peer *server) {
  peer_welcome(server);
  peer_accept_job(server, TH_WIRE_START, 5, 0);
  th_wire_submission features_batch = peer_take(server);
  th_wire_submission labels_batch = peer_take(server);
  forgotten_job = expect_forget(server);
  peer_answer(server, NULL, 0, NULL, 0);
  peer_complete(server, &features_batch, TH_OK);
  peer_complete(server, &labels_batch, TH_ERR_NOT_FOUND);
  /* The same session, awake again, serves the next job. */
  peer_accept_job(server, TH_WIRE_START, 6, 0);
  peer_swallow(server, PEER_SMALL_BYTES);
  peer_await_hang_up(server);
}

Test(start, a_daemon_that_hangs_ends_it_and_finds_the_job_given_up) {
  begin_with(hang_with_the_data, &(th_adapter_options){.stall_timeout_ns = 80 * TH_NS_PER_MS});
  assert_start_fails(TH_ERR_HOST_STALLED);
  peer_beat(peer);
  th_job *job;
  cr_assert_eq(th_job_start(adapter, &peer_small_request, &job), TH_OK, "%s", th_error_text());
  cr_assert_eq(forgotten_job, 5);
  th_job_close(job);
  end();
}

static void accept_too_late(struct peer *server) {
  peer_welcome(server);
  peer_expect(server, TH_WIRE_START);
  peer_sleep_ms(120);
  th_wire_job answer = {.job = 5, .cell = 0, .kind = TH_JOB_TRAIN};
  peer_answer(server, &answer, sizeof answer, NULL, 0);
  peer_expect(server, TH_WIRE_START);
  answer.job = 6;
  peer_answer(server, &answer, sizeof answer, NULL, 0);
  forgotten_job = expect_forget(server);
  peer_swallow(server, PEER_SMALL_BYTES);
  peer_await_hang_up(server);
}

Test(start, a_job_accepted_too_late_is_given_back) {
  begin_with(accept_too_late, &(th_adapter_options){.call_timeout_ns = 60 * TH_NS_PER_MS});
  assert_start_fails(TH_ERR_HOST_STALLED);
  peer_sleep_ms(120);
  th_job *job;
  cr_assert_eq(th_job_start(adapter, &peer_small_request, &job), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_number(job), 6);
  th_job_close(job);
  end();
  cr_assert_eq(forgotten_job, 5);
}

/* ---- slots ---- */

static void forget_while_sent(struct peer *server) {
  peer_welcome(server);
  peer_accept_job(server, TH_WIRE_START, 5, 0);
  (void)peer_take(server);
  /* Another client had job 5 forgotten: its cell is the next job's. */
  peer_accept_job(server, TH_WIRE_ATTACH, 6, 0);
  peer_expect(server, TH_WIRE_RESULT);
  peer_refuse(server, TH_ERR_NOT_FOUND, "no job 5");
  peer_await_hang_up(server);
}

static void *start_one(void *argument) {
  th_job *job;
  return (void *)(intptr_t)th_job_start(argument, &peer_small_request, &job);
}

Test(start, a_job_forgotten_by_another_while_its_data_are_sent_ends_it) {
  begin_with(forget_while_sent, NULL);
  pthread_t thread;
  cr_assert_eq(pthread_create(&thread, NULL, start_one, adapter), 0);
  peer_sleep_ms(20);
  th_job *job;
  cr_assert_eq(th_job_attach(adapter, 6, &job), TH_OK, "%s", th_error_text());
  void *error;
  pthread_join(thread, &error);
  cr_assert_eq((intptr_t)error, TH_ERR_NOT_FOUND);
  th_job_close(job);
  end();
}

static void complete_twice(struct peer *server) {
  peer_welcome(server);
  peer_accept_job(server, TH_WIRE_START, 5, 0);
  th_wire_submission batch = peer_take(server);
  peer_complete(server, &batch, TH_OK);
  peer_complete(server, &batch, TH_OK);
  peer_await_hang_up(server);
}

Test(start, a_batch_completed_twice_breaks_the_protocol) {
  begin_with(complete_twice, NULL);
  assert_start_fails(TH_ERR_PROTOCOL);
  end();
}

static void complete_oddly(struct peer *server) {
  peer_welcome(server);
  peer_accept_job(server, TH_WIRE_START, 5, 0);
  th_wire_submission batch = peer_take(server);
  peer_complete(server, &batch, (th_error)7);
  peer_await_hang_up(server);
}

Test(start, a_completion_with_an_unknown_status_breaks_the_protocol) {
  begin_with(complete_oddly, NULL);
  assert_start_fails(TH_ERR_PROTOCOL);
  end();
}

enum { STARTERS = 4, STARTS = 40 };
_Static_assert(STARTERS *STARTS < PEER_CELLS, "each job has a cell of its own");

/* Takes starts and batches of all threads as they come. */
static void serve_many(struct peer *server) {
  peer_welcome(server);
  uint64_t jobs = 0, bytes_left = (uint64_t)STARTERS * STARTS * PEER_SMALL_BYTES;
  while (bytes_left > 0) {
    if (th_channel_receive(server->fd, &server->message, th_clock_now_ns()) == TH_OK) {
      jobs++;
      th_wire_job answer = {.job = jobs, .cell = (uint32_t)jobs, .kind = TH_JOB_TRAIN};
      peer_answer(server, &answer, sizeof answer, NULL, 0);
    }
    th_wire_submission batch;
    if (th_ring_take(&server->submissions, &batch) != TH_OK) continue;
    bytes_left -= batch.bytes;
    peer_complete(server, &batch, TH_OK);
    peer_beat(server);
  }
  peer_await_hang_up(server);
}

/* Returns the text of what went wrong, or NULL. */
static void *start_many(void *argument) {
  for (int i = 0; i < STARTS; i++) {
    th_job *job;
    if (th_job_start(argument, &peer_small_request, &job) != TH_OK) return strdup(th_error_text());
    th_job_close(job);
  }
  return NULL;
}

Test(start, several_threads_share_the_slots) {
  begin_with(serve_many, NULL);
  pthread_t threads[STARTERS];
  for (int i = 0; i < STARTERS; i++)
    cr_assert_eq(pthread_create(&threads[i], NULL, start_many, adapter), 0);
  for (int i = 0; i < STARTERS; i++) {
    void *text;
    pthread_join(threads[i], &text);
    cr_assert_null(text, "thread %d: %s", i, (const char *)text);
  }
  end();
}

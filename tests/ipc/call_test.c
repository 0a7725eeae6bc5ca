/* Requests in shared memory: whose turn it is, and what neither side believes. */
#include "ipc/call.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

static th_wire_call shared_call;
static th_wire_answer shared_answer;
static th_caller caller = {.call = &shared_call, .answer = &shared_answer};
static th_callee callee = {.call = &shared_call, .answer = &shared_answer};
static th_message message;

static void assert_text(const char *part) {
  cr_assert_not_null(strstr(th_error_text(), part), "no \"%s\" in: %s", part, th_error_text());
}

static void assert_message(uint32_t type, uint32_t number, th_error status, const char *body) {
  cr_assert_eq(message.header.type, type);
  cr_assert_eq(message.header.request, number);
  cr_assert_eq(message.header.status, status);
  cr_assert_eq(message.header.body_bytes, strlen(body));
  cr_assert_eq(message.fd_count, 0);
  cr_assert_arr_eq(message.body, body, strlen(body));
}

Test(call, goes_there_and_its_answer_comes_back) {
  cr_assert_not(th_call_is_waiting(&callee));
  cr_assert_eq(th_call_take(&callee, &message), TH_ERR_AGAIN);
  th_call_put(&caller, TH_WIRE_CANCEL, "cancel it", 9);
  cr_assert(th_call_is_waiting(&callee));
  cr_assert_not(th_call_is_answered(&caller));
  cr_assert_eq(th_call_take_answer(&caller, &message), TH_ERR_AGAIN);
  cr_assert_eq(th_call_take(&callee, &message), TH_OK);
  assert_message(TH_WIRE_CANCEL, 1, TH_OK, "cancel it");
  cr_assert_not(th_call_is_waiting(&callee), "a call is taken once");
  th_call_answer(&callee, TH_ERR_NOT_FOUND, "no such job", 11);
  cr_assert(th_call_is_answered(&caller));
  cr_assert_eq(th_call_take_answer(&caller, &message), TH_OK);
  assert_message(TH_WIRE_CANCEL, 1, TH_ERR_NOT_FOUND, "no such job");
  cr_assert_not(caller.is_open);
}

Test(call, bodies_may_be_empty_or_fill_their_place) {
  static char body[TH_WIRE_CALL_BYTES_MAX + 1], answer[TH_WIRE_ANSWER_BYTES_MAX + 1];
  memset(body, 'q', sizeof body - 1);
  memset(answer, 'a', sizeof answer - 1);
  th_call_put(&caller, TH_WIRE_PING, NULL, 0);
  cr_assert_eq(th_call_take(&callee, &message), TH_OK);
  assert_message(TH_WIRE_PING, 1, TH_OK, "");
  th_call_answer(&callee, TH_OK, NULL, 0);
  cr_assert_eq(th_call_take_answer(&caller, &message), TH_OK);
  assert_message(TH_WIRE_PING, 1, TH_OK, "");
  th_call_put(&caller, TH_WIRE_START, body, TH_WIRE_CALL_BYTES_MAX);
  cr_assert_eq(th_call_take(&callee, &message), TH_OK);
  assert_message(TH_WIRE_START, 2, TH_OK, body);
  th_call_answer(&callee, TH_OK, answer, TH_WIRE_ANSWER_BYTES_MAX);
  cr_assert_eq(th_call_take_answer(&caller, &message), TH_OK);
  assert_message(TH_WIRE_START, 2, TH_OK, answer);
}

Test(call, only_requests_without_descriptors_and_long_answers_may_be_called) {
  static const uint32_t may[] = {TH_WIRE_PING,   TH_WIRE_START,  TH_WIRE_ATTACH,
                                 TH_WIRE_CANCEL, TH_WIRE_FORGET, TH_WIRE_STOP};
  static const uint32_t may_not[] = {
      0,  TH_WIRE_HELLO, TH_WIRE_RESULT, TH_WIRE_JOBS, TH_WIRE_SESSIONS, TH_WIRE_CHECKPOINT,
      77, UINT32_MAX};
  for (size_t i = 0; i < sizeof may / sizeof may[0]; i++) {
    cr_assert(th_call_fits(may[i], TH_WIRE_CALL_BYTES_MAX), "type %u", may[i]);
    cr_assert_not(th_call_fits(may[i], TH_WIRE_CALL_BYTES_MAX + 1), "type %u", may[i]);
  }
  for (size_t i = 0; i < sizeof may_not / sizeof may_not[0]; i++)
    cr_assert_not(th_call_fits(may_not[i], 0), "type %u", may_not[i]);
}

Test(call, numbers_run_over_their_end) {
  shared_call.number = shared_answer.number = caller.number = callee.number = UINT32_MAX - 1;
  for (uint32_t number = UINT32_MAX; number != 3; number++) {
    th_call_put(&caller, TH_WIRE_PING, NULL, 0);
    cr_assert_eq(th_call_take(&callee, &message), TH_OK, "call %u", number);
    cr_assert_eq(message.header.request, number);
    th_call_answer(&callee, TH_OK, NULL, 0);
    cr_assert_eq(th_call_take_answer(&caller, &message), TH_OK, "call %u", number);
  }
}

/* ---- a hostile client ---- */

Test(call, a_number_that_jumps_breaks_the_protocol) {
  static const uint32_t jumps[] = {2, 3, 1000, UINT32_MAX, UINT32_MAX / 2};
  for (size_t i = 0; i < sizeof jumps / sizeof jumps[0]; i++) {
    shared_call.number = jumps[i];
    cr_assert(th_call_is_waiting(&callee), "it must be looked at");
    cr_assert_eq(th_call_take(&callee, &message), TH_ERR_PROTOCOL, "number %u", jumps[i]);
    cr_assert_eq(callee.number, 0);
  }
}

Test(call, a_body_beyond_its_place_breaks_the_protocol) {
  static const uint32_t sizes[] = {TH_WIRE_CALL_BYTES_MAX + 1, TH_WIRE_BODY_BYTES_MAX, UINT32_MAX};
  for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    shared_call.type = TH_WIRE_START;
    shared_call.body_bytes = sizes[i];
    shared_call.number = i + 1;
    cr_assert_eq(th_call_take(&callee, &message), TH_ERR_PROTOCOL, "%u bytes", sizes[i]);
    assert_text("a call of type 3");
  }
}

Test(call, a_type_that_may_not_be_called_breaks_the_protocol) {
  static const uint32_t types[] = {0, TH_WIRE_HELLO, TH_WIRE_RESULT, TH_WIRE_JOBS, UINT32_MAX};
  for (uint32_t i = 0; i < sizeof types / sizeof types[0]; i++) {
    shared_call.type = types[i];
    shared_call.number = i + 1;
    cr_assert_eq(th_call_take(&callee, &message), TH_ERR_PROTOCOL, "type %u", types[i]);
  }
}

/* ---- a daemon that is not believed either ---- */

Test(call, an_answer_to_another_call_breaks_the_protocol) {
  static const uint32_t numbers[] = {2, 7, UINT32_MAX, UINT32_MAX / 2};
  th_call_put(&caller, TH_WIRE_PING, NULL, 0);
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    shared_answer.number = numbers[i];
    cr_assert_eq(th_call_take_answer(&caller, &message), TH_ERR_PROTOCOL, "number %u", numbers[i]);
  }
}

Test(call, an_answer_beyond_its_place_breaks_the_protocol) {
  static const uint32_t sizes[] = {TH_WIRE_ANSWER_BYTES_MAX + 1, UINT32_MAX};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    th_call_put(&caller, TH_WIRE_PING, NULL, 0);
    shared_answer.body_bytes = sizes[i];
    shared_answer.number = caller.number;
    cr_assert_eq(th_call_take_answer(&caller, &message), TH_ERR_PROTOCOL, "%u bytes", sizes[i]);
    assert_text("room for 1008");
  }
}

/* ---- two threads ---- */

enum { ROUNDS = 20000 };

/* The answer is the request turned round: nothing of one round may be seen in another. */
static void *answer_all(void *broken) {
  static th_message request;
  for (uint32_t i = 1; i <= ROUNDS; i++) {
    while (!th_call_is_waiting(&callee)) sched_yield();
    *(int *)broken += th_call_take(&callee, &request) != TH_OK;
    *(int *)broken += request.header.body_bytes != i % 256 || request.header.request != i;
    for (uint32_t b = 0; b < request.header.body_bytes; b++) {
      *(int *)broken += request.body[b] != (uint8_t)i;
      request.body[b] ^= 0xFF;
    }
    th_call_answer(&callee, TH_OK, request.body, request.header.body_bytes);
  }
  return NULL;
}

Test(call, each_of_many_is_answered_with_its_own_answer) {
  pthread_t thread;
  int broken = 0;
  cr_assert_eq(pthread_create(&thread, NULL, answer_all, &broken), 0);
  for (uint32_t i = 1; i <= ROUNDS; i++) {
    uint8_t body[256];
    memset(body, (int)(uint8_t)i, sizeof body);
    th_call_put(&caller, TH_WIRE_START, body, i % 256);
    while (!th_call_is_answered(&caller)) sched_yield();
    cr_assert_eq(th_call_take_answer(&caller, &message), TH_OK);
    cr_assert_eq(message.header.body_bytes, i % 256);
    for (uint32_t b = 0; b < message.header.body_bytes; b++)
      cr_assert_eq(message.body[b], (uint8_t)~i, "round %u, byte %u", i, b);
  }
  pthread_join(thread, NULL);
  cr_assert_eq(broken, 0);
}

#include "ipc/call.h"

#include <string.h>

#include "base/check.h"

bool th_call_fits(uint32_t type, uint32_t body_bytes) {
  switch (type) {
    case TH_WIRE_PING:
    case TH_WIRE_START:
    case TH_WIRE_ATTACH:
    case TH_WIRE_CANCEL:
    case TH_WIRE_FORGET:
    case TH_WIRE_STOP:
      return body_bytes <= TH_WIRE_CALL_BYTES_MAX;
    default:
      return false;
  }
}

/* ---- the client's side ---- */

void th_call_put(th_caller *caller, uint32_t type, const void *body, uint32_t body_bytes) {
  th_check(!caller->is_open && th_call_fits(type, body_bytes));
  th_wire_call *call = caller->call;
  atomic_store_explicit(&call->type, type, memory_order_relaxed);
  atomic_store_explicit(&call->body_bytes, body_bytes, memory_order_relaxed);
  if (body_bytes > 0) memcpy(call->body, body, body_bytes);
  caller->type = type;
  caller->is_open = true;
  caller->number++;
  /* Pairs with the acquire in th_call_take: who sees the number sees the request. */
  atomic_store_explicit(&call->number, caller->number, memory_order_release);
}

bool th_call_is_answered(const th_caller *caller) {
  return atomic_load_explicit(&caller->answer->number, memory_order_relaxed) != caller->number - 1;
}

th_error th_call_take_answer(th_caller *caller, th_message *message) {
  const th_wire_answer *answer = caller->answer;
  /* Pairs with the release in th_call_answer. */
  uint32_t number = atomic_load_explicit(&answer->number, memory_order_acquire);
  if (number == caller->number - 1) return TH_ERR_AGAIN;
  if (number != caller->number)
    return th_fail(TH_ERR_PROTOCOL, "call %u is answered, and the newest is %u", number,
                   caller->number);
  caller->is_open = false;
  uint32_t body_bytes = atomic_load_explicit(&answer->body_bytes, memory_order_relaxed);
  if (body_bytes > TH_WIRE_ANSWER_BYTES_MAX)
    return th_fail(TH_ERR_PROTOCOL, "an answer of %u bytes; there is room for %d", body_bytes,
                   TH_WIRE_ANSWER_BYTES_MAX);
  message->header =
      (th_wire_header){.type = caller->type,
                       .request = number,
                       .status = atomic_load_explicit(&answer->status, memory_order_relaxed),
                       .body_bytes = body_bytes};
  message->fd_count = 0;
  memcpy(message->body, answer->body, body_bytes);
  return TH_OK;
}

/* ---- the daemon's side ---- */

bool th_call_is_waiting(const th_callee *callee) {
  return atomic_load_explicit(&callee->call->number, memory_order_relaxed) != callee->number;
}

/* Type and size are read once and judged as copies: the client may write on. */
th_error th_call_take(th_callee *callee, th_message *request) {
  const th_wire_call *call = callee->call;
  /* Pairs with the release in th_call_put. */
  uint32_t number = atomic_load_explicit(&call->number, memory_order_acquire);
  if (number == callee->number) return TH_ERR_AGAIN;
  if (number != callee->number + 1)
    return th_fail(TH_ERR_PROTOCOL, "call %u follows call %u", number, callee->number);
  callee->number = number;
  uint32_t type = atomic_load_explicit(&call->type, memory_order_relaxed);
  uint32_t body_bytes = atomic_load_explicit(&call->body_bytes, memory_order_relaxed);
  if (!th_call_fits(type, body_bytes))
    return th_fail(TH_ERR_PROTOCOL, "a call of type %u with %u bytes", type, body_bytes);
  request->header = (th_wire_header){.type = type, .request = number, .body_bytes = body_bytes};
  request->fd_count = 0;
  memcpy(request->body, call->body, body_bytes);
  return TH_OK;
}

void th_call_answer(th_callee *callee, th_error status, const void *body, uint32_t body_bytes) {
  th_check(body_bytes <= TH_WIRE_ANSWER_BYTES_MAX);
  th_wire_answer *answer = callee->answer;
  atomic_store_explicit(&answer->status, status, memory_order_relaxed);
  atomic_store_explicit(&answer->body_bytes, body_bytes, memory_order_relaxed);
  if (body_bytes > 0) memcpy(answer->body, body, body_bytes);
  /* Pairs with the acquire in th_call_take_answer: who sees the number sees the answer. */
  atomic_store_explicit(&answer->number, callee->number, memory_order_release);
}

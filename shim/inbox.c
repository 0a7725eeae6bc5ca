#include "shim/inbox.h"

#include <stdlib.h>

/* Enough that thinning always makes room: each of the nine phases is kept once, and half of all
 * else goes. */
enum { INBOX_EVENTS_MIN = 64 };

static th_event *event_at(const th_inbox *inbox, uint32_t i) {
  return &inbox->events[(inbox->first + i) & (inbox->capacity - 1)];
}

/* Counts come from the daemon: they stop at the largest number instead of beginning anew. */
static uint32_t add_capped(uint32_t a, uint32_t b) {
  return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

static uint32_t phase_bit(th_phase phase) {
  return UINT32_C(1) << phase;
}

th_error th_inbox_init(th_inbox *inbox) {
  *inbox = (th_inbox){.capacity = INBOX_EVENTS_MIN};
  inbox->events = calloc(inbox->capacity, sizeof *inbox->events);
  if (inbox->events == NULL)
    return th_fail(TH_ERR_SYSTEM, "no memory for the events of a job; free some and try again");
  return TH_OK;
}

static bool inbox_grow(th_inbox *inbox) {
  if (inbox->capacity >= TH_INBOX_EVENTS_MAX) return false;
  th_event *events = calloc(2 * (size_t)inbox->capacity, sizeof *events);
  if (events == NULL) return false;
  for (uint32_t i = 0; i < inbox->count; i++) events[i] = *event_at(inbox, i);
  free(inbox->events);
  inbox->events = events;
  inbox->capacity *= 2;
  inbox->first = 0;
  return true;
}

static uint32_t newest_phase_index(const th_inbox *inbox) {
  for (uint32_t i = inbox->count; i > 0; i--)
    if (event_at(inbox, i - 1)->kind == TH_EVENT_PHASE) return i - 1;
  return inbox->count;
}

/* Which events survive: the first entry into each phase and the newest one, the newest event of
 * all, and every second epoch. */
static bool event_is_kept(const th_inbox *inbox, uint32_t i, uint32_t newest_phase, uint32_t phases,
                          uint32_t epochs) {
  const th_event *event = event_at(inbox, i);
  if (i + 1 == inbox->count || i == newest_phase) return true;
  if (event->kind == TH_EVENT_PHASE) return (phases & phase_bit(event->phase)) == 0;
  return event->kind == TH_EVENT_EPOCH && epochs % 2 == 0;
}

/* In one pass over the ring, as the write index never passes the read index. */
static void inbox_thin(th_inbox *inbox) {
  uint32_t phases = inbox->phases_told, epochs = 0, epochs_left_out = 0, kept = 0;
  uint32_t newest_phase = newest_phase_index(inbox);
  for (uint32_t i = 0; i < inbox->count; i++) {
    th_event event = *event_at(inbox, i);
    bool is_kept = event_is_kept(inbox, i, newest_phase, phases, epochs);
    uint32_t *left_out = event.kind == TH_EVENT_EPOCH ? &epochs_left_out : &inbox->steps_left_out;
    if (event.kind == TH_EVENT_EPOCH) epochs++;
    if (event.kind == TH_EVENT_PHASE) {
      phases |= phase_bit(event.phase);
    } else if (is_kept) {
      event.coalesced = add_capped(event.coalesced, *left_out);
      *left_out = 0;
    } else {
      *left_out = add_capped(*left_out, add_capped(event.coalesced, 1));
    }
    if (is_kept) *event_at(inbox, kept++) = event;
  }
  inbox->count = kept;
}

/* A step right behind a step says all that the older one said. */
static bool step_replaces_newest(th_inbox *inbox, const th_event *event) {
  if (event->kind != TH_EVENT_STEP || inbox->count == 0) return false;
  th_event *newest = event_at(inbox, inbox->count - 1);
  if (newest->kind != TH_EVENT_STEP) return false;
  uint32_t left_out = add_capped(newest->coalesced, 1);
  *newest = *event;
  newest->coalesced = add_capped(newest->coalesced, left_out);
  return true;
}

void th_inbox_put(th_inbox *inbox, const th_event *event) {
  if (th_inbox_is_over(inbox)) return;
  if (step_replaces_newest(inbox, event)) return;
  if (inbox->count == inbox->capacity && !inbox_grow(inbox)) inbox_thin(inbox);
  th_event *newest = event_at(inbox, inbox->count++);
  *newest = *event;
  if (event->kind == TH_EVENT_STEP) {
    newest->coalesced = add_capped(newest->coalesced, inbox->steps_left_out);
    inbox->steps_left_out = 0;
  }
  if (event->kind == TH_EVENT_PHASE) {
    inbox->phase = event->phase;
    inbox->error = event->error;
  }
}

th_error th_inbox_take(th_inbox *inbox, th_event *event) {
  if (inbox->count == 0) return TH_ERR_AGAIN;
  *event = *event_at(inbox, 0);
  inbox->first = (inbox->first + 1) & (inbox->capacity - 1);
  inbox->count--;
  if (event->kind == TH_EVENT_PHASE) inbox->phases_told |= phase_bit(event->phase);
  return TH_OK;
}

bool th_inbox_is_over(const th_inbox *inbox) {
  return th_phase_is_last(inbox->phase);
}

void th_inbox_fini(th_inbox *inbox) {
  free(inbox->events);
  *inbox = (th_inbox){0};
}

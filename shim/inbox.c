#include "shim/inbox.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/job.h"

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

/* What a pass over a full inbox knows. The newest event of each kind is kept, so that all that was
 * left out is counted by a later one of its kind. */
typedef struct th_thinning {
  uint32_t newest[TH_EVENT_STEP + 1]; /* by kind: its index */
  uint32_t left_out[TH_EVENT_STEP + 1]; /* by kind: since the last that was kept */
  uint32_t phases; /* bit p: phase p was entered before */
  uint32_t epochs; /* met so far */
} th_thinning;

/* Each phase entered for the first time, and every second epoch. */
static bool event_is_kept(th_thinning *thinning, const th_event *event, uint32_t i) {
  if (i == thinning->newest[event->kind]) return true;
  if (event->kind == TH_EVENT_EPOCH) return thinning->epochs++ % 2 == 0;
  if (event->kind == TH_EVENT_STEP) return false;
  bool is_first = (thinning->phases & phase_bit(event->phase)) == 0;
  thinning->phases |= phase_bit(event->phase);
  return is_first;
}

/* In place, as the write index never passes the read index. */
static void inbox_thin(th_inbox *inbox) {
  th_thinning thinning = {.phases = inbox->phases_told};
  for (uint32_t i = 0; i < inbox->count; i++) thinning.newest[event_at(inbox, i)->kind] = i;
  uint32_t kept = 0;
  for (uint32_t i = 0; i < inbox->count; i++) {
    th_event event = *event_at(inbox, i);
    uint32_t *left_out = &thinning.left_out[event.kind];
    if (!event_is_kept(&thinning, &event, i)) {
      *left_out = add_capped(*left_out, add_capped(event.coalesced, 1));
      continue;
    }
    event.coalesced = add_capped(event.coalesced, *left_out);
    *left_out = 0;
    *event_at(inbox, kept++) = event;
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
  th_check(inbox->capacity >= INBOX_EVENTS_MIN);
  if (inbox->count == inbox->capacity && !inbox_grow(inbox)) inbox_thin(inbox);
  *event_at(inbox, inbox->count++) = *event;
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

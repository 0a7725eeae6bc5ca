#include "shim/inbox.h"

#include <criterion/criterion.h>

static th_inbox inbox;

static void setup(void) {
  cr_assert_eq(th_inbox_init(&inbox), TH_OK);
}

static void teardown(void) {
  th_inbox_fini(&inbox);
}

TestSuite(inbox, .init = setup, .fini = teardown);

static void put_step(uint32_t step, uint32_t coalesced) {
  th_inbox_put(&inbox, &(th_event){.kind = TH_EVENT_STEP, .step = step, .coalesced = coalesced});
}

static void put_epoch(uint32_t epoch) {
  th_inbox_put(&inbox, &(th_event){.kind = TH_EVENT_EPOCH, .epoch = epoch});
}

static void put_phase(th_phase phase, th_error error) {
  th_inbox_put(&inbox, &(th_event){.kind = TH_EVENT_PHASE, .phase = phase, .error = error});
}

static th_event take(void) {
  th_event event;
  cr_assert_eq(th_inbox_take(&inbox, &event), TH_OK);
  return event;
}

static void assert_empty(void) {
  th_event event = {.step = 77};
  cr_assert_eq(th_inbox_take(&inbox, &event), TH_ERR_AGAIN);
  cr_assert_eq(event.step, 77);
}

Test(inbox, take_returns_again_when_empty) {
  assert_empty();
  put_epoch(1);
  (void)take();
  assert_empty();
}

Test(inbox, gives_events_in_order) {
  put_phase(TH_PHASE_TRAINING, TH_OK);
  put_step(1, 0);
  put_epoch(1);
  put_step(2, 0);
  cr_assert_eq(take().phase, TH_PHASE_TRAINING);
  cr_assert_eq(take().step, 1);
  cr_assert_eq(take().epoch, 1);
  cr_assert_eq(take().step, 2);
  assert_empty();
}

Test(inbox, a_newer_step_replaces_an_older_one_and_counts_it) {
  put_step(3, 2);
  put_step(4, 0);
  put_step(9, 4);
  th_event event = take();
  cr_assert_eq(event.step, 9);
  cr_assert_eq(event.coalesced, 8, "%u of steps 1 to 8 are counted", event.coalesced);
  assert_empty();
}

Test(inbox, a_count_of_steps_stops_at_its_largest) {
  put_step(1, UINT32_MAX);
  put_step(2, UINT32_MAX - 5);
  cr_assert_eq(take().coalesced, UINT32_MAX);
}

Test(inbox, nothing_follows_the_end_of_the_job) {
  cr_assert_not(th_inbox_is_over(&inbox));
  put_phase(TH_PHASE_FAILED, TH_ERR_DIVERGED);
  cr_assert(th_inbox_is_over(&inbox));
  put_phase(TH_PHASE_DONE, TH_OK);
  put_epoch(3);
  put_step(3, 0);
  cr_assert_eq(take().error, TH_ERR_DIVERGED);
  assert_empty();
  cr_assert(th_inbox_is_over(&inbox));
  cr_assert_eq(inbox.error, TH_ERR_DIVERGED);
}

Test(inbox, keeps_all_up_to_its_bound_while_it_is_read_and_written) {
  uint32_t put = 0, taken = 0;
  for (int round = 0; round < 50; round++) {
    for (int i = 0; i < 97; i++) put_epoch(++put);
    for (int i = 0; i < 61; i++) cr_assert_eq(take().epoch, ++taken);
  }
  while (taken < put) cr_assert_eq(take().epoch, ++taken);
  assert_empty();
}

/* What a reader sees who reads nothing until the job is over. */
static void train_unread(uint32_t epochs) {
  put_phase(TH_PHASE_RECEIVING, TH_OK);
  put_phase(TH_PHASE_QUEUED, TH_OK);
  put_phase(TH_PHASE_PREPARING, TH_OK);
  for (uint32_t epoch = 1; epoch <= epochs; epoch++) {
    put_phase(TH_PHASE_TRAINING, TH_OK);
    put_step(epoch, 9);
    put_phase(TH_PHASE_VALIDATING, TH_OK);
    put_epoch(epoch);
  }
  put_phase(TH_PHASE_SAVING, TH_OK);
  put_phase(TH_PHASE_DONE, TH_OK);
}

Test(inbox, stays_within_its_bound_however_long_nobody_reads) {
  train_unread(100000);
  cr_assert_leq(inbox.count, TH_INBOX_EVENTS_MAX);
  cr_assert_leq(inbox.capacity, TH_INBOX_EVENTS_MAX);
  cr_assert_geq(inbox.count, TH_INBOX_EVENTS_MAX / 4, "more was thrown away than need be");
}

Test(inbox, a_thinned_history_enters_every_phase_once_and_in_order) {
  train_unread(100000);
  uint32_t phases = 0;
  th_phase last = 0;
  while (inbox.count > 0) {
    th_event event = take();
    if (event.kind != TH_EVENT_PHASE) continue;
    phases |= 1U << event.phase;
    last = event.phase;
  }
  uint32_t all = 0;
  for (int phase = TH_PHASE_RECEIVING; phase <= TH_PHASE_DONE; phase++) all |= 1U << phase;
  cr_assert_eq(phases, all);
  cr_assert_eq(last, TH_PHASE_DONE);
}

Test(inbox, a_thinned_history_counts_the_epochs_that_it_left_out) {
  train_unread(100000);
  uint32_t before = 0;
  uint64_t counted = 0;
  while (inbox.count > 0) {
    th_event event = take();
    if (event.kind != TH_EVENT_EPOCH) continue;
    cr_assert_gt(event.epoch, before);
    cr_assert_eq(event.coalesced, event.epoch - before - 1, "epoch %u after %u counts %u",
                 event.epoch, before, event.coalesced);
    counted += 1 + event.coalesced;
    before = event.epoch;
  }
  cr_assert_eq(counted, 100000);
}

Test(inbox, a_thinned_history_loses_no_step_uncounted) {
  for (uint32_t step = 1; step <= 20000; step++) {
    put_step(step, 0);
    put_epoch(step);
  }
  put_step(20001, 0);
  uint64_t counted = 0;
  while (inbox.count > 0) {
    th_event event = take();
    if (event.kind == TH_EVENT_STEP) counted += 1 + event.coalesced;
  }
  cr_assert_eq(counted, 20001);
}

Test(inbox, takes_one_whose_init_failed) {
  th_inbox none = {0};
  th_inbox_fini(&none);
}

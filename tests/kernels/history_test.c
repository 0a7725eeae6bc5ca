#include "kernels/history.h"

#include <criterion/criterion.h>

static void add_epochs(th_history *history, uint32_t first, uint32_t last) {
  for (uint32_t e = first; e <= last; e++)
    th_history_append(history, &(th_epoch){.epoch = e, .loss = e});
}

static void check_is_regular(const th_history *history, uint32_t newest) {
  cr_assert_leq(history->count, TH_HISTORY_EPOCHS_MAX);
  cr_assert_eq(history->epochs[0].epoch, 1);
  cr_assert_eq(history->epochs[history->count - 1].epoch, newest);
  for (uint32_t i = 0; i < history->count; i++) {
    const th_epoch *epoch = &history->epochs[i];
    cr_assert_eq(epoch->loss, epoch->epoch);
    if (i + 1 < history->count) cr_assert_eq(epoch->epoch, 1 + i * history->stride);
  }
}

Test(history, holds_every_epoch_while_there_is_room) {
  th_history history;
  cr_assert_eq(th_history_init(&history, TH_HISTORY_EPOCHS_MAX), TH_OK);
  add_epochs(&history, 1, TH_HISTORY_EPOCHS_MAX);
  cr_assert_eq(history.count, TH_HISTORY_EPOCHS_MAX);
  cr_assert_eq(history.stride, 1);
  check_is_regular(&history, TH_HISTORY_EPOCHS_MAX);
  th_history_fini(&history);
}

Test(history, drops_every_second_epoch_when_full) {
  th_history history;
  cr_assert_eq(th_history_init(&history, UINT32_MAX), TH_OK);
  add_epochs(&history, 1, TH_HISTORY_EPOCHS_MAX + 1);
  cr_assert_eq(history.stride, 2);
  cr_assert_eq(history.count, TH_HISTORY_EPOCHS_MAX / 2 + 1);
  check_is_regular(&history, TH_HISTORY_EPOCHS_MAX + 1);
  th_history_fini(&history);
}

Test(history, is_regular_and_ends_with_the_newest_at_any_length) {
  th_history history;
  cr_assert_eq(th_history_init(&history, UINT32_MAX), TH_OK);
  for (uint32_t e = 1; e <= 9 * TH_HISTORY_EPOCHS_MAX; e++) {
    add_epochs(&history, e, e);
    if (e % 499 == 0 || e % TH_HISTORY_EPOCHS_MAX < 2) check_is_regular(&history, e);
  }
  cr_assert_eq(history.stride, 16);
  th_history_fini(&history);
}

Test(history, fini_takes_an_empty_one) {
  th_history history = {0};
  th_history_fini(&history);
}

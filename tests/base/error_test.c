#include "base/error.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

Test(error, text_is_never_empty) {
  cr_assert_neq(th_error_text()[0], '\0');
}

Test(error, fail_returns_the_code_and_keeps_the_text) {
  cr_assert_eq(th_fail(TH_ERR_LIMIT, "session %d holds %d of %d slots", 3, 8, 8), TH_ERR_LIMIT);
  cr_assert_str_eq(th_error_text(), "session 3 holds 8 of 8 slots");
}

Test(error, fail_can_quote_the_present_text) {
  (void)th_fail(TH_ERR_DATA, "row 7 is NaN");
  (void)th_fail(TH_ERR_DATA, "train.csv: %s", th_error_text());
  cr_assert_str_eq(th_error_text(), "train.csv: row 7 is NaN");
}

Test(error, fail_errno_appends_the_reason_and_keeps_errno) {
  errno = ENOSPC;
  cr_assert_eq(th_fail_errno(TH_ERR_IO, "cannot write %s", "a.card"), TH_ERR_IO);
  cr_assert_str_eq(th_error_text(), "cannot write a.card: No space left on device");
  cr_assert_eq(errno, ENOSPC);
}

Test(error, a_long_text_is_cut_at_a_whole_character) {
  char long_text[2 * TH_ERROR_TEXT_BYTES_MAX] = "x";
  for (size_t i = 1; i + 2 < sizeof long_text; i += 2) memcpy(long_text + i, "\xC3\xA9", 2);
  (void)th_fail(TH_ERR_DATA, "%s", long_text);
  size_t length = strlen(th_error_text());
  cr_assert_geq(length, TH_ERROR_TEXT_BYTES_MAX - 3);
  cr_assert_eq((length - 1) % 2, 0, "half an é is left");
}

static void *fail_elsewhere(void *unused) {
  (void)th_fail(TH_ERR_IO, "another thread's");
  return unused;
}

Test(error, each_thread_has_its_own_text) {
  (void)th_fail(TH_ERR_DATA, "this thread's");
  pthread_t thread;
  cr_assert_eq(pthread_create(&thread, NULL, fail_elsewhere, NULL), 0);
  pthread_join(thread, NULL);
  cr_assert_str_eq(th_error_text(), "this thread's");
}

Test(error, every_code_has_a_name_and_an_exit_status) {
  for (int code = TH_ERR_SYSTEM; code <= TH_OK; code++) {
    cr_assert_str_neq(th_error_name(code), "unknown error", "code %d", code);
    cr_assert_eq(th_error_exit_status(code) == 0, code == TH_OK, "code %d", code);
  }
  cr_assert_str_eq(th_error_name(TH_ERR_SYSTEM - 1), "unknown error");
}

Test(error, exit_statuses_follow_sysexits) {
  cr_assert_eq(th_error_exit_status(TH_ERR_USAGE), 64);
  cr_assert_eq(th_error_exit_status(TH_ERR_DATA), 65);
  cr_assert_eq(th_error_exit_status(TH_ERR_HOST_ABSENT), 69);
  cr_assert_eq(th_error_exit_status(TH_ERR_HOST_LOST), 69);
  cr_assert_eq(th_error_exit_status(TH_ERR_BUSY), 75);
  cr_assert_eq(th_error_exit_status(TH_ERR_DENIED), 77);
}

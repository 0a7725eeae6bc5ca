#include "cli/words.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

Test(words, bytes_have_a_unit_that_fits) {
  cr_assert_str_eq(th_words_bytes(0).text, "0 B");
  cr_assert_str_eq(th_words_bytes(1023).text, "1023 B");
  cr_assert_str_eq(th_words_bytes(1024).text, "1.0 KiB");
  cr_assert_str_eq(th_words_bytes(188160000).text, "179.4 MiB");
  cr_assert_str_eq(th_words_bytes(UINT64_MAX).text, "16.0 EiB");
}

Test(words, rates_stay_short) {
  cr_assert_str_eq(th_words_rate(0).text, "0");
  cr_assert_str_eq(th_words_rate(999).text, "999");
  cr_assert_str_eq(th_words_rate(999.7).text, "1.0k");
  cr_assert_str_eq(th_words_rate(41234).text, "41.2k");
  cr_assert_str_eq(th_words_rate(999960).text, "1.0M");
  cr_assert_str_eq(th_words_rate(NAN).text, "?");
  cr_assert_str_eq(th_words_rate(INFINITY).text, "?");
  cr_assert_str_eq(th_words_rate(-1).text, "?");
}

Test(words, durations_are_read_as_a_clock) {
  cr_assert_str_eq(th_words_duration(0).text, "0:00");
  cr_assert_str_eq(th_words_duration(59.6).text, "1:00");
  cr_assert_str_eq(th_words_duration(3661).text, "1:01:01");
  cr_assert_str_eq(th_words_duration(86400 * 3 + 3600 * 4).text, "3 d 04 h");
  cr_assert_str_eq(th_words_duration(NAN).text, "?");
  cr_assert_str_eq(th_words_duration(1e300).text, "?");
  cr_assert_str_eq(th_words_duration(-5).text, "?");
}

Test(words, scores_never_grow_wide) {
  cr_assert_str_eq(th_words_score(0.25412).text, "0.2541");
  cr_assert_str_eq(th_words_score(NAN).text, "-");
  cr_assert_leq(strlen(th_words_score(-1e308).text), 11);
}

Test(words, another_programs_text_cannot_steer_the_terminal) {
  char text[] = "job\x1b[2J\n\x7F\xC3\xA9";
  th_words_disarm(text);
  cr_assert_str_eq(text, "job?[2J??\xC3\xA9");
}

#include "base/nearest.h"

#include <criterion/criterion.h>

static const char *const words[] = {"learning_rate", "epochs", "batch_size"};
enum { WORDS = sizeof words / sizeof words[0] };

Test(nearest, finds_a_misspelt_word) {
  cr_assert_eq(th_nearest("learnin_rate", words, WORDS), 0);
  cr_assert_eq(th_nearest("epoch", words, WORDS), 1);
  cr_assert_eq(th_nearest("batchsize", words, WORDS), 2);
}

Test(nearest, finds_nothing_for_a_stranger) {
  cr_assert_eq(th_nearest("zebra_crossing", words, WORDS), WORDS);
}

Test(nearest, takes_words_of_any_length) {
  char word[500];
  for (size_t i = 0; i < sizeof word - 1; i++) word[i] = 'e';
  word[sizeof word - 1] = '\0';
  cr_assert_leq(th_nearest(word, words, WORDS), WORDS);
  cr_assert_eq(th_nearest("", words, 0), 0);
}

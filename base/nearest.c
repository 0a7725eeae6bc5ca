#include "base/nearest.h"

#include <string.h>

enum { WORD_BYTES_MAX = 63 };

static size_t min3(size_t a, size_t b, size_t c) {
  size_t least = a < b ? a : b;
  return least < c ? least : c;
}

/* Levenshtein distance with one row of the table kept. */
static size_t edit_distance(const char *a, const char *b) {
  size_t length = strnlen(b, WORD_BYTES_MAX);
  size_t row[WORD_BYTES_MAX + 1];
  for (size_t j = 0; j <= length; j++) row[j] = j;
  for (size_t i = 0; a[i] != '\0' && i < WORD_BYTES_MAX; i++) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < length; j++) {
      size_t above = row[j + 1];
      row[j + 1] = min3(above + 1, row[j] + 1, diagonal + (a[i] != b[j]));
      diagonal = above;
    }
  }
  return row[length];
}

size_t th_nearest(const char *word, const char *const *candidates, size_t count) {
  size_t best = count;
  size_t best_distance = strnlen(word, WORD_BYTES_MAX) / 3 + 2;
  for (size_t i = 0; i < count; i++) {
    size_t distance = edit_distance(word, candidates[i]);
    if (distance >= best_distance) continue;
    best_distance = distance;
    best = i;
  }
  return best;
}

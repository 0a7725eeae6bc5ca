#include "cli/words.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

th_word th_words_bytes(uint64_t bytes) {
  static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  th_word word;
  /* No fraction of a byte. */
  if (bytes < 1024) {
    snprintf(word.text, sizeof word.text, "%" PRIu64 " B", bytes);
    return word;
  }
  double number = (double)bytes / 1024;
  uint32_t unit = 0;
  while (number >= 1024) {
    number /= 1024;
    unit++;
  }
  snprintf(word.text, sizeof word.text, "%.1f %s", number, units[unit]);
  return word;
}

th_word th_words_rate(double number) {
  static const char units[] = {'k', 'M', 'G', 'T'};
  th_word word = {"?"};
  /* Written so that NaN, which no comparison holds for, is left out too. */
  if (!(number >= 0 && number < 1e15)) return word;
  if (number < 999.5) {
    snprintf(word.text, sizeof word.text, "%.0f", number);
    return word;
  }
  uint32_t unit = 0;
  number /= 1000;
  /* What would be printed as 1000.0 belongs to the next unit. */
  while (number >= 999.95) {
    number /= 1000;
    unit++;
  }
  snprintf(word.text, sizeof word.text, "%.1f%c", number, units[unit]);
  return word;
}

th_word th_words_duration(double seconds) {
  th_word word = {"?"};
  /* The bound keeps the conversion to a whole number defined. */
  if (!(seconds >= 0 && seconds < 1e12)) return word;
  uint64_t whole = (uint64_t)(seconds + 0.5);
  uint64_t minutes = whole / 60, hours = minutes / 60, days = hours / 24;
  if (days > 0)
    snprintf(word.text, sizeof word.text, "%" PRIu64 " d %02" PRIu64 " h", days, hours % 24);
  else if (hours > 0)
    snprintf(word.text, sizeof word.text, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, hours,
             minutes % 60, whole % 60);
  else
    snprintf(word.text, sizeof word.text, "%" PRIu64 ":%02" PRIu64, minutes, whole % 60);
  return word;
}

th_word th_words_score(double score) {
  th_word word = {"-"};
  if (isnan(score)) return word;
  /* What does not fit four decimals any more is shown by its size. */
  snprintf(word.text, sizeof word.text, fabs(score) < 10000 ? "%.4f" : "%.3e", score);
  return word;
}

/* An escape sequence begins with a control character; UTF-8 has none but in ASCII. */
void th_words_disarm(char *text) {
  for (; *text != '\0'; text++)
    if ((unsigned char)*text < 0x20 || *text == 0x7F) *text = '?';
}

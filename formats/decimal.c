#include "formats/decimal.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <strings.h>

/* A uint64_t holds any 19 digits. */
enum { DIGITS_MAX = 19, EXPONENT_DIGITS_MAX = 4, POWER_MAX = 22 };

/* Powers of ten that a double holds exactly; there is no further one. */
static const double powers[POWER_MAX + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                             1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                             1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static const char *digits_read(const char *at, uint64_t *number) {
  for (; *at >= '0' && *at <= '9'; at++) *number = *number * 10 + (uint64_t)(*at - '0');
  return at;
}

/* @return one past the exponent; `at` itself if there is none or it is too long to be counted. */
static const char *exponent_read(const char *at, int64_t *exponent) {
  bool is_negative = at[1] == '-';
  const char *digits = at + 1 + (is_negative || at[1] == '+');
  uint64_t number = 0;
  const char *end = digits_read(digits, &number);
  if (end == digits) return at;
  if (end - digits > EXPONENT_DIGITS_MAX) number = INT16_MAX;
  *exponent = is_negative ? -(int64_t)number : (int64_t)number;
  return end;
}

static const char *word_read(const char *text, const char *at, double *number) {
  static const struct {
    const char *word;
    uint8_t bytes;
    float number;
  } words[] = {{"infinity", 8, INFINITY}, {"inf", 3, INFINITY}, {"nan", 3, NAN}};
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
    if (strncasecmp(at, words[i].word, words[i].bytes) != 0) continue;
    *number = *text == '-' ? -words[i].number : words[i].number;
    return at + words[i].bytes;
  }
  return NULL;
}

/* If both the digits and the power of ten are exact as doubles, one operation rounds correctly
 * (Clinger, How to Read Floating Point Numbers Accurately, 1990, section 3). */
static bool is_simple(int64_t digits, uint64_t mantissa, int64_t power) {
  return digits <= DIGITS_MAX && mantissa <= UINT64_C(1) << 53 && power >= -POWER_MAX &&
         power <= POWER_MAX;
}

const char *th_decimal_read(const char *text, locale_t c_locale, double *number) {
  const char *begin = text + (*text == '-' || *text == '+');
  uint64_t mantissa = 0;
  int64_t exponent = 0;
  const char *at = digits_read(begin, &mantissa);
  int64_t digits = at - begin, fraction = 0;
  if (*at == '.') {
    const char *end = digits_read(at + 1, &mantissa);
    fraction = end - (at + 1);
    digits += fraction;
    at = end;
  }
  if (digits == 0) return word_read(text, begin, number);
  if (*at == 'e' || *at == 'E') at = exponent_read(at, &exponent);

  int64_t power = exponent - fraction;
  if (!is_simple(digits, mantissa, power)) {
    *number = strtod_l(text, NULL, c_locale);
    return at;
  }
  double magnitude =
      power < 0 ? (double)mantissa / powers[-power] : (double)mantissa * powers[power];
  *number = *text == '-' ? -magnitude : magnitude;
  return at;
}

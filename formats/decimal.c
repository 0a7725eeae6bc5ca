#include "formats/decimal.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

__extension__ typedef unsigned __int128 uint128;

/* A uint64_t holds any 19 digits, and 5 to the 27th. */
enum { DIGITS_MAX = 19, EXPONENT_DIGITS_MAX = 4, TEN_POWER_MAX = 22, FIVE_POWER_MAX = 27 };

/* Powers of ten that a double holds exactly; there is no further one. */
static const double tens[TEN_POWER_MAX + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                               1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                               1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static uint64_t five_to_the(int64_t power) {
  enum { LAST = 14 };
  static const uint64_t fives[LAST + 1] = {1,       5,        25,        125,        625,
                                           3125,    15625,    78125,     390625,     1953125,
                                           9765625, 48828125, 244140625, 1220703125, 6103515625};
  return power <= LAST ? fives[power] : fives[LAST - 1] * fives[power - (LAST - 1)];
}

/* ---- from digits to a double ---- */

/* Of an exponent far from where doubles end. */
static double power_of_two(int exponent) {
  uint64_t bits = (uint64_t)(exponent + 1023) << 52;
  double power;
  memcpy(&power, &bits, sizeof power);
  return power;
}

/* mantissa / 5^power, rounded once. Both are shifted up until their first bit is one, so that the
 * quotient has 63 bits at least, ten more than a double; what the division leaves over can only
 * decide between two doubles that the quotient lies midway between, and its last bit says so. */
static double fives_divide(uint64_t mantissa, int64_t power) {
  uint64_t five = five_to_the(power);
  int mantissa_shift = __builtin_clzll(mantissa), five_shift = __builtin_clzll(five);
  uint64_t divisor = five << five_shift;
  uint128 dividend = (uint128)(mantissa << mantissa_shift) << 63;
  uint64_t quotient = (uint64_t)(dividend / divisor);
  quotient |= dividend != (uint128)quotient * divisor;
  return (double)quotient * power_of_two(five_shift - mantissa_shift - 63);
}

/* mantissa · 10^power, rounded once: ten is five times two, and a double takes powers of two
 * without rounding. @return false beyond what these ways can do. */
static bool scale(uint64_t mantissa, int64_t power, double *number) {
  if (mantissa == 0) power = 0;
  if (power < -FIVE_POWER_MAX || power > FIVE_POWER_MAX) return false;
  /* If both are exact as doubles, one operation rounds correctly (Clinger, How to Read Floating
   * Point Numbers Accurately, 1990, section 3). */
  if (mantissa <= UINT64_C(1) << 53 && power >= -TEN_POWER_MAX && power <= TEN_POWER_MAX)
    *number = power < 0 ? (double)mantissa / tens[-power] : (double)mantissa * tens[power];
  else if (power < 0)
    *number = fives_divide(mantissa, -power) * power_of_two((int)power);
  else
    *number = (double)((uint128)mantissa * five_to_the(power)) * power_of_two((int)power);
  return true;
}

/* ---- text ---- */

static const char *digits_read(const char *at, uint64_t *number) {
  for (; *at >= '0' && *at <= '9'; at++) *number = *number * 10 + (uint64_t)(*at - '0');
  return at;
}

static const char *zeros_skip(const char *at) {
  while (*at == '0') at++;
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

/* Digits with a point or without.
 * @param significant  [out] how many they are without the zeros in front of them.
 * @return one past them; NULL if there are none. */
static const char *mantissa_read(const char *text, uint64_t *mantissa, int64_t *significant,
                                 int64_t *fraction) {
  const char *first = zeros_skip(text), *at = digits_read(first, mantissa);
  *significant = at - first;
  *fraction = 0;
  if (*at != '.') return at == text ? NULL : at;
  const char *point = at;
  first = *mantissa == 0 ? zeros_skip(point + 1) : point + 1;
  at = digits_read(first, mantissa);
  *significant += at - first;
  *fraction = at - (point + 1);
  return at == point + 1 && point == text ? NULL : at;
}

const char *th_decimal_read(const char *text, locale_t c_locale, double *number) {
  const char *begin = text + (*text == '-' || *text == '+');
  uint64_t mantissa = 0;
  int64_t significant, fraction, exponent = 0;
  const char *at = mantissa_read(begin, &mantissa, &significant, &fraction);
  if (at == NULL) return word_read(text, begin, number);
  if (*at == 'e' || *at == 'E') at = exponent_read(at, &exponent);
  double magnitude;
  if (significant > DIGITS_MAX || !scale(mantissa, exponent - fraction, &magnitude))
    *number = strtod_l(text, NULL, c_locale);
  else
    *number = *text == '-' ? -magnitude : magnitude;
  return at;
}

/** Decimal numbers in text. Private to this room. */
#ifndef TH_FORMATS_DECIMAL_H
#define TH_FORMATS_DECIMAL_H

#include <locale.h>

/**
 * Read the decimal number that a text begins with: sign, digits, point, exponent; or "nan", "inf",
 * "infinity" in any case.
 *
 * @param text      NUL-terminated somewhere; not read beyond the first byte after the number.
 * @param c_locale  a locale whose decimal point is '.'.
 * @param number    [out] the nearest double, as strtod gives it.
 * @return one past the number's last byte; NULL if text does not begin with a number.
 */
const char *th_decimal_read(const char *text, locale_t c_locale, double *number);

#endif

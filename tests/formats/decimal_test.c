/* Decimal numbers, bit for bit as strtod has them, whichever of the ways they take. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "formats/decimal.h"

static locale_t c_locale;

static void setup(void) {
  c_locale = newlocale(LC_ALL_MASK, "C", NULL);
}

static void teardown(void) {
  freelocale(c_locale);
}

TestSuite(decimal, .init = setup, .fini = teardown);

static void assert_as_strtod(const char *text) {
  double number, expected = strtod(text, NULL);
  const char *end = th_decimal_read(text, c_locale, &number);
  cr_assert_eq(end, text + strlen(text), "%s ends at \"%s\"", text, end);
  cr_assert_eq(memcmp(&number, &expected, sizeof number), 0, "%s became %a and not %a", text,
               number, expected);
}

/* On both sides of where one way ends and the next begins. */
Test(decimal, numbers_at_the_ends_of_each_way_are_the_nearest_doubles) {
  static const char *const mantissas[] = {"0",
                                          "1",
                                          "9007199254740992",
                                          "9007199254740993",
                                          "-9007199254740995",
                                          "1234567890123456789",
                                          "9999999999999999999",
                                          "18446744073709551615",
                                          "99999999999999999999",
                                          "0.00000000000000000000000000",
                                          "0.000000000000000000000000001",
                                          "-0.0000000001234567890123456789",
                                          "000000000000000000001234.5"};
  char text[64];
  for (size_t i = 0; i < sizeof mantissas / sizeof mantissas[0]; i++)
    for (int power = -350; power <= 350; power++) {
      snprintf(text, sizeof text, "%s%c%d", mantissas[i], power % 2 == 0 ? 'e' : 'E', power);
      assert_as_strtod(text);
    }
  assert_as_strtod("-0");
  assert_as_strtod("0e99999");
  assert_as_strtod("1e-99999");
  assert_as_strtod("18446744073709551616");
}

static uint64_t draw(unsigned short state[3]) {
  return (uint64_t)jrand48(state) << 32 ^ (uint64_t)(uint32_t)jrand48(state);
}

/* As programs write them: as short as possible, with all digits of a double, in columns. */
Test(decimal, numbers_drawn_at_random_are_the_nearest_doubles) {
  enum { NUMBERS = 200000 };
  unsigned short state[3] = {1, 2, 3};
  char text[400];
  for (int i = 0; i < NUMBERS; i++) {
    uint64_t bits = draw(state);
    double any;
    memcpy(&any, &bits, sizeof any);
    if (!isfinite(any)) continue;
    double moderate = (double)(int64_t)bits / (double)(UINT64_C(1) << draw(state) % 63);
    snprintf(text, sizeof text, "%.17g", any);
    assert_as_strtod(text);
    snprintf(text, sizeof text, "%.*e", (int)(draw(state) % 19), moderate);
    assert_as_strtod(text);
    snprintf(text, sizeof text, "%.*f", (int)(draw(state) % 19), moderate);
    assert_as_strtod(text);
    snprintf(text, sizeof text, "%" PRIu64 "e%d", bits >> draw(state) % 64,
             (int)(draw(state) % 60) - 30);
    assert_as_strtod(text);
  }
}

/* Halfway between two doubles, where the last bit of a quotient decides; and just beside it. */
Test(decimal, ties_go_to_the_even_double) {
  enum { TIES = 20000, POWER_MAX = 4 };
  unsigned short state[3] = {4, 5, 6};
  char text[64];
  for (int i = 0; i < TIES; i++) {
    uint64_t tie = UINT64_C(1) << 53 | draw(state) >> 11 | 1;
    for (int power = 0; power <= POWER_MAX; power++, tie *= 5) {
      /* tie · 5^power / 10^power lies midway between two doubles, or on one. */
      for (int beside = -1; beside <= 1; beside++) {
        snprintf(text, sizeof text, "%" PRIu64 "e-%d", tie + (uint64_t)beside, power);
        assert_as_strtod(text);
      }
    }
  }
}

Test(decimal, what_is_no_number_is_none) {
  static const char *const texts[] = {"", ".", "-", "+.", "e5", "-e5", "x", ".e1", "--1", "in"};
  double number;
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
    cr_assert_null(th_decimal_read(texts[i], c_locale, &number), "\"%s\"", texts[i]);
}

Test(decimal, a_number_ends_where_it_ends) {
  static const struct {
    const char *text;
    size_t length;
  } rows[] = {{"1.", 2},   {".5", 2},    {"1.5.2", 3}, {"1e", 1},      {"1e+", 1},
              {"0x10", 1}, {"-00,1", 3}, {"1e5e5", 3}, {"infinit", 3}, {"nano", 3}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    double number;
    const char *end = th_decimal_read(rows[i].text, c_locale, &number);
    cr_assert_eq(end, rows[i].text + rows[i].length, "%s ends at \"%s\"", rows[i].text, end);
  }
}

/* The byte after the number is the last one of its page, and no page follows. */
Test(decimal, nothing_is_read_beyond_the_byte_after_the_number) {
  static const char *const texts[] = {"1", "0.000", "1.25e-3", "12345678901234567890", "-inf"};
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  cr_assert_neq(pages, MAP_FAILED);
  cr_assert_eq(munmap(pages + page, page), 0);
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    char *text = pages + page - strlen(texts[i]) - 1;
    strcpy(text, texts[i]);
    assert_as_strtod(text);
  }
  munmap(pages, page);
}

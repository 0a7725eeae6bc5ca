#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/table.h"
#include "scratch.h"

TestSuite(array, .init = scratch_open, .fini = scratch_close);

/* A string literal with NULs in it, and its length without the last one. */
#define BYTES(literal) literal, sizeof(literal) - 1

static th_error features_of(const void *data, size_t bytes, th_numbers *features) {
  scratch_write("array", data, bytes);
  return th_features_read("array", features);
}

static th_error labels_of(const void *data, size_t bytes, th_indices *labels) {
  scratch_write("array", data, bytes);
  return th_indices_read("array", labels);
}

static void assert_features_refused(const void *data, size_t bytes, const char *words) {
  th_numbers features = {.rows = 77};
  assert_failed(features_of(data, bytes, &features), TH_ERR_DATA, words);
  cr_assert_not_null(strstr(th_error_text(), "array"), "the file is not named");
}

static void assert_labels_refused(const void *data, size_t bytes, const char *words) {
  th_indices labels;
  assert_failed(labels_of(data, bytes, &labels), TH_ERR_DATA, words);
}

/* A .npy file of version 1 with that dictionary. @return its length. */
static size_t npy_make(char *file, const char *dictionary, const void *numbers, size_t bytes) {
  size_t length = strlen(dictionary);
  memcpy(file, "\x93NUMPY\1\0", 8);
  file[8] = (char)length;
  file[9] = 0;
  memcpy(file + 10, dictionary, length);
  memcpy(file + 10 + length, numbers, bytes);
  return 10 + length + bytes;
}

static size_t npy_of(char *file, const char *descr, const char *shape, const void *numbers,
                     size_t bytes) {
  char dictionary[128];
  snprintf(dictionary, sizeof dictionary,
           "{'descr': '%s', 'fortran_order': False, 'shape': %s, }\n", descr, shape);
  return npy_make(file, dictionary, numbers, bytes);
}

/* ---- IDX ---- */

Test(array, idx_pixels_become_numbers_from_0_to_1) {
  th_numbers features;
  cr_assert_eq(
      features_of(BYTES("\0\0\x08\x03\0\0\0\2\0\0\0\1\0\0\0\2\x00\xFF\x80\x01"), &features), TH_OK,
      "%s", th_error_text());
  cr_assert_eq(features.rows, 2);
  cr_assert_eq(features.width, 2);
  cr_assert_eq(features.values[0], 0.0F);
  cr_assert_eq(features.values[1], 1.0F);
  cr_assert_eq(features.values[2], 128 / 255.0F);
  cr_assert_eq(features.values[3], 1 / 255.0F);
  th_numbers_fini(&features);
  th_numbers_fini(&features);
}

Test(array, idx_of_other_types_is_taken_as_it_is) {
  static const struct {
    const char *bytes;
    size_t size;
    float number;
  } rows[] = {{BYTES("\0\0\x09\x01\0\0\0\1\xFE"), -2},
              {BYTES("\0\0\x0B\x01\0\0\0\1\xFF\xFE"), -2},
              {BYTES("\0\0\x0C\x01\0\0\0\1\x00\x01\x00\x00"), 65536},
              {BYTES("\0\0\x0D\x01\0\0\0\1\x3F\xC0\x00\x00"), 1.5F},
              {BYTES("\0\0\x0E\x01\0\0\0\1\xBF\xF8\x00\x00\x00\x00\x00\x00"), -1.5F}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    th_numbers features;
    cr_assert_eq(features_of(rows[i].bytes, rows[i].size, &features), TH_OK, "%s", th_error_text());
    cr_assert_eq(features.width, 1);
    cr_assert_eq(features.values[0], rows[i].number, "row %zu", i);
    th_numbers_fini(&features);
  }
}

Test(array, idx_labels_are_not_scaled) {
  th_indices labels;
  cr_assert_eq(labels_of(BYTES("\0\0\x08\x01\0\0\0\3\x00\x09\xFF"), &labels), TH_OK);
  cr_assert_eq(labels.rows, 3);
  cr_assert_eq(labels.values[1], 9);
  cr_assert_eq(labels.values[2], 255);
  th_indices_fini(&labels);
}

Test(array, idx_numbers_that_are_no_features_are_not_scaled) {
  th_numbers targets;
  scratch_write("array", BYTES("\0\0\x08\x02\0\0\0\1\0\0\0\2\x01\xFF"));
  cr_assert_eq(th_numbers_read("array", &targets), TH_OK, "%s", th_error_text());
  cr_assert_eq(targets.width, 2);
  cr_assert_eq(targets.values[0], 1);
  cr_assert_eq(targets.values[1], 255);
  th_numbers_fini(&targets);
}

Test(array, idx_that_is_broken_is_refused) {
  assert_features_refused(BYTES("\0\0"), "cut off");
  assert_features_refused(BYTES("\0\0\x07\x01\0\0\0\1\0"), "0x07");
  assert_features_refused(BYTES("\0\0\x08\x00\0"), "dimension");
  assert_features_refused(BYTES("\0\0\x08\xFF\0\0\0\1\0"), "255 dimensions");
  assert_features_refused(BYTES("\0\0\x08\x02\0\0\0\1"), "cut off");
  assert_features_refused(BYTES("\0\0\x08\x01\0\0\0\2\0"), "cut off");
  assert_features_refused(BYTES("\0\0\x08\x01\0\0\0\1\0\0"), "too long");
  assert_features_refused(BYTES("\0\0\x08\x01\0\0\0\0"), "0 rows");
  assert_features_refused(BYTES("\0\0\x08\x02\0\0\0\1\0\0\0\0"), "of 0");
}

Test(array, sizes_that_overflow_are_refused) {
  char file[256];
  assert_features_refused(BYTES("\0\0\x0E\x03\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"),
                          "larger than any memory");
  assert_features_refused(BYTES("\0\0\x08\x02\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"), "memory");
  assert_features_refused(file, npy_of(file, "<f8", "(18446744073709551615, 2)", "", 0), "memory");
  assert_features_refused(file, npy_of(file, "<f8", "(2305843009213693952,)", "", 0), "memory");
  assert_features_refused(file, npy_of(file, "<f8", "(1, 4294967296)", "", 0), "memory");
  assert_features_refused(file, npy_of(file, "<f8", "(18446744073709551616,)", "", 0), "too large");
}

/* 64 MiB of zeros are 64 KiB of gzip. */
Test(array, gzip_is_not_unpacked_beyond_what_the_header_announces) {
  enum { BOMB_BYTES = 64 << 20 };
  char *bomb = calloc(1, BOMB_BYTES);
  memcpy(bomb, "\0\0\x08\x01\0\0\0\5", 8);
  scratch_write_gzip("bomb.gz", bomb, BOMB_BYTES);
  th_numbers features;
  assert_failed(th_features_read("bomb.gz", &features), TH_ERR_DATA, "13 bytes that its header");
  scratch_write_gzip("fits.gz", bomb, 13);
  cr_assert_eq(th_features_read("fits.gz", &features), TH_OK, "%s", th_error_text());
  cr_assert_eq(features.rows, 5);
  th_numbers_fini(&features);
  free(bomb);
}

/* ---- .npy ---- */

Test(array, npy_of_every_type_and_byte_order_is_read) {
  static const struct {
    const char *descr, *bytes;
    size_t size;
    float number;
  } rows[] = {
      {"<f4", BYTES("\x00\x00\xC0\x3F"), 1.5F},
      {">f4", BYTES("\x3F\xC0\x00\x00"), 1.5F},
      {"<f8", BYTES("\x00\x00\x00\x00\x00\x00\xF8\xBF"), -1.5F},
      {">f8", BYTES("\xBF\xF8\x00\x00\x00\x00\x00\x00"), -1.5F},
      {"|i1", BYTES("\xFE"), -2},
      {"|u1", BYTES("\xFE"), 254},
      {"|b1", BYTES("\x01"), 1},
      {"<i2", BYTES("\xFE\xFF"), -2},
      {">u2", BYTES("\xFF\xFE"), 65534},
      {"=i4", BYTES("\x00\x00\x01\x00"), 65536},
      {">u4", BYTES("\xFF\xFF\xFF\x00"), 4294967040},
      {"<i8", BYTES("\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF"), -2},
      {">u8", BYTES("\x00\x00\x01\x00\x00\x00\x00\x00"), 1099511627776},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char file[256];
    th_numbers features;
    size_t bytes = npy_of(file, rows[i].descr, "(1,)", rows[i].bytes, rows[i].size);
    cr_assert_eq(features_of(file, bytes, &features), TH_OK, "%s", th_error_text());
    cr_assert_eq(features.values[0], rows[i].number, "%s", rows[i].descr);
    th_numbers_fini(&features);
  }
}

Test(array, npy_dimensions_beyond_the_first_are_one_row) {
  char file[256];
  th_numbers features;
  cr_assert_eq(features_of(file, npy_of(file, "|u1", "(2, 3, 1)", "abcdef", 6), &features), TH_OK);
  cr_assert_eq(features.rows, 2);
  cr_assert_eq(features.width, 3);
  cr_assert_eq(features.values[3], 'd');
  th_numbers_fini(&features);
}

Test(array, npy_headers_of_other_writers_are_read) {
  static const char *const dictionaries[] = {
      "{\"shape\":(1L,),\"fortran_order\":False,\"descr\":\"|u1\"}",
      "{ 'descr' : '|u1' , 'fortran_order' : False , 'shape' : ( 1 , 1 ) } \n",
      "{'descr': '|u1', 'fortran_order': False, 'shape': (1), }"};
  for (size_t i = 0; i < 3; i++) {
    char file[256];
    th_numbers features;
    cr_assert_eq(features_of(file, npy_make(file, dictionaries[i], "a", 1), &features), TH_OK, "%s",
                 th_error_text());
    cr_assert_eq(features.values[0], 'a');
    th_numbers_fini(&features);
  }
  th_numbers features;
  cr_assert_eq(features_of(BYTES("\x93NUMPY\2\0\x37\0\0\0{'descr': '|u1', 'fortran_order': False, "
                                 "'shape': (1,)}a"),
                           &features),
               TH_OK, "%s", th_error_text());
  th_numbers_fini(&features);
}

static void assert_dictionary_refused(const char *dictionary, const char *words) {
  char file[512];
  assert_features_refused(file, npy_make(file, dictionary, "aaaa", 4), words);
}

Test(array, npy_that_cannot_be_read_is_refused_with_the_remedy) {
  assert_dictionary_refused("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }",
                            "ascontiguousarray");
  assert_dictionary_refused("{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", "astype");
  assert_dictionary_refused("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "astype");
  assert_dictionary_refused("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }",
                            "dtype");
  assert_dictionary_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (), }",
                            "without dimensions");
}

Test(array, npy_headers_that_are_broken_are_refused) {
  assert_dictionary_refused("", "dictionary");
  assert_dictionary_refused("{}", "missing");
  assert_dictionary_refused("{'descr': '<f4', 'fortran_order': False, }", "missing");
  assert_dictionary_refused("{'descr': '<f4', 'descr': '<f4', 'shape': (1,), }", "once");
  assert_dictionary_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), } x",
                            "follows");
  assert_dictionary_refused("{'descr': '<f4' 'fortran_order': False, 'shape': (1,), }", "comma");
  assert_dictionary_refused("{'descr': '<f4', 'fortran_order': 0, 'shape': (1,), }", "neither");
  assert_dictionary_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
                            "dimension");
  assert_dictionary_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (1,", "dimension");
  assert_dictionary_refused("{'descr': '<f4', 'fortran_order': False, 'shape': 1}", "tuple");
  assert_dictionary_refused("{'descr': '<f4", "dtype");
  assert_features_refused(BYTES("\x93NUMPY"), "cut off");
  assert_features_refused(BYTES("\x93NUMPY\4\0\0\0\0\0\0\0"), "version 4");
  assert_features_refused(BYTES("\x93NUMPY\2\0\xFF\xFF\xFF\xFF{}"), "4294967295");
  assert_features_refused(BYTES("\x93NUMPY\1\0\x77\0{}"), "119");
}

Test(array, numbers_that_are_not_finite_are_refused_with_their_place) {
  static const float nan_last[] = {1, 2, 3, NAN};
  static const double too_large[] = {1, 1e39};
  static const float infinite[] = {-INFINITY};
  char file[256];
  assert_features_refused(file, npy_of(file, "<f4", "(2, 2)", nan_last, 16), "NaN");
  cr_assert_not_null(strstr(th_error_text(), "row 1, column 1"), "%s", th_error_text());
  size_t bytes = npy_of(file, "<f8", "(2,)", too_large, 16);
  char offset[32];
  snprintf(offset, sizeof offset, "byte offset %zu", bytes - 8);
  assert_features_refused(file, bytes, offset);
  assert_features_refused(file, npy_of(file, "<f4", "(1,)", infinite, 4), "infinite");
}

/* More numbers than are read and converted at once. */
Test(array, long_arrays_are_judged_to_the_end) {
  enum { ROWS = 40001 };
  char *file = malloc(200 + ROWS * sizeof(float));
  float *numbers = malloc(ROWS * sizeof *numbers);
  for (int i = 0; i < ROWS; i++) numbers[i] = (float)i;
  th_numbers features;
  size_t bytes = npy_of(file, "<f4", "(40001,)", numbers, ROWS * sizeof *numbers);
  cr_assert_eq(features_of(file, bytes, &features), TH_OK);
  cr_assert_eq(memcmp(features.values, numbers, ROWS * sizeof *numbers), 0);
  th_numbers_fini(&features);
  th_indices labels;
  cr_assert_eq(labels_of(file, bytes, &labels), TH_OK);
  for (int i = 0; i < ROWS; i++) cr_assert_eq(labels.values[i], i);
  th_indices_fini(&labels);
  numbers[ROWS - 1] = INFINITY;
  bytes = npy_of(file, "<f4", "(40001,)", numbers, ROWS * sizeof *numbers);
  assert_features_refused(file, bytes, "row 40000");
  assert_labels_refused(file, bytes, "row 40000");
  free(numbers);
  free(file);
}

/* From the file block by block, and from memory; the numbers begin at an odd place. */
Test(array, a_file_packed_or_in_memory_gives_the_same_numbers) {
  enum { ROWS = 7000, WIDTH = 5, NUMBERS = ROWS * WIDTH };
  char *file = malloc(200 + NUMBERS * sizeof(double));
  uint64_t *numbers = malloc(NUMBERS * sizeof *numbers);
  for (uint64_t i = 0; i < NUMBERS; i++) {
    double number = (double)i / 3;
    memcpy(&numbers[i], &number, sizeof number);
    numbers[i] = __builtin_bswap64(numbers[i]);
  }
  size_t bytes = npy_of(file, ">f8", "(7000, 5)", numbers, NUMBERS * sizeof *numbers);
  cr_assert_neq((bytes - NUMBERS * sizeof *numbers) % 8, 0);
  th_numbers plain, packed, decoded;
  cr_assert_eq(features_of(file, bytes, &plain), TH_OK, "%s", th_error_text());
  scratch_write_gzip("array", file, bytes);
  cr_assert_eq(th_features_read("array", &packed), TH_OK, "%s", th_error_text());
  th_buffer contents = {.data = file, .bytes = bytes};
  cr_assert_eq(th_numbers_decode("array", &contents, &decoded), TH_OK, "%s", th_error_text());
  for (int i = 0; i < NUMBERS; i++) cr_assert_eq(plain.values[i], (float)((double)i / 3));
  cr_assert_eq(memcmp(packed.values, plain.values, NUMBERS * sizeof *plain.values), 0);
  cr_assert_eq(memcmp(decoded.values, plain.values, NUMBERS * sizeof *plain.values), 0);
  th_numbers_fini(&plain);
  th_numbers_fini(&packed);
  th_numbers_fini(&decoded);
  free(numbers);
  free(file);
}

Test(array, what_is_no_label_is_refused_with_its_place) {
  char file[256];
  static const double fraction[] = {0, 1.5}, negative[] = {-1}, large[] = {2147483648},
                      nan[] = {NAN};
  assert_labels_refused(file, npy_of(file, "<f8", "(2,)", fraction, 16), "row 1");
  assert_labels_refused(file, npy_of(file, "<f8", "(1,)", negative, 8), "row 0");
  assert_labels_refused(file, npy_of(file, "<f8", "(1,)", large, 8), "2147483647");
  assert_labels_refused(file, npy_of(file, "<f8", "(1,)", nan, 8), "whole");
  assert_labels_refused(file, npy_of(file, "|i1", "(1,)", "\xFF", 1), "row 0");
  assert_labels_refused(file, npy_of(file, "<u8", "(1,)", "\1\0\0\0\1\0\0\0", 8), "row 0");
  assert_labels_refused(file, npy_of(file, "<u8", "(1,)", "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 8),
                        "row 0");
  assert_labels_refused(file, npy_of(file, "|u1", "(1, 2)", "ab", 2), "2 numbers a row");
}

Test(array, the_largest_label_is_one) {
  char file[256];
  th_indices labels;
  cr_assert_eq(labels_of(file, npy_of(file, "<u4", "(1, 1)", "\xFF\xFF\xFF\x7F", 4), &labels),
               TH_OK);
  cr_assert_eq(labels.values[0], INT32_MAX);
  th_indices_fini(&labels);
}

static th_error features_read_and_free(const char *name) {
  th_numbers features = {0};
  th_error error = th_features_read(name, &features);
  th_numbers_fini(&features);
  return error;
}

static th_error labels_read_and_free(const char *name) {
  th_indices labels = {0};
  th_error error = th_indices_read(name, &labels);
  th_indices_fini(&labels);
  return error;
}

Test(array, every_damage_is_judged) {
  char file[256];
  scratch_corrupt("damaged.idx", BYTES("\0\0\x0D\x02\0\0\0\1\0\0\0\2\x3F\xC0\0\0\0\0\0\0"),
                  features_read_and_free);
  size_t bytes = npy_of(file, "<f4", "(2, 1)", "\0\0\xC0\x3F\0\0\0\0", 8);
  scratch_corrupt("damaged.npy", file, bytes, features_read_and_free);
  bytes = npy_of(file, "<i8", "(1, 1)", "\5\0\0\0\0\0\0\0", 8);
  scratch_corrupt("labels.npy", file, bytes, labels_read_and_free);
}

/* ---- NumPy itself ---- */

Test(array, encode_writes_what_features_read_reads) {
  static const float values[] = {1, 2, 3, 4, 5, -6.5F};
  th_buffer npy;
  th_numbers features;
  cr_assert_eq(th_npy_encode(values, 2, 3, &npy), TH_OK);
  cr_assert_eq(npy.bytes, 128 + sizeof values);
  cr_assert_eq(features_of(npy.data, npy.bytes, &features), TH_OK, "%s", th_error_text());
  cr_assert_eq(features.rows, 2);
  cr_assert_eq(features.width, 3);
  cr_assert_eq(memcmp(features.values, values, sizeof values), 0);
  th_numbers_fini(&features);
  th_buffer_fini(&npy);
  cr_assert_eq(th_npy_encode(NULL, 0, 3, &npy), TH_OK);
  th_buffer_fini(&npy);
  assert_failed(th_npy_encode(values, UINT64_MAX, 3, &npy), TH_ERR_SYSTEM, "no memory");
}

Test(array, numpy_loads_what_encode_wrote) {
  static const float values[] = {1, 2, 3, 4, 5, -6.5F};
  th_buffer npy;
  cr_assert_eq(th_npy_encode(values, 2, 3, &npy), TH_OK);
  scratch_write("ours.npy", npy.data, npy.bytes);
  th_buffer_fini(&npy);
  if (!scratch_numpy("a = np.load('ours.npy')\n"
                     "assert a.dtype == np.float32 and (a == [[1, 2, 3], [4, 5, -6.5]]).all()\n"))
    cr_skip_test("NumPy is not installed");
}

Test(array, what_numpy_saves_is_read) {
  if (!scratch_numpy("for t in '<f4 >f4 <f8 >f8 i1 u1 <i2 >i2 <u2 >u2 <i4 >i4 <u4 >u4 <i8 >i8 <u8 "
                     ">u8'.split():\n"
                     "  np.save(t[-2:] + t[0] + '.npy', np.arange(12).reshape(3, 2, 2).astype(t))\n"
                     "np.lib.format.write_array(open('two.npy', 'wb'), np.arange(12.)\n"
                     "  .reshape(3, 4), version=(2, 0))\n"
                     "np.save('scalar', np.float64(3))\n"
                     "np.save('fortran', np.asfortranarray(np.ones((3, 2))))\n"))
    cr_skip_test("NumPy is not installed");
  static const char *const names[] = {"f4<", "f4>", "f8<", "f8>", "i1i", "u1u", "i2<",
                                      "i2>", "u2<", "u2>", "i4<", "i4>", "u4<", "u4>",
                                      "i8<", "i8>", "u8<", "u8>", "two"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    char name[16];
    th_numbers features;
    snprintf(name, sizeof name, "%s.npy", names[i]);
    cr_assert_eq(th_features_read(name, &features), TH_OK, "%s", th_error_text());
    cr_assert_eq(features.rows, 3);
    cr_assert_eq(features.width, 4);
    for (int j = 0; j < 12; j++) cr_assert_eq(features.values[j], (float)j, "%s", name);
    th_numbers_fini(&features);
  }
  th_numbers features;
  assert_failed(th_features_read("scalar.npy", &features), TH_ERR_DATA, "without dimensions");
  assert_failed(th_features_read("fortran.npy", &features), TH_ERR_DATA, "ascontiguousarray");
}

#include <criterion/criterion.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/table.h"
#include "scratch.h"

TestSuite(csv, .init = scratch_open, .fini = scratch_close);

static th_error features_of(const char *text, th_numbers *features) {
  scratch_write("table.csv", text, strlen(text));
  return th_features_read("table.csv", features);
}

static void assert_features(const char *text, uint64_t rows, uint32_t width, const float *values) {
  th_numbers features;
  cr_assert_eq(features_of(text, &features), TH_OK, "%s: %s", text, th_error_text());
  cr_assert_eq(features.rows, rows, "%s", text);
  cr_assert_eq(features.width, width, "%s", text);
  cr_assert_eq(memcmp(features.values, values, rows * width * sizeof *values), 0, "%s", text);
  th_numbers_fini(&features);
}

static void assert_features_refused(const char *text, const char *words) {
  th_numbers features;
  assert_failed(features_of(text, &features), TH_ERR_DATA, words);
  cr_assert_not_null(strstr(th_error_text(), "table.csv"));
}

static const float one_to_four[] = {1, 2, 3, 4};

Test(csv, line_ends_and_delimiters_of_every_kind_are_read) {
  static const char *const texts[] = {"1,2\n3,4\n",
                                      "1,2\n3,4",
                                      "1,2\r\n3,4\r\n",
                                      "1,2\r\n3,4",
                                      "1,2\r3,4\r",
                                      "1;2\n3;4\n",
                                      "1\t2\n3\t4\n",
                                      "1,2\n3,4\n\n\n",
                                      "1,2\r\n3,4\r\n\r\n",
                                      " 1 , 2\n3,4 ",
                                      "+1,2.\n3e0,.4e1",
                                      "\xEF\xBB\xBF"
                                      "1,2\n3,4\n",
                                      "\"1\",\"2\"\n\"3\",4"};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
    assert_features(texts[i], 2, 2, one_to_four);
}

Test(csv, a_header_is_known_by_a_field_that_is_no_number) {
  assert_features("a,b\n1,2\n3,4\n", 2, 2, one_to_four);
  assert_features("\"a, \"\"b\"\"\",\"c\nd\"\n1,2\n3,4\n", 2, 2, one_to_four);
  assert_features(
      "\xEF\xBB\xBF"
      ",b\r\n1,2\r\n3,4\r\n",
      2, 2, one_to_four);
  assert_features("1,b\n1,2\n3,4\n", 2, 2, one_to_four);
  assert_features("a\n1\n2\n3\n4", 4, 1, one_to_four);
}

/* Taken for a header, it would be lost without a word. */
Test(csv, a_first_line_with_a_missing_number_is_not_taken_for_a_header) {
  assert_features_refused("1,,3\n4,5,6\n", "line 1, field 2");
  assert_features_refused("1,nan\n4,5\n", "NaN");
  assert_features_refused("1,-inf\n4,5\n", "infinite");
}

Test(csv, numbers_are_the_nearest_that_there_are) {
  static const char *const texts[] = {"0.1",
                                      "-0.0",
                                      "3.4028234e38",
                                      "1e-45",
                                      "16777217",
                                      "1e22",
                                      "1e23",
                                      "9007199254740993",
                                      "1e-400",
                                      "123456789012345678901234567890",
                                      "1.17549e-38",
                                      "0.30000000000000004",
                                      "-1.7976931348623157e-308",
                                      "000000000000000000000001",
                                      "2.2250738585072011e-308",
                                      "1E+2",
                                      "1e-07",
                                      "0.000000000000000000000000000000000001"};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    float value = (float)strtod(texts[i], NULL);
    assert_features(texts[i], 1, 1, &value);
  }
}

Test(csv, numbers_of_every_size_are_read_as_strtod_reads_them) {
  enum { NUMBERS = 20000 };
  char *text = malloc(NUMBERS * 40), *to = text;
  unsigned short state[3] = {1, 2, 3};
  float *expected = malloc(NUMBERS * sizeof *expected);
  for (int i = 0; i < NUMBERS; i++) {
    double number = ldexp(erand48(state) - 0.5, (int)(nrand48(state) % 200) - 100);
    int length = sprintf(to, "%.*g\n", (int)(nrand48(state) % 20) + 1, number);
    expected[i] = (float)strtod(to, NULL);
    to += length;
  }
  assert_features(text, NUMBERS, 1, expected);
  free(expected);
  free(text);
}

/* Elsewhere strtod wants a comma. */
Test(csv, the_locale_of_the_process_changes_nothing) {
  static const float expected[] = {0.12345678901234567890F};
  if (setlocale(LC_ALL, "de_DE.UTF-8") == NULL && setlocale(LC_ALL, "fr_FR.UTF-8") == NULL)
    cr_skip_test("no locale with a decimal comma is installed");
  assert_features("0.12345678901234567890", 1, 1, expected);
}

Test(csv, what_is_no_number_is_refused_with_its_place) {
  assert_features_refused("1,2\n3,x\n", "line 2, field 2: \"x\"");
  assert_features_refused("a,b\r\n1,2\r\n3,0x10\r\n", "line 3, field 2: \"0x10\"");
  assert_features_refused("1,2\n3,\n", "line 2, field 2");
  assert_features_refused("1,2\n,3\n", "line 2, field 1");
  assert_features_refused("1\n1e\n", "1e");
  assert_features_refused("1\n1 2\n", "1 2");
  assert_features_refused("1\n-\n", "\"-\"");
  assert_features_refused("1\n.\n", "\".\"");
  assert_features_refused("1\n1_000\n", "1_000");
  assert_features_refused("1\n1,5\n", "more than 1 field");
  assert_features_refused("1\n\"2\n", "line 2");
  assert_features_refused("1\n\"2\"3\n", "line 2");
  assert_features_refused("1\nnano\n", "nano");
  assert_features_refused("1\n\x1B[2J\n", "\"?[2J\"");
}

Test(csv, what_is_not_finite_is_refused_with_its_place) {
  assert_features_refused("1,2\n3,nan\n", "line 2, field 2: \"nan\" is NaN");
  assert_features_refused("1,2\nInfinity,3\n", "line 2, field 1");
  assert_features_refused("1,2\n3,-INF\n", "infinite");
  assert_features_refused("1,2\n3,1e39\n", "too large for float32");
  assert_features_refused("1,2\n3,1e999999999999\n", "too large for float32");
}

Test(csv, ragged_lines_are_refused) {
  assert_features_refused("1,2\n3\n", "line 2 has 1 field");
  assert_features_refused("1,2\n3,4,5\n", "line 2 has more than 2");
  assert_features_refused("a,b\n1,2,3\n", "line 2 has more than 2");
  assert_features_refused("1,2\n3,4,\n", "line 2 has more than 2");
}

Test(csv, an_empty_line_between_rows_is_refused) {
  assert_features_refused("1,2\n\n3,4\n", "line 2");
  assert_features_refused("1\r\n\r\n\r\n2", "line 2");
}

Test(csv, a_file_without_rows_is_refused) {
  assert_features_refused("", "no rows");
  assert_features_refused("\n\n", "no rows");
  assert_features_refused("a,b\n", "no rows");
  assert_features_refused("a,b", "no rows");
  assert_features_refused("\xEF\xBB\xBF", "no rows");
  assert_features_refused("\"a", "line 1");
}

Test(csv, what_is_no_text_is_refused) {
  static const char zip[] = "PK\3\4\24\0\0\0\0\0numbers.npy", wide[] = "1\0,\0002\0\n";
  th_numbers features;
  scratch_write("a.npz", zip, sizeof zip);
  assert_failed(th_features_read("a.npz", &features), TH_ERR_DATA, "neither IDX nor .npy nor CSV");
  scratch_write("utf16.csv", wide, sizeof wide);
  assert_failed(th_features_read("utf16.csv", &features), TH_ERR_DATA, "no text");
  th_indices labels;
  assert_failed(th_indices_read("utf16.csv", &labels), TH_ERR_DATA, "no text");
  assert_failed(th_indices_read("absent.csv", &labels), TH_ERR_NOT_FOUND, "absent.csv");
}

/* Behind what is looked at to tell the format. */
Test(csv, a_nul_far_within_is_no_end) {
  enum { LINES = 5000 };
  char text[2 * LINES];
  for (int i = 0; i < LINES; i++) memcpy(text + 2 * i, "1\n", 2);
  text[2 * LINES - 3] = '\0';
  th_numbers features;
  scratch_write("table.csv", text, sizeof text);
  assert_failed(th_features_read("table.csv", &features), TH_ERR_DATA, "line 4999");
}

Test(csv, gzip_is_unpacked) {
  th_numbers features;
  scratch_write_gzip("table.csv.gz", "1,2\n3,4\n", 8);
  cr_assert_eq(th_features_read("table.csv.gz", &features), TH_OK, "%s", th_error_text());
  cr_assert_eq(memcmp(features.values, one_to_four, sizeof one_to_four), 0);
  th_numbers_fini(&features);
}

/* ---- labels ---- */

static th_error labels_of(const char *text, th_indices *labels) {
  scratch_write("labels.csv", text, strlen(text));
  return th_indices_read("labels.csv", labels);
}

static void assert_labels_refused(const char *text, const char *words) {
  th_indices labels;
  assert_failed(labels_of(text, &labels), TH_ERR_DATA, words);
}

Test(csv, labels_are_whole_numbers_with_or_without_a_header) {
  static const char *const texts[] = {"0\n2\n2147483647\n", "class\n0\n2\n2147483647",
                                      "0.0\n2e0\n2147483647.0\n"};
  for (size_t i = 0; i < 3; i++) {
    th_indices labels;
    cr_assert_eq(labels_of(texts[i], &labels), TH_OK, "%s", th_error_text());
    cr_assert_eq(labels.rows, 3);
    cr_assert_eq(labels.values[0], 0);
    cr_assert_eq(labels.values[1], 2);
    cr_assert_eq(labels.values[2], INT32_MAX);
    th_indices_fini(&labels);
    th_indices_fini(&labels);
  }
}

Test(csv, what_is_no_label_is_refused_with_its_place) {
  assert_labels_refused("0\n-1\n", "line 2, field 1: \"-1\" is not a whole number");
  assert_labels_refused("0\n1.5\n", "1.5");
  assert_labels_refused("0\n2147483648\n", "2147483647");
  assert_labels_refused("0\n1e300\n", "whole number");
  assert_labels_refused("0\nnan\n", "whole number");
  assert_labels_refused("0\ncat\n", "no number");
  assert_labels_refused("0,1\n", "2 columns");
}

/* ---- a whole data set in one file ---- */

/* Its labels are column y. */
static th_error labeled_of(const char *text, const char *column, th_table *table) {
  const char *const columns[TH_ARRAY_DATA_COUNT] = {[TH_ARRAY_LABELS] = column};
  scratch_write("both.csv", text, strlen(text));
  return th_csv_read_table("both.csv", columns, table);
}

static void assert_array(const th_table *table, th_array array, const void *values, size_t bytes) {
  cr_assert_not_null(table->arrays[array], "no %s", th_array_name(array));
  cr_assert_eq(memcmp(table->arrays[array], values, bytes), 0, "%s", th_array_name(array));
}

Test(csv, the_named_column_is_the_labels_wherever_it_stands) {
  static const char *const texts[] = {"y,a,b\n7,1,2\n8,3,4\n", "a,y,b\n1,7,2\n3,8,4\n",
                                      "a,b,\"y\"\r\n1,2,7\r\n3,4,8\r\n"};
  static const int32_t labels[] = {7, 8};
  for (size_t i = 0; i < 3; i++) {
    th_table table;
    cr_assert_eq(labeled_of(texts[i], "y", &table), TH_OK, "%s", th_error_text());
    cr_assert_eq(table.rows, 2);
    cr_assert_eq(table.width, 2);
    cr_assert_eq(table.target_width, 0);
    assert_array(&table, TH_ARRAY_FEATURES, one_to_four, sizeof one_to_four);
    assert_array(&table, TH_ARRAY_LABELS, labels, sizeof labels);
    for (int array = TH_ARRAY_TARGETS; array < TH_ARRAY_DATA_COUNT; array++)
      cr_assert_null(table.arrays[array]);
    th_table_fini(&table);
    th_table_fini(&table);
  }
}

static const char *const all_columns[TH_ARRAY_DATA_COUNT] = {
    [TH_ARRAY_TARGETS] = "return", [TH_ARRAY_WEIGHTS] = "weight", [TH_ARRAY_GROUPS] = "symbol"};

Test(csv, targets_weights_and_groups_are_columns_too) {
  static const float targets[] = {-0.5F, 2.25F}, weights[] = {1, 0.5F};
  static const int32_t groups[] = {3, 0};
  static const char text[] = "symbol;a;weight;b;return\n3;1;1;2;-0.5\n0;3;0.5;4;2.25\n";
  th_table table;
  scratch_write("all.csv", text, strlen(text));
  cr_assert_eq(th_csv_read_table("all.csv", all_columns, &table), TH_OK, "%s", th_error_text());
  cr_assert_eq(table.width, 2);
  cr_assert_eq(table.target_width, 1);
  assert_array(&table, TH_ARRAY_FEATURES, one_to_four, sizeof one_to_four);
  assert_array(&table, TH_ARRAY_TARGETS, targets, sizeof targets);
  assert_array(&table, TH_ARRAY_WEIGHTS, weights, sizeof weights);
  assert_array(&table, TH_ARRAY_GROUPS, groups, sizeof groups);
  cr_assert_null(table.arrays[TH_ARRAY_LABELS]);
  th_table_fini(&table);
}

static void assert_table_refused(const char *text, th_error error, const char *words) {
  th_table table;
  scratch_write("all.csv", text, strlen(text));
  assert_failed(th_csv_read_table("all.csv", all_columns, &table), error, words);
}

Test(csv, what_cannot_be_a_target_weight_or_group_is_refused_with_its_place) {
  assert_table_refused("a,return,weight,symbol\n1,nan,1,0\n", TH_ERR_DATA,
                       "field 2: \"nan\" is NaN");
  assert_table_refused("a,return,weight,symbol\n1,1,1e39,0\n", TH_ERR_DATA, "field 3");
  assert_table_refused("a,return,weight,symbol\n1,1,1,-1\n", TH_ERR_DATA, "whole number");
  assert_table_refused("a,return,weight,symbol\n1,1,1,0.5\n", TH_ERR_DATA, "whole number");
  assert_table_refused("a,return,weights,symbol\n1,1,1,1\n", TH_ERR_USAGE,
                       "did you mean \"weights\"");
  assert_table_refused("return,weight,symbol\n1,1,1\n", TH_ERR_DATA, "no column of features");
}

Test(csv, one_column_is_not_two_arrays) {
  static const char *const columns[TH_ARRAY_DATA_COUNT] = {
      [TH_ARRAY_LABELS] = "y", [TH_ARRAY_GROUPS] = "y"};
  th_table table;
  scratch_write("all.csv", "a,y\n1,2\n", 8);
  assert_failed(th_csv_read_table("all.csv", columns, &table), TH_ERR_USAGE,
                "both labels and groups");
}

/* A line that is short of fields begins in the memory of the rows before it. */
Test(csv, the_shortest_lines_fit_their_memory) {
  static const int32_t labels[] = {1, 2};
  th_table table;
  cr_assert_eq(labeled_of("y,a\n1,1\n2,1", "y", &table), TH_OK, "%s", th_error_text());
  assert_array(&table, TH_ARRAY_LABELS, labels, sizeof labels);
  th_table_fini(&table);
  assert_failed(labeled_of("y,a\n1,1\n2,1\n3", "y", &table), TH_ERR_DATA, "line 4 has 1 field");
}

Test(csv, a_quoted_name_is_the_text_within_its_quotes) {
  static const int32_t label = 2;
  th_table table;
  cr_assert_eq(
      labeled_of("a,\"the \"\"y\"\", in\nquotes\"\n1,2\n", "the \"y\", in\nquotes", &table), TH_OK,
      "%s", th_error_text());
  assert_array(&table, TH_ARRAY_LABELS, &label, sizeof label);
  th_table_fini(&table);
  assert_failed(labeled_of("a,\"y\ny\"\nx,2\n", "y\ny", &table), TH_ERR_DATA, "line 3");
}

Test(csv, a_label_column_that_is_not_there_is_refused) {
  th_table table;
  assert_failed(labeled_of("a,label\n1,2\n", "lable", &table), TH_ERR_USAGE,
                "did you mean \"label\"");
  assert_failed(labeled_of("a,b\n1,2\n", "species", &table), TH_ERR_USAGE, "no column \"species\"");
  assert_failed(labeled_of("1,2\n", "y", &table), TH_ERR_DATA, "no header");
  assert_failed(labeled_of("y\n1\n", "y", &table), TH_ERR_DATA, "besides");
  assert_failed(labeled_of("y,a,y\n1,2,3\n", "y", &table), TH_ERR_DATA, "two columns");
  assert_failed(labeled_of("y,a\n1.5,2\n", "y", &table), TH_ERR_DATA, "whole number");
  assert_failed(labeled_of("y,a\n1,nan\n", "y", &table), TH_ERR_DATA, "NaN");
  scratch_write("both.csv", "\0\0\x08\x01\0\0\0\1\5", 9);
  assert_failed(th_csv_read_table("both.csv", all_columns, &table), TH_ERR_DATA, "no CSV");
}

/* ---- damage ---- */

static th_error features_read_and_free(const char *name) {
  th_numbers features = {0};
  th_error error = th_features_read(name, &features);
  th_numbers_fini(&features);
  return error;
}

/* Another name than the one asked for is the caller's mistake. */
static th_error labeled_read_and_free(const char *name) {
  static const char *const columns[TH_ARRAY_DATA_COUNT] = {[TH_ARRAY_LABELS] = "y"};
  th_table table = {0};
  th_error error = th_csv_read_table(name, columns, &table);
  th_table_fini(&table);
  return error == TH_ERR_USAGE ? TH_ERR_DATA : error;
}

Test(csv, every_damage_is_judged) {
  static const char text[] = "\xEF\xBB\xBF\"a\"\"b\",y\r\n-1.5e3,2\r\n\"7\",3\r\n\r\n";
  scratch_corrupt("damaged.csv", text, sizeof text - 1, features_read_and_free);
  scratch_corrupt("damaged.csv", text, sizeof text - 1, labeled_read_and_free);
}

/*
 * The text is read once, from left to right, and each number is converted where it stands and
 * stored where it belongs. There is no list of fields or lines in between.
 */
#include "formats/csv.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/memory.h"
#include "base/nearest.h"
#include "formats/array.h"
#include "formats/decimal.h"

#define COLUMN_NONE UINT64_MAX

/** A place in the text and what holds for all of it. */
typedef struct csv_text {
  const char *path;
  char *at; /* always within the text or at its end, where a NUL stands */
  const char *end;
  uint64_t line; /* from 1 */
  char delimiter;
  locale_t c_locale; /* the process's own may have a decimal comma */
} csv_text;

/* ---- fields and lines ---- */

/* Lines end with LF, CR LF, or the CR alone that some spreadsheets still write. */
static bool is_line_end(const csv_text *csv, const char *at) {
  return *at == '\n' || *at == '\r' || at == csv->end;
}

static bool is_field_end(const csv_text *csv, const char *at) {
  return *at == csv->delimiter || is_line_end(csv, at);
}

static void line_end_skip(csv_text *csv) {
  if (*csv->at == '\r') csv->at++;
  if (*csv->at == '\n') csv->at++;
  csv->line++;
}

static bool delimiter_skip(csv_text *csv) {
  if (csv->at == csv->end || *csv->at != csv->delimiter) return false;
  csv->at++;
  return true;
}

static const char *spaces_skip(const char *at) {
  while (*at == ' ') at++;
  return at;
}

/* The start of the field as text for a person: nothing in it can upset a terminal or JSON. */
enum { EXCERPT_BYTES = 24 };

static const char *excerpt(const csv_text *csv, char text[EXCERPT_BYTES]) {
  size_t i = 0;
  for (const char *at = csv->at; i < EXCERPT_BYTES - 1 && !is_field_end(csv, at); i++, at++)
    text[i] = *at >= ' ' && *at <= '~' ? *at : '?';
  text[i] = '\0';
  return text;
}

/* Take a field as a number, in quotes or not; the place stays if it is none. A number within quotes
 * holds no delimiter, so that it needs no unquoting. */
static bool number_take(csv_text *csv, double *number) {
  const char *at = spaces_skip(csv->at);
  bool is_quoted = *at == '"';
  if (is_quoted) at = spaces_skip(at + 1);
  at = th_decimal_read(at, csv->c_locale, number);
  if (at == NULL) return false;
  at = spaces_skip(at);
  if (is_quoted && *at++ != '"') return false;
  if (is_quoted) at = spaces_skip(at);
  if (!is_field_end(csv, at)) return false;
  csv->at += at - csv->at;
  return true;
}

/* Take a field as text, unquoted in place: it never becomes longer.
 * @param text  [out] not yet terminated: the delimiter still stands where the NUL belongs. */
static th_error text_take(csv_text *csv, char **text, size_t *length) {
  char *to = csv->at;
  *text = to;
  if (*csv->at != '"') {
    while (!is_field_end(csv, csv->at)) csv->at++;
    *length = (size_t)(csv->at - *text);
    return TH_OK;
  }
  uint64_t opened_line = csv->line;
  csv->at++;
  /* A quote within quotes is doubled; a line may end within them. */
  for (; csv->at < csv->end && (*csv->at != '"' || csv->at[1] == '"'); csv->at++) {
    if (*csv->at == '"') csv->at++;
    if (*csv->at == '\n') csv->line++;
    *to++ = *csv->at;
  }
  if (csv->at == csv->end || !is_field_end(csv, csv->at + 1))
    return th_fail(TH_ERR_DATA, "%s: line %llu: a quoted field does not end with its quote",
                   csv->path, (unsigned long long)opened_line);
  csv->at++;
  *length = (size_t)(to - *text);
  return TH_OK;
}

/* ---- the first line ---- */

/** What is asked for, and what the first line tells. */
typedef struct csv_layout {
  const char *const *columns; /* by th_array, the names that are asked for; NULL: none is */
  bool has_features;
  uint64_t fields; /* in a line */
  uint64_t places[TH_ARRAY_DATA_COUNT]; /* of the columns that are no features; or COLUMN_NONE */
} csv_layout;

/* The delimiter is the first of those known that stands outside quotes. */
static char delimiter_guess(const csv_text *csv) {
  bool is_quoted = false;
  for (const char *at = csv->at; is_quoted || !is_line_end(csv, at); at++) {
    if (at == csv->end) break;
    if (*at == '"') is_quoted = !is_quoted;
    if (!is_quoted && *at != '\0' && strchr(";\t,", *at) != NULL) return *at;
  }
  return ',';
}

/* A field that is no number makes a header; but an empty one may be a number that is missing.
 * @param fields  [out] how many the line has, unless it is a header. */
static bool header_is_next(csv_text csv, uint64_t *fields) {
  double number;
  *fields = 0;
  do {
    if (!number_take(&csv, &number) && !is_field_end(&csv, csv.at)) return true;
    *fields += 1;
  } while (delimiter_skip(&csv));
  return false;
}

static void names_free(char **names, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) free(names[i]);
  free(names);
}

/* Take all of the header's names, each in memory of its own. There are as many as fit the file: its
 * header can be a line like any other, with thousands of columns. */
static th_error names_take(csv_text *csv, char ***names, uint64_t *count) {
  uint64_t capacity = 0;
  *names = NULL;
  *count = 0;
  do {
    if (*count == capacity) {
      capacity = 2 * capacity + 16;
      char **larger = realloc(*names, capacity * sizeof **names);
      if (larger == NULL)
        return th_fail(TH_ERR_SYSTEM, "no memory for the header of %s", csv->path);
      *names = larger;
    }
    char *text;
    size_t length = 0;
    th_error error = text_take(csv, &text, &length);
    if (error != TH_OK) return error;
    (*names)[*count] = strndup(text, length);
    if ((*names)[*count] == NULL)
      return th_fail(TH_ERR_SYSTEM, "no memory for the header of %s", csv->path);
    *count += 1;
  } while (delimiter_skip(csv));
  return TH_OK;
}

static th_error fail_no_column(const csv_text *csv, char *const *names, uint64_t count,
                               const char *name) {
  size_t nearest = th_nearest(name, (const char *const *)names, count);
  if (nearest < count)
    return th_fail(TH_ERR_USAGE, "%s has no column \"%.60s\"; did you mean \"%.60s\"?", csv->path,
                   name, names[nearest]);
  return th_fail(TH_ERR_USAGE, "%s has no column \"%.60s\" among its %llu", csv->path, name,
                 (unsigned long long)count);
}

/* A name that stands twice would make what is read a matter of luck. */
static th_error column_find(const csv_text *csv, char *const *names, uint64_t count,
                            const char *name, uint64_t *place) {
  for (uint64_t i = 0; i < count; i++) {
    if (strcmp(names[i], name) != 0) continue;
    if (*place != COLUMN_NONE)
      return th_fail(TH_ERR_DATA, "%s: two columns are named \"%.60s\"", csv->path, name);
    *place = i;
  }
  return *place != COLUMN_NONE ? TH_OK : fail_no_column(csv, names, count, name);
}

/* What a column is: features, unless it was asked for by name. */
static th_array array_of(const csv_layout *layout, uint64_t column) {
  for (int i = TH_ARRAY_LABELS; i < TH_ARRAY_DATA_COUNT; i++)
    if (layout->places[i] == column) return (th_array)i;
  return TH_ARRAY_FEATURES;
}

static th_error columns_find(const csv_text *csv, char *const *names, csv_layout *layout) {
  for (int i = TH_ARRAY_LABELS; i < TH_ARRAY_DATA_COUNT; i++) {
    if (layout->columns[i] == NULL) continue;
    uint64_t place = COLUMN_NONE;
    th_error error = column_find(csv, names, layout->fields, layout->columns[i], &place);
    if (error != TH_OK) return error;
    th_array before = array_of(layout, place);
    if (before != TH_ARRAY_FEATURES)
      return th_fail(TH_ERR_USAGE, "%s: the column \"%.60s\" cannot be both %s and %s", csv->path,
                     layout->columns[i], th_array_name(before), th_array_name((th_array)i));
    layout->places[i] = place;
  }
  return TH_OK;
}

/* Read the header, if there is one, and find out how many fields a line has. */
static th_error layout_read(csv_text *csv, csv_layout *layout) {
  if (!header_is_next(*csv, &layout->fields)) {
    if (layout->columns == NULL) return TH_OK;
    return th_fail(TH_ERR_DATA, "%s has no header line to name its columns", csv->path);
  }
  char **names;
  th_error error = names_take(csv, &names, &layout->fields);
  if (error == TH_OK && layout->columns != NULL) error = columns_find(csv, names, layout);
  names_free(names, layout->fields);
  if (error == TH_OK) line_end_skip(csv);
  return error;
}

static uint64_t layout_width(const csv_layout *layout) {
  uint64_t width = layout->fields;
  for (int i = TH_ARRAY_LABELS; i < TH_ARRAY_DATA_COUNT; i++)
    width -= layout->places[i] != COLUMN_NONE;
  return width;
}

static th_error layout_judge(const csv_text *csv, const csv_layout *layout) {
  if (layout->fields > UINT32_MAX)
    return th_fail(TH_ERR_DATA, "%s: more than 2^32 columns", csv->path);
  if (!layout->has_features && layout->fields != 1)
    return th_fail(TH_ERR_DATA, "%s has %llu columns, where one is wanted", csv->path,
                   (unsigned long long)layout->fields);
  if (layout->has_features && layout_width(layout) == 0)
    return th_fail(TH_ERR_DATA, "%s has no column of features besides those asked for by name",
                   csv->path);
  return TH_OK;
}

/* ---- rows ---- */

/** Where the numbers go, and how many have. */
typedef struct csv_sink {
  void *arrays[TH_ARRAY_DATA_COUNT]; /* by th_array; NULL: none */
  uint64_t feature_count, rows;
} csv_sink;

static th_error field_fail(const csv_text *csv, uint64_t column, const char *what) {
  char text[EXCERPT_BYTES];
  return th_fail(TH_ERR_DATA, "%s: line %llu, field %llu: \"%s\" %s", csv->path,
                 (unsigned long long)csv->line, (unsigned long long)column + 1, excerpt(csv, text),
                 what);
}

/* Store a number where it belongs. It is rounded twice, to double and to float32, as NumPy does
 * that reads text. @return what is wrong with it; NULL: nothing. */
static const char *number_store(double number, th_array array, csv_sink *sink) {
  if (array == TH_ARRAY_LABELS || array == TH_ARRAY_GROUPS) {
    int32_t *indices = sink->arrays[array];
    return th_index_take(number, &indices[sink->rows]) ? NULL : TH_INDEX_PROBLEM;
  }
  float value = (float)number, *values = sink->arrays[array];
  values[array == TH_ARRAY_FEATURES ? sink->feature_count++ : sink->rows] = value;
  if (isfinite(value)) return NULL;
  return isnan(value) ? "is NaN" : "is infinite or too large for float32";
}

static th_error field_take(csv_text *csv, uint64_t column, const csv_layout *layout,
                           csv_sink *sink) {
  double number;
  char *begin = csv->at;
  const char *problem;
  if (number_take(csv, &number))
    problem = number_store(number, array_of(layout, column), sink);
  else
    problem = is_field_end(csv, csv->at) ? "is empty; every field needs a number" : "is no number";
  if (problem == NULL) return TH_OK;
  csv->at = begin;
  return field_fail(csv, column, problem);
}

/* A line with too few or too many fields is refused rather than filled up: nobody could tell which
 * of its numbers belongs where. */
static th_error row_take(csv_text *csv, const csv_layout *layout, csv_sink *sink) {
  for (uint64_t column = 0; column < layout->fields; column++) {
    if (column > 0 && !delimiter_skip(csv))
      return th_fail(TH_ERR_DATA, "%s: line %llu has %llu fields instead of %llu", csv->path,
                     (unsigned long long)csv->line, (unsigned long long)column,
                     (unsigned long long)layout->fields);
    th_error error = field_take(csv, column, layout, sink);
    if (error != TH_OK) return error;
  }
  if (!is_line_end(csv, csv->at))
    return th_fail(TH_ERR_DATA, "%s: line %llu has more than %llu fields", csv->path,
                   (unsigned long long)csv->line, (unsigned long long)layout->fields);
  line_end_skip(csv);
  sink->rows++;
  return TH_OK;
}

/* Empty lines are harmless at the end. Elsewhere one would shift the rows against their labels. */
static bool only_line_ends_are_left(const csv_text *csv) {
  const char *at = csv->at;
  while (at < csv->end && is_line_end(csv, at)) at++;
  return at == csv->end;
}

static th_error rows_take(csv_text *csv, const csv_layout *layout, csv_sink *sink) {
  while (csv->at < csv->end) {
    if (is_line_end(csv, csv->at) && only_line_ends_are_left(csv)) break;
    th_error error = row_take(csv, layout, sink);
    if (error != TH_OK) return error;
  }
  if (sink->rows > 0) return TH_OK;
  return th_fail(TH_ERR_DATA, "%s holds no rows of numbers", csv->path);
}

static void sink_free(csv_sink *sink) {
  for (int i = 0; i < TH_ARRAY_DATA_COUNT; i++) free(sink->arrays[i]);
}

/* A number and what ends it take two bytes at least, but for the last one, so no product overflows;
 * and a line that turns out too short has begun by then. The system gives memory to the pages that
 * are really written, and the rest is given back. */
static th_error sink_allocate(const csv_text *csv, const csv_layout *layout, csv_sink *sink) {
  uint64_t numbers_max = (uint64_t)(csv->end - csv->at) / 2 + 1;
  uint64_t rows_max = numbers_max / layout->fields + 1;
  bool is_there = true;
  for (int i = 0; i < TH_ARRAY_DATA_COUNT; i++) {
    bool is_features = i == TH_ARRAY_FEATURES;
    if (is_features ? !layout->has_features : layout->places[i] == COLUMN_NONE) continue;
    sink->arrays[i] = th_memory_take((is_features ? numbers_max : rows_max) * sizeof(float));
    is_there = is_there && sink->arrays[i] != NULL;
  }
  return is_there ? TH_OK : th_fail(TH_ERR_SYSTEM, "no memory for the numbers of %s", csv->path);
}

/* Shrinking cannot fail in a way that matters: the larger block holds the same numbers. */
static void *shrink(void *data, uint64_t count) {
  void *smaller = reallocarray(data, count, sizeof(float));
  return smaller != NULL ? smaller : data;
}

static void sink_give(csv_sink *sink, uint32_t width, th_table *table) {
  *table = (th_table){
      .rows = sink->rows, .width = width, .target_width = sink->arrays[TH_ARRAY_TARGETS] != NULL};
  for (int i = 0; i < TH_ARRAY_DATA_COUNT; i++)
    if (sink->arrays[i] != NULL)
      table->arrays[i] =
          shrink(sink->arrays[i], i == TH_ARRAY_FEATURES ? sink->feature_count : sink->rows);
}

static th_error text_read(csv_text *csv, csv_layout *layout, th_table *table) {
  csv_sink sink = {0};
  csv->delimiter = delimiter_guess(csv);
  th_error error = layout_read(csv, layout);
  if (error == TH_OK) error = layout_judge(csv, layout);
  if (error == TH_OK) error = sink_allocate(csv, layout, &sink);
  if (error == TH_OK) error = rows_take(csv, layout, &sink);
  if (error == TH_OK)
    sink_give(&sink, (uint32_t)layout_width(layout), table);
  else
    sink_free(&sink);
  return error;
}

static th_error csv_read(const char *path, th_buffer *contents, csv_layout *layout,
                         th_table *table) {
  static const char byte_order_mark[] = "\xEF\xBB\xBF";
  csv_text csv = {.path = path, .at = contents->data, .line = 1};
  csv.end = csv.at + contents->bytes;
  if (strncmp(csv.at, byte_order_mark, 3) == 0) csv.at += 3;
  csv.c_locale = newlocale(LC_ALL_MASK, "C", NULL);
  if (csv.c_locale == NULL) return th_fail_errno(TH_ERR_SYSTEM, "cannot read %s", path);
  th_error error = text_read(&csv, layout, table);
  freelocale(csv.c_locale);
  return error;
}

/* ---- what is asked for ---- */

static csv_layout layout_of(const char *const *columns, bool has_features) {
  csv_layout layout = {.columns = columns, .has_features = has_features};
  for (int i = 0; i < TH_ARRAY_DATA_COUNT; i++) layout.places[i] = COLUMN_NONE;
  return layout;
}

th_error th_csv_to_numbers(const char *path, th_buffer *contents, th_numbers *numbers) {
  csv_layout layout = layout_of(NULL, true);
  th_table table;
  th_error error = csv_read(path, contents, &layout, &table);
  if (error == TH_OK)
    *numbers = (th_numbers){
        .values = table.arrays[TH_ARRAY_FEATURES], .rows = table.rows, .width = table.width};
  return error;
}

th_error th_csv_to_indices(const char *path, th_buffer *contents, th_indices *indices) {
  csv_layout layout = layout_of(NULL, false);
  th_table table;
  /* Labels and groups are taken alike. */
  layout.places[TH_ARRAY_LABELS] = 0;
  th_error error = csv_read(path, contents, &layout, &table);
  if (error == TH_OK)
    *indices = (th_indices){.values = table.arrays[TH_ARRAY_LABELS], .rows = table.rows};
  return error;
}

th_error th_csv_to_table(const char *path, th_buffer *contents,
                         const char *const columns[TH_ARRAY_DATA_COUNT], th_table *table) {
  csv_layout layout = layout_of(columns, true);
  return csv_read(path, contents, &layout, table);
}

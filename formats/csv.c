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

/** What the first line tells. */
typedef struct csv_layout {
  uint64_t fields;
  uint64_t label_column; /* COLUMN_NONE: no column is one */
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

/* A name that stands twice would make the labels a matter of luck. */
static th_error label_column_find(const csv_text *csv, char *const *names, uint64_t count,
                                  const char *label_column, uint64_t *found) {
  *found = COLUMN_NONE;
  for (uint64_t i = 0; i < count; i++) {
    if (strcmp(names[i], label_column) != 0) continue;
    if (*found != COLUMN_NONE)
      return th_fail(TH_ERR_DATA, "%s: two columns are named \"%.60s\"", csv->path, label_column);
    *found = i;
  }
  if (*found != COLUMN_NONE) return TH_OK;
  size_t nearest = th_nearest(label_column, (const char *const *)names, count);
  if (nearest < count)
    return th_fail(TH_ERR_USAGE, "%s has no column \"%.60s\"; did you mean \"%.60s\"?", csv->path,
                   label_column, names[nearest]);
  return th_fail(TH_ERR_USAGE, "%s has no column \"%.60s\" among its %llu", csv->path, label_column,
                 (unsigned long long)count);
}

/* Read the header, if there is one, and find out how many fields a line has. */
static th_error layout_read(csv_text *csv, th_csv_columns columns, const char *label_column,
                            csv_layout *layout) {
  layout->label_column = columns == TH_CSV_LABELS ? 0 : COLUMN_NONE;
  if (!header_is_next(*csv, &layout->fields)) {
    if (columns != TH_CSV_LABELED) return TH_OK;
    return th_fail(TH_ERR_DATA, "%s has no header line to name the column \"%.60s\"", csv->path,
                   label_column);
  }
  char **names;
  th_error error = names_take(csv, &names, &layout->fields);
  if (error == TH_OK && columns == TH_CSV_LABELED)
    error = label_column_find(csv, names, layout->fields, label_column, &layout->label_column);
  names_free(names, layout->fields);
  if (error == TH_OK) line_end_skip(csv);
  return error;
}

static th_error layout_judge(const csv_text *csv, const csv_layout *layout,
                             th_csv_columns columns) {
  if (layout->fields > UINT32_MAX)
    return th_fail(TH_ERR_DATA, "%s: more than 2^32 columns", csv->path);
  if (columns == TH_CSV_LABELS && layout->fields != 1)
    return th_fail(TH_ERR_DATA, "%s has %llu columns; labels are one a line", csv->path,
                   (unsigned long long)layout->fields);
  if (columns == TH_CSV_LABELED && layout->fields == 1)
    return th_fail(TH_ERR_DATA, "%s has no column besides the labels", csv->path);
  return TH_OK;
}

/* ---- rows ---- */

/** Where the numbers go, and how many have. */
typedef struct csv_sink {
  float *features;
  int32_t *labels;
  uint64_t feature_count, rows;
} csv_sink;

static th_error field_fail(const csv_text *csv, uint64_t column, const char *what) {
  char text[EXCERPT_BYTES];
  return th_fail(TH_ERR_DATA, "%s: line %llu, field %llu: \"%s\" %s", csv->path,
                 (unsigned long long)csv->line, (unsigned long long)column + 1, excerpt(csv, text),
                 what);
}

/* A feature is rounded twice, to double and to float32, as NumPy does that reads text. */
static th_error field_take(csv_text *csv, uint64_t column, const csv_layout *layout,
                           csv_sink *sink) {
  double number;
  char *begin = csv->at;
  const char *problem = NULL;
  if (!number_take(csv, &number)) {
    problem = is_field_end(csv, csv->at) ? "is empty; every field needs a number" : "is no number";
  } else if (column == layout->label_column) {
    if (th_label_take(number, &sink->labels[sink->rows])) return TH_OK;
    problem = "is no label: labels are whole numbers from 0 to 2147483647";
  } else {
    float feature = (float)number;
    sink->features[sink->feature_count++] = feature;
    if (isfinite(feature)) return TH_OK;
    problem = isnan(feature) ? "is NaN" : "is infinite or too large for float32";
  }
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

static th_error sink_allocate(const csv_text *csv, th_csv_columns columns, csv_sink *sink) {
  /* A number and what ends it take two bytes at least, but for the last one; so no product
   * overflows. The system gives memory to the pages that are really written, and the rest is given
   * back. */
  uint64_t numbers_max = (uint64_t)(csv->end - csv->at) / 2 + 1;
  if (columns != TH_CSV_LABELS)
    sink->features = th_memory_take(numbers_max * sizeof *sink->features);
  if (columns != TH_CSV_FEATURES) sink->labels = th_memory_take(numbers_max * sizeof *sink->labels);
  if ((columns == TH_CSV_LABELS || sink->features != NULL) &&
      (columns == TH_CSV_FEATURES || sink->labels != NULL))
    return TH_OK;
  return th_fail(TH_ERR_SYSTEM, "no memory for the numbers of %s", csv->path);
}

/* Shrinking cannot fail in a way that matters: the larger block holds the same numbers. */
static void *shrink(void *data, uint64_t count, size_t bytes) {
  void *smaller = reallocarray(data, count, bytes);
  return smaller != NULL ? smaller : data;
}

static void sink_give(csv_sink *sink, uint32_t width, th_features *features, th_labels *labels) {
  if (sink->features != NULL) {
    float *values = shrink(sink->features, sink->feature_count, sizeof *sink->features);
    *features = (th_features){.values = values, .rows = sink->rows, .width = width};
  }
  if (sink->labels != NULL) {
    int32_t *values = shrink(sink->labels, sink->rows, sizeof *sink->labels);
    *labels = (th_labels){.values = values, .rows = sink->rows};
  }
}

static th_error text_read(csv_text *csv, th_csv_columns columns, const char *label_column,
                          th_features *features, th_labels *labels) {
  csv_layout layout;
  csv_sink sink = {0};
  csv->delimiter = delimiter_guess(csv);
  th_error error = layout_read(csv, columns, label_column, &layout);
  if (error == TH_OK) error = layout_judge(csv, &layout, columns);
  if (error == TH_OK) error = sink_allocate(csv, columns, &sink);
  if (error == TH_OK) error = rows_take(csv, &layout, &sink);
  if (error != TH_OK) {
    free(sink.features);
    free(sink.labels);
    return error;
  }
  sink_give(&sink, (uint32_t)(layout.fields - (columns == TH_CSV_LABELED)), features, labels);
  return TH_OK;
}

th_error th_csv_read(const char *path, th_buffer *contents, th_csv_columns columns,
                     const char *label_column, th_features *features, th_labels *labels) {
  static const char byte_order_mark[] = "\xEF\xBB\xBF";
  csv_text csv = {.path = path, .at = contents->data, .line = 1};
  csv.end = csv.at + contents->bytes;
  if (strncmp(csv.at, byte_order_mark, 3) == 0) csv.at += 3;
  csv.c_locale = newlocale(LC_ALL_MASK, "C", NULL);
  if (csv.c_locale == NULL) return th_fail_errno(TH_ERR_SYSTEM, "cannot read %s", path);
  th_error error = text_read(&csv, columns, label_column, features, labels);
  freelocale(csv.c_locale);
  return error;
}

/* CSV after RFC 4180, with comma, semicolon or tab, of numbers; quotes are allowed and a header
 * too. */
#include <ctype.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "formats/reader.h"

enum { COLUMNS_MAX = 1 << 20, NUMBER_BYTES_MAX = 63, SHOWN_BYTES_MAX = 30 };

/* One field of a line, without its quotes. */
typedef struct csv_field {
  const char *text;
  size_t bytes;
} csv_field;

typedef struct csv_reader {
  const char *path;
  const char *at, *end; /* of what is not read yet; a NUL follows the end */
  uint32_t line; /* being read, from 1 */
  char delimiter;
  locale_t plain; /* the "C" locale, in which a point is a point */
  th_csv *csv;
  uint64_t rows_max;
} csv_reader;

static th_error fail_at(const csv_reader *reader, uint32_t column, const char *what,
                        csv_field field) {
  int shown = field.bytes < SHOWN_BYTES_MAX ? (int)field.bytes : SHOWN_BYTES_MAX;
  return th_fail(TH_ERR_DATA, "%s: line %u, column %u: %s: \"%.*s\"", reader->path, reader->line,
                 column + 1, what, shown, field.text);
}

/* ---- numbers ---- */

/* The short ones, exactly: up to 15 digits and a power of ten up to 22 are both exact as doubles,
 * so that one operation rounds once (Clinger 1990, "How to read floating point numbers
 * accurately"). */
static bool number_read_short(const char *text, const char *end, double *number) {
  static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                  1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  bool is_negative = text < end && *text == '-';
  if (is_negative || (text < end && *text == '+')) text++;
  uint64_t digits = 0;
  int count = 0, decimals = 0;
  bool has_point = false;
  for (; text < end; text++) {
    if (*text == '.' && !has_point) {
      has_point = true;
    } else if (*text >= '0' && *text <= '9') {
      digits = digits * 10 + (uint64_t)(*text - '0');
      decimals += has_point;
      if (++count > 15) return false;
    } else {
      return false;
    }
  }
  double value = (double)digits / powers[decimals];
  *number = is_negative ? -value : value;
  return count > 0;
}

static bool number_read(const csv_reader *reader, csv_field field, double *number) {
  const char *text = field.text, *end = text + field.bytes;
  while (text < end && *text == ' ') text++;
  while (end > text && end[-1] == ' ') end--;
  if (number_read_short(text, end, number)) return true;
  char copy[NUMBER_BYTES_MAX + 1], *stop;
  size_t bytes = (size_t)(end - text);
  if (bytes == 0 || bytes > NUMBER_BYTES_MAX || isspace((unsigned char)*text)) return false;
  memcpy(copy, text, bytes);
  copy[bytes] = '\0';
  *number = strtod_l(copy, &stop, reader->plain);
  return *stop == '\0';
}

/* ---- fields and lines ---- */

/* @return TH_ERR_DATA if a quote is not closed on its line, or something follows it. */
static th_error field_take(csv_reader *reader, uint32_t column, csv_field *field) {
  bool is_quoted = *reader->at == '"';
  const char *begin = reader->at + is_quoted, *at = begin;
  if (is_quoted) {
    while (at < reader->end && *at != '"' && *at != '\n') at++;
    *field = (csv_field){begin, (size_t)(at - begin)};
    if (at == reader->end || *at == '\n')
      return fail_at(reader, column, "the quote is not closed", *field);
    at++;
  } else {
    while (at < reader->end && *at != reader->delimiter && *at != '\n' && *at != '\r') at++;
    *field = (csv_field){begin, (size_t)(at - begin)};
  }
  reader->at = at;
  bool is_end = at == reader->end || *at == '\n' || (*at == '\r' && at[1] == '\n');
  if (is_end || *at == reader->delimiter) return TH_OK;
  return fail_at(reader, column, "something follows the closing quote, or a stray return", *field);
}

/* Past the delimiter. @return false at the end of the line, of which it then is past. */
static bool field_next(csv_reader *reader) {
  if (reader->at < reader->end && *reader->at == reader->delimiter) {
    reader->at++;
    return true;
  }
  if (reader->at < reader->end && *reader->at == '\r') reader->at++;
  if (reader->at < reader->end) reader->at++;
  reader->line++;
  return false;
}

static char delimiter_find(const char *at, const char *end) {
  for (; at < end && *at != '\n'; at++)
    if (*at == ',' || *at == ';' || *at == '\t') return *at;
  return ',';
}

/* ---- the first line: how many columns, and whether it is a header ---- */

static th_error first_line(csv_reader *reader, bool *is_header) {
  csv_reader look = *reader;
  *is_header = false;
  uint32_t columns = 0;
  do {
    csv_field field;
    double number;
    th_error error = field_take(&look, columns, &field);
    if (error != TH_OK) return error;
    *is_header |= !number_read(&look, field, &number);
    if (++columns > COLUMNS_MAX)
      return th_fail(TH_ERR_DATA, "%s: more than %d columns", reader->path, COLUMNS_MAX);
  } while (field_next(&look));
  reader->csv->width = columns;
  return TH_OK;
}

static th_error header_take(csv_reader *reader) {
  th_csv *csv = reader->csv;
  csv->names = calloc(csv->width, sizeof *csv->names);
  if (csv->names == NULL) return th_fail(TH_ERR_SYSTEM, "no memory for the columns' names");
  for (uint32_t column = 0; column < csv->width; column++) {
    csv_field field;
    th_error error = field_take(reader, column, &field);
    if (error != TH_OK) return error;
    csv->names[column] = strndup(field.text, field.bytes);
    if (csv->names[column] == NULL) return th_fail(TH_ERR_SYSTEM, "no memory for a column's name");
    (void)field_next(reader);
  }
  return TH_OK;
}

/* ---- the rows ---- */

static th_error rows_reserve(csv_reader *reader) {
  th_csv *csv = reader->csv;
  if (csv->rows < reader->rows_max) return TH_OK;
  uint64_t rows = reader->rows_max * 2 + 1024;
  double *values = reallocarray(csv->values, rows * csv->width, sizeof *values);
  if (values != NULL) csv->values = values;
  uint32_t *lines = reallocarray(csv->lines, rows, sizeof *lines);
  if (lines != NULL) csv->lines = lines;
  if (values == NULL || lines == NULL)
    return th_fail(TH_ERR_SYSTEM, "%s: no memory for %llu rows of %u", reader->path,
                   (unsigned long long)rows, csv->width);
  reader->rows_max = rows;
  return TH_OK;
}

static th_error row_take(csv_reader *reader) {
  th_csv *csv = reader->csv;
  double *values = csv->values + csv->rows * csv->width;
  csv->lines[csv->rows] = reader->line;
  uint32_t column = 0, line = reader->line;
  do {
    csv_field field;
    th_error error = field_take(reader, column, &field);
    if (error != TH_OK) return error;
    if (column == csv->width)
      return fail_at(reader, column, "more columns than on the first line", field);
    if (!number_read(reader, field, &values[column]))
      return fail_at(reader, column, field.bytes == 0 ? "nothing there" : "no number", field);
    column++;
  } while (field_next(reader));
  if (column < csv->width)
    return th_fail(TH_ERR_DATA, "%s: line %u has %u columns, the first line has %u", reader->path,
                   line, column, csv->width);
  csv->rows++;
  return TH_OK;
}

static bool line_is_empty(const csv_reader *reader) {
  return *reader->at == '\n' || (*reader->at == '\r' && reader->at[1] == '\n');
}

/* Empty lines may end the file, but not stand between rows, where one may mean a lost row. */
static th_error rows_take(csv_reader *reader) {
  uint32_t empty_line = 0;
  while (reader->at < reader->end) {
    if (line_is_empty(reader)) {
      if (empty_line == 0) empty_line = reader->line;
      (void)field_next(reader);
      continue;
    }
    if (empty_line != 0)
      return th_fail(TH_ERR_DATA, "%s: line %u is empty, and rows follow", reader->path,
                     empty_line);
    th_error error = rows_reserve(reader);
    if (error == TH_OK) error = row_take(reader);
    if (error != TH_OK) return error;
  }
  if (reader->csv->rows > 0) return TH_OK;
  return th_fail(TH_ERR_DATA, "%s: there are no rows in it", reader->path);
}

th_error th_csv_parse(const char *path, const th_buffer *file, th_csv *csv) {
  static const char byte_order_mark[] = "\xEF\xBB\xBF";
  *csv = (th_csv){0};
  csv_reader reader = {.path = path, .at = file->data, .line = 1, .csv = csv};
  reader.end = reader.at + file->bytes;
  if (file->bytes >= 3 && memcmp(reader.at, byte_order_mark, 3) == 0) reader.at += 3;
  reader.delimiter = delimiter_find(reader.at, reader.end);
  reader.plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  if (reader.plain == (locale_t)0) return th_fail_errno(TH_ERR_SYSTEM, "no \"C\" locale");
  bool is_header;
  th_error error = first_line(&reader, &is_header);
  if (error == TH_OK && is_header) error = header_take(&reader);
  if (error == TH_OK) error = rows_take(&reader);
  freelocale(reader.plain);
  if (error != TH_OK) th_csv_fini(csv);
  return error;
}

void th_csv_fini(th_csv *csv) {
  for (uint32_t i = 0; csv->names != NULL && i < csv->width; i++) free(csv->names[i]);
  free(csv->names);
  free(csv->values);
  free(csv->lines);
  *csv = (th_csv){0};
}

#include "formats/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/file.h"
#include "formats/reader.h"

/* ---- where in a file a number stands, for errors ---- */

static th_error fail_in_matrix(const th_matrix *matrix, uint64_t index, const char *what,
                               double number) {
  return th_fail(TH_ERR_DATA, "%s: row %llu, column %llu (byte %llu): %s: %g", matrix->path,
                 (unsigned long long)(index / matrix->width + 1),
                 (unsigned long long)(index % matrix->width + 1),
                 (unsigned long long)(matrix->offset + index * th_number_bytes(matrix->type)), what,
                 number);
}

static th_error fail_in_csv(const char *path, const th_csv *csv, uint64_t row, uint32_t column,
                            const char *what) {
  return th_fail(TH_ERR_DATA, "%s: line %u, column %u: %s: %g", path, csv->lines[row], column + 1,
                 what, csv->values[row * csv->width + column]);
}

/* A float32 that overflows is as bad as an infinity in the file. */
static bool is_feature(double number) {
  return isfinite((float)number);
}

static bool is_label(double number) {
  return number >= 0 && number < INT32_MAX && number == floor(number);
}

static const char not_feature[] = "no finite float32";
static const char not_label[] = "no class, which is a whole number from 0 on";

/* ---- numbers of any type ---- */

static uint64_t bits_read(const uint8_t *bytes, uint32_t count, bool is_swapped) {
  uint64_t bits = 0;
  for (uint32_t i = 0; i < count; i++)
    bits |= (uint64_t)bytes[is_swapped ? count - 1 - i : i] << (8 * i);
  return bits;
}

static double number_read(const th_matrix *matrix, uint64_t index) {
  uint32_t count = th_number_bytes(matrix->type);
  uint64_t bits = bits_read(matrix->numbers + index * count, count, matrix->is_swapped);
  switch (matrix->type) {
    case TH_NUMBER_U8:
    case TH_NUMBER_U16:
    case TH_NUMBER_U32:
    case TH_NUMBER_U64:
      return (double)bits;
    case TH_NUMBER_I8:
      return (int8_t)bits;
    case TH_NUMBER_I16:
      return (int16_t)bits;
    case TH_NUMBER_I32:
      return (int32_t)bits;
    case TH_NUMBER_I64:
      return (double)(int64_t)bits;
    case TH_NUMBER_F32: {
      uint32_t half = (uint32_t)bits;
      float number;
      memcpy(&number, &half, sizeof number);
      return number;
    }
    case TH_NUMBER_F64: {
      double number;
      memcpy(&number, &bits, sizeof number);
      return number;
    }
  }
  return NAN;
}

/* ---- features ---- */

static th_error features_reserve(const char *path, uint64_t rows, uint32_t width,
                                 th_features *features) {
  *features = (th_features){.rows = rows, .width = width};
  features->values = reallocarray(NULL, rows, (size_t)width * sizeof(float));
  if (features->values != NULL) return TH_OK;
  return th_fail(TH_ERR_SYSTEM, "%s: no memory for %llu rows of %u", path, (unsigned long long)rows,
                 width);
}

/* The two common cases without a switch for each number: as fast as memory. */
static bool features_copy_fast(const th_matrix *matrix, float *values, uint64_t count) {
  if (matrix->is_pixels) {
    for (uint64_t i = 0; i < count; i++) values[i] = (float)matrix->numbers[i] / 255.0f;
    return true;
  }
  if (matrix->type != TH_NUMBER_F32 || matrix->is_swapped) return false;
  memcpy(values, matrix->numbers, count * sizeof *values);
  return true;
}

static th_error features_judge(const th_matrix *matrix, const float *values, uint64_t count) {
  /* A finite number minus itself is 0, and all else is NaN, which stays in the sum. The loop has no
   * branch. */
  enum { CHUNK = 4096 };
  for (uint64_t begin = 0; begin < count; begin += CHUNK) {
    uint64_t end = begin + CHUNK < count ? begin + CHUNK : count;
    float sum = 0;
    for (uint64_t i = begin; i < end; i++) sum += values[i] - values[i];
    if (sum == 0) continue;
    for (uint64_t i = begin; i < end; i++)
      if (!isfinite(values[i]))
        return fail_in_matrix(matrix, i, not_feature, number_read(matrix, i));
  }
  return TH_OK;
}

static th_error features_from_matrix(const th_matrix *matrix, th_features *features) {
  uint64_t count = matrix->rows * matrix->width;
  th_error error = features_reserve(matrix->path, matrix->rows, (uint32_t)matrix->width, features);
  if (error != TH_OK) return error;
  if (!features_copy_fast(matrix, features->values, count))
    for (uint64_t i = 0; i < count; i++) features->values[i] = (float)number_read(matrix, i);
  error = features_judge(matrix, features->values, count);
  if (error != TH_OK) th_features_fini(features);
  return error;
}

/* All columns but one; UINT32_MAX leaves none out. */
static th_error features_from_csv(const char *path, const th_csv *csv, uint32_t left_out,
                                  th_features *features) {
  uint32_t width = csv->width - (left_out < csv->width);
  if (width == 0) return th_fail(TH_ERR_DATA, "%s: no column is left for features", path);
  th_error error = features_reserve(path, csv->rows, width, features);
  if (error != TH_OK) return error;
  float *to = features->values;
  for (uint64_t row = 0; row < csv->rows; row++)
    for (uint32_t column = 0; column < csv->width; column++) {
      if (column == left_out) continue;
      double number = csv->values[row * csv->width + column];
      if (!is_feature(number)) {
        th_features_fini(features);
        return fail_in_csv(path, csv, row, column, not_feature);
      }
      *to++ = (float)number;
    }
  return TH_OK;
}

/* ---- labels ---- */

static th_error labels_reserve(const char *path, uint64_t rows, th_labels *labels) {
  *labels = (th_labels){.rows = rows, .values = reallocarray(NULL, rows, sizeof(int32_t))};
  if (labels->values != NULL) return TH_OK;
  return th_fail(TH_ERR_SYSTEM, "%s: no memory for %llu labels", path, (unsigned long long)rows);
}

static th_error labels_from_matrix(const th_matrix *matrix, th_labels *labels) {
  if (matrix->width != 1)
    return th_fail(TH_ERR_DATA, "%s: labels are one number a row, and here are %llu", matrix->path,
                   (unsigned long long)matrix->width);
  th_error error = labels_reserve(matrix->path, matrix->rows, labels);
  for (uint64_t row = 0; row < matrix->rows && error == TH_OK; row++) {
    double number = number_read(matrix, row);
    if (is_label(number))
      labels->values[row] = (int32_t)number;
    else
      error = fail_in_matrix(matrix, row, not_label, number);
  }
  if (error != TH_OK) th_labels_fini(labels);
  return error;
}

static th_error labels_from_csv(const char *path, const th_csv *csv, uint32_t column,
                                th_labels *labels) {
  th_error error = labels_reserve(path, csv->rows, labels);
  for (uint64_t row = 0; row < csv->rows && error == TH_OK; row++) {
    double number = csv->values[row * csv->width + column];
    if (is_label(number))
      labels->values[row] = (int32_t)number;
    else
      error = fail_in_csv(path, csv, row, column, not_label);
  }
  if (error != TH_OK) th_labels_fini(labels);
  return error;
}

/* ---- files ---- */

static th_error matrix_open(const char *path, const th_buffer *file, th_matrix *matrix) {
  return th_npy_is(file) ? th_npy_open(path, file, matrix) : th_idx_open(path, file, matrix);
}

static bool is_binary(const th_buffer *file) {
  return th_npy_is(file) || th_idx_is(file);
}

th_error th_features_read(const char *path, th_features *features) {
  th_buffer file;
  th_matrix matrix;
  th_csv csv;
  th_error error = th_file_read(path, &file);
  if (error != TH_OK) return error;
  if (is_binary(&file)) {
    error = matrix_open(path, &file, &matrix);
    if (error == TH_OK) error = features_from_matrix(&matrix, features);
  } else {
    error = th_csv_parse(path, &file, &csv);
    if (error == TH_OK) error = features_from_csv(path, &csv, UINT32_MAX, features);
    th_csv_fini(&csv);
  }
  th_buffer_fini(&file);
  return error;
}

static th_error labels_from_one_column(const char *path, const th_csv *csv, th_labels *labels) {
  if (csv->width != 1)
    return th_fail(TH_ERR_DATA, "%s: labels are one number a line, and here are %u", path,
                   csv->width);
  return labels_from_csv(path, csv, 0, labels);
}

th_error th_labels_read(const char *path, th_labels *labels) {
  th_buffer file;
  th_matrix matrix;
  th_csv csv;
  th_error error = th_file_read(path, &file);
  if (error != TH_OK) return error;
  if (is_binary(&file)) {
    error = matrix_open(path, &file, &matrix);
    if (error == TH_OK) error = labels_from_matrix(&matrix, labels);
  } else {
    error = th_csv_parse(path, &file, &csv);
    if (error == TH_OK) error = labels_from_one_column(path, &csv, labels);
    th_csv_fini(&csv);
  }
  th_buffer_fini(&file);
  return error;
}

static th_error column_find(const char *path, const th_csv *csv, const char *name,
                            uint32_t *column) {
  if (csv->names == NULL)
    return th_fail(TH_ERR_DATA, "%s: its first line has no column names, so none is \"%s\"", path,
                   name);
  for (*column = 0; *column < csv->width; ++*column)
    if (strcmp(csv->names[*column], name) == 0) return TH_OK;
  return th_fail(TH_ERR_DATA, "%s: no column is named \"%s\"; the first is \"%s\", the last \"%s\"",
                 path, name, csv->names[0], csv->names[csv->width - 1]);
}

th_error th_csv_read_labeled(const char *path, const char *label_column, th_features *features,
                             th_labels *labels) {
  th_buffer file;
  th_csv csv;
  uint32_t column = 0;
  th_error error = th_file_read(path, &file);
  if (error != TH_OK) return error;
  if (is_binary(&file))
    error = th_fail(TH_ERR_DATA, "%s: a label column needs a CSV file, and this is none", path);
  if (error == TH_OK) error = th_csv_parse(path, &file, &csv);
  th_buffer_fini(&file);
  if (error != TH_OK) return error;
  error = column_find(path, &csv, label_column, &column);
  if (error == TH_OK) error = features_from_csv(path, &csv, column, features);
  if (error == TH_OK) {
    error = labels_from_csv(path, &csv, column, labels);
    if (error != TH_OK) th_features_fini(features);
  }
  th_csv_fini(&csv);
  return error;
}

void th_features_fini(th_features *features) {
  free(features->values);
  *features = (th_features){0};
}

void th_labels_fini(th_labels *labels) {
  free(labels->values);
  *labels = (th_labels){0};
}

/**
 * Tables of numbers from files: IDX (LeCun, the MNIST format; plain or gzipped), NumPy's .npy
 * (versions 1–3; C order) and CSV. The format is told by the content, not by the name.
 *
 * Errors name the file, and the line (CSV) or byte offset (others).
 */
#ifndef TH_FORMATS_TABLE_H
#define TH_FORMATS_TABLE_H

#include <stdint.h>

#include "base/array.h"
#include "base/buffer.h"
#include "base/error.h"

/** float32 [rows, width], row-major: features, targets, weights. */
typedef struct th_numbers {
  float *values;
  uint64_t rows;
  uint32_t width;
} th_numbers;

/** int32 [rows], counted from 0: labels, groups. */
typedef struct th_indices {
  int32_t *values;
  uint64_t rows;
} th_indices;

/** A whole data set: every array of a job but the model, as base/array.h describes them. */
typedef struct th_table {
  void *arrays[TH_ARRAY_DATA_COUNT]; /**< by th_array; NULL: there is none */
  uint64_t rows;
  uint32_t width;
  uint32_t target_width; /**< 0 without targets */
} th_table;

/**
 * Read features.
 *
 * IDX and .npy of more than two dimensions are flattened to [first dimension, rest]; one dimension
 * is a single column. Unsigned bytes of an IDX file are pixels and are scaled to [0, 1] by 1/255,
 * as torchvision's ToTensor does; all other numbers are taken as they are. CSV: comma, semicolon or
 * tab; an optional header line (recognized because a field of it is no number).
 *
 * @param features  [out] owned by the caller (th_numbers_fini).
 * @return TH_OK; TH_ERR_NOT_FOUND; TH_ERR_IO; TH_ERR_DATA (magic, truncation, trailing bytes,
 * ragged or non-numeric line, NaN or infinity, zero rows, sizes that overflow); TH_ERR_SYSTEM.
 */
th_error th_features_read(const char *path, th_numbers *features);

/** Read numbers that are no pixels: as th_features_read, but nothing is scaled. */
th_error th_numbers_read(const char *path, th_numbers *numbers);

/**
 * As th_numbers_read, of a file's bytes that are in memory already.
 *
 * @param name      what texts call it.
 * @param contents  a NUL follows its last byte, as th_file_read leaves it; used up, whatever is
 *                  returned; th_buffer_fini as ever.
 */
th_error th_numbers_decode(const char *name, th_buffer *contents, th_numbers *numbers);

/** Read labels or groups: as above, whole numbers from 0, one a row; nothing is scaled. */
th_error th_indices_read(const char *path, th_indices *indices);

/**
 * Read a data set from one CSV file with a header.
 *
 * @param columns  by th_array, the names of the columns that are labels, targets (one a row),
 *                 weights or groups; NULL: there is none. Every other column is a feature.
 * @param table    [out] owned by the caller (th_table_fini).
 * @return as th_features_read; TH_ERR_USAGE if no column has such a name, or two arrays are to come
 *         from one.
 */
th_error th_csv_read_table(const char *path, const char *const columns[TH_ARRAY_DATA_COUNT],
                           th_table *table);

/** Free; takes an empty one. */
void th_numbers_fini(th_numbers *numbers);
void th_indices_fini(th_indices *indices);
void th_table_fini(th_table *table);

/**
 * Encode float32 [rows, width] as .npy version 1.0.
 *
 * @param npy  [out] owned by the caller.
 * @return TH_OK; TH_ERR_SYSTEM without memory.
 */
th_error th_npy_encode(const float *values, uint64_t rows, uint32_t width, th_buffer *npy);

#endif

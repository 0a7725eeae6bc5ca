/**
 * Tables of numbers from files: IDX (LeCun, the MNIST format; plain or gzipped), NumPy's .npy
 * (versions 1–3; C order) and CSV. The format is told by the content, not by the name.
 *
 * Errors name the file, and the line (CSV) or byte offset (others).
 */
#ifndef TH_FORMATS_TABLE_H
#define TH_FORMATS_TABLE_H

#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

/** float32 [rows, width], row-major. */
typedef struct th_features {
  float *values;
  uint64_t rows;
  uint32_t width;
} th_features;

/** int32 [rows], classes counted from 0. */
typedef struct th_labels {
  int32_t *values;
  uint64_t rows;
} th_labels;

/**
 * Read features.
 *
 * IDX and .npy of more than two dimensions are flattened to [first dimension, rest]; one dimension
 * is a single column. Unsigned bytes of an IDX file are pixels and are scaled to [0, 1] by 1/255,
 * as torchvision's ToTensor does; all other numbers are taken as they are. CSV: comma, semicolon or
 * tab; an optional header line (recognized because a field of it is no number).
 *
 * @param features  [out] owned by the caller (th_features_fini).
 * @return TH_OK; TH_ERR_NOT_FOUND; TH_ERR_IO; TH_ERR_DATA (magic, truncation, trailing bytes,
 * ragged or non-numeric line, NaN or infinity, zero rows, sizes that overflow); TH_ERR_SYSTEM.
 */
th_error th_features_read(const char *path, th_features *features);

/**
 * As th_features_read, of a file's bytes that are in memory already.
 *
 * @param name      what texts call it.
 * @param contents  a NUL follows its last byte, as th_file_read leaves it; used up, whatever is
 *                  returned; th_buffer_fini as ever.
 */
th_error th_features_decode(const char *name, th_buffer *contents, th_features *features);

/** Read labels: as above, whole non-negative numbers, one a row; nothing is scaled. */
th_error th_labels_read(const char *path, th_labels *labels);

/**
 * Read features and labels from one CSV file with a header: the column named label_column is the
 * labels, every other one a feature.
 *
 * @return as th_features_read; TH_ERR_USAGE if no column has that name.
 */
th_error th_csv_read_labeled(const char *path, const char *label_column, th_features *features,
                             th_labels *labels);

/** Free; takes an empty one. */
void th_features_fini(th_features *features);
void th_labels_fini(th_labels *labels);

/**
 * Encode float32 [rows, width] as .npy version 1.0.
 *
 * @param npy  [out] owned by the caller.
 * @return TH_OK; TH_ERR_SYSTEM without memory.
 */
th_error th_npy_encode(const float *values, uint64_t rows, uint32_t width, th_buffer *npy);

#endif

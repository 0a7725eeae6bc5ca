/** What the readers of IDX, npy and CSV share. For this room alone. */
#ifndef TH_FORMATS_READER_H
#define TH_FORMATS_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

/** A type of number in a binary file. */
typedef enum th_number_type {
  TH_NUMBER_U8,
  TH_NUMBER_I8,
  TH_NUMBER_U16,
  TH_NUMBER_I16,
  TH_NUMBER_U32,
  TH_NUMBER_I32,
  TH_NUMBER_U64,
  TH_NUMBER_I64,
  TH_NUMBER_F32,
  TH_NUMBER_F64,
} th_number_type;

/** A matrix of numbers within a file that was read whole. */
typedef struct th_matrix {
  const char *path;
  uint64_t rows, width; /**< the first dimension, and all others multiplied */
  th_number_type type;
  bool is_swapped; /**< the byte order is not the machine's */
  bool is_pixels; /**< unsigned bytes of an image format */
  const uint8_t *numbers;
  uint64_t offset; /**< of the first number in the file */
} th_matrix;

/** Bytes of one number. */
uint32_t th_number_bytes(th_number_type type);

/** Whether a file begins as IDX, or as npy, does. */
bool th_idx_is(const th_buffer *file);
bool th_npy_is(const th_buffer *file);

/** Judge the head of a file and describe its numbers, in place. @return TH_OK; TH_ERR_DATA. */
th_error th_idx_open(const char *path, const th_buffer *file, th_matrix *matrix);
th_error th_npy_open(const char *path, const th_buffer *file, th_matrix *matrix);

/**
 * Fill in rows and width from dimensions, and judge that the file holds exactly that many numbers.
 *
 * @param matrix  path, type, offset set.
 */
th_error th_matrix_measure(th_matrix *matrix, const th_buffer *file, const uint64_t *shape,
                           uint32_t rank);

/** A table as text: columns of numbers. */
typedef struct th_csv {
  double *values; /**< [rows, width] */
  uint64_t rows;
  uint32_t width;
  uint32_t *lines; /**< [rows]: each row's line in the file, from 1 */
  char **names; /**< [width] of the header; NULL without one */
} th_csv;

/** @return TH_OK; TH_ERR_DATA naming the line; TH_ERR_SYSTEM. Free with th_csv_fini. */
th_error th_csv_parse(const char *path, const th_buffer *file, th_csv *csv);

/** Takes an empty one. */
void th_csv_fini(th_csv *csv);

#endif

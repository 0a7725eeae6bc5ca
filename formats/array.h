/** An array of numbers as it lies in an IDX or .npy file, and its way to float32 or int32. Private
 * to this room. */
#ifndef TH_FORMATS_ARRAY_H
#define TH_FORMATS_ARRAY_H

#include <stdbool.h>

#include "formats/table.h"

#define TH_ARRAY_RANK_MAX 32

typedef enum th_element {
  TH_ELEMENT_U8,
  TH_ELEMENT_I8,
  TH_ELEMENT_U16,
  TH_ELEMENT_I16,
  TH_ELEMENT_U32,
  TH_ELEMENT_I32,
  TH_ELEMENT_U64,
  TH_ELEMENT_I64,
  TH_ELEMENT_F32,
  TH_ELEMENT_F64,
} th_element;

/** What a file's header says of the numbers that follow it. */
typedef struct th_array_file {
  const char *path;
  th_element element;
  bool is_big_endian;
  bool is_pixels; /**< as features they are scaled to [0, 1] */
  uint64_t rows; /**< at least 1 */
  uint32_t width; /**< at least 1; the product of all dimensions but the first */
  uint64_t offset; /**< of the first number in the file */
  uint64_t bytes; /**< of all numbers */
} th_array_file;

/** Where the numbers come from: the memory that holds their whole file, or the file itself, which
 * is then read block by block. */
typedef struct th_array_source {
  const uint8_t *contents; /**< NULL: the file */
  int fd;
  uint64_t bytes; /**< of the whole file */
} th_array_source;

/** No header is longer. */
#define TH_ARRAY_HEAD_BYTES_MAX 65600

/** Read the header of an IDX or a .npy file from its first bytes.
 *  @return TH_OK; TH_ERR_DATA naming the path and the offset. */
th_error th_idx_header(const char *path, const void *head, size_t head_bytes, th_array_file *array);
th_error th_npy_header(const char *path, const void *head, size_t head_bytes, th_array_file *array);

/** Whether the bytes begin as such a file does. */
bool th_idx_is(const void *head, size_t head_bytes);
bool th_npy_is(const void *head, size_t head_bytes);

/** Fill in rows, width and bytes from dimensions. */
th_error th_array_set_shape(th_array_file *array, const uint64_t *shape, uint32_t rank);

/** Judge the file's length, read the numbers and convert them. @return TH_OK; TH_ERR_DATA;
 * TH_ERR_IO; TH_ERR_SYSTEM. */
th_error th_array_to_numbers(const th_array_file *array, const th_array_source *source,
                             th_numbers *numbers);
th_error th_array_to_indices(const th_array_file *array, const th_array_source *source,
                             th_indices *indices);

/** What is said of a number that th_index_take refuses. */
#define TH_INDEX_PROBLEM "is not a whole number from 0 to 2147483647"

/** Take a number as a label or group. @return whether it is whole and within int32, from 0. */
static inline bool th_index_take(double number, int32_t *index) {
  if (!(number >= 0 && number <= INT32_MAX)) return false;
  *index = (int32_t)number;
  return *index == number;
}

#endif

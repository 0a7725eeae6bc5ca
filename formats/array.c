#include "formats/array.h"

#include <byteswap.h>
#include <math.h>
#include <string.h>

static const uint8_t element_bytes[] = {
    [TH_ELEMENT_U8] = 1,  [TH_ELEMENT_I8] = 1,  [TH_ELEMENT_U16] = 2, [TH_ELEMENT_I16] = 2,
    [TH_ELEMENT_U32] = 4, [TH_ELEMENT_I32] = 4, [TH_ELEMENT_U64] = 8, [TH_ELEMENT_I64] = 8,
    [TH_ELEMENT_F32] = 4, [TH_ELEMENT_F64] = 8,
};

th_error th_array_set_shape(th_array *array, const uint64_t *shape, uint32_t rank) {
  if (rank == 0)
    return th_fail(TH_ERR_DATA, "%s holds a single number without dimensions, not rows",
                   array->path);
  uint64_t width = 1;
  bool is_too_large = false;
  for (uint32_t i = 1; i < rank; i++)
    is_too_large |= __builtin_mul_overflow(width, shape[i], &width);
  is_too_large |= width > UINT32_MAX;
  array->rows = shape[0];
  array->width = (uint32_t)width;
  is_too_large |= __builtin_mul_overflow(array->rows, width, &array->bytes);
  is_too_large |=
      __builtin_mul_overflow(array->bytes, element_bytes[array->element], &array->bytes);
  /* float32 [rows, width] must be countable too, as must the whole file. */
  is_too_large |= array->bytes > INT64_MAX / 8;
  if (is_too_large)
    return th_fail(TH_ERR_DATA, "%s: the dimensions in its header are larger than any memory",
                   array->path);
  if (array->bytes == 0)
    return th_fail(TH_ERR_DATA, "%s holds no numbers: its header announces %llu rows of %u",
                   array->path, (unsigned long long)array->rows, array->width);
  return TH_OK;
}

static th_error array_judge_length(const th_array *array, const th_buffer *contents) {
  uint64_t there = contents->bytes - array->offset;
  if (there == array->bytes) return TH_OK;
  return th_fail(TH_ERR_DATA,
                 "%s: %s: its header announces %llu rows of %u, which are %llu bytes from offset "
                 "%llu, but %llu are there",
                 array->path, there < array->bytes ? "cut off" : "too long",
                 (unsigned long long)array->rows, array->width, (unsigned long long)array->bytes,
                 (unsigned long long)array->offset, (unsigned long long)there);
}

/* In the file's own memory, for it is read only once. */
static void bytes_swap(uint8_t *data, uint64_t count, uint8_t bytes) {
#define SWAP(type, swap)                                   \
  for (uint64_t i = 0; i < count; i++) {                   \
    type value;                                            \
    memcpy(&value, data + i * sizeof value, sizeof value); \
    value = swap(value);                                   \
    memcpy(data + i * sizeof value, &value, sizeof value); \
  }
  if (bytes == 2) SWAP(uint16_t, bswap_16)
  if (bytes == 4) SWAP(uint32_t, bswap_32)
  if (bytes == 8) SWAP(uint64_t, bswap_64)
#undef SWAP
}

/* The numbers need not be aligned: the header before them has any length. */
#define LOAD(type)                                         \
  for (uint64_t i = 0; i < count; i++) {                   \
    type value;                                            \
    memcpy(&value, data + i * sizeof value, sizeof value); \
    to[i] = (double)value;                                 \
  }                                                        \
  break;

/* A double holds every number that can be a label, and every one that a float32 can tell from its
 * neighbours, so that one conversion serves both. */
static void numbers_load(th_element element, const uint8_t *data, uint64_t count, double *to) {
  switch (element) {
    case TH_ELEMENT_U8:
      LOAD(uint8_t)
    case TH_ELEMENT_I8:
      LOAD(int8_t)
    case TH_ELEMENT_U16:
      LOAD(uint16_t)
    case TH_ELEMENT_I16:
      LOAD(int16_t)
    case TH_ELEMENT_U32:
      LOAD(uint32_t)
    case TH_ELEMENT_I32:
      LOAD(int32_t)
    case TH_ELEMENT_U64:
      LOAD(uint64_t)
    case TH_ELEMENT_I64:
      LOAD(int64_t)
    case TH_ELEMENT_F32:
      LOAD(float)
    case TH_ELEMENT_F64:
      LOAD(double)
  }
}
#undef LOAD

/* Numbers are converted and judged a block at a time, while they are in the cache. */
enum { BLOCK_NUMBERS = 4096 };

/** One block of the array, in the byte order of this machine. */
typedef struct number_block {
  uint64_t first; /* number of the array */
  uint64_t count;
  uint8_t *data;
} number_block;

static number_block block_at(const th_array *array, th_buffer *contents, uint64_t first) {
  uint8_t bytes = element_bytes[array->element];
  uint64_t left = array->rows * array->width - first;
  number_block block = {.first = first, .count = left < BLOCK_NUMBERS ? left : BLOCK_NUMBERS};
  block.data = (uint8_t *)contents->data + array->offset + first * bytes;
  if (array->is_big_endian) bytes_swap(block.data, block.count, bytes);
  return block;
}

/* A float is finite unless all bits of its exponent are set; this form has no branch in the loop.
 */
static bool are_finite(const float *values, uint64_t count) {
  uint32_t found = 0;
  for (uint64_t i = 0; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, &values[i], sizeof bits);
    found |= (bits & 0x7F800000) == 0x7F800000;
  }
  return found == 0;
}

static th_error number_fail(const th_array *array, uint64_t number, const char *what) {
  unsigned long long row = number / array->width, column = number % array->width;
  unsigned long long offset = array->offset + number * element_bytes[array->element];
  return th_fail(TH_ERR_DATA, "%s: row %llu, column %llu (from 0), byte offset %llu, %s",
                 array->path, row, column, offset, what);
}

/* float32, the usual case, goes straight to its place. */
static void block_convert(const th_array *array, const number_block *block, float *to) {
  double numbers[BLOCK_NUMBERS];
  if (array->element == TH_ELEMENT_F32) {
    memcpy(to, block->data, block->count * sizeof *to);
    return;
  }
  numbers_load(array->element, block->data, block->count, numbers);
  for (uint64_t i = 0; i < block->count; i++) to[i] = (float)numbers[i];
  /* A division, as ToTensor's, and not a product with 1/255, which rounds differently. */
  if (array->is_pixels)
    for (uint64_t i = 0; i < block->count; i++) to[i] /= 255.0F;
}

static th_error block_to_features(const th_array *array, const number_block *block, float *to) {
  block_convert(array, block, to);
  if (are_finite(to, block->count)) return TH_OK;
  uint64_t i = 0;
  while (i + 1 < block->count && isfinite(to[i])) i++;
  return number_fail(array, block->first + i,
                     isnan(to[i]) ? "is NaN" : "is infinite or too large for float32");
}

static th_error block_to_labels(const th_array *array, const number_block *block, int32_t *to) {
  double numbers[BLOCK_NUMBERS];
  numbers_load(array->element, block->data, block->count, numbers);
  for (uint64_t i = 0; i < block->count; i++)
    if (!th_label_take(numbers[i], &to[i]))
      return number_fail(array, block->first + i,
                         "is no label: labels are whole numbers from 0 to 2147483647");
  return TH_OK;
}

static th_error memory_fail(const th_array *array) {
  return th_fail(TH_ERR_SYSTEM, "no memory for the %llu rows of %s",
                 (unsigned long long)array->rows, array->path);
}

th_error th_array_to_features(const th_array *array, th_buffer *contents, th_features *features) {
  th_features read = {.rows = array->rows, .width = array->width};
  uint64_t count = array->rows * array->width;
  th_error error = array_judge_length(array, contents);
  if (error != TH_OK) return error;
  read.values = malloc(count * sizeof *read.values);
  if (read.values == NULL) return memory_fail(array);
  for (uint64_t first = 0; error == TH_OK && first < count; first += BLOCK_NUMBERS) {
    number_block block = block_at(array, contents, first);
    error = block_to_features(array, &block, read.values + first);
  }
  if (error == TH_OK)
    *features = read;
  else
    th_features_fini(&read);
  return error;
}

th_error th_array_to_labels(const th_array *array, th_buffer *contents, th_labels *labels) {
  th_labels read = {.rows = array->rows};
  if (array->width != 1)
    return th_fail(TH_ERR_DATA, "%s holds %u numbers a row; labels are one a row", array->path,
                   array->width);
  th_error error = array_judge_length(array, contents);
  if (error != TH_OK) return error;
  read.values = malloc(array->rows * sizeof *read.values);
  if (read.values == NULL) return memory_fail(array);
  for (uint64_t first = 0; error == TH_OK && first < array->rows; first += BLOCK_NUMBERS) {
    number_block block = block_at(array, contents, first);
    error = block_to_labels(array, &block, read.values + first);
  }
  if (error == TH_OK)
    *labels = read;
  else
    th_labels_fini(&read);
  return error;
}

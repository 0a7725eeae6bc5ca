#include "formats/array.h"

#include <byteswap.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "formats/file.h"

static const uint8_t element_bytes[] = {
    [TH_ELEMENT_U8] = 1,  [TH_ELEMENT_I8] = 1,  [TH_ELEMENT_U16] = 2, [TH_ELEMENT_I16] = 2,
    [TH_ELEMENT_U32] = 4, [TH_ELEMENT_I32] = 4, [TH_ELEMENT_U64] = 8, [TH_ELEMENT_I64] = 8,
    [TH_ELEMENT_F32] = 4, [TH_ELEMENT_F64] = 8,
};

th_error th_array_set_shape(th_array_file *array, const uint64_t *shape, uint32_t rank) {
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

static th_error length_judge(const th_array_file *array, const th_array_source *source) {
  uint64_t there = source->bytes - array->offset;
  if (there == array->bytes) return TH_OK;
  return th_fail(TH_ERR_DATA,
                 "%s: %s: its header announces %llu rows of %u, which are %llu bytes from offset "
                 "%llu, but %llu are there",
                 array->path, there < array->bytes ? "cut off" : "too long",
                 (unsigned long long)array->rows, array->width, (unsigned long long)array->bytes,
                 (unsigned long long)array->offset, (unsigned long long)there);
}

/* ---- blocks ---- */

/* Numbers are read, converted and judged a block at a time, while they are in the cache. */
enum { BLOCK_NUMBERS = 16384 };

typedef struct number_block {
  uint64_t first; /* number of the array */
  uint32_t count;
} number_block;

static number_block block_at(const th_array_file *array, uint64_t first) {
  uint64_t left = array->rows * array->width - first;
  return (number_block){first, left < BLOCK_NUMBERS ? (uint32_t)left : BLOCK_NUMBERS};
}

/* Numbers as they lie in the file, but in the byte order of this machine. */
typedef union raw_numbers {
  uint8_t u8[BLOCK_NUMBERS];
  int8_t i8[BLOCK_NUMBERS];
  uint16_t u16[BLOCK_NUMBERS];
  int16_t i16[BLOCK_NUMBERS];
  uint32_t u32[BLOCK_NUMBERS];
  int32_t i32[BLOCK_NUMBERS];
  uint64_t u64[BLOCK_NUMBERS];
  int64_t i64[BLOCK_NUMBERS];
  float f32[BLOCK_NUMBERS];
  double f64[BLOCK_NUMBERS];
} raw_numbers;

/* Words of numbers of any type: the compiler must not think that a float is none of them. */
typedef uint16_t __attribute__((may_alias)) any_u16;
typedef uint32_t __attribute__((may_alias)) any_u32;
typedef uint64_t __attribute__((may_alias)) any_u64;

static void bytes_swap(void *numbers, uint32_t count, uint8_t bytes) {
  any_u16 *twos = numbers;
  any_u32 *fours = numbers;
  any_u64 *eights = numbers;
  for (uint32_t i = 0; bytes == 2 && i < count; i++) twos[i] = bswap_16(twos[i]);
  for (uint32_t i = 0; bytes == 4 && i < count; i++) fours[i] = bswap_32(fours[i]);
  for (uint32_t i = 0; bytes == 8 && i < count; i++) eights[i] = bswap_64(eights[i]);
}

static th_error block_read(const th_array_file *array, const th_array_source *source,
                           const number_block *block, void *to) {
  uint8_t bytes = element_bytes[array->element];
  uint64_t offset = array->offset + block->first * bytes;
  if (source->contents != NULL) {
    memcpy(to, source->contents + offset, (size_t)block->count * bytes);
  } else {
    th_error error =
        th_file_read_at(source->fd, array->path, offset, to, (size_t)block->count * bytes);
    if (error != TH_OK) return error;
  }
  if (array->is_big_endian) bytes_swap(to, block->count, bytes);
  return TH_OK;
}

#define LOAD(member)                                                       \
  for (uint32_t i = 0; i < count; i++) to[i] = (double)numbers->member[i]; \
  break;

/* A double holds every number that can be an index, and every one that a float32 can tell from its
 * neighbours, so that one conversion serves both. */
static void numbers_load(th_element element, const raw_numbers *numbers, uint32_t count,
                         double *to) {
  switch (element) {
    case TH_ELEMENT_U8:
      LOAD(u8)
    case TH_ELEMENT_I8:
      LOAD(i8)
    case TH_ELEMENT_U16:
      LOAD(u16)
    case TH_ELEMENT_I16:
      LOAD(i16)
    case TH_ELEMENT_U32:
      LOAD(u32)
    case TH_ELEMENT_I32:
      LOAD(i32)
    case TH_ELEMENT_U64:
      LOAD(u64)
    case TH_ELEMENT_I64:
      LOAD(i64)
    case TH_ELEMENT_F32:
      LOAD(f32)
    case TH_ELEMENT_F64:
      LOAD(f64)
  }
}
#undef LOAD

static th_error number_fail(const th_array_file *array, uint64_t number, const char *what) {
  unsigned long long row = number / array->width, column = number % array->width;
  unsigned long long offset = array->offset + number * element_bytes[array->element];
  return th_fail(TH_ERR_DATA, "%s: row %llu, column %llu (from 0), byte offset %llu, %s",
                 array->path, row, column, offset, what);
}

static th_error memory_fail(const th_array_file *array) {
  return th_fail(TH_ERR_SYSTEM, "no memory for the %llu rows of %s",
                 (unsigned long long)array->rows, array->path);
}

/* ---- numbers ---- */

/* A float is finite unless all bits of its exponent are set; this form has no branch in the loop.
 */
static bool are_finite(const float *values, uint32_t count) {
  uint32_t found = 0;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, &values[i], sizeof bits);
    found |= (bits & 0x7F800000) == 0x7F800000;
  }
  return found == 0;
}

/* A division, as ToTensor's, and not a product with 1/255, which rounds differently. */
static void pixels_convert(const uint8_t *pixels, uint32_t count, float *to) {
  for (uint32_t i = 0; i < count; i++) to[i] = (float)pixels[i] / 255.0F;
}

static void numbers_convert(th_element element, const raw_numbers *raw, uint32_t count, float *to) {
  double numbers[BLOCK_NUMBERS];
  numbers_load(element, raw, count, numbers);
  for (uint32_t i = 0; i < count; i++) to[i] = (float)numbers[i];
}

static th_error block_convert(const th_array_file *array, const th_array_source *source,
                              const number_block *block, float *to) {
  /* The usual case goes straight to its place. */
  if (array->element == TH_ELEMENT_F32) return block_read(array, source, block, to);
  raw_numbers raw;
  th_error error = block_read(array, source, block, &raw);
  if (error != TH_OK) return error;
  if (array->is_pixels)
    pixels_convert(raw.u8, block->count, to);
  else
    numbers_convert(array->element, &raw, block->count, to);
  return TH_OK;
}

static th_error block_to_numbers(const th_array_file *array, const th_array_source *source,
                                 const number_block *block, float *to) {
  th_error error = block_convert(array, source, block, to);
  if (error != TH_OK || are_finite(to, block->count)) return error;
  uint32_t i = 0;
  while (i + 1 < block->count && isfinite(to[i])) i++;
  return number_fail(array, block->first + i,
                     isnan(to[i]) ? "is NaN" : "is infinite or too large for float32");
}

th_error th_array_to_numbers(const th_array_file *array, const th_array_source *source,
                             th_numbers *numbers) {
  th_numbers read = {.rows = array->rows, .width = array->width};
  uint64_t count = array->rows * array->width;
  th_error error = length_judge(array, source);
  if (error != TH_OK) return error;
  read.values = th_memory_take(count * sizeof *read.values);
  if (read.values == NULL) return memory_fail(array);
  for (uint64_t first = 0; error == TH_OK && first < count; first += BLOCK_NUMBERS) {
    number_block block = block_at(array, first);
    error = block_to_numbers(array, source, &block, read.values + first);
  }
  if (error == TH_OK)
    *numbers = read;
  else
    th_numbers_fini(&read);
  return error;
}

/* ---- indices ---- */

static th_error block_to_indices(const th_array_file *array, const th_array_source *source,
                                 const number_block *block, int32_t *to) {
  raw_numbers raw;
  double numbers[BLOCK_NUMBERS];
  th_error error = block_read(array, source, block, &raw);
  if (error != TH_OK) return error;
  numbers_load(array->element, &raw, block->count, numbers);
  for (uint32_t i = 0; i < block->count; i++)
    if (!th_index_take(numbers[i], &to[i]))
      return number_fail(array, block->first + i, TH_INDEX_PROBLEM);
  return TH_OK;
}

th_error th_array_to_indices(const th_array_file *array, const th_array_source *source,
                             th_indices *indices) {
  th_indices read = {.rows = array->rows};
  if (array->width != 1)
    return th_fail(TH_ERR_DATA, "%s holds %u numbers a row, where one is wanted", array->path,
                   array->width);
  th_error error = length_judge(array, source);
  if (error != TH_OK) return error;
  read.values = malloc(array->rows * sizeof *read.values);
  if (read.values == NULL) return memory_fail(array);
  for (uint64_t first = 0; error == TH_OK && first < array->rows; first += BLOCK_NUMBERS) {
    number_block block = block_at(array, first);
    error = block_to_indices(array, source, &block, read.values + first);
  }
  if (error == TH_OK)
    *indices = read;
  else
    th_indices_fini(&read);
  return error;
}

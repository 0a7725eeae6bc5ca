#include <limits.h>

#include "formats/reader.h"

uint32_t th_number_bytes(th_number_type type) {
  static const uint8_t bytes[] = {
      [TH_NUMBER_U8] = 1,  [TH_NUMBER_I8] = 1,  [TH_NUMBER_U16] = 2, [TH_NUMBER_I16] = 2,
      [TH_NUMBER_U32] = 4, [TH_NUMBER_I32] = 4, [TH_NUMBER_U64] = 8, [TH_NUMBER_I64] = 8,
      [TH_NUMBER_F32] = 4, [TH_NUMBER_F64] = 8,
  };
  return bytes[type];
}

th_error th_matrix_measure(th_matrix *matrix, const th_buffer *file, const uint64_t *shape,
                           uint32_t rank) {
  matrix->rows = rank == 0 ? 1 : shape[0];
  matrix->width = 1;
  uint64_t bytes = th_number_bytes(matrix->type);
  bool is_countable = true;
  for (uint32_t i = 1; i < rank; i++)
    is_countable &= !__builtin_mul_overflow(matrix->width, shape[i], &matrix->width);
  is_countable &= !__builtin_mul_overflow(bytes, matrix->width, &bytes);
  is_countable &= !__builtin_mul_overflow(bytes, matrix->rows, &bytes);
  if (matrix->rows == 0 || matrix->width == 0)
    return th_fail(TH_ERR_DATA, "%s: there are no rows in it, or no columns", matrix->path);
  if (!is_countable || matrix->width > UINT32_MAX)
    return th_fail(TH_ERR_DATA, "%s: the dimensions at its beginning are too large", matrix->path);
  uint64_t there = file->bytes - matrix->offset;
  if (there != bytes)
    return th_fail(
        TH_ERR_DATA,
        "%s: %llu × %llu numbers are %llu bytes, but from offset %llu on there are %llu: "
        "the file %s",
        matrix->path, (unsigned long long)matrix->rows, (unsigned long long)matrix->width,
        (unsigned long long)bytes, (unsigned long long)matrix->offset, (unsigned long long)there,
        there < bytes ? "was cut off" : "has something behind them");
  matrix->numbers = (const uint8_t *)file->data + matrix->offset;
  return TH_OK;
}

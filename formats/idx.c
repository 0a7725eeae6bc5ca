/* IDX (LeCun, Cortes, Burges: "The MNIST database", file formats): two zero bytes, a type, the
 * number of dimensions, each dimension as a big-endian 32-bit number, then the numbers, big-endian
 * too. */
#include "formats/reader.h"

enum { HEAD_BYTES = 4, DIMENSION_BYTES = 4, RANK_MAX = 8 };

bool th_idx_is(const th_buffer *file) {
  const uint8_t *bytes = file->data;
  return file->bytes >= HEAD_BYTES && bytes[0] == 0 && bytes[1] == 0 && bytes[2] >= 0x08 &&
         bytes[2] <= 0x0E;
}

static bool type_read(uint8_t code, th_number_type *type) {
  switch (code) {
    case 0x08:
      *type = TH_NUMBER_U8;
      return true;
    case 0x09:
      *type = TH_NUMBER_I8;
      return true;
    case 0x0B:
      *type = TH_NUMBER_I16;
      return true;
    case 0x0C:
      *type = TH_NUMBER_I32;
      return true;
    case 0x0D:
      *type = TH_NUMBER_F32;
      return true;
    case 0x0E:
      *type = TH_NUMBER_F64;
      return true;
    default:
      return false;
  }
}

static uint32_t big_endian(const uint8_t *bytes) {
  return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

th_error th_idx_open(const char *path, const th_buffer *file, th_matrix *matrix) {
  const uint8_t *bytes = file->data;
  uint32_t rank = bytes[3];
  *matrix = (th_matrix){.path = path, .offset = HEAD_BYTES + (uint64_t)rank * DIMENSION_BYTES};
  if (!type_read(bytes[2], &matrix->type))
    return th_fail(TH_ERR_DATA, "%s: byte 2 of an IDX file is its type, and 0x%02x is none", path,
                   bytes[2]);
  if (rank == 0 || rank > RANK_MAX)
    return th_fail(TH_ERR_DATA, "%s: byte 3 of an IDX file says %u dimensions; 1 to %d can be read",
                   path, rank, RANK_MAX);
  if (matrix->offset > file->bytes)
    return th_fail(TH_ERR_DATA, "%s: the file was cut off in its dimensions, at byte %zu", path,
                   file->bytes);
  uint64_t shape[RANK_MAX];
  for (uint32_t i = 0; i < rank; i++)
    shape[i] = big_endian(bytes + HEAD_BYTES + (size_t)i * DIMENSION_BYTES);
  matrix->is_swapped = th_number_bytes(matrix->type) > 1;
  matrix->is_pixels = matrix->type == TH_NUMBER_U8;
  return th_matrix_measure(matrix, file, shape, rank);
}

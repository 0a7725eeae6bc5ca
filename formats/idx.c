#include <string.h>

#include "formats/array.h"

/* Two zero bytes, the type, the number of dimensions; then each dimension as a big-endian uint32;
 * then the numbers, big-endian (yann.lecun.com/exdb/mnist, "the IDX file format"). */
enum { MAGIC_BYTES = 4, DIMENSION_BYTES = 4 };

bool th_idx_is(const void *head, size_t head_bytes) {
  return head_bytes >= 2 && memcmp(head, "\0\0", 2) == 0;
}

static bool type_to_element(uint8_t type, th_element *element) {
  static const struct {
    uint8_t type;
    th_element element;
  } rows[] = {{0x08, TH_ELEMENT_U8},  {0x09, TH_ELEMENT_I8},  {0x0B, TH_ELEMENT_I16},
              {0x0C, TH_ELEMENT_I32}, {0x0D, TH_ELEMENT_F32}, {0x0E, TH_ELEMENT_F64}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    if (rows[i].type != type) continue;
    *element = rows[i].element;
    return true;
  }
  return false;
}

static uint64_t dimension_at(const uint8_t *bytes) {
  return (uint64_t)bytes[0] << 24 | (uint64_t)bytes[1] << 16 | (uint64_t)bytes[2] << 8 | bytes[3];
}

th_error th_idx_header(const char *path, const void *head, size_t head_bytes,
                       th_array_file *array) {
  const uint8_t *bytes = head;
  *array = (th_array_file){.path = path, .is_big_endian = true};
  if (head_bytes < MAGIC_BYTES)
    return th_fail(TH_ERR_DATA, "%s: an IDX file cut off after %zu bytes", path, head_bytes);
  if (!type_to_element(bytes[2], &array->element))
    return th_fail(TH_ERR_DATA, "%s: no IDX type 0x%02X (byte offset 2)", path, bytes[2]);
  array->is_pixels = array->element == TH_ELEMENT_U8;
  uint32_t rank = bytes[3];
  if (rank > TH_ARRAY_RANK_MAX)
    return th_fail(TH_ERR_DATA, "%s: %u dimensions (byte offset 3); at most %d can be read", path,
                   rank, TH_ARRAY_RANK_MAX);
  array->offset = MAGIC_BYTES + rank * (uint64_t)DIMENSION_BYTES;
  if (head_bytes < array->offset)
    return th_fail(TH_ERR_DATA, "%s: cut off in its header, after %zu of %llu bytes", path,
                   head_bytes, (unsigned long long)array->offset);
  uint64_t shape[TH_ARRAY_RANK_MAX];
  for (uint32_t i = 0; i < rank; i++)
    shape[i] = dimension_at(bytes + MAGIC_BYTES + i * (size_t)DIMENSION_BYTES);
  return th_array_set_shape(array, shape, rank);
}

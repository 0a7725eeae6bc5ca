/* .npy (NumPy Enhancement Proposal 1, and numpy.lib.format): "\x93NUMPY", version, the header's
 * size, the header as a Python dictionary, padded so that the numbers begin at a multiple of 64. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/reader.h"
#include "formats/table.h"

enum { MAGIC_BYTES = 6, RANK_MAX = 8, HEADER_BYTES_MAX = 65536, ALIGNMENT = 64 };

static const char magic[MAGIC_BYTES] = "\x93NUMPY";

bool th_npy_is(const th_buffer *file) {
  return file->bytes >= MAGIC_BYTES && memcmp(file->data, magic, MAGIC_BYTES) == 0;
}

/* ---- reading ---- */

/* The header's text and where the numbers begin. */
static th_error header_find(const char *path, const th_buffer *file, char *header,
                            uint64_t *offset) {
  const uint8_t *bytes = file->data;
  if (file->bytes < 12) return th_fail(TH_ERR_DATA, "%s: cut off in its head", path);
  uint8_t version = bytes[6];
  if (version < 1 || version > 3)
    return th_fail(TH_ERR_DATA, "%s: npy version %u; 1 to 3 can be read", path, version);
  uint64_t begin = version == 1 ? 10 : 12;
  uint64_t size = (uint64_t)bytes[8] | (uint64_t)bytes[9] << 8;
  if (version > 1) size |= (uint64_t)bytes[10] << 16 | (uint64_t)bytes[11] << 24;
  if (size >= HEADER_BYTES_MAX || size > file->bytes - begin)
    return th_fail(TH_ERR_DATA, "%s: the header at offset 8 claims %llu bytes; the file has %zu",
                   path, (unsigned long long)size, file->bytes);
  memcpy(header, bytes + begin, size);
  header[size] = '\0';
  *offset = begin + size;
  return TH_OK;
}

/* What follows "'key':" in the dictionary; NULL if there is none. */
static const char *value_find(const char *header, const char *key) {
  const char *at = strstr(header, key);
  if (at == NULL) return NULL;
  at += strlen(key);
  while (isspace((unsigned char)*at)) at++;
  if (*at++ != ':') return NULL;
  while (isspace((unsigned char)*at)) at++;
  return at;
}

/* "'<f4'": byte order, kind, bytes. */
static bool descr_read(const char *text, th_matrix *matrix) {
  static const struct {
    char word[3];
    th_number_type type;
  } rows[] = {{"f4", TH_NUMBER_F32}, {"f8", TH_NUMBER_F64}, {"i1", TH_NUMBER_I8},
              {"u1", TH_NUMBER_U8},  {"b1", TH_NUMBER_U8},  {"i2", TH_NUMBER_I16},
              {"u2", TH_NUMBER_U16}, {"i4", TH_NUMBER_I32}, {"u4", TH_NUMBER_U32},
              {"i8", TH_NUMBER_I64}, {"u8", TH_NUMBER_U64}};
  if (text == NULL || (text[0] != '\'' && text[0] != '"') || strlen(text) < 5) return false;
  if (strchr("<>|=", text[1]) == NULL || text[4] != text[0]) return false;
  matrix->is_swapped = text[1] == '>';
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    if (strncmp(text + 2, rows[i].word, 2) != 0) continue;
    matrix->type = rows[i].type;
    return true;
  }
  return false;
}

/* "(60000, 784)", "(10,)", "()". */
static bool shape_read(const char *text, uint64_t *shape, uint32_t *rank) {
  *rank = 0;
  if (text == NULL || *text++ != '(') return false;
  for (;;) {
    while (isspace((unsigned char)*text)) text++;
    if (*text == ')') return true;
    if (!isdigit((unsigned char)*text) || *rank == RANK_MAX) return false;
    char *end;
    /* A number beyond 64 bits becomes the largest one, which no file has. */
    shape[(*rank)++] = strtoull(text, &end, 10);
    text = end;
    while (isspace((unsigned char)*text)) text++;
    if (*text == ',')
      text++;
    else if (*text != ')')
      return false;
  }
}

th_error th_npy_open(const char *path, const th_buffer *file, th_matrix *matrix) {
  char header[HEADER_BYTES_MAX];
  uint64_t shape[RANK_MAX];
  uint32_t rank;
  *matrix = (th_matrix){.path = path};
  th_error error = header_find(path, file, header, &matrix->offset);
  if (error != TH_OK) return error;
  if (!descr_read(value_find(header, "'descr'"), matrix))
    return th_fail(
        TH_ERR_DATA,
        "%s: its 'descr' is no plain number (f4, f8, i1 to i8, u1 to u8, b1); convert it "
        "with .astype(\"float32\")",
        path);
  const char *order = value_find(header, "'fortran_order'");
  bool is_fortran = order == NULL || strncmp(order, "False", 5) != 0;
  if (!shape_read(value_find(header, "'shape'"), shape, &rank))
    return th_fail(TH_ERR_DATA, "%s: its 'shape' cannot be read, or has more than %d dimensions",
                   path, RANK_MAX);
  if (is_fortran && rank > 1)
    return th_fail(TH_ERR_DATA,
                   "%s: its numbers lie column by column; save numpy.ascontiguousarray(…) of it",
                   path);
  return th_matrix_measure(matrix, file, shape, rank);
}

/* ---- writing ---- */

th_error th_npy_encode(const float *values, uint64_t rows, uint32_t width, th_buffer *npy) {
  char header[2 * ALIGNMENT + 1];
  int text = snprintf(header, sizeof header,
                      "{'descr': '<f4', 'fortran_order': False, 'shape': (%llu, %u), }",
                      (unsigned long long)rows, width);
  size_t head_bytes = 2 * ALIGNMENT;
  uint64_t bytes;
  if (__builtin_mul_overflow(rows, (uint64_t)width * sizeof *values, &bytes) ||
      bytes > SIZE_MAX / 2)
    return th_fail(TH_ERR_SYSTEM, "no memory for %llu rows of %u", (unsigned long long)rows, width);
  uint8_t *data = malloc(head_bytes + bytes + 1);
  if (data == NULL)
    return th_fail(TH_ERR_SYSTEM, "no memory for %llu bytes of npy", (unsigned long long)bytes);
  memset(data, ' ', head_bytes);
  memcpy(data, magic, MAGIC_BYTES);
  const uint8_t version_and_size[] = {1, 0, (uint8_t)(head_bytes - 10), 0};
  memcpy(data + MAGIC_BYTES, version_and_size, sizeof version_and_size);
  memcpy(data + 10, header, (size_t)text);
  data[head_bytes - 1] = '\n';
  memcpy(data + head_bytes, values, bytes);
  data[head_bytes + bytes] = '\0';
  *npy = (th_buffer){.data = data, .bytes = head_bytes + bytes};
  return TH_OK;
}

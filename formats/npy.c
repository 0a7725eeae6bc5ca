#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "formats/array.h"

/* "\x93NUMPY", major and minor version, the length of the header (2 bytes in version 1, 4 in 2 and
 * 3), the header: a Python dictionary (numpy.lib.format). */
static const char magic[] = "\x93NUMPY";

enum {
  MAGIC_BYTES = 6,
  ALIGNMENT = 64, /* of the numbers, by padding the header with spaces */
  HEADER_BYTES_MAX = 65535, /* far beyond any that describes plain numbers */
};

bool th_npy_is(const void *head, size_t head_bytes) {
  return head_bytes >= MAGIC_BYTES && memcmp(head, magic, MAGIC_BYTES) == 0;
}

/* ---- the dictionary ---- */

/** A place in the header. At `end` stands no byte of it. */
typedef struct npy_cursor {
  const char *path;
  const char *file, *at, *end;
} npy_cursor;

static th_error cursor_fail(const npy_cursor *cursor, const char *what) {
  return th_fail(TH_ERR_DATA, "%s: .npy header, byte offset %td: %s", cursor->path,
                 cursor->at - cursor->file, what);
}

static void spaces_skip(npy_cursor *cursor) {
  while (cursor->at < cursor->end && (*cursor->at == ' ' || *cursor->at == '\n')) cursor->at++;
}

/* Take the text if it comes next, after any spaces. */
static bool token_take(npy_cursor *cursor, const char *token) {
  size_t length = strlen(token);
  spaces_skip(cursor);
  if ((size_t)(cursor->end - cursor->at) < length || memcmp(cursor->at, token, length) != 0)
    return false;
  cursor->at += length;
  return true;
}

/* Take a word in single or double quotes. No key and no dtype that we know needs an escape. */
static bool word_take(npy_cursor *cursor, char *word, size_t word_bytes) {
  char quote = token_take(cursor, "'") ? '\'' : '"';
  if (quote == '"' && !token_take(cursor, "\"")) return false;
  const char *close = memchr(cursor->at, quote, (size_t)(cursor->end - cursor->at));
  if (close == NULL || (size_t)(close - cursor->at) >= word_bytes) return false;
  size_t length = (size_t)(close - cursor->at);
  memcpy(word, cursor->at, length);
  word[length] = '\0';
  cursor->at = close + 1;
  return true;
}

static th_error descr_take(npy_cursor *cursor, th_array_file *array) {
  static const struct {
    const char *type;
    th_element element;
  } rows[] = {
      {"f4", TH_ELEMENT_F32}, {"f8", TH_ELEMENT_F64}, {"i1", TH_ELEMENT_I8},
      {"u1", TH_ELEMENT_U8},  {"i2", TH_ELEMENT_I16}, {"u2", TH_ELEMENT_U16},
      {"i4", TH_ELEMENT_I32}, {"u4", TH_ELEMENT_U32}, {"i8", TH_ELEMENT_I64},
      {"u8", TH_ELEMENT_U64}, {"b1", TH_ELEMENT_U8},
  };
  char word[8];
  if (!word_take(cursor, word, sizeof word) || word[0] == '\0' || strchr("<>|=", word[0]) == NULL)
    return cursor_fail(cursor, "no plain dtype; save one array of numbers with numpy.save");
  array->is_big_endian = word[0] == '>';
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    if (strcmp(word + 1, rows[i].type) != 0) continue;
    array->element = rows[i].element;
    return TH_OK;
  }
  return cursor_fail(cursor, "no dtype that can be read; convert with array.astype(numpy.float32)");
}

static th_error order_take(npy_cursor *cursor) {
  if (token_take(cursor, "False")) return TH_OK;
  return cursor_fail(cursor, token_take(cursor, "True")
                                 ? "the array lies in Fortran order; save "
                                   "numpy.ascontiguousarray(array) instead"
                                 : "fortran_order is neither True nor False");
}

static bool dimension_take(npy_cursor *cursor, uint64_t *dimension) {
  const char *begin = cursor->at;
  *dimension = 0;
  for (; cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9'; cursor->at++)
    if (__builtin_mul_overflow(*dimension, 10, dimension) ||
        __builtin_add_overflow(*dimension, (uint64_t)(*cursor->at - '0'), dimension))
      return false;
  bool is_number = cursor->at > begin;
  (void)token_take(cursor, "L"); /* as Python 2 wrote them */
  return is_number;
}

static th_error shape_take(npy_cursor *cursor, uint64_t *shape, uint32_t *rank) {
  *rank = 0;
  if (!token_take(cursor, "(")) return cursor_fail(cursor, "shape is no tuple");
  while (!token_take(cursor, ")")) {
    if (*rank == TH_ARRAY_RANK_MAX) return cursor_fail(cursor, "too many dimensions");
    if (!dimension_take(cursor, &shape[*rank]))
      return cursor_fail(cursor, "a dimension is no number, or too large");
    *rank += 1;
    if (token_take(cursor, ",")) continue;
    if (token_take(cursor, ")")) break;
    return cursor_fail(cursor, "shape is no tuple of numbers");
  }
  return TH_OK;
}

/* ---- the header ---- */

enum { KEY_DESCR = 1, KEY_ORDER = 2, KEY_SHAPE = 4, KEYS_ALL = 7 };

static int key_take(npy_cursor *cursor) {
  char word[16];
  if (!word_take(cursor, word, sizeof word) || !token_take(cursor, ":")) return 0;
  if (strcmp(word, "descr") == 0) return KEY_DESCR;
  if (strcmp(word, "fortran_order") == 0) return KEY_ORDER;
  return strcmp(word, "shape") == 0 ? KEY_SHAPE : 0;
}

static th_error dictionary_take(npy_cursor *cursor, th_array_file *array, uint64_t *shape,
                                uint32_t *rank) {
  int seen = 0;
  if (!token_take(cursor, "{")) return cursor_fail(cursor, "no dictionary begins here");
  while (!token_take(cursor, "}")) {
    int key = key_take(cursor);
    if (key == 0 || (seen & key) != 0)
      return cursor_fail(cursor, "no key, or not once each of descr, fortran_order and shape");
    seen |= key;
    th_error error = key == KEY_DESCR   ? descr_take(cursor, array)
                     : key == KEY_ORDER ? order_take(cursor)
                                        : shape_take(cursor, shape, rank);
    if (error != TH_OK) return error;
    if (token_take(cursor, ",")) continue;
    if (token_take(cursor, "}")) break;
    return cursor_fail(cursor, "a comma is missing");
  }
  spaces_skip(cursor);
  if (cursor->at != cursor->end) return cursor_fail(cursor, "something follows the dictionary");
  if (seen != KEYS_ALL) return cursor_fail(cursor, "descr, fortran_order or shape is missing");
  return TH_OK;
}

th_error th_npy_header(const char *path, const void *head, size_t head_bytes,
                       th_array_file *array) {
  const uint8_t *bytes = head;
  *array = (th_array_file){.path = path};
  uint8_t version = head_bytes > MAGIC_BYTES ? bytes[MAGIC_BYTES] : 0;
  uint64_t begin = version == 1 ? MAGIC_BYTES + 4 : MAGIC_BYTES + 6;
  if (head_bytes < begin)
    return th_fail(TH_ERR_DATA, "%s: a .npy file cut off after %zu bytes", path, head_bytes);
  if (version < 1 || version > 3)
    return th_fail(TH_ERR_DATA, "%s: .npy version %u (byte offset 6); 1 to 3 can be read", path,
                   version);
  uint64_t length = bytes[8] | (uint64_t)bytes[9] << 8;
  if (version > 1) length |= (uint64_t)bytes[10] << 16 | (uint64_t)bytes[11] << 24;
  if (length > HEADER_BYTES_MAX || length > head_bytes - begin)
    return th_fail(
        TH_ERR_DATA,
        "%s: the .npy header's length at byte offset 8 is %llu, beyond the file's end or "
        "the %d bytes allowed",
        path, (unsigned long long)length, HEADER_BYTES_MAX);
  array->offset = begin + length;
  npy_cursor cursor = {.path = path, .file = head, .at = (const char *)head + begin};
  cursor.end = cursor.file + array->offset;
  uint64_t shape[TH_ARRAY_RANK_MAX];
  uint32_t rank = 0;
  th_error error = dictionary_take(&cursor, array, shape, &rank);
  return error == TH_OK ? th_array_set_shape(array, shape, rank) : error;
}

/* ---- writing ---- */

th_error th_npy_encode(const float *values, uint64_t rows, uint32_t width, th_buffer *npy) {
  enum { PREFIX_BYTES = MAGIC_BYTES + 4, DICTIONARY_BYTES_MAX = 2 * ALIGNMENT };
  char header[PREFIX_BYTES + DICTIONARY_BYTES_MAX + ALIGNMENT];
  int length =
      snprintf(header + PREFIX_BYTES, DICTIONARY_BYTES_MAX,
               "{'descr': '<f4', 'fortran_order': False, 'shape': (%" PRIu64 ", %" PRIu32 "), }",
               rows, width);
  size_t used = PREFIX_BYTES + (size_t)length;
  size_t header_bytes = (used + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  memset(header + used, ' ', header_bytes - used);
  header[header_bytes - 1] = '\n';
  memcpy(header, magic, MAGIC_BYTES);
  memcpy(header + MAGIC_BYTES, "\1\0", 2);
  header[8] = (char)(header_bytes - PREFIX_BYTES);
  header[9] = 0; /* the whole header is shorter than 256 bytes */

  uint64_t bytes;
  bool is_too_large = __builtin_mul_overflow(rows, (uint64_t)width * sizeof *values, &bytes) ||
                      bytes > SIZE_MAX / 2;
  char *data = is_too_large ? NULL : malloc(header_bytes + bytes);
  if (data == NULL)
    return th_fail(TH_ERR_SYSTEM, "no memory for a .npy file of %llu rows of %u",
                   (unsigned long long)rows, width);
  memcpy(data, header, header_bytes);
  if (bytes > 0) memcpy(data + header_bytes, values, bytes);
  *npy = (th_buffer){.data = data, .bytes = header_bytes + bytes};
  return TH_OK;
}

#include "formats/safetensors.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* A header is small; a larger one is a broken or hostile file. */
enum { PREFIX_BYTES = 8, HEADER_BYTES_MAX = 100 << 20, ALIGNMENT = 8 };

static const struct {
  const char *word;
  uint32_t bytes;
} types[] = {
    [TH_TENSOR_F32] = {"F32", 4}, [TH_TENSOR_F64] = {"F64", 8}, [TH_TENSOR_I32] = {"I32", 4},
    [TH_TENSOR_I64] = {"I64", 8}, [TH_TENSOR_U8] = {"U8", 1},
};

enum { TYPES = sizeof types / sizeof types[0] };

/* ---- writing ---- */

/* Each returns NULL without memory, never a part of what was asked for. */
static json_t *shape_to_json(const th_tensor *tensor) {
  json_t *shape = json_array();
  for (uint32_t i = 0; i < tensor->rank; i++) {
    if (json_array_append_new(shape, json_integer((json_int_t)tensor->shape[i])) == 0) continue;
    json_decref(shape);
    return NULL;
  }
  return shape;
}

static json_t *metadata_to_json(const th_metadata *metadata, uint32_t count) {
  json_t *object = json_object();
  for (uint32_t i = 0; i < count; i++) {
    if (json_object_set_new(object, metadata[i].key, json_string(metadata[i].value)) == 0) continue;
    json_decref(object);
    return NULL;
  }
  return object;
}

static json_t *header_make(const th_tensor *tensors, uint32_t tensor_count,
                           const th_metadata *metadata, uint32_t metadata_count) {
  json_t *header = json_object();
  uint64_t offset = 0;
  bool is_whole = true;
  if (metadata_count > 0)
    is_whole = json_object_set_new(header, "__metadata__",
                                   metadata_to_json(metadata, metadata_count)) == 0;
  for (uint32_t i = 0; i < tensor_count; i++) {
    uint64_t end = offset + tensors[i].bytes;
    json_t *entry =
        json_pack("{s:s, s:o, s:[I, I]}", "dtype", types[tensors[i].type].word, "shape",
                  shape_to_json(&tensors[i]), "data_offsets", (json_int_t)offset, (json_int_t)end);
    is_whole &= json_object_set_new(header, tensors[i].name, entry) == 0;
    offset = end;
  }
  if (is_whole) return header;
  json_decref(header);
  return NULL;
}

static void tensors_write(const th_tensor *tensors, uint32_t tensor_count, uint8_t *to) {
  for (uint32_t i = 0; i < tensor_count; i++) {
    if (tensors[i].bytes > 0) memcpy(to, tensors[i].data, tensors[i].bytes);
    to += tensors[i].bytes;
  }
  *to = '\0';
}

th_error th_safetensors_encode(const th_tensor *tensors, uint32_t tensor_count,
                               const th_metadata *metadata, uint32_t metadata_count,
                               th_buffer *file) {
  json_t *header = header_make(tensors, tensor_count, metadata, metadata_count);
  /* Measured and then written into its place: jansson's own growing text can lose a piece without a
   * word when memory runs out. */
  size_t text_bytes = json_dumpb(header, NULL, 0, JSON_COMPACT);
  /* The format allows spaces after the header, so that the tensors begin aligned. */
  uint64_t header_bytes = (text_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  uint64_t bytes = PREFIX_BYTES + header_bytes;
  for (uint32_t i = 0; i < tensor_count; i++) bytes += tensors[i].bytes;
  uint8_t *data = text_bytes == 0 ? NULL : malloc(bytes + 1);
  char *text = data == NULL ? NULL : (char *)data + PREFIX_BYTES;
  bool is_written =
      text != NULL && json_dumpb(header, text, text_bytes, JSON_COMPACT) == text_bytes;
  json_decref(header);
  if (!is_written) {
    free(data);
    return th_fail(TH_ERR_SYSTEM, "no memory for a safetensors file");
  }
  memcpy(data, &header_bytes, PREFIX_BYTES);
  memset(text + text_bytes, ' ', header_bytes - text_bytes);
  tensors_write(tensors, tensor_count, data + PREFIX_BYTES + header_bytes);
  *file = (th_buffer){.data = data, .bytes = bytes};
  return TH_OK;
}

/* ---- reading ---- */

static th_error tensor_fail(const char *name, const char *what) {
  return th_fail(TH_ERR_DATA, "safetensors: tensor \"%.60s\" %s", name, what);
}

static bool type_read(json_t *word, th_tensor_type *type) {
  for (size_t i = 0; json_is_string(word) && i < TYPES; i++) {
    if (strcmp(json_string_value(word), types[i].word) != 0) continue;
    *type = (th_tensor_type)i;
    return true;
  }
  return false;
}

static bool count_read(json_t *value, uint64_t *count) {
  *count = (uint64_t)json_integer_value(value);
  return json_is_integer(value) && json_integer_value(value) >= 0;
}

/* @return whether the shape can be read and its product, in bytes, be counted. */
static bool shape_read(json_t *shape, th_tensor *tensor) {
  if (!json_is_array(shape) || json_array_size(shape) > TH_TENSOR_RANK_MAX) return false;
  tensor->rank = (uint32_t)json_array_size(shape);
  tensor->bytes = types[tensor->type].bytes;
  for (uint32_t i = 0; i < tensor->rank; i++)
    if (!count_read(json_array_get(shape, i), &tensor->shape[i]) ||
        __builtin_mul_overflow(tensor->bytes, tensor->shape[i], &tensor->bytes))
      return false;
  return true;
}

static th_error tensor_read(const char *name, json_t *entry, const uint8_t *data,
                            uint64_t data_bytes, th_tensor *tensor) {
  *tensor = (th_tensor){0};
  if (strlen(name) >= sizeof tensor->name) return tensor_fail(name, "has too long a name");
  strcpy(tensor->name, name);
  if (!type_read(json_object_get(entry, "dtype"), &tensor->type))
    return tensor_fail(name, "has a dtype other than F32, F64, I32, I64 and U8");
  if (!shape_read(json_object_get(entry, "shape"), tensor))
    return tensor_fail(name, "has a shape that is too large or no list of at most 4 sizes");
  json_t *offsets = json_object_get(entry, "data_offsets");
  uint64_t begin, end;
  if (json_array_size(offsets) != 2 || !count_read(json_array_get(offsets, 0), &begin) ||
      !count_read(json_array_get(offsets, 1), &end))
    return tensor_fail(name, "has no data_offsets [begin, end]");
  if (begin > end || end > data_bytes) return tensor_fail(name, "lies beyond the end of the file");
  if (end - begin != tensor->bytes)
    return tensor_fail(name, "has not as many bytes as its shape says");
  tensor->data = data + begin;
  if ((uintptr_t)tensor->data % types[tensor->type].bytes != 0)
    return tensor_fail(name, "is not aligned for its dtype");
  return TH_OK;
}

static int tensor_compare(const void *left, const void *right) {
  const th_tensor *a = left, *b = right;
  if (a->data != b->data) return (const uint8_t *)a->data < (const uint8_t *)b->data ? -1 : 1;
  return (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

/* Sorted by place, each tensor begins where the one before it ends, and the last ends the file. */
static th_error tensors_judge(const th_safetensors *file, const uint8_t *data,
                              uint64_t data_bytes) {
  const uint8_t *end = data;
  for (uint32_t i = 0; i < file->tensor_count; i++) {
    if ((const uint8_t *)file->tensors[i].data != end)
      return tensor_fail(file->tensors[i].name, "overlaps another, or leaves a gap");
    end += file->tensors[i].bytes;
  }
  if (end != data + data_bytes)
    return th_fail(TH_ERR_DATA, "safetensors: %llu bytes follow the last tensor",
                   (unsigned long long)(data + data_bytes - end));
  return TH_OK;
}

static th_error metadata_read(json_t *object, th_safetensors *file) {
  if (object == NULL) return TH_OK;
  if (!json_is_object(object))
    return th_fail(TH_ERR_DATA, "safetensors: __metadata__ is no object");
  file->metadata = calloc(json_object_size(object) + 1, sizeof *file->metadata);
  if (file->metadata == NULL) return th_fail(TH_ERR_SYSTEM, "no memory for metadata");
  const char *key;
  json_t *value;
  json_object_foreach(object, key, value) {
    if (!json_is_string(value))
      return th_fail(TH_ERR_DATA, "safetensors: __metadata__ \"%.60s\" is no text", key);
    file->metadata[file->metadata_count++] =
        (th_metadata){.key = key, .value = json_string_value(value)};
  }
  return TH_OK;
}

static th_error header_read(json_t *header, const uint8_t *data, uint64_t data_bytes,
                            th_safetensors *file) {
  if (!json_is_object(header) || json_object_size(header) > TH_TENSORS_MAX)
    return th_fail(TH_ERR_DATA, "safetensors: the header is no object of at most %d tensors",
                   TH_TENSORS_MAX);
  file->tensors = calloc(json_object_size(header) + 1, sizeof *file->tensors);
  if (file->tensors == NULL) return th_fail(TH_ERR_SYSTEM, "no memory for a list of tensors");
  th_error error = metadata_read(json_object_get(header, "__metadata__"), file);
  const char *name;
  json_t *entry;
  json_object_foreach(header, name, entry) {
    if (error != TH_OK) break;
    if (strcmp(name, "__metadata__") == 0) continue;
    error = tensor_read(name, entry, data, data_bytes, &file->tensors[file->tensor_count]);
    if (error == TH_OK) file->tensor_count++;
  }
  if (error != TH_OK) return error;
  qsort(file->tensors, file->tensor_count, sizeof *file->tensors, tensor_compare);
  return tensors_judge(file, data, data_bytes);
}

th_error th_safetensors_decode(const void *bytes, size_t size, th_safetensors *decoded) {
  uint64_t header_bytes;
  if (size < PREFIX_BYTES) return th_fail(TH_ERR_DATA, "safetensors: only %zu bytes", size);
  memcpy(&header_bytes, bytes, PREFIX_BYTES);
  if (header_bytes > HEADER_BYTES_MAX || header_bytes > size - PREFIX_BYTES)
    return th_fail(
        TH_ERR_DATA,
        "safetensors: the header's size at offset 0 is %llu in a file of %zu bytes; this "
        "is no safetensors file, or it was cut off",
        (unsigned long long)header_bytes, size);
  json_error_t where;
  const char *text = (const char *)bytes + PREFIX_BYTES;
  th_safetensors file = {.header = json_loadb(text, header_bytes, JSON_REJECT_DUPLICATES, &where)};
  if (file.header == NULL)
    return th_fail(TH_ERR_DATA, "safetensors: the header at offset 8 is no JSON: %s", where.text);
  const uint8_t *data = (const uint8_t *)text + header_bytes;
  th_error error = header_read(file.header, data, size - PREFIX_BYTES - header_bytes, &file);
  if (error != TH_OK)
    th_safetensors_fini(&file);
  else
    *decoded = file;
  return error;
}

const th_tensor *th_safetensors_find(const th_safetensors *file, const char *name) {
  for (uint32_t i = 0; i < file->tensor_count; i++)
    if (strcmp(file->tensors[i].name, name) == 0) return &file->tensors[i];
  return NULL;
}

const char *th_safetensors_metadata(const th_safetensors *file, const char *key) {
  for (uint32_t i = 0; i < file->metadata_count; i++)
    if (strcmp(file->metadata[i].key, key) == 0) return file->metadata[i].value;
  return NULL;
}

void th_safetensors_fini(th_safetensors *file) {
  free(file->tensors);
  free(file->metadata);
  json_decref(file->header);
  *file = (th_safetensors){0};
}

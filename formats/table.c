#include "formats/table.h"

#include <string.h>
#include <unistd.h>

#include "formats/array.h"
#include "formats/csv.h"
#include "formats/file.h"
#include "formats/gzip.h"

/* Text is known by what it lacks: a NUL, which no CSV file holds and every other format does early
 * on. */
enum { TEXT_PROBE_BYTES = 4096 };

static th_error text_judge(const char *path, const th_buffer *contents) {
  size_t probed = contents->bytes < TEXT_PROBE_BYTES ? contents->bytes : TEXT_PROBE_BYTES;
  if (memchr(contents->data, '\0', probed) == NULL) return TH_OK;
  return th_fail(TH_ERR_DATA,
                 "%s is neither IDX nor .npy nor CSV: it does not begin as those do and is no text",
                 path);
}

typedef th_error array_header(const char *path, const void *head, size_t head_bytes,
                              th_array_file *array);

/** @return what reads the header of such an array; NULL if this is none. */
static array_header *header_of(const void *head, size_t head_bytes) {
  if (th_npy_is(head, head_bytes)) return th_npy_header;
  return th_idx_is(head, head_bytes) ? th_idx_header : NULL;
}

static th_error announcement(const char *path, const void *head, size_t head_bytes,
                             uint64_t *bytes_max) {
  th_array_file array;
  array_header *header = header_of(head, head_bytes);
  *bytes_max = UINT64_MAX;
  if (header == NULL) return TH_OK;
  th_error error = header(path, head, head_bytes, &array);
  if (error == TH_OK) *bytes_max = array.offset + array.bytes;
  return error;
}

/* What is wanted of a file: numbers or indices. */
typedef struct table_wish {
  th_numbers *numbers;
  th_indices *indices;
  bool are_features; /* pixels are scaled */
} table_wish;

static th_error array_read(th_array_file *array, const th_array_source *source,
                           const table_wish *wish) {
  array->is_pixels = array->is_pixels && wish->are_features;
  return wish->numbers != NULL ? th_array_to_numbers(array, source, wish->numbers)
                               : th_array_to_indices(array, source, wish->indices);
}

static th_error contents_read(const char *path, th_buffer *contents, const table_wish *wish) {
  array_header *header = header_of(contents->data, contents->bytes);
  if (header == NULL) {
    th_error error = text_judge(path, contents);
    if (error != TH_OK) return error;
    return wish->numbers != NULL ? th_csv_to_numbers(path, contents, wish->numbers)
                                 : th_csv_to_indices(path, contents, wish->indices);
  }
  th_array_file array;
  const th_array_source source = {.contents = contents->data, .bytes = contents->bytes};
  th_error error = header(path, contents->data, contents->bytes, &array);
  return error == TH_OK ? array_read(&array, &source, wish) : error;
}

/* Text, and what is packed, is read as a whole. */
static th_error whole_read(const char *path, int fd, const table_wish *wish) {
  th_buffer contents = {0};
  th_error error = th_file_read_fd(fd, path, &contents);
  if (error == TH_OK && th_gzip_is(&contents))
    error = th_gzip_unpack(path, announcement, &contents);
  if (error == TH_OK) error = contents_read(path, &contents, wish);
  th_buffer_fini(&contents);
  return error;
}

/* An array is not: its numbers go from the file to their places. */
static th_error fd_read(const char *path, int fd, uint64_t bytes, const table_wish *wish) {
  uint8_t head[TH_ARRAY_HEAD_BYTES_MAX];
  size_t head_bytes = bytes < sizeof head ? (size_t)bytes : sizeof head;
  th_error error = th_file_read_at(fd, path, 0, head, head_bytes);
  if (error != TH_OK) return error;
  array_header *header = header_of(head, head_bytes);
  if (header == NULL) return whole_read(path, fd, wish);
  th_array_file array;
  const th_array_source source = {.fd = fd, .bytes = bytes};
  error = header(path, head, head_bytes, &array);
  return error == TH_OK ? array_read(&array, &source, wish) : error;
}

static th_error file_read(const char *path, const table_wish *wish) {
  int fd;
  uint64_t bytes;
  th_error error = th_file_open(path, &fd, &bytes);
  if (error != TH_OK) return error;
  error = fd_read(path, fd, bytes, wish);
  close(fd);
  return error;
}

th_error th_features_read(const char *path, th_numbers *features) {
  return file_read(path, &(table_wish){.numbers = features, .are_features = true});
}

th_error th_numbers_read(const char *path, th_numbers *numbers) {
  return file_read(path, &(table_wish){.numbers = numbers});
}

th_error th_numbers_decode(const char *name, th_buffer *contents, th_numbers *numbers) {
  return contents_read(name, contents, &(table_wish){.numbers = numbers});
}

th_error th_indices_read(const char *path, th_indices *indices) {
  return file_read(path, &(table_wish){.indices = indices});
}

th_error th_csv_read_table(const char *path, const char *const columns[TH_ARRAY_DATA_COUNT],
                           th_table *table) {
  th_buffer contents;
  th_error error = th_file_read(path, &contents);
  if (error != TH_OK) return error;
  if (header_of(contents.data, contents.bytes) != NULL)
    error = th_fail(TH_ERR_DATA, "%s has no columns with names: it is no CSV file", path);
  if (error == TH_OK) error = text_judge(path, &contents);
  if (error == TH_OK) error = th_csv_to_table(path, &contents, columns, table);
  th_buffer_fini(&contents);
  return error;
}

void th_numbers_fini(th_numbers *numbers) {
  free(numbers->values);
  *numbers = (th_numbers){0};
}

void th_indices_fini(th_indices *indices) {
  free(indices->values);
  *indices = (th_indices){0};
}

void th_table_fini(th_table *table) {
  for (int i = 0; i < TH_ARRAY_DATA_COUNT; i++) free(table->arrays[i]);
  *table = (th_table){0};
}

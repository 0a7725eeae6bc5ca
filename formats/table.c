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
                              th_array *array);

/** @return what reads the header of such an array; NULL if this is none. */
static array_header *header_of(const void *head, size_t head_bytes) {
  if (th_npy_is(head, head_bytes)) return th_npy_header;
  return th_idx_is(head, head_bytes) ? th_idx_header : NULL;
}

static th_error announcement(const char *path, const void *head, size_t head_bytes,
                             uint64_t *bytes_max) {
  th_array array;
  array_header *header = header_of(head, head_bytes);
  *bytes_max = UINT64_MAX;
  if (header == NULL) return TH_OK;
  th_error error = header(path, head, head_bytes, &array);
  if (error == TH_OK) *bytes_max = array.offset + array.bytes;
  return error;
}

/* Exactly one of features and labels is asked for. */
static th_error array_to_table(const th_array *array, const th_array_source *source,
                               th_features *features, th_labels *labels) {
  return features != NULL ? th_array_to_features(array, source, features)
                          : th_array_to_labels(array, source, labels);
}

static th_error contents_to_table(const char *path, th_buffer *contents, th_features *features,
                                  th_labels *labels) {
  array_header *header = header_of(contents->data, contents->bytes);
  if (header == NULL) {
    th_error error = text_judge(path, contents);
    if (error != TH_OK) return error;
    return th_csv_read(path, contents, features != NULL ? TH_CSV_FEATURES : TH_CSV_LABELS, NULL,
                       features, labels);
  }
  th_array array;
  const th_array_source source = {.contents = contents->data, .bytes = contents->bytes};
  th_error error = header(path, contents->data, contents->bytes, &array);
  return error == TH_OK ? array_to_table(&array, &source, features, labels) : error;
}

/* Text, and what is packed, is read as a whole. */
static th_error whole_to_table(const char *path, int fd, th_features *features, th_labels *labels) {
  th_buffer contents = {0};
  th_error error = th_file_read_fd(fd, path, &contents);
  if (error == TH_OK && th_gzip_is(&contents))
    error = th_gzip_unpack(path, announcement, &contents);
  if (error == TH_OK) error = contents_to_table(path, &contents, features, labels);
  th_buffer_fini(&contents);
  return error;
}

/* An array is not: its numbers go from the file to their places. */
static th_error file_to_table(const char *path, int fd, uint64_t bytes, th_features *features,
                              th_labels *labels) {
  uint8_t head[TH_ARRAY_HEAD_BYTES_MAX];
  size_t head_bytes = bytes < sizeof head ? (size_t)bytes : sizeof head;
  th_error error = th_file_read_at(fd, path, 0, head, head_bytes);
  if (error != TH_OK) return error;
  array_header *header = header_of(head, head_bytes);
  if (header == NULL) return whole_to_table(path, fd, features, labels);
  th_array array;
  const th_array_source source = {.fd = fd, .bytes = bytes};
  error = header(path, head, head_bytes, &array);
  return error == TH_OK ? array_to_table(&array, &source, features, labels) : error;
}

static th_error table_read(const char *path, th_features *features, th_labels *labels) {
  int fd;
  uint64_t bytes;
  th_error error = th_file_open(path, &fd, &bytes);
  if (error != TH_OK) return error;
  error = file_to_table(path, fd, bytes, features, labels);
  close(fd);
  return error;
}

th_error th_features_read(const char *path, th_features *features) {
  return table_read(path, features, NULL);
}

th_error th_features_decode(const char *name, th_buffer *contents, th_features *features) {
  return contents_to_table(name, contents, features, NULL);
}

th_error th_labels_read(const char *path, th_labels *labels) {
  return table_read(path, NULL, labels);
}

th_error th_csv_read_labeled(const char *path, const char *label_column, th_features *features,
                             th_labels *labels) {
  th_buffer contents;
  th_error error = th_file_read(path, &contents);
  if (error != TH_OK) return error;
  if (header_of(contents.data, contents.bytes) != NULL)
    error = th_fail(TH_ERR_DATA, "%s has no columns with names: it is no CSV file", path);
  if (error == TH_OK) error = text_judge(path, &contents);
  if (error == TH_OK)
    error = th_csv_read(path, &contents, TH_CSV_LABELED, label_column, features, labels);
  th_buffer_fini(&contents);
  return error;
}

void th_features_fini(th_features *features) {
  free(features->values);
  *features = (th_features){0};
}

void th_labels_fini(th_labels *labels) {
  free(labels->values);
  *labels = (th_labels){0};
}

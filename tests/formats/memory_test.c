/* Every allocation of the room fails once, in turn: each call must then say so, leave nothing
 * behind (the address sanitizer looks) and work again with memory. The linker sends the room's
 * allocations here (tests/formats/CMakeLists.txt), and jansson is told to make its own here
 * where it writes. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "formats/file.h"
#include "formats/safetensors.h"
#include "formats/table.h"
#include "scratch.h"

enum { ALLOCATIONS_MAX = 500 };

static uint32_t countdown; /* the allocation that fails; 0: none */

static bool fails_now(void) {
  return countdown > 0 && --countdown == 0;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *data, size_t bytes);
void *__real_reallocarray(void *data, size_t count, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
char *__real_strndup(const char *text, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *data, size_t bytes);
void *__wrap_reallocarray(void *data, size_t count, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
char *__wrap_strndup(const char *text, size_t bytes);

void *__wrap_malloc(size_t bytes) {
  return fails_now() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes) {
  return fails_now() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *data, size_t bytes) {
  return fails_now() ? NULL : __real_realloc(data, bytes);
}

/* Shrinking is allowed to fail: the larger block serves as well, so that is no failure. */
void *__wrap_reallocarray(void *data, size_t count, size_t bytes) {
  if (data != NULL) return __real_reallocarray(data, count, bytes);
  return fails_now() ? NULL : __real_reallocarray(data, count, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes) {
  return fails_now() ? NULL : __real_aligned_alloc(alignment, bytes);
}

char *__wrap_strndup(const char *text, size_t bytes) {
  return fails_now() ? NULL : __real_strndup(text, bytes);
}

TestSuite(formats_memory, .init = scratch_open, .fini = scratch_close);

/* Fail the first allocation, then the second, … until the call needs no more. */
static void fail_each(th_error (*call)(void)) {
  uint32_t nth = 1;
  for (; nth < ALLOCATIONS_MAX; nth++) {
    countdown = nth;
    th_error error = call();
    bool all_succeeded = countdown > 0;
    countdown = 0;
    if (all_succeeded) {
      cr_assert_eq(error, TH_OK, "%s", th_error_text());
      break;
    }
    cr_assert_eq(error, TH_ERR_SYSTEM, "allocation %u: %s: %s", nth, th_error_name(error),
                 th_error_text());
    cr_assert_not_null(strstr(th_error_text(), "memory"), "%s", th_error_text());
  }
  cr_assert(nth > 1 && nth < ALLOCATIONS_MAX, "%u allocations", nth);
}

static th_error read_features(void) {
  th_numbers features;
  th_error error = th_features_read("table", &features);
  if (error == TH_OK) th_numbers_fini(&features);
  return error;
}

static th_error read_labels(void) {
  th_indices labels;
  th_error error = th_indices_read("table", &labels);
  if (error == TH_OK) th_indices_fini(&labels);
  return error;
}

Test(formats_memory, reading_an_array_survives_each_failure) {
  scratch_write("table", "\0\0\x08\x01\0\0\0\2\1\2", 10);
  fail_each(read_features);
  fail_each(read_labels);
}

Test(formats_memory, unpacking_survives_each_failure) {
  size_t bytes = 8 << 20;
  char *data = calloc(1, bytes);
  memcpy(data, "\0\0\x08\x01\x00\x7F\xFF\xF8", 8);
  scratch_write_gzip("table", data, bytes);
  free(data);
  fail_each(read_features);
}

/* Arrays of some size take memory another way. */
Test(formats_memory, reading_a_large_array_survives_each_failure) {
  size_t bytes = 8 << 20;
  char *data = calloc(1, bytes);
  memcpy(data, "\0\0\x08\x01\x00\x7F\xFF\xF8", 8);
  scratch_write("table", data, bytes);
  free(data);
  fail_each(read_features);
}

static th_error read_table(void) {
  static const char *const columns[TH_ARRAY_DATA_COUNT] = {
      [TH_ARRAY_TARGETS] = "y", [TH_ARRAY_GROUPS] = "g"};
  th_table table;
  th_error error = th_csv_read_table("table", columns, &table);
  if (error == TH_OK) th_table_fini(&table);
  return error;
}

Test(formats_memory, reading_csv_survives_each_failure) {
  scratch_write("table", "a,g,y\n1,2,3\n", 12);
  fail_each(read_features);
  fail_each(read_table);
  scratch_write("table", "y\n3\n", 4);
  fail_each(read_labels);
}

static th_error encode(th_buffer *file) {
  static const float values[4] = {1, 2, 3, 4};
  const th_tensor tensor = {
      .name = "w", .type = TH_TENSOR_F32, .rank = 2, .shape = {2, 2}, .data = values, .bytes = 16};
  const th_metadata metadata[] = {{"a", "1"}, {"b", "2"}};
  return th_safetensors_encode(&tensor, 1, metadata, 2, file);
}

static th_buffer model;

static th_error encode_same(void) {
  th_buffer file;
  th_error error = encode(&file);
  if (error != TH_OK) return error;
  cr_assert_eq(file.bytes, model.bytes);
  cr_assert_eq(memcmp(file.data, model.data, model.bytes), 0);
  th_buffer_fini(&file);
  return TH_OK;
}

static th_error decode(void) {
  th_safetensors decoded;
  th_error error = th_safetensors_decode(model.data, model.bytes, &decoded);
  if (error == TH_OK) th_safetensors_fini(&decoded);
  return error;
}

/* Its parser is left out: what it then says cannot be told from a broken file. */
Test(formats_memory, safetensors_survive_each_failure) {
  cr_assert_eq(encode(&model), TH_OK);
  fail_each(decode);
  json_set_alloc_funcs(__wrap_malloc, free);
  fail_each(encode_same);
  th_buffer_fini(&model);
}

static th_error encode_npy(void) {
  static const float values[2] = {1, 2};
  th_buffer npy;
  th_error error = th_npy_encode(values, 1, 2, &npy);
  if (error == TH_OK) th_buffer_fini(&npy);
  return error;
}

Test(formats_memory, encoding_npy_survives_each_failure) {
  fail_each(encode_npy);
}

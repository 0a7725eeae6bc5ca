#include "formats/safetensors.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "formats/file.h"
#include "scratch.h"

TestSuite(safetensors, .init = scratch_open, .fini = scratch_close);

static const float weights[6] = {1, 2, 3, 4, 5, 6.5F};
static const int64_t steps[1] = {-7};

static th_buffer example_encode(void) {
  const th_tensor tensors[] = {
      {.name = "0.weight", .type = TH_TENSOR_F32, .rank = 2, .shape = {2, 3}, weights, 24},
      {.name = "steps", .type = TH_TENSOR_I64, .rank = 0, .data = steps, .bytes = 8},
      {.name = "none", .type = TH_TENSOR_U8, .rank = 1, .shape = {0}},
  };
  const th_metadata metadata[] = {{"format", "pt"}, {"quote", "\"\xC3\xA9\n"}};
  th_buffer file;
  cr_assert_eq(th_safetensors_encode(tensors, 3, metadata, 2, &file), TH_OK);
  return file;
}

Test(safetensors, encode_follows_the_description_of_the_format) {
  th_buffer file = example_encode();
  uint64_t header_bytes;
  memcpy(&header_bytes, file.data, 8);
  const char *text = (const char *)file.data + 8;
  cr_assert_eq(text[0], '{', "the format wants the object to begin the header");
  cr_assert_eq((8 + header_bytes) % 8, 0);
  cr_assert_eq(8 + header_bytes + 24 + 8, file.bytes);
  json_t *header = json_loadb(text, header_bytes, 0, NULL);
  json_t *tensor = json_object_get(header, "0.weight");
  cr_assert_str_eq(json_string_value(json_object_get(tensor, "dtype")), "F32");
  json_t *wanted =
      json_pack("{s:[i,i], s:[i,i], s:s}", "shape", 2, 3, "data_offsets", 0, 24, "dtype", "F32");
  cr_assert(json_equal(tensor, wanted));
  cr_assert_eq(memcmp(text + header_bytes, weights, sizeof weights), 0);
  json_decref(wanted);
  json_decref(header);
  th_buffer_fini(&file);
}

Test(safetensors, decode_gives_back_what_encode_was_given) {
  th_buffer file = example_encode();
  th_safetensors decoded;
  cr_assert_eq(th_safetensors_decode(file.data, file.bytes, &decoded), TH_OK, "%s",
               th_error_text());
  cr_assert_eq(decoded.tensor_count, 3);
  const th_tensor *found = th_safetensors_find(&decoded, "0.weight");
  cr_assert_eq(found->rank, 2);
  cr_assert_eq(found->shape[0], 2);
  cr_assert_eq(found->shape[1], 3);
  cr_assert_eq(memcmp(found->data, weights, sizeof weights), 0);
  found = th_safetensors_find(&decoded, "steps");
  cr_assert_eq(found->rank, 0);
  cr_assert_eq(*(const int64_t *)found->data, -7);
  cr_assert_eq(th_safetensors_find(&decoded, "none")->bytes, 0);
  cr_assert_null(th_safetensors_find(&decoded, "0.bias"));
  cr_assert_str_eq(th_safetensors_metadata(&decoded, "quote"), "\"\xC3\xA9\n");
  cr_assert_null(th_safetensors_metadata(&decoded, "other"));
  th_safetensors_fini(&decoded);
  th_safetensors_fini(&decoded);
  th_buffer_fini(&file);
}

/* A file of a header, without spaces after it, and zeros. */
static th_error decode(const char *header, size_t header_bytes, size_t data_bytes) {
  size_t bytes = 8 + header_bytes + data_bytes;
  char *file = calloc(1, bytes);
  uint64_t length = header_bytes;
  memcpy(file, &length, 8);
  memcpy(file + 8, header, header_bytes);
  th_safetensors decoded;
  th_error error = th_safetensors_decode(file, bytes, &decoded);
  if (error == TH_OK) th_safetensors_fini(&decoded);
  free(file);
  return error;
}

static void assert_refused(const char *header, size_t data_bytes, const char *words) {
  char padded[1024];
  int length = snprintf(padded, sizeof padded, "%-512s", header);
  cr_assert_eq(length, 512);
  assert_failed(decode(padded, 512, data_bytes), TH_ERR_DATA, words);
}

#define TENSOR(name, dtype, shape, begin, end)                                                   \
  "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end \
  "]}"

Test(safetensors, decode_takes_tensors_in_any_order) {
  char padded[1024];
  snprintf(padded, sizeof padded, "%-512s",
           "{" TENSOR("b", "F32", "[1]", 4, 8) "," TENSOR("a", "F32", "[1]", 0, 4) "}");
  cr_assert_eq(decode(padded, 512, 8), TH_OK, "%s", th_error_text());
  cr_assert_eq(decode("{}", 2, 0), TH_OK, "%s", th_error_text());
}

Test(safetensors, decode_refuses_places_that_are_not_in_the_file) {
  assert_refused("{" TENSOR("t", "F32", "[2]", 0, 8) "}", 7, "\"t\"");
  assert_refused("{" TENSOR("t", "F32", "[1]", 4, 0) "}", 8, "\"t\"");
  assert_refused("{" TENSOR("t", "F32", "[1]", -4, 0) "}", 8, "\"t\"");
  assert_refused("{" TENSOR("t", "F32", "[1]", 9223372036854775800, 9223372036854775804) "}", 8,
                 "\"t\"");
  assert_refused("{" TENSOR("t", "F32", "[1]", 0, 4) "}", 5, "1 bytes");
  assert_refused("{" TENSOR("t", "F32", "[1]", 4, 8) "}", 8, "gap");
  assert_refused("{" TENSOR("t", "F32", "[1]", 0, 4) "," TENSOR("u", "F32", "[1]", 0, 4) "}", 4,
                 "overlaps");
  assert_refused("{" TENSOR("t", "F32", "[1]", 0.0, 4.0) "}", 4, "data_offsets");
}

Test(safetensors, decode_refuses_shapes_that_do_not_fit) {
  assert_refused("{" TENSOR("t", "F32", "[3]", 0, 8) "}", 8, "shape");
  assert_refused("{" TENSOR("t", "F32", "[-1]", 0, 4) "}", 4, "shape");
  assert_refused("{" TENSOR("t", "F32", "[1,1,1,1,1]", 0, 4) "}", 4, "at most 4");
  assert_refused("{" TENSOR("t", "F32", "[4294967296,4294967296]", 0, 0) "}", 0, "too large");
  assert_refused("{" TENSOR("t", "BF16", "[2]", 0, 4) "}", 4, "dtype");
  assert_refused("{" TENSOR("t", "U8", "[4]", 0, 4) "," TENSOR("d", "F64", "[1]", 4, 12) "}", 12,
                 "aligned");
}

/* The reference pads the header; a file that does not would make every tensor unaligned. */
Test(safetensors, decode_refuses_a_header_that_leaves_the_tensors_unaligned) {
  static const char header[] = "{" TENSOR("odd", "F32", "[1]", 0, 4) "}";
  size_t bytes = sizeof header - 1;
  char padded[256];
  snprintf(padded, sizeof padded, "%-200s", header);
  while (bytes % 4 != 1) bytes++;
  assert_failed(decode(padded, bytes, 4), TH_ERR_DATA, "aligned");
}

Test(safetensors, decode_refuses_a_header_that_is_none) {
  assert_refused("[]", 0, "header");
  assert_refused("{\"t\": 5}", 0, "\"t\"");
  assert_refused("{", 0, "offset 8");
  assert_refused("{\"__metadata__\": {\"a\": 5}}", 0, "\"a\"");
  assert_refused("{\"__metadata__\": 5}", 0, "__metadata__");
  assert_refused("{" TENSOR("t", "F32", "[1]", 0, 4) "," TENSOR("t", "F32", "[1]", 0, 4) "}", 4,
                 "duplicate");
  assert_refused("{" TENSOR("0123456789012345678901234567890123456789012345678901234567890123",
                            "F32", "[1]", 0, 4) "}",
                 4, "name");
  th_safetensors decoded;
  static const uint8_t huge[16] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
  assert_failed(th_safetensors_decode(huge, sizeof huge, &decoded), TH_ERR_DATA, "cut off");
  assert_failed(th_safetensors_decode(huge, 7, &decoded), TH_ERR_DATA, "7 bytes");
  assert_failed(th_safetensors_decode(NULL, 0, &decoded), TH_ERR_DATA, "0 bytes");
}

Test(safetensors, decode_refuses_nesting_and_too_many_tensors) {
  char *deep = malloc(100000);
  memset(deep, '[', 100000);
  assert_failed(decode(deep, 100000, 0), TH_ERR_DATA, "offset 8");
  free(deep);
  json_t *header = json_object();
  for (int i = 0; i <= TH_TENSORS_MAX; i++) {
    char name[16];
    snprintf(name, sizeof name, "%d", i);
    json_object_set_new(
        header, name,
        json_pack("{s:s, s:[i], s:[i,i]}", "dtype", "U8", "shape", 0, "data_offsets", 0, 0));
  }
  char *text = json_dumps(header, JSON_COMPACT);
  assert_failed(decode(text, strlen(text), 0), TH_ERR_DATA, "1024");
  free(text);
  json_decref(header);
}

/* The bytes lie in memory of exactly their size, so that the sanitizers see one byte too many. */
static th_error decode_file(const char *name) {
  th_buffer file;
  cr_assert_eq(th_file_read(name, &file), TH_OK);
  void *exact = malloc(file.bytes);
  memcpy(exact, file.data, file.bytes);
  th_safetensors decoded;
  th_error error = th_safetensors_decode(exact, file.bytes, &decoded);
  if (error == TH_OK) th_safetensors_fini(&decoded);
  free(exact);
  th_buffer_fini(&file);
  return error;
}

Test(safetensors, decode_judges_every_damage) {
  th_buffer file = example_encode();
  scratch_corrupt("damaged", file.data, file.bytes, decode_file);
  th_buffer_fini(&file);
}

Test(safetensors, numpy_reads_what_encode_wrote) {
  th_buffer file = example_encode();
  scratch_write("model.safetensors", file.data, file.bytes);
  th_buffer_fini(&file);
  if (!scratch_numpy("import json, struct\n"
                     "raw = open('model.safetensors', 'rb').read()\n"
                     "n, = struct.unpack('<Q', raw[:8])\n"
                     "header = json.loads(raw[8:8 + n])\n"
                     "assert header['__metadata__'] == {'format': 'pt', 'quote': '\"\\u00e9\\n'}\n"
                     "entry = header['0.weight']\n"
                     "begin, end = entry['data_offsets']\n"
                     "w = np.frombuffer(raw[8 + n + begin:8 + n + end], '<f4')\n"
                     "assert (w.reshape(entry['shape']) == [[1, 2, 3], [4, 5, 6.5]]).all()\n"))
    cr_skip_test("NumPy is not installed");
}

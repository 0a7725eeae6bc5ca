/**
 * safetensors: an 8-byte little-endian header size, a JSON header, then the tensors' bytes
 * (format description: github.com/huggingface/safetensors).
 */
#ifndef TH_FORMATS_SAFETENSORS_H
#define TH_FORMATS_SAFETENSORS_H

#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

#define TH_TENSOR_RANK_MAX 4
#define TH_TENSOR_NAME_BYTES_MAX 64
#define TH_TENSORS_MAX 1024

typedef enum th_tensor_type {
  TH_TENSOR_F32,
  TH_TENSOR_F64,
  TH_TENSOR_I32,
  TH_TENSOR_I64,
  TH_TENSOR_U8
} th_tensor_type;

/** One tensor, row-major. `data` is borrowed: from the caller when encoding, from the file when
 * decoded. */
typedef struct th_tensor {
  char name[TH_TENSOR_NAME_BYTES_MAX];
  th_tensor_type type;
  uint32_t rank;
  uint64_t shape[TH_TENSOR_RANK_MAX];
  const void *data;
  uint64_t bytes;
} th_tensor;

/** One entry of the header's `__metadata__`; strings borrowed. */
typedef struct th_metadata {
  const char *key;
  const char *value;
} th_metadata;

/** A decoded file: views into the bytes it was decoded from, which must outlive it. */
typedef struct th_safetensors {
  th_tensor *tensors;
  uint32_t tensor_count;
  th_metadata *metadata;
  uint32_t metadata_count;
  void *header; /**< private: keeps the metadata's strings */
} th_safetensors;

/**
 * Encode tensors; their bytes begin at a multiple of 8 and lie in the order given.
 *
 * @param file  [out] owned by the caller.
 * @return TH_OK; TH_ERR_SYSTEM without memory.
 */
th_error th_safetensors_encode(const th_tensor *tensors, uint32_t tensor_count,
                               const th_metadata *metadata, uint32_t metadata_count,
                               th_buffer *file);

/**
 * Decode and judge a file: offsets in range, without overlap or gap, bytes = shape × element, data
 * aligned for its type within bytes.
 *
 * @param bytes    borrowed; must outlive decoded.
 * @param decoded  [out] th_safetensors_fini frees it.
 * @return TH_OK; TH_ERR_DATA naming the tensor or the offset; TH_ERR_SYSTEM without memory.
 */
th_error th_safetensors_decode(const void *bytes, size_t size, th_safetensors *decoded);

/** The tensor of that name, or NULL. */
const th_tensor *th_safetensors_find(const th_safetensors *file, const char *name);

/** The metadata value for key, or NULL. */
const char *th_safetensors_metadata(const th_safetensors *file, const char *key);

void th_safetensors_fini(th_safetensors *file);

#endif

/** The arrays that a job is fed: the same numbers and the same order in every room, on the wire and
 * in the digest of data. */
#ifndef TH_BASE_ARRAY_H
#define TH_BASE_ARRAY_H

typedef enum th_array {
  TH_ARRAY_FEATURES, /**< float32 [rows, width] */
  TH_ARRAY_LABELS, /**< int32 [rows], classes from 0 */
  TH_ARRAY_TARGETS, /**< float32 [rows, target_width], instead of labels */
  TH_ARRAY_WEIGHTS, /**< float32 [rows], 0 or above */
  TH_ARRAY_GROUPS, /**< int32 [rows], from 0 */
  TH_ARRAY_MODEL, /**< a safetensors file: a model to apply or to begin with, or a checkpoint */
} th_array;

/** All but the model are the data, which jobs can share. Their elements have four bytes. */
enum { TH_ARRAY_COUNT = 6, TH_ARRAY_DATA_COUNT = 5 };

/** "features" for TH_ARRAY_FEATURES. Static. */
const char *th_array_name(th_array array);

#endif

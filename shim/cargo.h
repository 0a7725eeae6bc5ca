/** The arrays of a request that was judged, as both ways take them. */
#ifndef TH_SHIM_CARGO_H
#define TH_SHIM_CARGO_H

#include "base/array.h"
#include "shim/trainhost.h"

typedef struct th_cargo {
  const void *data[TH_ARRAY_COUNT]; /**< the caller's */
  uint64_t bytes[TH_ARRAY_COUNT]; /**< 0: not sent */
  uint32_t target_width; /**< 0 without targets */
} th_cargo;

/* Inline, because the two ways are in libraries that share no code. */
static inline th_cargo th_cargo_of(const th_job_request *request) {
  uint32_t target_width = request->target_width;
  if (request->targets != NULL && target_width == 0) target_width = 1;
  const uint64_t columns[TH_ARRAY_DATA_COUNT] = {
      [TH_ARRAY_FEATURES] = request->width,
      [TH_ARRAY_LABELS] = 1,
      [TH_ARRAY_TARGETS] = target_width,
      [TH_ARRAY_WEIGHTS] = 1,
      [TH_ARRAY_GROUPS] = 1,
  };
  th_cargo cargo = {
      .data =
          {
              [TH_ARRAY_FEATURES] = request->features,
              [TH_ARRAY_LABELS] = request->labels,
              [TH_ARRAY_TARGETS] = request->targets,
              [TH_ARRAY_WEIGHTS] = request->weights,
              [TH_ARRAY_GROUPS] = request->groups,
              [TH_ARRAY_MODEL] = request->model,
          },
      .bytes = {[TH_ARRAY_MODEL] = request->model_bytes},
      .target_width = target_width,
  };
  for (int i = 0; i < TH_ARRAY_DATA_COUNT; i++)
    if (cargo.data[i] != NULL) cargo.bytes[i] = request->rows * columns[i] * sizeof(float);
  return cargo;
}

#endif

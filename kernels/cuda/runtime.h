/**
 * What the engine asks of a GPU's runtime. The functions come from a library of their own
 * (runtime.cu), which is loaded when a GPU is asked for and knows nothing of the engine, so that
 * nothing else needs CUDA to be built, linked or tested.
 */
#ifndef TH_KERNELS_CUDA_RUNTIME_H
#define TH_KERNELS_CUDA_RUNTIME_H

#include <stddef.h>

#include "kernels/cuda/net.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Changes with every change of what this file declares: the library must be of the same build. */
#define TH_CUDA_RUNTIME_VERSION 1
#define TH_CUDA_LIBRARY "libtrainhost-cuda.so"
#define TH_CUDA_RUNTIME_SYMBOL "th_cuda_runtime_table"

/** What a device says of itself. */
typedef struct th_cuda_facts {
  char name[64]; /**< "NVIDIA H100 80GB HBM3" */
  uint32_t multiprocessors;
  size_t memory_bytes, free_bytes;
} th_cuda_facts;

/** Steps to be trained, by a block of threads or by a grid of them. */
typedef struct th_cuda_training {
  th_cuda_job job;
  th_order order; /**< of the epoch */
  const th_optimizer *optimizers; /**< [count] in the device's memory */
  uint32_t first; /**< step in the epoch */
  uint32_t count;
  uint64_t step; /**< of `first`, over the whole training */
  size_t state_numbers; /**< parameters and moments together */
  size_t area_numbers;
  uint64_t tiles_widest; /**< of the phase that has most */
} th_cuda_training;

/** Rows per block that are judged together. */
#define TH_CUDA_JUDGED_ROWS 32

/** Rows to be judged, a few by each of many blocks. */
typedef struct th_cuda_judging {
  th_cuda_job job; /**< its area is the first of `areas` and its sums those of the first rows */
  uint32_t areas;
  uint32_t first; /**< position of the first row */
  uint32_t rows;
  float *logits; /**< [rows, outputs] in the device's memory, or NULL */
} th_cuda_judging;

/** A device with a queue of its own for one job; functions below are called by one thread at a
 * time. */
typedef struct th_cuda_queue th_cuda_queue;

/** Every function but the last two returns NULL, or the name of the CUDA error: a static text. */
typedef struct th_cuda_runtime {
  uint32_t version;
  const char *(*describe)(uint32_t device, th_cuda_facts *facts);
  const char *(*open)(uint32_t device, th_cuda_queue **queue);
  /** Zeroed memory of the device. */
  const char *(*allocate)(th_cuda_queue *queue, size_t bytes, void **memory);
  const char *(*upload)(th_cuda_queue *queue, void *to, const void *from, size_t bytes);
  const char *(*download)(th_cuda_queue *queue, void *to, const void *from, size_t bytes);
  const char *(*copy)(th_cuda_queue *queue, void *to, const void *from, size_t bytes);
  const char *(*train)(th_cuda_queue *queue, const th_cuda_training *training);
  const char *(*judge)(th_cuda_queue *queue, const th_cuda_judging *judging);
  /** Wait until all that was asked for is done. */
  const char *(*wait)(th_cuda_queue *queue);
  void (*release)(th_cuda_queue *queue, void *memory);
  void (*close)(th_cuda_queue *queue);
} th_cuda_runtime;

#ifdef __cplusplus
}
#endif

#endif

/* The kernels, and CUDA's runtime behind kernels/cuda/runtime.h. A library of its own, which a
 * process loads when a GPU is asked for. */
#include <cooperative_groups.h>
#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/phases.h"

/* A block that trains is a whole job's: a small net has about so many tiles a layer at batch 32, and
 * each thread may have all the registers there are. One that judges shares a multiprocessor with
 * others. */
#define TRAINING_THREADS 256
#define JUDGING_THREADS 128

/* ---- kernels ---- */

/* Which arrays a block keeps in its shared memory during a launch. */
struct held {
  bool state;
  bool area;
};

static __device__ void block_copy(float *to, const float *from, uint64_t count) {
  for (uint64_t i = threadIdx.x; i < count; i += blockDim.x) to[i] = from[i];
}

/* The copy of an array in shared memory, or the array itself. */
static __device__ float *hold(float *array, uint64_t count, float **free_shared) {
  if (array == NULL) return NULL;
  float *copy = *free_shared;
  *free_shared += count;
  block_copy(copy, array, count);
  return copy;
}

static __device__ void let_go(float *array, const float *copy, uint64_t count) {
  if (array != NULL && array != copy) block_copy(array, copy, count);
}

static __device__ void net_copy(th_cuda_net *to, const th_cuda_net *from) {
  const uint32_t *words = (const uint32_t *)from;
  for (uint32_t i = threadIdx.x; i < sizeof *to / sizeof *words; i += blockDim.x)
    ((uint32_t *)to)[i] = words[i];
}

/* All phases of a program; after each, its lanes wait for each other. */
template <typename barrier>
static __device__ void program_run(const th_cuda_job *job, const th_cuda_batch *batch,
                                   const th_cuda_program *program, th_lane lane,
                                   const barrier &wait) {
  th_cursor cursor = {0, 0};
  do {
    th_phase_run(job, batch, program, cursor, lane);
    wait();
  } while (th_cursor_advance(&cursor, job->net, program));
}

/* Step after step with no word from the host. */
static __global__ void __launch_bounds__(TRAINING_THREADS, 1)
    train_kernel(const __grid_constant__ th_cuda_training training, const held holds) {
  extern __shared__ float4 shared[];
  __shared__ th_cuda_net net;
  const th_cuda_state given = training.job.state;
  th_cuda_job job = training.job;
  float *free_shared = (float *)shared;
  net_copy(&net, training.job.net);
  __syncthreads();
  job.net = &net;
  if (holds.state) {
    job.state.parameters = hold(given.parameters, net.parameters, &free_shared);
    job.state.moment1 = hold(given.moment1, net.parameters, &free_shared);
    job.state.moment2 = hold(given.moment2, net.parameters, &free_shared);
  }
  if (holds.area) job.area.numbers = free_shared;
  const th_lane lane = {threadIdx.x, blockDim.x};
  __syncthreads();
  for (uint32_t s = 0; s < training.count; s++) {
    const th_cuda_batch batch = th_training_batch(&training, s);
    program_run(&job, &batch, &net.step, lane, [] { __syncthreads(); });
  }
  let_go(given.parameters, job.state.parameters, net.parameters);
  let_go(given.moment1, job.state.moment1, net.parameters);
  let_go(given.moment2, job.state.moment2, net.parameters);
}

/* The same by all blocks of a grid: a net too large for one, or a batch with work for many. */
static __global__ void __launch_bounds__(TRAINING_THREADS, 1)
    train_grid_kernel(const __grid_constant__ th_cuda_training training) {
  __shared__ th_cuda_net net;
  const cooperative_groups::grid_group grid = cooperative_groups::this_grid();
  const th_lane lane = {blockIdx.x * blockDim.x + threadIdx.x, gridDim.x * blockDim.x};
  th_cuda_job job = training.job;
  net_copy(&net, training.job.net);
  __syncthreads();
  job.net = &net;
  for (uint32_t s = 0; s < training.count; s++) {
    const th_cuda_batch batch = th_training_batch(&training, s);
    program_run(&job, &batch, &net.step, lane, [&] { grid.sync(); });
  }
}

static __global__ void __launch_bounds__(JUDGING_THREADS, 4)
    judge_kernel(const __grid_constant__ th_cuda_judging judging, uint32_t groups) {
  __shared__ th_cuda_net net;
  net_copy(&net, judging.job.net);
  __syncthreads();
  const th_lane lane = {threadIdx.x, blockDim.x};
  for (uint32_t g = blockIdx.x; g < groups; g += gridDim.x) {
    th_cuda_job job = th_judging_job(&judging, blockIdx.x, g);
    const th_cuda_batch batch = th_judging_batch(&judging, g);
    job.net = &net;
    program_run(&job, &batch, &net.judging, lane, [] { __syncthreads(); });
  }
}

/* ---- the runtime ---- */

struct th_cuda_queue {
  int device;
  int shared_bytes; /* that a block may have beside its static memory */
  int grid_blocks; /* that can wait for each other */
  cudaStream_t stream;
};

static const char *name_of(cudaError_t error) {
  return error == cudaSuccess ? NULL : cudaGetErrorName(error);
}

static cudaError_t attribute(uint32_t device, cudaDeviceAttr which, int *value) {
  return cudaDeviceGetAttribute(value, which, (int)device);
}

static const char *describe(uint32_t device, th_cuda_facts *facts) {
  cudaDeviceProp properties;
  /* Threads that wait for their jobs sleep: there are more of them than cores. */
  cudaError_t error = cudaInitDevice((int)device, cudaDeviceScheduleBlockingSync,
                                     cudaInitDeviceFlagsAreValid);
  if (error == cudaSuccess) error = cudaSetDevice((int)device);
  if (error == cudaSuccess) error = cudaGetDeviceProperties(&properties, (int)device);
  if (error == cudaSuccess) error = cudaMemGetInfo(&facts->free_bytes, &facts->memory_bytes);
  if (error != cudaSuccess) return name_of(error);
  snprintf(facts->name, sizeof facts->name, "%s", properties.name);
  facts->multiprocessors = (uint32_t)properties.multiProcessorCount;
  return NULL;
}

/* Shared memory beyond what every device has must be asked for, once for a kernel. */
static cudaError_t shared_allow(th_cuda_queue *queue) {
  cudaFuncAttributes kernel;
  int most = 0;
  cudaError_t error =
      attribute((uint32_t)queue->device, cudaDevAttrMaxSharedMemoryPerBlockOptin, &most);
  if (error == cudaSuccess) error = cudaFuncGetAttributes(&kernel, train_kernel);
  if (error != cudaSuccess) return error;
  queue->shared_bytes = most - (int)kernel.sharedSizeBytes;
  return cudaFuncSetAttribute(train_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                              queue->shared_bytes);
}

static cudaError_t grid_measure(th_cuda_queue *queue) {
  int multiprocessors = 0, each = 0;
  cudaError_t error = attribute((uint32_t)queue->device, cudaDevAttrMultiProcessorCount,
                                &multiprocessors);
  if (error == cudaSuccess)
    error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, train_grid_kernel,
                                                          TRAINING_THREADS, 0);
  queue->grid_blocks = multiprocessors * each;
  return error;
}

static const char *queue_open(uint32_t device, th_cuda_queue **queue) {
  th_cuda_queue *made = (th_cuda_queue *)calloc(1, sizeof *made);
  if (made == NULL) return "cudaErrorMemoryAllocation";
  made->device = (int)device;
  cudaError_t error = cudaSetDevice(made->device);
  if (error == cudaSuccess) error = shared_allow(made);
  if (error == cudaSuccess) error = grid_measure(made);
  if (error == cudaSuccess)
    error = cudaStreamCreateWithFlags(&made->stream, cudaStreamNonBlocking);
  if (error == cudaSuccess)
    *queue = made;
  else
    free(made);
  return name_of(error);
}

static void queue_close(th_cuda_queue *queue) {
  (void)cudaSetDevice(queue->device);
  (void)cudaStreamDestroy(queue->stream);
  free(queue);
}

static const char *allocate(th_cuda_queue *queue, size_t bytes, void **memory) {
  cudaError_t error = cudaSetDevice(queue->device);
  if (error == cudaSuccess) error = cudaMalloc(memory, bytes);
  if (error != cudaSuccess) return name_of(error);
  error = cudaMemsetAsync(*memory, 0, bytes, queue->stream);
  if (error != cudaSuccess) (void)cudaFree(*memory);
  return name_of(error);
}

static void release(th_cuda_queue *queue, void *memory) {
  (void)cudaSetDevice(queue->device);
  (void)cudaFree(memory);
}

static const char *move(th_cuda_queue *queue, void *to, const void *from, size_t bytes,
                        cudaMemcpyKind kind) {
  cudaError_t error = cudaSetDevice(queue->device);
  if (error == cudaSuccess) error = cudaMemcpyAsync(to, from, bytes, kind, queue->stream);
  return name_of(error);
}

static const char *upload(th_cuda_queue *queue, void *to, const void *from, size_t bytes) {
  return move(queue, to, from, bytes, cudaMemcpyHostToDevice);
}

static const char *download(th_cuda_queue *queue, void *to, const void *from, size_t bytes) {
  return move(queue, to, from, bytes, cudaMemcpyDeviceToHost);
}

static const char *copy(th_cuda_queue *queue, void *to, const void *from, size_t bytes) {
  return move(queue, to, from, bytes, cudaMemcpyDeviceToDevice);
}

static const char *queue_wait(th_cuda_queue *queue) {
  cudaError_t error = cudaSetDevice(queue->device);
  if (error == cudaSuccess) error = cudaStreamSynchronize(queue->stream);
  return name_of(error);
}

/* State first: it is read and written at every step, by all threads. */
static held choose_held(const th_cuda_training *training, size_t shared_bytes, size_t *bytes) {
  size_t state = training->state_numbers * sizeof(float);
  size_t area = training->area_numbers * sizeof(float);
  held holds = {state <= shared_bytes, false};
  *bytes = holds.state ? state : 0;
  holds.area = area <= shared_bytes - *bytes;
  if (holds.area) *bytes += area;
  return holds;
}

/* Blocks that find work in the widest phase. A barrier of a grid costs about as much as a block
 * computes in some dozen tiles a thread, so that up to these it is left alone. */
#define TILES_EACH 32

static uint32_t blocks_useful(const th_cuda_queue *queue, const th_cuda_training *training) {
  uint64_t blocks = training->tiles_widest / (TILES_EACH * TRAINING_THREADS);
  uint64_t most = (uint64_t)queue->grid_blocks;
  return (uint32_t)(blocks < most ? blocks : most);
}

static cudaError_t train_by_grid(th_cuda_queue *queue, const th_cuda_training *training,
                                 uint32_t blocks) {
  void *arguments[] = {(void *)training};
  return cudaLaunchCooperativeKernel((const void *)train_grid_kernel, blocks, TRAINING_THREADS,
                                     arguments, 0, queue->stream);
}

static const char *train(th_cuda_queue *queue, const th_cuda_training *training) {
  size_t bytes;
  held holds = choose_held(training, (size_t)queue->shared_bytes, &bytes);
  uint32_t blocks = blocks_useful(queue, training);
  cudaError_t error = cudaSetDevice(queue->device);
  if (error != cudaSuccess) return name_of(error);
  if (blocks > 1) return name_of(train_by_grid(queue, training, blocks));
  train_kernel<<<1, TRAINING_THREADS, bytes, queue->stream>>>(*training, holds);
  return name_of(cudaGetLastError());
}

static const char *judge(th_cuda_queue *queue, const th_cuda_judging *judging) {
  uint32_t groups = (judging->rows + TH_CUDA_JUDGED_ROWS - 1) / TH_CUDA_JUDGED_ROWS;
  uint32_t blocks = groups < judging->areas ? groups : judging->areas;
  cudaError_t error = cudaSetDevice(queue->device);
  if (error != cudaSuccess) return name_of(error);
  judge_kernel<<<blocks, JUDGING_THREADS, 0, queue->stream>>>(*judging, groups);
  return name_of(cudaGetLastError());
}

extern "C" __attribute__((visibility("default"))) const th_cuda_runtime th_cuda_runtime_table = {
    TH_CUDA_RUNTIME_VERSION, describe, queue_open, allocate,   upload,  download,
    copy,                    train,    judge,      queue_wait, release, queue_close,
};

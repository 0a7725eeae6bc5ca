/** The device that trains, named by the user and never replaced by another. */
#ifndef TH_KERNELS_DEVICE_H
#define TH_KERNELS_DEVICE_H

#include <stdint.h>

#include "base/error.h"

#define TH_DEVICE_NAME_BYTES_MAX 96

struct th_backend;
struct th_cuda_runtime;

/** An opened device. */
typedef struct th_device {
  const struct th_backend *backend; /**< its table of operations */
  const struct th_cuda_runtime *cuda; /**< of a GPU, else NULL */
  uint32_t index; /**< N of "cuda:N" */
  uint32_t threads; /**< that train on it: one a core, or a job on each multiprocessor of a GPU */
  uint32_t threads_each; /**< that a job can use */
  char name[TH_DEVICE_NAME_BYTES_MAX]; /**< for people: "cpu: AMD EPYC, 2 cores, AVX-512, Cooperlake
                                          BLAS" */
} th_device;

/**
 * Open the device of that name.
 *
 * @param name  "cpu", "cuda" or "cuda:N".
 * @return TH_OK; TH_ERR_USAGE for another name; TH_ERR_DEVICE with what was found and what to do
 *         ("--device cpu") if there is no such device, driver or backend in this build.
 */
th_error th_device_open(const char *name, th_device *device);

#endif

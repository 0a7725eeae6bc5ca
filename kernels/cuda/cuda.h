/** A GPU as a device. */
#ifndef TH_KERNELS_CUDA_CUDA_H
#define TH_KERNELS_CUDA_CUDA_H

#include "kernels/backend.h"

/**
 * Load the library that knows CUDA and describe a device.
 *
 * @param name   as the user gave it, for the error's text.
 * @param index  N of "cuda:N".
 * @return TH_OK; TH_ERR_DEVICE with what was found and what to do.
 */
th_error th_cuda_open(const char *name, uint32_t index, th_device *device);

#endif

/** What can be known about CUDA devices without a CUDA toolkit. */
#ifndef TH_KERNELS_CUDA_PROBE_H
#define TH_KERNELS_CUDA_PROBE_H

#include <stddef.h>

#define TH_CUDA_PROBE_BYTES_MAX 192

/** Write what was found of driver and devices: "driver with 1 device: NVIDIA H100", … */
void th_cuda_probe(char *found, size_t bytes);

#endif

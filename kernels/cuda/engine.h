/** The engine that trains on a GPU: kernels/backend.h's table over kernels/cuda/runtime.h's. */
#ifndef TH_KERNELS_CUDA_ENGINE_H
#define TH_KERNELS_CUDA_ENGINE_H

#include "kernels/backend.h"

extern const th_backend th_cuda_backend;

#endif

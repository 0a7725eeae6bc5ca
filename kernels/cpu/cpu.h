/** The processor as a device. */
#ifndef TH_KERNELS_CPU_CPU_H
#define TH_KERNELS_CPU_CPU_H

#include "kernels/backend.h"

#define th_cpu_backend TH_REAL_SYMBOL(th_cpu_backend)

/** Its table of operations. */
extern const th_backend th_cpu_backend;

/** Describe the processor, and have the BLAS use one thread a call from now on, process-wide. */
void th_cpu_open(th_device *device);

#endif

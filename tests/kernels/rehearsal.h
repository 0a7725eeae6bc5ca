/**
 * A GPU's runtime without a GPU: memory of the host, and kernels whose lanes run one after another,
 * in another order in every phase. What a missing barrier would do shows as a wrong result, and a
 * wrong address to the sanitizers.
 */
#ifndef TH_TESTS_KERNELS_REHEARSAL_H
#define TH_TESTS_KERNELS_REHEARSAL_H

#include "kernels/cuda/runtime.h"
#include "kernels/device.h"

/** A device that rehearses. @param lanes  of each block, 1 … REHEARSAL_LANES_MAX. */
th_device rehearsal_device(uint32_t lanes);

enum { REHEARSAL_LANES_MAX = 1024 };

/** Let the call of that number from now, counted over all functions, fail; 0: none. */
void rehearsal_fail_at(uint32_t call);

/** Arrays and queues that are held just now. */
int rehearsal_held(void);

#endif

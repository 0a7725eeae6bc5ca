/**
 * Wake-ups across processes: a flag in shared memory that says "I sleep", and an eventfd that is
 * rung only if it is set (as io_uring's NEED_WAKEUP).
 *
 * The sleeper sets the flag, looks once more whether there is work, and only then waits. The waker
 * publishes its work, then looks at the flag. A full fence on both sides between the two steps
 * makes sure that at least one sees the other.
 */
#ifndef TH_IPC_DOORBELL_H
#define TH_IPC_DOORBELL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/** Make the eventfd: non-blocking, close-on-exec. @return TH_OK; TH_ERR_SYSTEM. */
th_error th_doorbell_create(int *fd);

/** Before the last look at the queues: from now on, ring me. */
void th_doorbell_sleep(_Atomic uint32_t *sleeps);

/** Awake again: take the flag back and empty the eventfd. @return whether it was rung. */
bool th_doorbell_wake(_Atomic uint32_t *sleeps, int fd);

/**
 * After publishing work: ring if the other side sleeps.
 *
 * @return true if it rang. Never blocks: a full or dead eventfd is as good as rung.
 */
bool th_doorbell_ring(const _Atomic uint32_t *sleeps, int fd);

#endif

/**
 * A queue of 64-byte entries in shared memory, one producer and one consumer, in different
 * processes.
 *
 * Indices run freely over 2^32 and are masked. Each side keeps its own index in private memory and
 * only publishes it; of the other side's index it believes nothing but a distance within the ring's
 * size.
 */
#ifndef TH_IPC_RING_H
#define TH_IPC_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { TH_RING_ENTRY_BYTES = 64 };

/** One side's place in a queue. Lives in that side's private memory. */
typedef struct th_ring {
  uint8_t *entries; /**< shared; 64 × (mask + 1) bytes */
  _Atomic uint32_t *published; /**< shared; this side's index, which it writes */
  const _Atomic uint32_t *peer; /**< shared; the other side's index */
  uint32_t mask;
  uint32_t index; /**< this side's index: the truth of `published` */
  uint32_t peer_seen; /**< newest believable value of `peer` */
} th_ring;

/** @param entry_count  a power of two. */
void th_ring_init(th_ring *ring, void *entries, uint32_t entry_count, _Atomic uint32_t *published,
                  const _Atomic uint32_t *peer);

/**
 * Put an entry; the consumer sees it, whole, once the call returns.
 *
 * @return TH_OK; TH_ERR_AGAIN if full; TH_ERR_PROTOCOL if the consumer claims to have taken more
 * than was put. Threads: one producer. Never blocks or allocates.
 */
th_error th_ring_put(th_ring *producer, const void *entry);

/** Put several with one release store. @return as th_ring_put; all or, if there is not room for
 * all, none. */
th_error th_ring_put_many(th_ring *producer, const void *entries, uint32_t count);

/** How many entries can be put now; 0 also if the consumer's index is not believable. */
uint32_t th_ring_room(th_ring *producer);

/** Whether there may be an entry to take. Looks only. */
bool th_ring_is_put(const th_ring *consumer);

/**
 * Take the oldest entry.
 *
 * @param entry  [out] private copy, fields not yet judged; untouched unless TH_OK.
 * @return TH_OK; TH_ERR_AGAIN if empty; TH_ERR_PROTOCOL if the producer claims more entries than
 * the ring holds. Threads: one consumer. Never blocks or allocates.
 */
th_error th_ring_take(th_ring *consumer, void *entry);

#endif

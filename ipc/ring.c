#include "ipc/ring.h"

#include <string.h>

#include "base/check.h"

void th_ring_init(th_ring *ring, void *entries, uint32_t entry_count, _Atomic uint32_t *published,
                  const _Atomic uint32_t *peer) {
  th_check(entry_count > 0 && (entry_count & (entry_count - 1)) == 0);
  *ring =
      (th_ring){.entries = entries, .published = published, .peer = peer, .mask = entry_count - 1};
}

static uint32_t ring_size(const th_ring *ring) {
  return ring->mask + 1;
}

static uint8_t *ring_entry(const th_ring *ring, uint32_t index) {
  return ring->entries + (size_t)(index & ring->mask) * TH_RING_ENTRY_BYTES;
}

/* Look where the consumer is. It only goes forward, and at most to what was put: the entries that
 * it has not taken, our index minus its, are no more than when it was last seen. Anything else is
 * kept out. */
static bool consumer_look(th_ring *producer) {
  /* Pairs with the release in th_ring_take: the entries it took are read, and may be overwritten.
   */
  uint32_t head = atomic_load_explicit(producer->peer, memory_order_acquire);
  if (producer->index - head > producer->index - producer->peer_seen) return false;
  producer->peer_seen = head;
  return true;
}

static uint32_t room_seen(const th_ring *producer) {
  return ring_size(producer) - (producer->index - producer->peer_seen);
}

th_error th_ring_put_many(th_ring *producer, const void *entries, uint32_t count) {
  if (room_seen(producer) < count) {
    if (!consumer_look(producer))
      return th_fail(TH_ERR_PROTOCOL, "the peer claims to have taken entries that were never put");
    if (room_seen(producer) < count) return TH_ERR_AGAIN;
  }
  const uint8_t *from = entries;
  for (uint32_t i = 0; i < count; i++)
    memcpy(ring_entry(producer, producer->index + i), from + (size_t)i * TH_RING_ENTRY_BYTES,
           TH_RING_ENTRY_BYTES);
  producer->index += count;
  /* Pairs with the acquire in th_ring_take: who sees the index sees the entries. */
  atomic_store_explicit(producer->published, producer->index, memory_order_release);
  return TH_OK;
}

th_error th_ring_put(th_ring *producer, const void *entry) {
  return th_ring_put_many(producer, entry, 1);
}

uint32_t th_ring_room(th_ring *producer) {
  return consumer_look(producer) ? room_seen(producer) : 0;
}

bool th_ring_is_put(const th_ring *consumer) {
  return atomic_load_explicit(consumer->peer, memory_order_relaxed) != consumer->index;
}

th_error th_ring_take(th_ring *consumer, void *entry) {
  if (consumer->peer_seen == consumer->index) {
    /* Pairs with the release in th_ring_put_many. */
    uint32_t tail = atomic_load_explicit(consumer->peer, memory_order_acquire);
    if (tail - consumer->index > ring_size(consumer))
      return th_fail(TH_ERR_PROTOCOL, "the peer claims %u entries in a queue of %u",
                     tail - consumer->index, ring_size(consumer));
    if (tail == consumer->index) return TH_ERR_AGAIN;
    consumer->peer_seen = tail;
  }
  memcpy(entry, ring_entry(consumer, consumer->index), TH_RING_ENTRY_BYTES);
  consumer->index++;
  /* Pairs with the acquire in consumer_look: the copy is made before the place is given back. */
  atomic_store_explicit(consumer->published, consumer->index, memory_order_release);
  return TH_OK;
}

#include "ipc/progress.h"

#include <string.h>

enum { WORDS = sizeof(th_progress) / 8, READ_TRIES_MAX = 1000 };

/* A seqlock after Boehm 2012, section 4: the words are atomics, so that a torn read is no data
 * race, and fences order them against the sequence. */
void th_progress_publish(th_wire_cell *cell, const th_progress *progress) {
  uint64_t words[WORDS];
  memcpy(words, progress, sizeof words);
  uint32_t sequence = atomic_load_explicit(&cell->sequence, memory_order_relaxed);
  atomic_store_explicit(&cell->sequence, sequence + 1, memory_order_relaxed);
  /* Pairs with the acquire fence in th_progress_read: who read one of the words sees that they were
   * being written. */
  atomic_thread_fence(memory_order_release);
  for (int i = 0; i < WORDS; i++)
    atomic_store_explicit(&cell->words[i], words[i], memory_order_relaxed);
  /* Pairs with the acquire load of the sequence in th_progress_read. */
  atomic_store_explicit(&cell->sequence, sequence + 2, memory_order_release);
}

th_error th_progress_read(const th_wire_cell *cell, th_progress *progress) {
  uint64_t words[WORDS];
  for (int try = 0; try < READ_TRIES_MAX; try++) {
    uint32_t before = atomic_load_explicit(&cell->sequence, memory_order_acquire);
    for (int i = 0; i < WORDS; i++)
      words[i] = atomic_load_explicit(&cell->words[i], memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    uint32_t after = atomic_load_explicit(&cell->sequence, memory_order_relaxed);
    if ((before & 1) != 0 || before != after) continue;
    memcpy(progress, words, sizeof *progress);
    return TH_OK;
  }
  return TH_ERR_AGAIN;
}

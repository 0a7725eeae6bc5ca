/** Memory for what is filled from one end to the other. */
#ifndef TH_BASE_MEMORY_H
#define TH_BASE_MEMORY_H

#include <stdlib.h>
#include <sys/mman.h>

/** A large page, and what is worth several of them. */
#define TH_MEMORY_PAGE_BYTES ((size_t)2 << 20)
#define TH_MEMORY_LARGE_BYTES (2 * TH_MEMORY_PAGE_BYTES)

/**
 * As malloc; free() frees it. Memory of some size asks for large pages: that it is touched for the
 * first time costs more than to read a file into it, and with large pages there are 512 times fewer
 * first times.
 */
static inline void *th_memory_take(size_t bytes) {
  size_t rounded = (bytes + TH_MEMORY_PAGE_BYTES - 1) / TH_MEMORY_PAGE_BYTES * TH_MEMORY_PAGE_BYTES;
  if (bytes < TH_MEMORY_LARGE_BYTES || rounded < bytes) return malloc(bytes);
  void *memory = aligned_alloc(TH_MEMORY_PAGE_BYTES, rounded);
  /* A system that has none goes on with small ones. */
  if (memory != NULL) (void)madvise(memory, rounded, MADV_HUGEPAGE);
  return memory;
}

#endif

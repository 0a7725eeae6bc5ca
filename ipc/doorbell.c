#include "ipc/doorbell.h"

#include <sys/eventfd.h>
#include <unistd.h>

th_error th_doorbell_create(int *fd) {
  *fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (*fd < 0) return th_fail_errno(TH_ERR_SYSTEM, "cannot make a doorbell");
  return TH_OK;
}

void th_doorbell_sleep(_Atomic uint32_t *sleeps) {
  atomic_store_explicit(sleeps, 1, memory_order_relaxed);
  /* Pairs with the fence in th_doorbell_ring. Either the waker, whose work is published before its
   * fence, sees the flag after it, or the sleeper, who looks for work after this one, sees the work
   * (Dekker's pattern; store → load order needs sequential consistency). */
  atomic_thread_fence(memory_order_seq_cst);
}

bool th_doorbell_wake(_Atomic uint32_t *sleeps, int fd) {
  atomic_store_explicit(sleeps, 0, memory_order_relaxed);
  uint64_t rings;
  return read(fd, &rings, sizeof rings) == sizeof rings;
}

bool th_doorbell_ring(const _Atomic uint32_t *sleeps, int fd) {
  /* Pairs with the fence in th_doorbell_sleep. */
  atomic_thread_fence(memory_order_seq_cst);
  if (atomic_load_explicit(sleeps, memory_order_relaxed) == 0) return false;
  uint64_t one = 1;
  ssize_t written = write(fd, &one, sizeof one);
  (void)written; /* a full counter has been rung already; a dead peer shows on its socket */
  return true;
}

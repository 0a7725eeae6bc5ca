/** Waits for descriptors and calls back; everything that the daemon's main thread does begins here.
 */
#ifndef TH_HOSTD_LOOP_H
#define TH_HOSTD_LOOP_H

#include <stdint.h>

#include "base/error.h"

/** A descriptor and what to call when it can be read or was hung up. Embedded in its owner. */
typedef struct th_watch {
  int fd;
  void (*ready)(struct th_watch *watch);
  void *owner;
} th_watch;

typedef struct th_loop {
  int epoll_fd;
} th_loop;

/** @return TH_OK; TH_ERR_SYSTEM. */
th_error th_loop_init(th_loop *loop);

/** Watch until th_loop_remove. @return TH_OK; TH_ERR_SYSTEM. */
th_error th_loop_add(th_loop *loop, th_watch *watch);

/** Before closing the descriptor. A call that is already under way in th_loop_wait still comes:
 * owners free themselves only between waits. */
void th_loop_remove(th_loop *loop, th_watch *watch);

/** Wait once, at most timeout_ms (−1: until something happens), and call back for what is ready. */
void th_loop_wait(th_loop *loop, int timeout_ms);

/** Takes one whose init failed. */
void th_loop_fini(th_loop *loop);

#endif

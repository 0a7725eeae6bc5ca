#include "hostd/loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/check.h"

enum { READY_MAX = 64 };

th_error th_loop_init(th_loop *loop) {
  loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (loop->epoll_fd < 0) return th_fail_errno(TH_ERR_SYSTEM, "cannot make an epoll set");
  return TH_OK;
}

th_error th_loop_add(th_loop *loop, th_watch *watch) {
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = watch};
  if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event) != 0)
    return th_fail_errno(TH_ERR_SYSTEM, "cannot watch descriptor %d", watch->fd);
  return TH_OK;
}

void th_loop_remove(th_loop *loop, th_watch *watch) {
  th_check(epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL) == 0);
}

void th_loop_wait(th_loop *loop, int timeout_ms) {
  struct epoll_event events[READY_MAX];
  int count = epoll_wait(loop->epoll_fd, events, READY_MAX, timeout_ms);
  th_check(count >= 0 || errno == EINTR);
  for (int i = 0; i < count; i++) {
    th_watch *watch = events[i].data.ptr;
    watch->ready(watch);
  }
}

void th_loop_fini(th_loop *loop) {
  if (loop->epoll_fd >= 0) close(loop->epoll_fd);
  loop->epoll_fd = -1;
}

#include "ipc/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

/* Clients that may wait to be accepted; beyond it a connect says that the daemon is stalled. */
enum { BACKLOG = 128 };

/* ---- addresses ---- */

static th_error address_make(const char *path, struct sockaddr_un *address) {
  *address = (struct sockaddr_un){.sun_family = AF_UNIX};
  size_t length = strlen(path);
  if (length == 0 || length >= sizeof address->sun_path)
    return th_fail(TH_ERR_USAGE, "the socket's path has %zu bytes; it must have 1 to %zu: %s",
                   length, sizeof address->sun_path - 1, path);
  memcpy(address->sun_path, path, length);
  return TH_OK;
}

static th_error socket_make(int *fd) {
  *fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (*fd < 0) return th_fail_errno(TH_ERR_SYSTEM, "cannot make a socket");
  return TH_OK;
}

/* ---- the client's side ---- */

/* A refused connect does not tell a dead daemon's socket from a file of another kind, and the
 * remedies differ. */
static bool path_is_no_socket(const char *path) {
  struct stat status;
  return stat(path, &status) == 0 && !S_ISSOCK(status.st_mode);
}

/* One text for each reason: who reads it must know what to do without looking further. */
static th_error connect_fail(const char *path, int number) {
  switch (number) {
    case ENOENT:
      return th_fail(
          TH_ERR_HOST_ABSENT,
          "no training host at %s: there is no such socket; start trainhostd on the host, "
          "and in a container mount the socket's directory",
          path);
    case ENOTDIR:
      return th_fail(TH_ERR_HOST_ABSENT,
                     "no training host at %s: a part of the path is a file and no directory; "
                     "check the path",
                     path);
    case ECONNREFUSED:
      if (path_is_no_socket(path))
        return th_fail(TH_ERR_HOST_ABSENT,
                       "no training host at %s: it is no socket; check the path, and in a "
                       "container mount the socket's directory, not the socket",
                       path);
      return th_fail(
          TH_ERR_HOST_ABSENT,
          "no training host at %s: nobody listens on the socket; start trainhostd on the "
          "host (a file left behind by one that died is replaced)",
          path);
    case EACCES:
    case EPERM:
      return th_fail(TH_ERR_DENIED,
                     "no permission for the training host's socket %s; run as a user of its group, "
                     "or start trainhostd with --socket-group or --socket-mode",
                     path);
    case EAGAIN:
      return th_fail(TH_ERR_HOST_STALLED,
                     "the training host at %s accepts nobody: %d clients wait already; see whether "
                     "trainhostd is stopped or overloaded",
                     path, BACKLOG);
    case EPROTOTYPE:
      return th_fail(TH_ERR_HOST_ABSENT,
                     "the socket %s is not trainhostd's: it is of another type; check the path",
                     path);
    default:
      errno = number;
      return th_fail_errno(TH_ERR_SYSTEM, "cannot connect to the training host at %s", path);
  }
}

th_error th_channel_connect(const char *path, int *fd) {
  struct sockaddr_un address;
  th_error error = address_make(path, &address);
  if (error == TH_OK) error = socket_make(fd);
  if (error != TH_OK) return error;
  /* Non-blocking, since a blocking connect to a full backlog would wait without a bound. */
  if (connect(*fd, (const struct sockaddr *)&address, sizeof address) == 0) return TH_OK;
  int number = errno;
  close(*fd);
  *fd = -1;
  return connect_fail(path, number);
}

/* ---- the daemon's side ---- */

/* The kernel lets go of the lock when the daemon dies, however it dies. */
static th_error lock_take(const char *path, int *lock_fd) {
  char lock_path[sizeof((struct sockaddr_un *)0)->sun_path + sizeof ".lock"];
  snprintf(lock_path, sizeof lock_path, "%s.lock", path);
  int fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0)
    return th_fail_errno(errno == EACCES ? TH_ERR_DENIED : TH_ERR_IO,
                         "cannot open the lock file %s", lock_path);
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
    *lock_fd = fd;
    return TH_OK;
  }
  bool is_held = errno == EWOULDBLOCK;
  close(fd);
  if (!is_held) return th_fail_errno(TH_ERR_IO, "cannot lock %s", lock_path);
  return th_fail(TH_ERR_BUSY,
                 "another trainhostd serves %s; stop it, or choose another path with --socket",
                 path);
}

/* Whoever holds the lock is the only daemon, so a socket file that is still there is a dead one's;
 * but a program of another kind may listen there, and a file that is no socket is not ours to
 * delete. */
static th_error stale_remove(const char *path, const struct sockaddr_un *address) {
  struct stat status;
  if (lstat(path, &status) != 0) {
    if (errno == ENOENT) return TH_OK;
    return th_fail_errno(TH_ERR_IO, "cannot look at %s", path);
  }
  if (!S_ISSOCK(status.st_mode))
    return th_fail(TH_ERR_IO, "%s exists and is no socket; choose another path with --socket",
                   path);
  int fd;
  th_error error = socket_make(&fd);
  if (error != TH_OK) return error;
  bool is_answered = connect(fd, (const struct sockaddr *)address, sizeof *address) == 0;
  int number = is_answered ? 0 : errno;
  close(fd);
  if (number == EACCES)
    return th_fail(TH_ERR_DENIED,
                   "the socket %s is another user's; remove it, or choose another path with "
                   "--socket",
                   path);
  if (number != ECONNREFUSED)
    return th_fail(TH_ERR_BUSY, "another program listens on %s; choose another path with --socket",
                   path);
  if (unlink(path) != 0)
    return th_fail_errno(TH_ERR_IO, "cannot replace the stale socket %s", path);
  return TH_OK;
}

/* The mode is that of the descriptor at bind, so it is set before: the file never has a wider one.
 */
static th_error socket_bind(int fd, const char *path, const struct sockaddr_un *address,
                            mode_t mode) {
  bool is_bound =
      fchmod(fd, mode) == 0 && bind(fd, (const struct sockaddr *)address, sizeof *address) == 0;
  if (!is_bound)
    return th_fail_errno(errno == EACCES ? TH_ERR_DENIED : TH_ERR_IO, "cannot make the socket %s",
                         path);
  /* bind applies the umask; the mode asked for is widened to only when nobody can connect yet. */
  if (chmod(path, mode) == 0 && listen(fd, BACKLOG) == 0) return TH_OK;
  th_error error = th_fail_errno(TH_ERR_IO, "cannot listen on %s", path);
  unlink(path);
  return error;
}

th_error th_channel_listen(const char *path, mode_t mode, int *fd, int *lock_fd) {
  struct sockaddr_un address;
  *fd = *lock_fd = -1;
  th_error error = address_make(path, &address);
  if (error == TH_OK) error = lock_take(path, lock_fd);
  if (error == TH_OK) error = stale_remove(path, &address);
  if (error == TH_OK) error = socket_make(fd);
  if (error == TH_OK) error = socket_bind(*fd, path, &address, mode);
  if (error == TH_OK) return TH_OK;
  if (*fd >= 0) close(*fd);
  if (*lock_fd >= 0) close(*lock_fd);
  *fd = *lock_fd = -1;
  return error;
}

th_error th_channel_accept(int listener, int *fd, th_peer *peer) {
  int accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (accepted < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
    return TH_ERR_AGAIN;
  if (accepted < 0) return th_fail_errno(TH_ERR_SYSTEM, "cannot accept a client");
  struct ucred credentials;
  socklen_t bytes = sizeof credentials;
  if (getsockopt(accepted, SOL_SOCKET, SO_PEERCRED, &credentials, &bytes) != 0) {
    th_error error = th_fail_errno(TH_ERR_SYSTEM, "cannot learn who a client is");
    close(accepted);
    return error;
  }
  *fd = accepted;
  *peer = (th_peer){.pid = credentials.pid, .uid = credentials.uid, .gid = credentials.gid};
  return TH_OK;
}

/* ---- messages ---- */

/* Wait for the socket until the deadline. @return TH_OK; TH_ERR_AGAIN when it has passed. */
static th_error socket_wait(int fd, short events, int64_t deadline_ns) {
  for (;;) {
    int64_t now_ns = th_clock_now_ns();
    if (deadline_ns <= now_ns) return TH_ERR_AGAIN;
    int64_t left_ns = deadline_ns - now_ns;
    struct timespec left = {.tv_sec = left_ns / TH_NS_PER_S, .tv_nsec = left_ns % TH_NS_PER_S};
    struct pollfd ready = {.fd = fd, .events = events};
    int count = ppoll(&ready, 1, &left, NULL);
    if (count > 0) return TH_OK;
    if (count < 0 && errno != EINTR)
      return th_fail_errno(TH_ERR_SYSTEM, "cannot wait for a socket");
  }
}

static th_error peer_gone(void) {
  return th_fail(TH_ERR_HOST_LOST, "the other side closed the connection");
}

static bool peer_is_gone(int number) {
  return number == EPIPE || number == ECONNRESET || number == ENOTCONN;
}

typedef union control {
  struct cmsghdr header;
  char bytes[CMSG_SPACE(TH_WIRE_FDS_MAX * sizeof(int))];
} control;

th_error th_channel_send(int fd, const th_wire_header *header, const void *body, const int *fds,
                         uint32_t fd_count, int64_t deadline_ns) {
  th_check(header->body_bytes <= TH_WIRE_BODY_BYTES_MAX && fd_count <= TH_WIRE_FDS_MAX);
  struct iovec parts[] = {
      {.iov_base = (void *)(uintptr_t)header, .iov_len = sizeof *header},
      {.iov_base = (void *)(uintptr_t)body, .iov_len = header->body_bytes},
  };
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = header->body_bytes > 0 ? 2 : 1};
  control ancillary = {0};
  if (fd_count > 0) {
    message.msg_control = ancillary.bytes;
    message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
    ancillary.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(fd_count * sizeof(int)),
                                        .cmsg_level = SOL_SOCKET,
                                        .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&ancillary.header), fds, fd_count * sizeof(int));
  }
  for (;;) {
    /* A datagram goes whole or not at all. */
    if (sendmsg(fd, &message, MSG_NOSIGNAL) >= 0) return TH_OK;
    if (errno == EINTR) continue;
    if (peer_is_gone(errno)) return peer_gone();
    if (errno != EAGAIN) return th_fail_errno(TH_ERR_SYSTEM, "cannot send a message");
    th_error error = socket_wait(fd, POLLOUT, deadline_ns);
    if (error != TH_OK) return error;
  }
}

/* Take over the descriptors of every block, so that none is left behind. */
static void fds_collect(struct msghdr *received, th_message *message) {
  for (struct cmsghdr *block = CMSG_FIRSTHDR(received); block != NULL;
       block = CMSG_NXTHDR(received, block)) {
    if (block->cmsg_level != SOL_SOCKET || block->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (block->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd;
      memcpy(&fd, CMSG_DATA(block) + i * sizeof fd, sizeof fd);
      if (message->fd_count < TH_WIRE_FDS_MAX)
        message->fds[message->fd_count++] = fd;
      else
        close(fd);
    }
  }
}

static th_error frame_judge(const th_message *message, size_t bytes, int flags) {
  if ((flags & MSG_CTRUNC) != 0)
    return th_fail(TH_ERR_PROTOCOL,
                   "a message with more than %d descriptors, or more than this process may open "
                   "(RLIMIT_NOFILE)",
                   TH_WIRE_FDS_MAX);
  if ((flags & MSG_TRUNC) != 0)
    return th_fail(TH_ERR_PROTOCOL, "a message of more than %zu bytes",
                   sizeof message->header + sizeof message->body);
  if (bytes < sizeof message->header)
    return th_fail(TH_ERR_PROTOCOL, "a message of %zu bytes; the header alone has %zu", bytes,
                   sizeof message->header);
  if (message->header.body_bytes != bytes - sizeof message->header)
    return th_fail(TH_ERR_PROTOCOL, "a message announces %u bytes and carries %zu",
                   message->header.body_bytes, bytes - sizeof message->header);
  return TH_OK;
}

/* @return the datagram's bytes; 0 for the end or an empty one; −1 with errno. */
static ssize_t datagram_take(int fd, th_message *message, int *flags) {
  struct iovec parts[] = {
      {.iov_base = &message->header, .iov_len = sizeof message->header},
      {.iov_base = message->body, .iov_len = sizeof message->body},
  };
  control ancillary;
  struct msghdr received = {.msg_iov = parts,
                            .msg_iovlen = 2,
                            .msg_control = ancillary.bytes,
                            .msg_controllen = sizeof ancillary.bytes};
  ssize_t bytes = recvmsg(fd, &received, MSG_CMSG_CLOEXEC);
  /* An empty datagram can carry descriptors, too. */
  if (bytes >= 0) fds_collect(&received, message);
  *flags = received.msg_flags;
  return bytes;
}

/* An empty datagram cannot be told from the end of the stream, and no message is empty. */
static th_error datagram_judge(const th_message *message, ssize_t bytes, int flags) {
  if (bytes > 0) return frame_judge(message, (size_t)bytes, flags);
  if (bytes == 0 || peer_is_gone(errno)) return peer_gone();
  return th_fail_errno(TH_ERR_SYSTEM, "cannot receive a message");
}

th_error th_channel_receive(int fd, th_message *message, int64_t deadline_ns) {
  message->fd_count = 0;
  for (;;) {
    int flags;
    ssize_t bytes = datagram_take(fd, message, &flags);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0 && errno == EAGAIN) {
      th_error error = socket_wait(fd, POLLIN, deadline_ns);
      if (error != TH_OK) return error;
      continue;
    }
    th_error error = datagram_judge(message, bytes, flags);
    if (error != TH_OK) th_message_close_fds(message, 0);
    return error;
  }
}

void th_message_close_fds(th_message *message, uint32_t from) {
  for (uint32_t i = from; i < message->fd_count; i++) close(message->fds[i]);
  if (message->fd_count > from) message->fd_count = from;
}

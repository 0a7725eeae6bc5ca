/**
 * The control socket: whole messages with descriptors over SOCK_SEQPACKET, every wait bounded.
 */
#ifndef TH_IPC_CHANNEL_H
#define TH_IPC_CHANNEL_H

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "ipc/wire.h"

/** Who is at the other end, as the kernel vouches for it (SO_PEERCRED). */
typedef struct th_peer {
  pid_t pid;
  uid_t uid;
  gid_t gid;
} th_peer;

/** One message as received. Descriptors in it belong to the receiver. */
typedef struct th_message {
  th_wire_header header;
  uint8_t body[TH_WIRE_BODY_BYTES_MAX];
  int fds[TH_WIRE_FDS_MAX];
  uint32_t fd_count;
} th_message;

/**
 * Connect to a daemon without ever blocking.
 *
 * @param fd  [out] owned by the caller, non-blocking, close-on-exec.
 * @return TH_OK; TH_ERR_HOST_ABSENT (no socket, or nobody listens on it); TH_ERR_HOST_STALLED (its
 * backlog is full); TH_ERR_DENIED; TH_ERR_USAGE (path too long); TH_ERR_SYSTEM. The text names path
 * and remedy.
 */
th_error th_channel_connect(const char *path, int *fd);

/**
 * Listen on path. A stale socket file, on which nobody listens, is replaced.
 *
 * A lock file, path with ".lock" appended, keeps a second daemon out even while the first one
 * starts.
 *
 * @param mode     of the socket file, as 0660.
 * @param fd       [out] the listening socket.
 * @param lock_fd  [out] keep open as long as fd; closing releases the path.
 * @return TH_OK; TH_ERR_BUSY if a daemon listens there; TH_ERR_IO; TH_ERR_USAGE; TH_ERR_DENIED;
 * TH_ERR_SYSTEM.
 */
th_error th_channel_listen(const char *path, mode_t mode, int *fd, int *lock_fd);

/** Accept a client, non-blocking. @return TH_OK; TH_ERR_AGAIN; TH_ERR_SYSTEM. */
th_error th_channel_accept(int listener, int *fd, th_peer *peer);

/**
 * Send one message whole.
 *
 * @param header       body_bytes is taken from it.
 * @param deadline_ns  for room in the socket's buffer; a moment in the past means do not wait.
 * @return TH_OK; TH_ERR_AGAIN if there is no room by then; TH_ERR_HOST_LOST if the peer is gone;
 * TH_ERR_SYSTEM.
 */
th_error th_channel_send(int fd, const th_wire_header *header, const void *body, const int *fds,
                         uint32_t fd_count, int64_t deadline_ns);

/**
 * Receive one message whole and judge its frame: length, body_bytes, descriptor count, nothing cut
 * off.
 *
 * @param message  [out] its descriptors are close-on-exec and belong to the caller if TH_OK.
 * @return TH_OK; TH_ERR_AGAIN if none came by the deadline; TH_ERR_HOST_LOST at end of file;
 * TH_ERR_PROTOCOL (all descriptors received were closed); TH_ERR_SYSTEM.
 */
th_error th_channel_receive(int fd, th_message *message, int64_t deadline_ns);

/** Close the descriptors of a message from the i-th on. */
void th_message_close_fds(th_message *message, uint32_t from);

#endif

/** The daemon: what lives from start to stop, and the loop that keeps it going. */
#ifndef TH_HOSTD_DAEMON_H
#define TH_HOSTD_DAEMON_H

#include <stdbool.h>
#include <stdint.h>

#include "hostd/job.h"
#include "hostd/loop.h"
#include "hostd/options.h"
#include "hostd/store.h"
#include "ipc/channel.h"
#include "ipc/spin.h"

struct th_session;

/** Owned by the loop's thread. */
typedef struct th_daemon {
  const th_options *options;
  th_device device;
  th_store store;
  th_scheduler *scheduler;
  th_jobs jobs;
  th_loop loop;
  int lock_fd; /**< holds the socket's path */
  th_watch listener, stop, poke, heartbeat;
  th_spin spin; /**< before the loop sleeps */
  struct th_session *sessions; /**< newest first */
  uint32_t session_count;
  uint64_t next_session;
  int64_t started_ns;
  bool is_stopping;
  th_message message; /**< the one being handled */
} th_daemon;

/**
 * Serve until SIGTERM or SIGINT, then stop cleanly: running jobs leave checkpoints.
 *
 * @return TH_OK after a clean stop; TH_ERR_DEVICE; TH_ERR_BUSY; TH_ERR_IO; TH_ERR_DENIED;
 * TH_ERR_USAGE; TH_ERR_SYSTEM.
 */
th_error th_daemon_run(const th_options *options);

#endif

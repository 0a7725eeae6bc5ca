/** A real trainhostd for a benchmark, on a private socket, and a session with it. */
#ifndef TH_BENCHMARKS_DAEMON_H
#define TH_BENCHMARKS_DAEMON_H

#include <sys/types.h>

#include "shim/trainhost.h"

typedef struct th_bench_daemon {
  char directory[64]; /**< everything of it lies here */
  char url[96];
  pid_t process;
  pid_t keeper; /**< deletes the directory, however this process ends */
  int alive; /**< a pipe to it, open as long as this process lives */
  th_manager *manager;
  th_adapter *adapter;
} th_bench_daemon;

/** Start one and wait until it answers. Ends the process with a message when that fails. */
void th_bench_daemon_start(th_bench_daemon *daemon);

/** Stop it and delete its directory. */
void th_bench_daemon_stop(th_bench_daemon *daemon);

#endif

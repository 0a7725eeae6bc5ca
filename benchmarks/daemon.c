#include "benchmarks/daemon.h"

#include <ftw.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "benchmarks/stop.h"

enum { START_TRIES_MAX = 2000, DEPTH_MAX = 8 };

static _Noreturn void daemon_run(const char *directory) {
  char socket_path[96], state[96];
  snprintf(socket_path, sizeof socket_path, "%s/trainhost.sock", directory);
  snprintf(state, sizeof state, "%s/state", directory);
  execl(TH_TRAINHOSTD, TH_TRAINHOSTD, "--device", "cpu", "--socket", socket_path, "--state-dir",
        state, "--log-level", "error", (char *)NULL);
  perror(TH_TRAINHOSTD);
  _exit(EXIT_FAILURE);
}

void th_bench_daemon_start(th_bench_daemon *daemon) {
  *daemon = (th_bench_daemon){.directory = "/tmp/trainhost-bench-XXXXXX"};
  if (mkdtemp(daemon->directory) == NULL) th_stop("mkdtemp");
  snprintf(daemon->url, sizeof daemon->url, "unix://%s/trainhost.sock", daemon->directory);
  daemon->process = th_fork();
  if (daemon->process == 0) daemon_run(daemon->directory);
  th_stop_unless_ok(th_manager_create(TH_MODE_HOST, daemon->url, &daemon->manager));
  th_error error = TH_ERR_HOST_ABSENT;
  for (int try = 0; error != TH_OK && try < START_TRIES_MAX; try++) {
    if (waitpid(daemon->process, NULL, WNOHANG) != 0) break;
    error = th_adapter_open(daemon->manager, NULL, &daemon->adapter);
    if (error != TH_OK) nanosleep(&(struct timespec){.tv_nsec = 5 * TH_NS_PER_MS}, NULL);
  }
  th_stop_unless_ok(error);
}

static int entry_remove(const char *path, const struct stat *status, int kind, struct FTW *place) {
  (void)status, (void)kind, (void)place;
  return remove(path);
}

void th_bench_daemon_stop(th_bench_daemon *daemon) {
  th_adapter_close(daemon->adapter);
  th_manager_close(daemon->manager);
  kill(daemon->process, SIGTERM);
  waitpid(daemon->process, NULL, 0);
  (void)nftw(daemon->directory, entry_remove, DEPTH_MAX, FTW_DEPTH | FTW_PHYS);
}

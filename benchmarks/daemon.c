#include "benchmarks/daemon.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "benchmarks/stop.h"

enum { START_TRIES_MAX = 2000, DEPTH_MAX = 8, REMOVE_TRIES_MAX = 1000 };

static int entry_remove(const char *path, const struct stat *status, int kind, struct FTW *place) {
  (void)status, (void)kind, (void)place;
  return remove(path);
}

/* The end of the pipe says that the benchmark is over. If it was killed, its daemon has been told
 * to end as well, and may take a moment. */
static _Noreturn void keeper_run(const char *directory, int alive) {
  char byte;
  /* What a terminal sends to all of the benchmark must not end it. */
  (void)setsid();
  while (read(alive, &byte, 1) != 0) continue;
  for (int try = 0; try < REMOVE_TRIES_MAX && access(directory, F_OK) == 0; try++) {
    (void)nftw(directory, entry_remove, DEPTH_MAX, FTW_DEPTH | FTW_PHYS);
    nanosleep(&(struct timespec){.tv_nsec = TH_NS_PER_MS}, NULL);
  }
  _exit(EXIT_SUCCESS);
}

static void keeper_start(th_bench_daemon *daemon) {
  int alive[2];
  if (pipe2(alive, O_CLOEXEC) != 0) th_stop("pipe");
  fflush(NULL);
  daemon->keeper = fork();
  if (daemon->keeper < 0) th_stop("fork");
  if (daemon->keeper == 0) {
    close(alive[1]);
    keeper_run(daemon->directory, alive[0]);
  }
  close(alive[0]);
  daemon->alive = alive[1];
}

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
  keeper_start(daemon);
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

void th_bench_daemon_stop(th_bench_daemon *daemon) {
  th_adapter_close(daemon->adapter);
  th_manager_close(daemon->manager);
  kill(daemon->process, SIGTERM);
  waitpid(daemon->process, NULL, 0);
  close(daemon->alive);
  waitpid(daemon->keeper, NULL, 0);
}

/**
 * Time to error when no daemon is there: th_adapter_open beside a bare failing connect(2), in turns
 * in one run.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "benchmarks/options.h"
#include "benchmarks/report.h"
#include "shim/trainhost.h"

enum { RUNS_DEFAULT = 10000, WARM_UP_RUNS = 200 };

/* In microseconds, as all times here. */
static double time_connect(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  int64_t start = th_clock_now_ns();
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  int result = connect(fd, (const struct sockaddr *)&address, sizeof address);
  int reason = errno;
  close(fd);
  double taken = (double)(th_clock_now_ns() - start) / 1e3;
  if (result == 0 || reason != ENOENT) {
    fprintf(stderr, "connect did not fail as it should: %s\n", strerror(reason));
    exit(EXIT_FAILURE);
  }
  return taken;
}

static double time_open(const th_manager *manager) {
  th_adapter *adapter;
  int64_t start = th_clock_now_ns();
  th_error error = th_adapter_open(manager, NULL, &adapter);
  double taken = (double)(th_clock_now_ns() - start) / 1e3;
  if (error != TH_ERR_HOST_ABSENT) {
    fprintf(stderr, "th_adapter_open did not fail as it should: %s\n", th_error_name(error));
    exit(EXIT_FAILURE);
  }
  return taken;
}

static int measure(const th_manager *manager, const char *path, const th_bench_options *options) {
  for (uint32_t i = 0; i < WARM_UP_RUNS; i++) (void)(time_open(manager) + time_connect(path));
  th_samples opens = th_samples_create(options->runs);
  th_samples connects = th_samples_create(options->runs);
  for (uint32_t i = 0; i < options->runs; i++) {
    th_samples_add(&opens, time_open(manager));
    th_samples_add(&connects, time_connect(path));
  }
  th_report_row rows[2];
  rows[0] = th_report_compare("absent/connect", "us p50", TH_REPORT_TIMES, &opens, &connects);
  rows[1] = rows[0];
  rows[1].name = "absent-p99/connect";
  rows[1].unit = "us p99";
  rows[1].product = rows[0].p99;
  rows[1].peer = th_samples_quantile(&connects, 0.99);
  th_samples_fini(&opens);
  th_samples_fini(&connects);
  return th_report_finish(rows, 2, options->json);
}

int main(int argc, char **argv) {
  static const th_bench bench = {.doc = "Measure the time to error without a daemon.",
                                 .runs = RUNS_DEFAULT};
  th_bench_options options = th_bench_options_read(&bench, argc, argv);
  char directory[] = "/tmp/trainhost-absent-XXXXXX";
  char path[64];
  char url[80];
  if (mkdtemp(directory) == NULL) {
    perror("mkdtemp");
    return EXIT_FAILURE;
  }
  snprintf(path, sizeof path, "%s/trainhost.sock", directory);
  snprintf(url, sizeof url, "unix://%s", path);
  th_manager *manager;
  th_adapter *adapter;
  if (th_manager_create(TH_MODE_HOST, url, &manager) != TH_OK) {
    fprintf(stderr, "%s\n", th_error_text());
    return EXIT_FAILURE;
  }
  if (th_adapter_open(manager, NULL, &adapter) == TH_ERR_HOST_ABSENT)
    printf("The error: %s\n\n", th_error_text());
  int status = measure(manager, path, &options);
  th_manager_close(manager);
  rmdir(directory);
  return status;
}

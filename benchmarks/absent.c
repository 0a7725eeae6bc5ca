/**
 * Time to error when no daemon is there: th_adapter_open beside a bare failing connect(2), in turns
 * in one run.
 */
#include <argp.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "benchmarks/report.h"
#include "shim/trainhost.h"

enum { TRIES_DEFAULT = 10000, WARM_UP_TRIES = 200 };

typedef struct options {
  uint32_t tries;
  const char *json;
} options;

static error_t option_take(int key, char *text, struct argp_state *state) {
  options *chosen = state->input;
  switch (key) {
    case 'n':
      chosen->tries = (uint32_t)strtoul(text, NULL, 10);
      if (chosen->tries == 0) argp_error(state, "--tries %s: not a count above 0", text);
      return 0;
    case 'j':
      chosen->json = text;
      return 0;
    default:
      return ARGP_ERR_UNKNOWN;
  }
}

static int64_t time_connect(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  int64_t start = th_clock_now_ns();
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  int result = connect(fd, (const struct sockaddr *)&address, sizeof address);
  int reason = errno;
  close(fd);
  int64_t taken = th_clock_now_ns() - start;
  if (result == 0 || reason != ENOENT) {
    fprintf(stderr, "connect did not fail as it should: %s\n", strerror(reason));
    exit(EXIT_FAILURE);
  }
  return taken;
}

static int64_t time_open(const th_manager *manager) {
  th_adapter *adapter;
  int64_t start = th_clock_now_ns();
  th_error error = th_adapter_open(manager, NULL, &adapter);
  int64_t taken = th_clock_now_ns() - start;
  if (error != TH_ERR_HOST_ABSENT) {
    fprintf(stderr, "th_adapter_open did not fail as it should: %s\n", th_error_name(error));
    exit(EXIT_FAILURE);
  }
  return taken;
}

static double us(const th_samples *samples, double quantile) {
  return (double)th_samples_quantile(samples, quantile) / 1e3;
}

int main(int argc, char **argv) {
  static const struct argp_option rows[] = {
      {"tries", 'n', "N", 0, "Measure N tries of each (default 10000)", 0},
      {"json", 'j', "FILE", 0, "Write the rows to FILE as JSON", 0},
      {0}};
  static const struct argp parser = {
      .options = rows, .parser = option_take, .doc = "Measure the time to error without a daemon."};
  options chosen = {.tries = TRIES_DEFAULT};
  argp_parse(&parser, argc, argv, 0, NULL, &chosen);

  char directory[] = "/tmp/trainhost-absent-XXXXXX", path[64], url[80];
  if (mkdtemp(directory) == NULL) {
    perror("mkdtemp");
    return EXIT_FAILURE;
  }
  snprintf(path, sizeof path, "%s/trainhost.sock", directory);
  snprintf(url, sizeof url, "unix://%s", path);
  th_manager *manager;
  if (th_manager_create(TH_MODE_HOST, url, &manager) != TH_OK) {
    fprintf(stderr, "%s\n", th_error_text());
    return EXIT_FAILURE;
  }

  for (uint32_t i = 0; i < WARM_UP_TRIES; i++) (void)(time_open(manager) + time_connect(path));
  th_samples opens = th_samples_create(chosen.tries), connects = th_samples_create(chosen.tries);
  for (uint32_t i = 0; i < chosen.tries; i++) {
    th_samples_add(&opens, time_open(manager));
    th_samples_add(&connects, time_connect(path));
  }
  th_adapter *adapter;
  if (th_adapter_open(manager, NULL, &adapter) == TH_ERR_HOST_ABSENT)
    printf("The error: %s\n\n", th_error_text());
  th_samples_sort(&opens);
  th_samples_sort(&connects);
  th_report_row report[] = {
      {"absent/connect", "us p50", us(&opens, 0.5), us(&connects, 0.5), us(&opens, 0.5),
       us(&opens, 0.99), chosen.tries},
      {"absent-p99/connect", "us p99", us(&opens, 0.99), us(&connects, 0.99), us(&opens, 0.5),
       us(&opens, 0.99), chosen.tries},
  };
  th_report_print(report, 2);
  int failed = chosen.json != NULL && th_report_write(chosen.json, report, 2) != 0;
  th_samples_fini(&opens);
  th_samples_fini(&connects);
  th_manager_close(manager);
  rmdir(directory);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

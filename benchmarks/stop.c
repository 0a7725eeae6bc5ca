#include "benchmarks/stop.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { WATCHDOG_S = 30 };

void th_stop(const char *what) {
  perror(what);
  exit(EXIT_FAILURE);
}

void th_stop_unless_ok(th_error error) {
  if (error == TH_OK) return;
  fprintf(stderr, "%s: %s\n", th_error_name(error), th_error_text());
  exit(EXIT_FAILURE);
}

/* Only what a signal handler may. */
static void watchdog_bite(int signal) {
  static const char text[] = "the benchmark has waited too long for another process: given up\n";
  (void)signal;
  ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
  (void)written;
  _exit(EXIT_FAILURE);
}

void th_watchdog_feed(void) {
  (void)signal(SIGALRM, watchdog_bite);
  alarm(WATCHDOG_S);
}

pid_t th_fork(void) {
  fflush(NULL);
  pid_t parent = getpid();
  pid_t child = fork();
  if (child < 0) th_stop("fork");
  if (child > 0) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  /* It may have ended before that. */
  if (getppid() != parent) _exit(EXIT_FAILURE);
  return 0;
}

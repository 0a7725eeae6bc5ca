#include "cli/interrupt.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include "base/error.h"

static volatile sig_atomic_t is_interrupted;

/* th_error_exit_status is a look into a table, which a handler may take. */
static void note(int signal) {
  (void)signal;
  if (is_interrupted) _exit(th_error_exit_status(TH_ERR_CANCELED));
  is_interrupted = 1;
}

void th_interrupt_watch(void) {
  struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
}

bool th_interrupt_came(void) {
  return is_interrupted != 0;
}

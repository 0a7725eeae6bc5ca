/** How a benchmark ends early: a message, and no process left behind. */
#ifndef TH_BENCHMARKS_STOP_H
#define TH_BENCHMARKS_STOP_H

#include <sys/types.h>

#include "base/error.h"

/** End the process with perror's message. */
_Noreturn void th_stop(const char *what);

/** Likewise with the product's own text, unless the error is TH_OK. */
void th_stop_unless_ok(th_error error);

/** End the process, with a message, unless this is called again within half a minute: what waits
 * for another process need have no bound of its own. */
void th_watchdog_feed(void);

/** As fork(2), but the child is killed when the calling thread ends. @return 0 in the child. */
pid_t th_fork(void);

#endif

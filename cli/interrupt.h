/** Ctrl-C: the first one is a request, the second one an order. */
#ifndef TH_CLI_INTERRUPT_H
#define TH_CLI_INTERRUPT_H

#include <stdbool.h>

/** From now on SIGINT and SIGTERM are noted instead of ending the process; the second one does. May
 * be called again. */
void th_interrupt_watch(void);

/** Whether one came. */
bool th_interrupt_came(void);

#endif

/** The way to train that the environment decided on, and its errors. */
#ifndef TH_CLI_HOST_H
#define TH_CLI_HOST_H

#include <stdbool.h>

#include "base/error.h"
#include "shim/trainhost.h"

typedef struct th_host {
  th_manager *manager;
  th_adapter *adapter;
} th_host;

/** Open it. @return as th_manager_from_env and th_adapter_open. Free with th_host_close. */
th_error th_host_open(th_host *host);

/** Takes an empty or half-open one. */
void th_host_close(th_host *host);

bool th_host_is_local(const th_host *host);

/** "host" or "local". */
const char *th_host_mode_name(const th_host *host);

#endif

/** What an adapter needs to know of the decision. */
#ifndef TH_SHIM_MANAGER_H
#define TH_SHIM_MANAGER_H

#include "shim/trainhost.h"

/** The socket's path in host mode, "" in local mode. Owned by the manager. */
const char *th_manager_path(const th_manager *manager);

#endif

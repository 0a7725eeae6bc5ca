/** The local trainer, which lives in a shared object of its own. */
#ifndef TH_SHIM_PLUGIN_H
#define TH_SHIM_PLUGIN_H

#include "shim/way.h"

/**
 * Load it, once for the process; it stays loaded.
 *
 * @param way  [out] static.
 * @return TH_OK; TH_ERR_USAGE if it is not installed beside this library.
 */
th_error th_plugin_load(const th_way **way);

#endif

/** The result of a job, read from the descriptors that the daemon passes. */
#ifndef TH_SHIM_RESULT_H
#define TH_SHIM_RESULT_H

#include "shim/session.h"

/** As th_way.result. */
th_error th_result_fetch(th_way_job *job, th_result *result);

#endif

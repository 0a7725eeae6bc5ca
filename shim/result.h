/** The result of a job, read from the descriptors that the daemon passes. */
#ifndef TH_SHIM_RESULT_H
#define TH_SHIM_RESULT_H

#include "shim/session.h"

/** As th_way.result and th_way.checkpoint: TH_WIRE_RESULT or TH_WIRE_CHECKPOINT is asked for. */
th_error th_result_fetch(th_way_job *job, th_wire_type asked, th_result *result);

#endif

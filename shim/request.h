/** What a caller asks for with th_job_start, judged before anything is sent or copied. */
#ifndef TH_SHIM_REQUEST_H
#define TH_SHIM_REQUEST_H

#include "shim/trainhost.h"

/**
 * @return TH_OK: every array that the kind needs is there, and no size overflows; TH_ERR_USAGE
 * (kind, an array missing or too many); TH_ERR_DATA (no rows, no columns, sizes that overflow).
 */
th_error th_request_judge(const th_job_request *request);

#endif

/** Lists from the daemon, page by page. */
#ifndef TH_SHIM_LISTING_H
#define TH_SHIM_LISTING_H

#include "shim/session.h"

/** As th_way.jobs and th_way.sessions. */
th_error th_listing_jobs(th_way_session *session, th_job_info **jobs, size_t *count);
th_error th_listing_sessions(th_way_session *session, th_session_info **sessions, size_t *count);

#endif

/** A job from its start to its result, shown all the way. */
#ifndef TH_CLI_FOLLOW_H
#define TH_CLI_FOLLOW_H

#include "cli/checkpoint.h"
#include "cli/display.h"
#include "cli/host.h"

/** What Ctrl-C means to a job that is followed. */
typedef enum th_follow_interrupt {
  TH_FOLLOW_CANCELS, /**< it ends; with a checkpoint if there is a file for one */
  TH_FOLLOW_LEAVES, /**< the job goes on; only the following ends */
} th_follow_interrupt;

/**
 * Start a job, the adapter's only one, and show how its data are sent.
 *
 * On an interrupt the process ends here: the host drops what was sent in part.
 *
 * @return as th_job_start.
 */
th_error th_follow_start(th_host *host, const th_job_request *request, th_display *display,
                         th_job **job);

/**
 * Show a job until it is over and fetch what it ended with.
 *
 * A job that failed or was canceled is forgotten at the host once its reason is known.
 *
 * @param checkpoint  a file that is kept up to date meanwhile; NULL: none.
 * @param result  [out] free with th_result_fini.
 * @return TH_OK; the job's own error; TH_ERR_CANCELED after an interrupt; as th_job_next,
 *         th_job_result.
 */
th_error th_follow_end(th_job *job, th_display *display, th_follow_interrupt interrupt,
                       th_checkpoint_file *checkpoint, th_result *result);

#endif

/** What a job ended with: written to files, and told. */
#ifndef TH_CLI_OUTCOME_H
#define TH_CLI_OUTCOME_H

#include <stdint.h>

#include "cli/host.h"

/**
 * Whether th_outcome_write could write there, asked before anything is computed.
 *
 * @param out  may be NULL only for an evaluation.
 * @return TH_OK; TH_ERR_USAGE for a name that does not fit the kind; TH_ERR_IO.
 */
th_error th_outcome_judge(th_job_kind kind, const char *out);

/**
 * Write the result: a model and, beside it, its card; logits as .npy, or classes as .csv; nothing
 * of an evaluation.
 *
 * @param result  its output may be used up.
 * @return TH_OK; TH_ERR_IO; TH_ERR_SYSTEM; TH_ERR_DATA, TH_ERR_PROTOCOL if it cannot be read.
 */
th_error th_outcome_write(th_result *result, const char *out);

/** Tell it: a summary, or the JSON object that is the last line. @return TH_OK; TH_ERR_PROTOCOL. */
th_error th_outcome_tell(const th_host *host, uint64_t job, const th_result *result,
                         const char *out);

/**
 * What follows every job that was followed to its end: write, let the host forget it, tell.
 *
 * If it cannot be written, the host keeps the result and the text says how to fetch it. In local
 * mode nobody else has it: a model goes to another place then, beside the checkpoint or where
 * temporary files are, and the text says where.
 *
 * @param checkpoint  where the checkpoint of a job that was stopped goes; NULL: only `trainhost
 *                    result` fetches it.
 * @return as th_outcome_write; of a job that was stopped TH_ERR_CANCELED, if by an interrupt, or
 *         TH_ERR_HOST_LOST.
 */
th_error th_outcome_take(const th_host *host, th_job *job, th_result *result, const char *out,
                         const char *checkpoint);

#endif

/**
 * Results on disk: one directory for each job that is over, or that has left a checkpoint on its
 * way, whole or not there at all, kept over restarts until the client acknowledges.
 *
 *   STATE/next-job           the first job number not handed out yet
 *   STATE/jobs/N/job.json    whose it is and how it ended
 *   STATE/jobs/N/card.json   the card, if there is one
 *   STATE/jobs/N/output      model or logits, if there are
 *   STATE/jobs/N/checkpoint  instead, of a training that was stopped or is still running
 */
#ifndef TH_HOSTD_STORE_H
#define TH_HOSTD_STORE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "runs/run.h"

typedef struct th_store {
  char dir[PATH_MAX / 2];
  int lock_fd;
  uint64_t next_job;
  uint64_t reserved_until; /**< what next-job on disk says */
} th_store;

/** A job that is over, without the bytes of its result. A running one is recorded as what it would
 * be if the daemon ended now. */
typedef struct th_record {
  uint64_t job;
  uint32_t uid;
  th_job_kind kind;
  bool is_checkpoint;
  char name[64];
  char text[TH_ERROR_TEXT_BYTES_MAX]; /**< of its error, else empty */
  th_progress progress;
} th_record;

typedef enum th_store_file { TH_STORE_OUTPUT, TH_STORE_CHECKPOINT, TH_STORE_CARD } th_store_file;

/**
 * Open a state directory, made if it is not there, and clear away what a crash left half-written.
 *
 * @return TH_OK; TH_ERR_BUSY if another daemon uses it; TH_ERR_IO; TH_ERR_USAGE if the path is too
 * long.
 */
th_error th_store_open(const char *dir, th_store *store);

/** Hand out a job number, never the same twice, not even after a crash. @return TH_OK; TH_ERR_IO.
 */
th_error th_store_take_number(th_store *store, uint64_t *job);

/**
 * Store a job, in place of what is stored of it. On disk, for good, when the call returns; there is
 * no moment without the older one or the newer one, whole.
 *
 * @param output  may be empty; a checkpoint if the record says so.
 * @param card    may be empty.
 * @return TH_OK; TH_ERR_IO (no space, …): nothing is left behind, but what was stored before.
 * Threads: any, for different jobs.
 */
th_error th_store_save(const th_store *store, const th_record *record, const th_buffer *output,
                       const th_buffer *card);

/**
 * Open a stored file for reading.
 *
 * @param fd  [out] owned by the caller; −1 if the job has no such file.
 * @return TH_OK; TH_ERR_NOT_FOUND if the job is not stored; TH_ERR_IO.
 */
th_error th_store_open_file(const th_store *store, uint64_t job, th_store_file file, int *fd,
                            uint64_t *bytes);

/** Delete a job. @return TH_OK, also if it was not stored; TH_ERR_IO. */
th_error th_store_forget(const th_store *store, uint64_t job);

typedef th_error th_store_visit(void *user, const th_record *record);

/** Visit every stored job. One that cannot be read is left as it is and skipped, after `skipped`
 * was told why in the thread's error text. @return TH_OK; TH_ERR_IO; what visit returned if not
 * TH_OK. */
th_error th_store_each(const th_store *store, th_store_visit *visit, void (*skipped)(void *user),
                       void *user);

/** Write down the next job number exactly and release the directory. */
void th_store_close(th_store *store);

#endif

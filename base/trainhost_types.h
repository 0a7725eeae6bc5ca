/**
 * The words that every room and every caller shares: error codes, phases, progress.
 *
 * Installed beside trainhost.h, which includes it. The values travel in shared memory and
 * between versions, so none is ever renumbered.
 */
#ifndef TRAINHOST_TYPES_H
#define TRAINHOST_TYPES_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What a call returns. Zero is success; every failure is negative and leaves a text. */
typedef enum th_error {
  TH_OK = 0,
  TH_ERR_AGAIN = -1, /**< nothing there yet; no text, this is weather */
  TH_ERR_TIMEOUT = -2, /**< the caller's own bound passed; the host is well */
  TH_ERR_USAGE = -3, /**< an argument, flag, variable or specification is wrong */
  TH_ERR_DATA = -4, /**< the data are wrong: file, shape, label, NaN */
  TH_ERR_LIMIT = -5, /**< larger than a limit allows; waiting does not help */
  TH_ERR_BUSY = -6, /**< refused for now; the text says what must end first */
  TH_ERR_DENIED = -7, /**< this peer may not do that */
  TH_ERR_NOT_FOUND = -8, /**< no such job or file */
  TH_ERR_HOST_ABSENT = -9, /**< no daemon listens on the socket */
  TH_ERR_HOST_LOST = -10, /**< the daemon went away while it was needed */
  TH_ERR_HOST_STALLED = -11, /**< the daemon is there but has not answered in time */
  TH_ERR_VERSION = -12, /**< the two sides share no protocol version */
  TH_ERR_PROTOCOL = -13, /**< the peer broke the protocol; its session ends */
  TH_ERR_DEVICE = -14, /**< the device asked for cannot be used */
  TH_ERR_DIVERGED = -15, /**< the loss became NaN or infinite */
  TH_ERR_CANCELED = -16, /**< the job was canceled */
  TH_ERR_IO = -17, /**< a file could not be read or written */
  TH_ERR_SYSTEM = -18, /**< the operating system refused a resource */
} th_error;

/** What a job does. */
typedef enum th_job_kind {
  TH_JOB_TRAIN = 1, /**< features, labels → model */
  TH_JOB_EVALUATE = 2, /**< model, features, labels → loss and accuracy */
  TH_JOB_PREDICT = 3, /**< model, features → logits */
} th_job_kind;

/** Where a job is. The order is the order in which a job passes through them. */
typedef enum th_phase {
  TH_PHASE_RECEIVING = 1, /**< its arrays are on their way; see received_bytes */
  TH_PHASE_QUEUED = 2, /**< complete, waiting for its turn; see queue_position */
  TH_PHASE_PREPARING = 3, /**< data checked, split and digested; parameters drawn */
  TH_PHASE_TRAINING = 4,
  TH_PHASE_VALIDATING = 5,
  TH_PHASE_SAVING = 6,
  TH_PHASE_DONE = 7, /**< the result is ready */
  TH_PHASE_FAILED = 8, /**< see error */
  TH_PHASE_CANCELED = 9,
} th_phase;

/** Why a training ended. */
typedef enum th_stop_reason {
  TH_STOP_NONE = 0, /**< it has not */
  TH_STOP_EPOCHS = 1, /**< every epoch asked for was trained */
  TH_STOP_EARLY = 2, /**< validation no longer got better; see early_stopping_monitor */
} th_stop_reason;

/**
 * The newest state of one job: one consistent snapshot.
 *
 * Epochs and steps count from 1 once training has begun and are 0 before. Losses and accuracies
 * are NaN until there is one; accuracies lie in [0, 1], or are R² of a regression: 1 at best.
 */
typedef struct th_progress {
  uint64_t job;
  uint32_t phase; /**< th_phase */
  int32_t error; /**< th_error of a failed job, else TH_OK */
  uint32_t queue_position; /**< jobs ahead, plus one, while queued; else 0 */
  uint32_t stop_reason; /**< th_stop_reason */
  uint32_t epoch; /**< the epoch under way or last trained */
  uint32_t epochs; /**< planned; equals epoch after an early stop */
  uint32_t step; /**< batches done in this epoch */
  uint32_t steps; /**< batches in an epoch */
  uint32_t best_epoch; /**< by early_stopping_monitor */
  uint32_t history_stride; /**< 1: history holds every epoch; n: every n-th, it was thinned */
  uint64_t received_bytes;
  uint64_t expected_bytes;
  double fraction; /**< of the work really planned, 0 to 1; never falls */
  double loss; /**< mean over the rows of this epoch so far */
  double accuracy;
  double validation_loss; /**< newest */
  double validation_accuracy;
  double samples_per_second; /**< training rows a second, recent */
  double elapsed_seconds; /**< since the job was started */
  double eta_seconds; /**< NaN while unknown */
} th_progress;

#ifdef __cplusplus
}
#endif

#endif

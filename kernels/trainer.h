/**
 * A training: the loop over epochs and steps, the same on every device, advanced in slices so that
 * several jobs can share one device fairly.
 */
#ifndef TH_KERNELS_TRAINER_H
#define TH_KERNELS_TRAINER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "kernels/data.h"
#include "kernels/device.h"
#include "kernels/spec.h"
#include "kernels/team.h"

/** The result of one epoch. */
typedef struct th_epoch {
  uint32_t epoch; /**< from 1 */
  double loss,
      accuracy; /**< over the epoch's training rows, as they were seen; R² of a regression */
  double mae, rmse; /**< likewise, of a regression; else NaN */
  double validation_loss, validation_accuracy; /**< NaN without a validation split */
  double validation_mae, validation_rmse;
  double learning_rate;
  double seconds;
} th_epoch;

/** How many epochs a history holds; beyond that every second one is dropped and the stride doubles.
 */
#define TH_HISTORY_EPOCHS_MAX 4096

typedef struct th_history {
  th_epoch *epochs;
  uint32_t count;
  uint32_t stride; /**< 1: none missing; n: epochs 1, 1+n, 1+2n, … and always the last */
} th_history;

typedef struct th_trainer th_trainer;

/** Told of progress by the training thread, after every step and change of phase. Must be quick.
 *  @param progress  the trainer's own fields filled in; job, queue and receiving fields are 0. */
typedef void th_trainer_observer(void *user, const th_progress *progress);

/**
 * Check data and specification against each other, split and digest the data, draw the parameters.
 *
 * @param data  borrowed until th_trainer_destroy.
 * @return TH_OK; TH_ERR_DATA naming row and column (NaN, infinity, label out of range, too few rows
 *         for the split); TH_ERR_USAGE (a field that does not fit the data); TH_ERR_SYSTEM;
 * TH_ERR_DEVICE.
 */
th_error th_trainer_create(const th_spec *spec, const th_data *data, const th_device *device,
                           th_trainer_observer *observer, void *user, th_trainer **trainer);

/**
 * Train until the moment `until_ns` (base/clock.h) has passed, at least one step.
 *
 * @return TH_OK when the training is over; TH_ERR_AGAIN when there is more to do, at once if it
 *         wants a checkpoint; TH_ERR_DIVERGED naming epoch and step; TH_ERR_DEVICE.
 *
 * Threads: one at a time. The number of threads in the team never changes a result.
 */
th_error th_trainer_advance(th_trainer *trainer, th_team *team, int64_t until_ns);

/** Where the training is: epoch, step, losses, phase. By the thread that advances. */
void th_trainer_progress(const th_trainer *trainer, th_progress *progress);

/** The epochs so far. Owned by the trainer; by the thread that advances. */
const th_history *th_trainer_history(const th_trainer *trainer);

/**
 * The trained model as a safetensors file (PyTorch's nn.Sequential names, nn.Linear layout) and its
 * card (JSON: architecture, specification, seed, metrics of each epoch, data digest, device). Both
 * owned by the caller.
 *
 * @return TH_OK; TH_ERR_SYSTEM.
 */
th_error th_trainer_result(const th_trainer *trainer, th_buffer *model, th_buffer *card);

/**
 * Whether the epoch just ended is one after which the specification asks for a checkpoint. The
 * observer has not been told of its end: that is for the caller to do, when the checkpoint is safe.
 */
bool th_trainer_wants_checkpoint(const th_trainer *trainer);

/**
 * The whole state of the training as a safetensors file: parameters, best parameters, optimizer
 * moments, place in the epoch, sums, history.
 */
th_error th_trainer_checkpoint(const th_trainer *trainer, th_buffer *checkpoint);

/**
 * Go on from a checkpoint, to bitwise the same result as if never interrupted. Before the first
 * advance.
 *
 * @return TH_OK; TH_ERR_DATA if it is no checkpoint, or of another specification or other data.
 */
th_error th_trainer_restore(th_trainer *trainer, const void *checkpoint, size_t bytes);

/**
 * Begin with the parameters of a trained model, and nothing else of it. Before the first advance.
 *
 * @param model  a safetensors file with the tensors that th_trainer_result would write, be it from
 *               here or from torch.nn.Sequential.
 * @return TH_OK; TH_ERR_DATA naming the tensor that is missing or of another shape; TH_ERR_SYSTEM.
 */
th_error th_trainer_begin_with(th_trainer *trainer, const void *model, size_t bytes);

/**
 * Go on from a checkpoint, or begin with a model's parameters, whichever the file is.
 *
 * @return as th_trainer_restore and th_trainer_begin_with.
 */
th_error th_trainer_continue(th_trainer *trainer, const void *file, size_t bytes);

/** Takes NULL. */
void th_trainer_destroy(th_trainer *trainer);

#endif

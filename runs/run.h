/**
 * A run: the execution of one job, from the arrival of its arrays to its result. The daemon and
 * local mode both train through here, so that the two cannot differ.
 */
#ifndef TH_RUNS_RUN_H
#define TH_RUNS_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/array.h"
#include "base/buffer.h"
#include "base/error.h"
#include "kernels/device.h"
#include "kernels/trainer.h"

typedef struct th_run th_run;

/** What a run ended with. */
typedef struct th_outcome {
  th_error error; /**< TH_OK, TH_ERR_CANCELED or why it failed */
  char text[TH_ERROR_TEXT_BYTES_MAX]; /**< the error's text */
  th_buffer output; /**< model, logits or nothing, by kind */
  th_buffer card; /**< JSON */
  bool is_checkpoint; /**< of a training that was stopped */
} th_outcome;

/**
 * Given what a training would end with if it were stopped between these two epochs, whenever its
 * specification asks for a checkpoint. Called by the thread that trains, which waits for it, with
 * no lock held; the observer is told of the epoch afterwards.
 *
 * @param outcome  the caller's; its output may be taken. Without memory for a checkpoint
 *                 is_checkpoint is false, error and text say why, and the training goes on.
 * @param end      the snapshot that would go with it.
 */
typedef void th_run_saver(void *user, th_run *run, th_outcome *outcome, const th_progress *end);

typedef struct th_run_request {
  th_job_kind kind;
  const char *spec; /**< JSON; read during th_run_create only */
  size_t spec_bytes;
  uint64_t rows;
  uint32_t width;
  uint32_t target_width; /**< 0 without targets */
  uint64_t array_bytes[TH_ARRAY_COUNT]; /**< 0: not sent */
  th_run *data_of; /**< NULL: arrays of its own; else the run whose data, all but the model, it
                      shares: rows and widths are then 0 or the same, and their sizes 0 */
  bool keeps_data; /**< the data stay when it is over, until th_run_drop_data */
  th_run_saver *saver; /**< NULL: no checkpoints but when it is stopped */
} th_run_request;

/** Told that a run's progress or phase changed. Called by one thread of the scheduler at a time (by
 * th_run_cancel's caller for a run that was never added), with no lock held; must be quick. Once it
 * was told of the end, nothing but itself touches the run. @param progress  the newest snapshot. */
typedef void th_run_observer(void *user, th_run *run, const th_progress *progress);

/**
 * Parse the specification, judge the sizes against each other and reserve memory for the arrays.
 *
 * A run that shares the data of another is complete once those are. If the other ends before, they
 * are lost (th_run_is_lost).
 *
 * @param job     the number that progress and texts carry.
 * @param device  borrowed until th_run_destroy.
 * @return TH_OK; TH_ERR_USAGE (specification); TH_ERR_DATA (array sizes do not fit rows and width,
 * zero rows, sizes that overflow, a missing array; data to share that do not fit);
 * TH_ERR_NOT_FOUND if the data to share are gone; TH_ERR_SYSTEM without memory.
 */
th_error th_run_create(uint64_t job, const th_run_request *request, const th_device *device,
                       th_run_observer *observer, void *user, th_run **run);

/**
 * Append bytes to an array. The run is complete (th_run_is_received) once every array is full.
 *
 * @return TH_OK; TH_ERR_PROTOCOL if the array would overflow or offset is not where the last write
 * ended.
 *
 * Threads: one at a time, before th_scheduler_add. The copy is taken before the call returns. Bytes
 * for a run canceled meanwhile are dropped.
 */
th_error th_run_receive(th_run *run, th_array array, uint64_t offset, const void *bytes,
                        size_t count);

/** Whether all that it works on is there. */
bool th_run_is_received(th_run *run);

/** Whether it waits for data that will never be whole: th_run_cancel then ends it with TH_ERR_DATA.
 */
bool th_run_is_lost(th_run *run);

/** Let go of data that it kept. Once it is over; by one thread at a time. */
void th_run_drop_data(th_run *run);

uint64_t th_run_job(const th_run *run);
th_job_kind th_run_kind(const th_run *run);
const char *th_run_name(const th_run *run);
/** Memory that its arrays hold, and its part of those that it shares; 0 once it is over, unless it
 * keeps its data. Any thread. */
uint64_t th_run_bytes(th_run *run);

/** The newest snapshot. Any thread. */
void th_run_progress(th_run *run, th_progress *progress);

/** The phases that it has entered so far: bit p is set for phase p. Any thread. */
uint32_t th_run_phases(th_run *run);

/** A consistent copy of the oldest epoch of the history that is newer than `after`.
 *  @return TH_OK; TH_ERR_AGAIN if there is none yet. Any thread. */
th_error th_run_epoch_after(th_run *run, uint32_t after, th_epoch *epoch);

/** Ask the run to end as canceled; it does so within a step or a few milliseconds, or when
 * PREPARING or the saver is done. One that was never added has ended on return. Any thread; at any
 * moment, more than once.
 */
void th_run_cancel(th_run *run);

/** As th_run_cancel, but a training that has begun ends with a checkpoint. */
void th_run_stop(th_run *run);

/** Whether the phase is DONE, FAILED or CANCELED. Any thread. */
bool th_run_is_over(th_run *run);

/** What it ended with; owned by the run. Only once it is over. */
const th_outcome *th_run_outcome(const th_run *run);

/** Takes NULL. Not while a scheduler holds the run: it does until the observer is told of the end.
 */
void th_run_destroy(th_run *run);

#endif

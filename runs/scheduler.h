/**
 * Shares one device among runs: fair between owners, in order within one, in slices of time.
 */
#ifndef TH_RUNS_SCHEDULER_H
#define TH_RUNS_SCHEDULER_H

#include "runs/run.h"

typedef struct th_scheduler th_scheduler;

/**
 * Start the training threads: one a core. One run alone is given them all; several share them out.
 * One thread more keeps the queue. All sleep while there is nothing to do, and none takes signals.
 *
 * @param threads       cores to use, at least 1; or runs that a device can drive at once.
 * @param threads_each  that a run can use, at least 1.
 * @param active_max    runs in progress at once, at least 1; the others are queued, with a
 * position.
 * @return TH_OK; TH_ERR_SYSTEM.
 */
th_error th_scheduler_create(uint32_t threads, uint32_t threads_each, uint32_t active_max,
                             th_scheduler **scheduler);

/**
 * Put a run, completely received, in its owner's queue.
 *
 * One that was canceled before stays as it is; after th_scheduler_stop it is canceled on the spot.
 *
 * @param owner  runs of different owners take turns; runs of one owner start in order.
 *
 * Ownership: the scheduler holds the run until it is over (th_run_is_over; the observer is told
 * last of all).
 */
void th_scheduler_add(th_scheduler *scheduler, th_run *run, uint64_t owner);

/**
 * End every run: a training that has begun with a checkpoint as its outcome, others as canceled.
 * Then stop the threads. Returns when all runs are over.
 */
void th_scheduler_stop(th_scheduler *scheduler);

/** Stops first if need be. Takes NULL. */
void th_scheduler_destroy(th_scheduler *scheduler);

#endif

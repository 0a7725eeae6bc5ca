/**
 * What a run is made of, for the files of this room alone: run.c keeps it, advance.c does its
 * work, scheduler.c decides when.
 *
 * One thread at a time drives a run: the caller until th_run_hold, the scheduler's keeper while it
 * is queued, a worker for each slice. The driver alone calls th_run_queue to th_run_end and so
 * alone tells the observer; what other threads may read or ask meanwhile is under `lock`.
 */
#ifndef TH_RUNS_RUN_STATE_H
#define TH_RUNS_RUN_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "kernels/inference.h"
#include "kernels/spec.h"
#include "kernels/team.h"
#include "runs/data.h"
#include "runs/run.h"

/** How others want the run to end. The first wish counts. */
typedef enum th_wish { TH_WISH_NONE, TH_WISH_CANCEL, TH_WISH_STOP } th_wish;

/** Where a run stands among others; the scheduler's. */
typedef struct th_run_place {
  th_run *next;
  uint64_t owner;
  uint64_t round; /**< of the queue, in which it starts */
  uint64_t turn; /**< its newest slice, counted over all runs */
  bool is_driven; /**< in the hands of a worker or the keeper just now */
} th_run_place;

struct th_run {
  uint64_t job;
  th_job_kind kind;
  th_spec spec;
  const th_device *device;
  th_run_observer *observer;
  th_run_saver *saver;
  void *user;
  int64_t created_ns;
  uint64_t expected_bytes; /**< of what it is sent itself */
  bool is_sharer; /**< another run receives its source */
  bool keeps_data;
  atomic_int wish; /**< th_wish */

  pthread_mutex_t lock;
  /* Under the lock: */
  th_progress progress;
  uint32_t phases; /**< bit p: phase p was entered */
  th_history history; /**< a copy: the trainer's is its thread's alone */
  uint32_t history_max;
  uint64_t received_bytes;
  th_run_data *source; /**< its data; NULL once let go */
  th_run_array model;
  bool is_held; /**< someone drives it to its end */
  void (*wake)(void *); /**< the scheduler's, while it holds the run */
  void *wake_user;

  /* The driver's: */
  th_data data;
  th_trainer *trainer;
  th_inference *inference;
  th_outcome outcome;
  th_run_place place;
};

/** Judge a request by itself: kind, sizes, arrays. @return as th_run_create. */
th_error th_run_request_judge(const th_run_request *request);

/** Judge a request against the data that it shares. @return TH_OK; TH_ERR_DATA. */
th_error th_run_request_judge_shared(const th_run_request *request, const th_run_data *data);

/**
 * Take charge of a run.
 *
 * @param wake  called, with the run's lock held, when it is canceled.
 * @return false if someone else did: it was canceled while it was received.
 */
bool th_run_hold(th_run *run, void (*wake)(void *), void *user);

/** Ask for an end; later wishes than the first are ignored. Any thread. */
void th_run_wish(th_run *run, th_wish wish);
th_wish th_run_wished(const th_run *run);

/** Enter a phase and tell the observer. */
void th_run_enter(th_run *run, th_phase phase);

/** Queue the run, or move it up; tells the observer if that is news. @param position  from 1. */
void th_run_queue(th_run *run, uint32_t position);

/** Take over what trainer or inference report, and tell the observer: a th_trainer_observer. */
void th_run_observe(void *run, const th_progress *progress);

/**
 * Work until the moment passes, then a little: a piece of work is not cut in two.
 *
 * @return true when there is nothing more to do and the outcome is decided: th_run_end is next.
 */
bool th_run_advance(th_run *run, th_team *team, int64_t until_ns);

/** Decide the outcome of a run that is wished to end and of which nothing runs. */
void th_run_abandon(th_run *run);

/** Let go of the arrays, but for data that it keeps and that are whole. */
void th_run_release_arrays(th_run *run);

/** Enter the last phase and tell the observer. The run may be destroyed as soon as that is told:
 *  nothing touches it afterwards. */
void th_run_end(th_run *run);

#endif

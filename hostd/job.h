/**
 * The jobs that the daemon holds: being received, queued, in training, or over with a result that
 * waits for its client. A job outlives the session that started it if it is detached or over.
 */
#ifndef TH_HOSTD_JOB_H
#define TH_HOSTD_JOB_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "hostd/store.h"
#include "ipc/wire.h"
#include "runs/run.h"
#include "runs/scheduler.h"

/** How far a session has been told about a job. */
typedef struct th_told {
  uint32_t phases; /**< bit p: phase p */
  uint32_t phase; /**< the newest */
  uint32_t epochs; /**< whole epochs */
  uint32_t epoch, step; /**< the newest step */
} th_told;

typedef struct th_job {
  struct th_jobs *jobs;
  uint64_t number;
  uint32_t uid;
  th_job_kind kind;
  char name[64];
  bool is_detached;
  bool is_scheduled;
  bool is_settled; /**< the loop has seen that it is over */
  atomic_bool is_abandoned; /**< nobody will ask for its result: delete it once it is over */
  atomic_bool is_over; /**< set last of all by the thread that ended it */
  bool is_stored; /**< on disk; valid once over */
  bool has_unsaved; /**< the newest checkpoint could not be stored; the training thread's */
  th_run *run; /**< NULL once over, stored and told, or when read back from disk */
  th_record record; /**< valid once over */
  uint64_t session; /**< that follows it; 0: none */
  uint32_t cell_index; /**< in that session's region */
  pthread_mutex_t cell_lock; /**< the training thread writes the cell, the loop takes it away */
  th_wire_cell *cell;
  th_told told;
} th_job;

/** Limits, as the options say. */
typedef struct th_job_limits {
  uint32_t jobs_max;
  uint64_t data_bytes_max;
} th_job_limits;

/** All jobs. The loop's thread owns it; training threads enter only through the run's observer. */
typedef struct th_jobs {
  th_store *store;
  const th_device *device;
  th_scheduler *scheduler;
  th_job_limits limits;
  int poke_fd; /**< eventfd: a training thread has news */
  _Atomic int64_t poked_ns; /**< when a step was last news */
  th_job **table; /**< [limits.jobs_max], in order of number */
  uint32_t count;
} th_jobs;

/**
 * Read back the jobs that the store holds.
 *
 * @param poke_fd  an eventfd, borrowed; readable when th_jobs_settle has something to do.
 * @return TH_OK; TH_ERR_SYSTEM; TH_ERR_IO.
 */
th_error th_jobs_open(th_store *store, const th_device *device, th_scheduler *scheduler,
                      const th_job_limits *limits, int poke_fd, th_jobs *jobs);

/** The run of a job of that user, to share its data. @return TH_OK; TH_ERR_NOT_FOUND, also if its
 * data are gone. */
th_error th_jobs_find_data(th_jobs *jobs, uint64_t number, uint32_t uid, th_run **run);

/**
 * Accept a job, if the limits allow.
 *
 * @param job  [out] owned by the table.
 * @return TH_OK; TH_ERR_USAGE; TH_ERR_DATA; TH_ERR_LIMIT; TH_ERR_BUSY; TH_ERR_NOT_FOUND
 *         (data to share); TH_ERR_IO; TH_ERR_SYSTEM.
 */
th_error th_jobs_start(th_jobs *jobs, uint32_t uid, const th_run_request *request, bool detach,
                       th_job **job);

/** A job of that user; root sees everybody's. @return TH_OK; TH_ERR_NOT_FOUND, for others' jobs
 * too. */
th_error th_jobs_find(th_jobs *jobs, uint64_t number, uint32_t uid, th_job **job);

/**
 * Let a session follow a job, in the lowest cell that none of its other jobs has.
 *
 * @return TH_OK; TH_ERR_BUSY if another session follows it or no cell is free.
 */
th_error th_jobs_attach(th_jobs *jobs, th_job *job, uint64_t session, th_wire_cell *cells,
                        uint32_t cell_count);

/** Hand the job to the scheduler if all that it works on is there: after it was attached, because a
 * job that shares another's data may have nothing to receive. */
void th_job_begin(th_job *job);

/** Put bytes of a batch into a job's array; a job that is complete goes to the scheduler. @return
 * as th_run_receive. */
th_error th_job_receive(th_job *job, uint32_t array, uint64_t offset, const void *bytes,
                        uint32_t count);

/** Ask a job to end. Without effect if it is over. */
void th_job_cancel(th_job *job);

/** As th_job_cancel, but a training that has begun leaves a checkpoint. */
void th_job_stop(th_job *job);

/** The newest snapshot; says SAVING until the result is safe. */
void th_job_progress(th_job *job, th_progress *progress);

/** Whether the result, or why there is none, can be had. */
bool th_job_is_over(th_job *job);

/**
 * The next thing that its session has not been told: each epoch, the present phase, the newest
 * step.
 *
 * @return TH_OK; TH_ERR_AGAIN if it was told everything.
 */
th_error th_job_next_event(th_job *job, th_wire_event *event);

/**
 * Open the newest checkpoint of a training, whether it is over or not.
 *
 * @param fds   [out] as of th_job_open_result.
 * @return TH_OK; TH_ERR_AGAIN if it has none yet; TH_ERR_NOT_FOUND if it is over and has left none;
 * TH_ERR_IO; TH_ERR_SYSTEM.
 */
th_error th_job_open_checkpoint(th_job *job, int fds[2], th_wire_result *result);

/**
 * Open the result.
 *
 * @param fds   [out] output and card; −1 where there is none. Owned by the caller.
 * @return TH_OK; TH_ERR_AGAIN if it is not over; the job's own error and text; TH_ERR_IO;
 * TH_ERR_SYSTEM.
 */
th_error th_job_open_result(th_job *job, int fds[2], th_wire_result *result);

/** Delete a job and its result; one that is not over is canceled first. The job is gone from its
 * session. */
void th_jobs_forget(th_jobs *jobs, th_job *job);

/** A session has ended: cancel what it leaves behind, but for detached jobs and results. */
void th_jobs_leave(th_jobs *jobs, uint64_t session);

/** After the poke: take note of jobs that are over. */
void th_jobs_settle(th_jobs *jobs);

/** Memory held for the data of jobs that are not over or keep theirs; shared ones count once. */
uint64_t th_jobs_data_bytes(const th_jobs *jobs);

/** After th_scheduler_stop. Stored results stay. */
void th_jobs_close(th_jobs *jobs);

#endif

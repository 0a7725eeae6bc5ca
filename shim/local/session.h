/**
 * Training in this process: a scheduler, and the table of its jobs.
 *
 * One lock guards the table, the handles and their cursors; it is held for moments only. Lock
 * order: the session's, then a run's. What may call the observer, which takes the session's, is
 * called without it.
 */
#ifndef TH_SHIM_LOCAL_SESSION_H
#define TH_SHIM_LOCAL_SESSION_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "kernels/device.h"
#include "runs/scheduler.h"
#include "shim/local/cursor.h"
#include "shim/way.h"

/** This process is the one session. */
#define TH_LOCAL_SESSION 1

/** A job from its start until it is forgotten, over and without a handle. */
typedef struct th_local_job {
  struct th_local_job *next; /**< by number, newest first */
  th_way_session *session;
  th_run *run;
  pthread_mutex_t saved_lock; /**< of `saved` alone, which may take long to copy */
  th_buffer saved; /**< the newest checkpoint of a run that is not over */
  uint32_t handles;
  bool is_over; /**< the scheduler has let go of the run */
  bool is_forgotten;
  uint32_t phase, epoch; /**< that waiting threads were woken for last */
  int64_t step_news_ns; /**< when they may be woken for a step again */
} th_local_job;

struct th_way_job {
  th_way_job *next;
  th_local_job *job;
  th_cursor cursor;
};

struct th_way_session {
  th_device device;
  th_scheduler *scheduler;
  char client[sizeof((th_session_info *)NULL)->client];
  int64_t opened_ns;
  int event_fd; /**< rung when it is armed and there are news */

  pthread_mutex_t lock; /**< of all below */
  pthread_cond_t changed;
  bool is_armed;
  uint64_t news; /**< times that there were any */
  uint64_t news_told; /**< of those, when the caller's event loop was last told of any */
  uint64_t number; /**< of the newest job */
  th_local_job *jobs;
  th_way_job *handles;
  uint64_t bytes_taken;
  uint64_t events;
};

/** What the library exports. */
extern const th_way th_way_local __attribute__((visibility("default")));

/* As in th_way. */
th_error th_local_open(const char *path, const th_adapter_options *options,
                       th_way_session **session);
void th_local_close(th_way_session *session);
th_error th_local_health(th_way_session *session, th_health *health);
th_error th_local_jobs(th_way_session *session, th_job_info **jobs, size_t *count);
th_error th_local_sessions(th_way_session *session, th_session_info **sessions, size_t *count);
void th_local_statistics(th_way_session *session, th_statistics *statistics);
int th_local_fd(th_way_session *session);
th_error th_local_arm(th_way_session *session);

/** Free a job and its run. Takes one without a run. */
void th_local_job_destroy(th_local_job *job);

/** How many jobs are kept; with the lock held. */
uint32_t th_local_jobs_count(const th_way_session *session);

#endif

/**
 * libtrainhost: train neural networks through trainhostd, or in this process, by one decision made
 * once.
 *
 *   th_manager *manager;
 *   th_adapter *adapter;
 *   th_job *job;
 *   th_result result;
 *   if (th_manager_from_env(&manager) || th_adapter_open(manager, NULL, &adapter)) …
 *   th_job_request request = {.kind = TH_JOB_TRAIN, .spec = "{\"hidden\": [64, 32]}", …};
 *   if (th_job_start(adapter, &request, &job) || th_job_follow(job, on_event, NULL) ||
 *       th_job_result(job, &result))
 *     fprintf(stderr, "%s\n", th_error_text());
 *
 * Every call that can fail returns a th_error; if it is not TH_OK, th_error_text() says on the same
 * thread what was tried, with what, and what to do. No call blocks for longer than its time-out;
 * none prints, exits or raises a signal.
 *
 * Threads: an adapter and its jobs may be used from several threads at once; of one job, one thread
 *          at a time takes events, and one reads progress.
 * Signals: none is raised or blocked. A ring of io_uring that an adapter has closed interrupts each
 *          thread that waited in it once, some milliseconds later: calls that are not restarted
 *          (epoll_wait) then fail with EINTR, as after a signal. TRAINING_HOST_IO=syscall has none.
 * Fork:    a child must open its own adapter; calls on an inherited one return TH_ERR_USAGE.
 */
#ifndef TRAINHOST_H
#define TRAINHOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trainhost_types.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TH_API __attribute__((visibility("default")))
#define TH_USE __attribute__((visibility("default"), warn_unused_result))

/** Nanoseconds, where a time-out is taken. Negative: no bound but the host's health. */
#define TH_WAIT_FOREVER INT64_C(-1)

/* ---- errors ---- */

/** Why the newest failing call on this thread failed; never NULL or empty. Valid until the next
 * one. */
TH_API const char *th_error_text(void);

/** "TH_ERR_HOST_LOST" for TH_ERR_HOST_LOST. Static. */
TH_API const char *th_error_name(th_error code);

/** The process exit status that fits, after sysexits.h. */
TH_API int th_error_exit_status(th_error code);

/** "0.1.0". Static. */
TH_API const char *th_version(void);

/* ---- manager: where training happens, decided once ---- */

typedef enum th_mode {
  TH_MODE_LOCAL = 1, /**< in this process, on its CPU */
  TH_MODE_HOST = 2, /**< by the daemon */
} th_mode;

typedef struct th_manager th_manager;

/**
 * Decide from the environment, now and for ever.
 *
 * USE_TRAINING_HOST_SERVICE: true, 1 or yes (any case): the daemon. Anything else, or unset: local.
 * TRAINING_HOST_SERVICE_URL: unix:///PATH of its socket; default
 * unix:///run/trainhost/trainhost.sock.
 *
 * @param manager  [out] free with th_manager_close; adapters do not need it once they are open.
 * @return TH_OK; TH_ERR_USAGE naming the variable if the URL is malformed (host mode only);
 * TH_ERR_SYSTEM. Threads: reads the environment; not while another thread changes it.
 */
TH_USE th_error th_manager_from_env(th_manager **manager);

/** As th_manager_from_env, from arguments. @param url  NULL: the default; ignored in local mode. */
TH_USE th_error th_manager_create(th_mode mode, const char *url, th_manager **manager);

TH_API th_mode th_manager_mode(const th_manager *manager);

/** The socket's URL in host mode, "local" in local mode. Owned by the manager. */
TH_API const char *th_manager_url(const th_manager *manager);

/** Takes NULL. */
TH_API void th_manager_close(th_manager *manager);

/* ---- adapter: one connection, or one trainer in this process ---- */

typedef struct th_adapter th_adapter;

/** Zero means the default. Times in nanoseconds. */
typedef struct th_adapter_options {
  int64_t connect_timeout_ns; /**< connect and handshake; default 2 s */
  int64_t call_timeout_ns; /**< the daemon's answer to one request; default 2 s */
  int64_t stall_timeout_ns; /**< without a heartbeat during a wait; default 2 s */
  const char *client; /**< this program's name in the daemon's lists; default: its own */
  const char *io; /**< how to reach the kernel: "io_uring", or "syscall" where that is blocked;
                     default: what TRAINING_HOST_IO says, else io_uring. Host mode only */
} th_adapter_options;

/**
 * Open the way that the manager decided on. There is no fallback from one to the other, nor from
 * io_uring to plain system calls.
 *
 * @param options  NULL: defaults.
 * @return TH_OK; TH_ERR_HOST_ABSENT (within a millisecond); TH_ERR_HOST_STALLED; TH_ERR_HOST_LOST;
 * TH_ERR_VERSION; TH_ERR_DENIED (the socket, or io_uring); TH_ERR_BUSY; TH_ERR_PROTOCOL;
 * TH_ERR_USAGE (local trainer not installed; no such io); TH_ERR_SYSTEM. Threads: reads the
 * environment, as th_manager_from_env.
 */
TH_USE th_error th_adapter_open(const th_manager *manager, const th_adapter_options *options,
                                th_adapter **adapter);

/** Ends the session, once the handles of its jobs are closed too, before or after; jobs not
 * detached are canceled. Takes NULL. */
TH_API void th_adapter_close(th_adapter *adapter);

TH_API th_mode th_adapter_mode(const th_adapter *adapter);

typedef struct th_health {
  char daemon[64]; /**< "trainhostd 0.1.0"; local mode: "local 0.1.0" */
  char device[96];
  uint64_t round_trip_ns; /**< of this very call */
  uint64_t uptime_ms;
  uint32_t sessions, sessions_max;
  uint32_t jobs_running, jobs_queued;
  uint32_t jobs_kept; /**< over, their results not yet acknowledged */
  uint32_t threads;
  uint64_t data_bytes, data_bytes_max; /**< held for jobs, and the limit (0: none) */
  char io[96]; /**< how this process reaches the kernel, and why; local mode: "none" */
} th_health;

/** Ask how the host is: one round trip. @return TH_OK; TH_ERR_HOST_LOST; TH_ERR_HOST_STALLED. */
TH_USE th_error th_adapter_health(th_adapter *adapter, th_health *health);

/** One job of this user, anyone's session. */
typedef struct th_job_info {
  th_progress progress;
  th_job_kind kind;
  uint64_t session; /**< 0: none is attached */
  uint32_t uid;
  bool is_checkpoint; /**< it was stopped, or its host was, and its result is a checkpoint */
  char name[64];
} th_job_info;

typedef struct th_session_info {
  uint64_t session;
  uint32_t uid, gid;
  int32_t pid; /**< as the daemon sees it */
  uint32_t jobs;
  uint64_t connected_ms;
  uint64_t received_bytes;
  char client[64];
} th_session_info;

/**
 * List jobs, by number.
 *
 * @param jobs   [out] an array; free() it.
 * @return TH_OK; TH_ERR_HOST_LOST; TH_ERR_HOST_STALLED; TH_ERR_SYSTEM.
 */
TH_USE th_error th_adapter_jobs(th_adapter *adapter, th_job_info **jobs, size_t *count);

/** List sessions, likewise. Local mode: this process. */
TH_USE th_error th_adapter_sessions(th_adapter *adapter, th_session_info **sessions, size_t *count);

typedef struct th_statistics {
  th_mode mode;
  uint64_t requests; /**< calls that asked the host something */
  uint64_t errors; /**< of those, that failed */
  uint64_t jobs_started;
  uint64_t bytes_sent; /**< arrays, through the arena */
  uint64_t events; /**< received */
  uint64_t doorbells; /**< system calls spent on waking the daemon */
} th_statistics;

TH_API void th_adapter_statistics(th_adapter *adapter, th_statistics *statistics);

/**
 * A descriptor for the caller's own event loop: readable when th_job_next may have something.
 *
 * Call th_adapter_arm before each wait; then th_job_next with time-out 0 on each job until
 * TH_ERR_AGAIN. Owned by the adapter; only poll it (it is an epoll set).
 */
TH_API int th_adapter_fd(th_adapter *adapter);

/**
 * Ask to be woken.
 *
 * @return TH_OK; TH_ERR_AGAIN if events have come that wait to be taken: take them instead of
 * waiting. It says so once: events of a job that nobody reads keep no loop from sleeping.
 */
TH_USE th_error th_adapter_arm(th_adapter *adapter);

/* ---- jobs ---- */

typedef struct th_job th_job;

/** Zero means none or the default. */
typedef struct th_job_request {
  th_job_kind kind;
  const char *spec; /**< JSON text, see `trainhost train --help`; NULL: all defaults */
  uint64_t rows; /**< of every array but the model */
  uint32_t width; /**< features a row */
  const float *features; /**< [rows, width] */
  const int32_t *labels; /**< [rows], classes counted from 0; NULL to predict, or with targets */
  const float *targets; /**< [rows, target_width]: numbers to come near to instead of a class, for
                           the losses mean_squared_error and huber; NULL with labels */
  uint32_t target_width; /**< targets a row; 0 means 1 if there are targets */
  const float *weights; /**< [rows], 0 or above, not all 0: what each row counts when training and
                           evaluating; NULL: all the same */
  const int32_t *groups; /**< [rows], 0 or above: what each row belongs to, as the symbol that it is
                            of; NULL: all to one */
  const void *model; /**< a safetensors file: to evaluate or predict with; training: a model to
                        begin with or a checkpoint to go on from; NULL: neither */
  size_t model_bytes;
  bool detach; /**< the job goes on when the session ends; th_job_attach finds it again */
  const th_job *data_of; /**< NULL: own arrays; else a job of this adapter whose arrays, all but the
                            model, it shares: they are then NULL here, rows and widths 0 or the
                            same */
  bool keep_data; /**< its data, all arrays but the model, shared or its own, stay for other jobs
                     when it is over, until it is forgotten or the session ends */
} th_job_request;

/**
 * Start a job and send its data. All buffers may be changed or freed on return.
 *
 * Data that several jobs share are sent and held once. They are gone when no job that holds them is
 * left: one that is not over, or that was started with keep_data.
 *
 * @param job  [out] th_job_close frees the handle.
 * @return TH_OK: accepted, follow it; TH_ERR_USAGE (specification, request); TH_ERR_DATA;
 * TH_ERR_LIMIT; TH_ERR_BUSY; TH_ERR_NOT_FOUND (the data of data_of are gone: send them anew);
 * TH_ERR_HOST_LOST; TH_ERR_HOST_STALLED; TH_ERR_SYSTEM. A job refused here has left nothing behind.
 */
TH_USE th_error th_job_start(th_adapter *adapter, const th_job_request *request, th_job **job);

/**
 * Start many jobs on the same data, all or none: the data are sent once and held once.
 *
 * What is started when one is refused is forgotten again. The first job keeps the data, as with
 * keep_data, so that they are there for the last however quick it is: forget it when all are over.
 *
 * @param request  of all jobs; its spec must be NULL.
 * @param specs    [count], of each job; NULL: all defaults.
 * @param count    at least 1.
 * @param jobs     [out] [count], in the order of specs; no handles unless TH_OK.
 * @return as th_job_start; the text says which job it was that could not be started.
 */
TH_USE th_error th_jobs_start(th_adapter *adapter, const th_job_request *request,
                              const char *const *specs, uint32_t count, th_job **jobs);

/**
 * Find a job of this user again, by number.
 *
 * @return as th_job_start; TH_ERR_NOT_FOUND; TH_ERR_BUSY if another session follows it, or this
 *         adapter has a handle of it already.
 */
TH_USE th_error th_job_attach(th_adapter *adapter, uint64_t number, th_job **job);

TH_API uint64_t th_job_number(const th_job *job);

/** The newest state, without waiting or any system call. Valid after the host was lost, too.
 *  @return TH_OK; TH_ERR_AGAIN if it could not be read consistently just now. */
TH_USE th_error th_job_progress(th_job *job, th_progress *progress);

typedef enum th_event_kind {
  TH_EVENT_PHASE = 1, /**< the job entered `phase`; lost only with a thinned epoch's own turn
                         through TRAINING and VALIDATING */
  TH_EVENT_EPOCH = 2, /**< an epoch ended; in order, lost only where the history is thinned: at the
                         host, or because thousands of events wait here to be taken */
  TH_EVENT_STEP = 3, /**< the newest step; older ones may be left out */
} th_event_kind;

typedef struct th_event {
  th_event_kind kind;
  th_phase phase;
  th_error error; /**< of a phase FAILED or CANCELED */
  uint32_t epoch, step;
  uint32_t coalesced; /**< steps (of an EPOCH: epochs) left out before this one */
  /** NaN: none. Of a regression, accuracy is R². */
  double loss, accuracy, validation_loss, validation_accuracy;
} th_event;

/**
 * The job's next event.
 *
 * @param timeout_ns  0: do not wait; TH_WAIT_FOREVER.
 * @return TH_OK; TH_ERR_AGAIN (time-out 0 and none there); TH_ERR_TIMEOUT; TH_ERR_HOST_LOST within
 * milliseconds of the daemon's death; TH_ERR_HOST_STALLED when its heartbeat stood still for
 * stall_timeout_ns. After the event that ends the job: TH_ERR_NOT_FOUND.
 */
TH_USE th_error th_job_next(th_job *job, th_event *event, int64_t timeout_ns);

/** @return false to stop following (the job goes on). */
typedef bool th_job_callback(void *user, th_job *job, const th_event *event);

/**
 * Call back for every event until the job is over, on this thread.
 *
 * @param callback  may be NULL: just wait.
 * @return TH_OK when the job is done; TH_ERR_AGAIN if the callback stopped it; the job's own error
 * if it failed or was canceled; TH_ERR_HOST_LOST; TH_ERR_HOST_STALLED.
 */
TH_USE th_error th_job_follow(th_job *job, th_job_callback *callback, void *user);

/** Ask the job to end; it does within a step, with a phase event. @return TH_OK, also if it is
 * over. */
TH_USE th_error th_job_cancel(th_job *job);

/**
 * As th_job_cancel, for any job of this user by its number, also one that another program follows.
 *
 * @return TH_OK, also if it is over; TH_ERR_NOT_FOUND; TH_ERR_HOST_LOST; TH_ERR_HOST_STALLED.
 */
TH_USE th_error th_adapter_cancel(th_adapter *adapter, uint64_t number);

/** As th_job_cancel, but a training that has begun keeps where it is: its result is a checkpoint,
 * with which as its model a job of the same specification and data goes on to bitwise the same end.
 */
TH_USE th_error th_job_stop(th_job *job);

/** Owned by the caller: th_result_fini. */
typedef struct th_result {
  th_job_kind kind;
  void *output; /**< train: model (safetensors); predict: logits [rows, classes] or a
                   regression's outputs [rows, targets] (.npy); evaluate: NULL */
  size_t output_bytes;
  char *card; /**< JSON, NUL-terminated */
  size_t card_bytes;
  bool is_checkpoint; /**< the job, or its host, was stopped: output is a checkpoint, not a model */
} th_result;

/**
 * What the job ended with. The daemon keeps it, over restarts too, until th_job_forget.
 *
 * @return TH_OK; TH_ERR_AGAIN if it is not over; the job's own error if it failed; TH_ERR_CANCELED;
 *         TH_ERR_NOT_FOUND; TH_ERR_HOST_LOST; TH_ERR_HOST_STALLED; TH_ERR_IO; TH_ERR_SYSTEM.
 */
TH_USE th_error th_job_result(th_job *job, th_result *result);

/**
 * The newest checkpoint of a training: of one that runs, after as many epochs as checkpoint_epochs
 * of its specification says; of one that was stopped, its result.
 *
 * The checkpoint of an epoch is there before the event that tells of the epoch. The daemon keeps it
 * on disk, so that a job whose daemon was killed is found again, after a restart, as one that was
 * stopped with it.
 *
 * @param result  [out] a checkpoint and no card.
 * @return TH_OK; TH_ERR_AGAIN if there is none yet; TH_ERR_NOT_FOUND if the job is over and has
 * left none, or was forgotten; TH_ERR_HOST_LOST; TH_ERR_HOST_STALLED; TH_ERR_IO; TH_ERR_SYSTEM.
 */
TH_USE th_error th_job_checkpoint(th_job *job, th_result *result);

/** Acknowledge: the result is safe with the caller, the host deletes its own. A job not over is
 * canceled first. */
TH_USE th_error th_job_forget(th_job *job);

/** Free the handle; the job itself is not touched. Takes NULL. */
TH_API void th_job_close(th_job *job);

/** Takes an empty one. */
TH_API void th_result_fini(th_result *result);

#ifdef __cplusplus
}
#endif

#endif

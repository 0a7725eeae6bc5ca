#include "cli/follow.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/job.h"
#include "cli/interrupt.h"
#include "cli/output.h"

/* How long at most until the display is refreshed and an interrupt noticed. */
#define LOOK_NS (100 * TH_NS_PER_MS)

/* A job ends within a step of being canceled; a step takes far less than this. */
#define CANCEL_NS_MAX (3 * TH_NS_PER_S)

/* One that is stopped saves itself first, on whatever disk the host has. */
#define STOP_NS_MAX (60 * TH_NS_PER_S)

/* ---- sending ---- */

/* th_job_start returns when all is sent. It runs on a thread of its own, so that this one can show
 * how far it is. */
typedef struct job_sending {
  th_adapter *adapter;
  const th_job_request *request;
  th_job *job;
  th_error error;
  char text[TH_ERROR_TEXT_BYTES_MAX]; /* the error's, which belongs to the thread */
} job_sending;

static void *send_all(void *user) {
  job_sending *sending = user;
  sending->error = th_job_start(sending->adapter, sending->request, &sending->job);
  strcpy(sending->text, th_error_text());
  return NULL;
}

/* Every element of the data has four bytes. */
static uint64_t request_bytes(const th_job_request *request) {
  uint64_t columns = (uint64_t)request->width + request->target_width + (request->labels != NULL) +
                     (request->weights != NULL) + (request->groups != NULL);
  return request->rows * columns * sizeof(float) + request->model_bytes;
}

/* Counted where the bytes leave, without a question to the host, which is busy taking them. All
 * that an adapter sends here is one job's. */
static th_progress sending_progress(const job_sending *sending) {
  th_statistics statistics;
  th_adapter_statistics(sending->adapter, &statistics);
  return (th_progress){
      .phase = TH_PHASE_RECEIVING,
      .received_bytes = statistics.bytes_sent,
      .expected_bytes = request_bytes(sending->request),
      .loss = NAN,
      .accuracy = NAN,
      .validation_loss = NAN,
      .validation_accuracy = NAN,
      .eta_seconds = NAN,
  };
}

/* A clock that nobody sets measures the wait. */
static bool thread_ends(pthread_t thread, int64_t within_ns) {
  int64_t until_ns = th_clock_deadline_ns(within_ns);
  struct timespec until = {.tv_sec = until_ns / TH_NS_PER_S, .tv_nsec = until_ns % TH_NS_PER_S};
  return pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &until) == 0;
}

th_error th_follow_start(th_host *host, const th_job_request *request, th_display *display,
                         th_job **job) {
  job_sending sending = {.adapter = host->adapter, .request = request};
  th_event event = {.kind = TH_EVENT_PHASE, .phase = TH_PHASE_RECEIVING};
  th_progress progress = sending_progress(&sending);
  display->is_regression = request->targets != NULL;
  th_interrupt_watch();
  th_display_event(display, &event, &progress);
  pthread_t thread;
  int failed = pthread_create(&thread, NULL, send_all, &sending);
  if (failed != 0) return th_fail(TH_ERR_SYSTEM, "cannot start a thread: %s", strerror(failed));
  while (!thread_ends(thread, LOOK_NS)) {
    progress = sending_progress(&sending);
    th_display_progress(display, &progress);
    if (!th_interrupt_came()) continue;
    /* There is no job to cancel yet: the hang-up tells the host, and the other thread goes along.
     */
    th_display_clear(display);
    th_output_abandon(th_fail(TH_ERR_CANCELED, "canceled while the data were being sent"));
  }
  th_display_clear(display);
  if (sending.error != TH_OK) return th_fail(sending.error, "%s", sending.text);
  *job = sending.job;
  return TH_OK;
}

/* ---- following ---- */

/* Nothing comes after it. */
static bool is_last(const th_event *event) {
  return event->kind == TH_EVENT_PHASE && th_phase_is_last(event->phase);
}

/* An event without the state it belongs to would show nothing. */
static void show(th_job *job, th_display *display, const th_event *event) {
  th_progress progress;
  if (th_job_progress(job, &progress) != TH_OK) return;
  if (event == NULL)
    th_display_progress(display, &progress);
  else
    th_display_event(display, event, &progress);
}

typedef struct job_following {
  th_job *job;
  th_display *display;
  th_follow_interrupt interrupt;
  th_checkpoint_file *checkpoint; /* NULL: none */
  int64_t end_until_ns; /* 0: not asked to end */
} job_following;

static th_error end_ask(job_following *following) {
  bool keeps = following->checkpoint != NULL && following->checkpoint->path != NULL;
  following->end_until_ns = th_clock_deadline_ns(keeps ? STOP_NS_MAX : CANCEL_NS_MAX);
  th_display_note(following->display, keeps ? "stopping" : "canceling");
  return keeps ? th_job_stop(following->job) : th_job_cancel(following->job);
}

/* @return TH_OK to go on following. */
static th_error interrupt_judge(job_following *following) {
  if (!th_interrupt_came()) return TH_OK;
  uint64_t number = th_job_number(following->job);
  if (following->interrupt == TH_FOLLOW_LEAVES)
    return th_fail(TH_ERR_CANCELED, "job %" PRIu64 " goes on; it is no longer followed", number);
  if (following->end_until_ns == 0) return end_ask(following);
  if (th_clock_now_ns() < following->end_until_ns) return TH_OK;
  return th_fail(TH_ERR_CANCELED,
                 "job %" PRIu64
                 " was asked to end and has not yet; it will, or ends with this session",
                 number);
}

/* Wakes at least every LOOK_NS, whether or not the job has news: time goes on in the display, and
 * an interrupt is only noted by its handler. */
static th_error follow(job_following *following) {
  for (;;) {
    th_event event;
    th_error error = th_job_next(following->job, &event, LOOK_NS);
    if (error == TH_ERR_NOT_FOUND) return TH_OK; /* it was over before */
    if (error != TH_OK && error != TH_ERR_TIMEOUT) return error;
    const th_event *told = error == TH_OK ? &event : NULL;
    show(following->job, following->display, told);
    if (told != NULL && is_last(told)) return TH_OK;
    if (following->checkpoint != NULL)
      th_checkpoint_file_follow(following->checkpoint, following->job, following->display, told);
    error = interrupt_judge(following);
    if (error != TH_OK) return error;
  }
}

/* Of a job without a result nothing is left to keep once its reason is known. A result that could
 * not be fetched just now is kept. */
static void forget_unless_done(th_job *job) {
  th_progress progress;
  if (th_job_progress(job, &progress) != TH_OK || progress.phase <= TH_PHASE_DONE) return;
  /* If that fails, too, the host drops the job at the end of the session. */
  th_error error = th_job_forget(job);
  (void)error;
}

th_error th_follow_end(th_job *job, th_display *display, th_follow_interrupt interrupt,
                       th_checkpoint_file *checkpoint, th_result *result) {
  job_following following = {
      .job = job, .display = display, .interrupt = interrupt, .checkpoint = checkpoint};
  th_interrupt_watch();
  th_error error = follow(&following);
  th_display_clear(display);
  if (error != TH_OK) return error;
  error = th_job_result(job, result);
  if (error != TH_OK) forget_unless_done(job);
  return error;
}

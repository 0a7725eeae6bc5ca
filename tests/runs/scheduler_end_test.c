/* How runs and schedulers end. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/job.h"
#include "fixture.h"

#define SPEC                                                                               \
  "{\"hidden\": [16, 8], \"epochs\": 40, \"batch_size\": 32, \"validation_split\": 0.25, " \
  "\"dropout\": 0.2, \"restore_best\": true}"
#define ENDLESS "{\"hidden\": [16], \"epochs\": 1000000000, \"validation_split\": 0.25}"

/* The n-th thread from now on cannot be started; 0: all can. */
static int thread_fails_at;

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*work)(void *), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*work)(void *), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*work)(void *), void *argument) {
  if (thread_fails_at > 0 && --thread_fails_at == 0) return EAGAIN;
  return __real_pthread_create(thread, attributes, work, argument);
}

static struct set data;

static th_scheduler *scheduler_make(uint32_t threads, uint32_t active_max) {
  th_scheduler *scheduler;
  cr_assert_eq(th_scheduler_create(threads, threads, active_max, &scheduler), TH_OK, "%s",
               th_error_text());
  set_fill(&data);
  return scheduler;
}

static int entries_count(const char *path) {
  int count = 0;
  DIR *dir = opendir(path);
  while (readdir(dir) != NULL) count++;
  closedir(dir);
  return count;
}

Test(scheduler_end, create_fails_cleanly_at_every_thread) {
  int before = entries_count("/proc/self/task");
  int failures = 0;
  for (int n = 1; failures == n - 1; n++) {
    th_scheduler *scheduler = NULL;
    thread_fails_at = n;
    th_error error = th_scheduler_create(3, 3, 3, &scheduler);
    thread_fails_at = 0;
    if (error == TH_OK) {
      th_scheduler_destroy(scheduler);
      break;
    }
    cr_assert_eq(error, TH_ERR_SYSTEM);
    cr_assert_null(scheduler);
    failures = n;
  }
  /* Three workers, the keeper, and at least the two helpers of the one full team. */
  cr_assert_geq(failures, 6);
  cr_assert_eq(entries_count("/proc/self/task"), before);
}

Test(scheduler_end, leaves_no_thread_and_no_descriptor) {
  th_run_destroy(run_make(1, TH_JOB_TRAIN, SPEC, &data, NULL, NULL));
  int threads = entries_count("/proc/self/task"), fds = entries_count("/proc/self/fd");
  th_scheduler *scheduler = scheduler_make(3, 2);
  struct witness witness;
  witness_init(&witness);
  th_run *run = run_make(1, TH_JOB_TRAIN, SPEC, &data, NULL, &witness);
  th_scheduler_add(scheduler, run, 0);
  witness_wait_over(&witness);
  th_scheduler_destroy(scheduler);
  th_run_destroy(run);
  cr_assert_eq(entries_count("/proc/self/task"), threads);
  cr_assert_eq(entries_count("/proc/self/fd"), fds);
}

/* Whether every thread that the scheduler named blocks the signal. @return how many there are. */
static int threads_blocking(int signal) {
  int count = 0;
  DIR *dir = opendir("/proc/self/task");
  for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
    char path[300], line[128];
    unsigned long long blocked = 0;
    bool is_ours = false;
    snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
    FILE *status = fopen(path, "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL) {
      if (strncmp(line, "Name:\tth-", 9) == 0) is_ours = true;
      if (strncmp(line, "SigBlk:", 7) == 0) blocked = strtoull(line + 7, NULL, 16);
    }
    if (status != NULL) fclose(status);
    if (is_ours && (blocked >> (signal - 1) & 1) != 0) count++;
  }
  closedir(dir);
  return count;
}

Test(scheduler_end, its_threads_leave_signals_to_the_program) {
  th_scheduler *scheduler = scheduler_make(2, 2);
  /* They name themselves as they begin: by the time that a run is over, two have. */
  struct witness witness;
  witness_init(&witness);
  th_run *run = run_make(1, TH_JOB_TRAIN, SPEC, &data, NULL, &witness);
  th_scheduler_add(scheduler, run, 0);
  witness_wait_over(&witness);
  th_run_destroy(run);
  cr_assert_geq(threads_blocking(SIGTERM), 2);
  cr_assert_eq(threads_blocking(SIGSEGV), 0, "a fault could not be reported");
  th_scheduler_destroy(scheduler);
}

Test(scheduler_end, destroy_takes_null_and_an_idle_one) {
  th_scheduler_destroy(NULL);
  th_scheduler_destroy(scheduler_make(1, 1));
  th_scheduler *scheduler = scheduler_make(2, 1);
  th_scheduler_stop(scheduler);
  th_scheduler_stop(scheduler);
  th_scheduler_destroy(scheduler);
}

/* ---- cancel ---- */

static void cancel_in_phase(struct witness *witness, th_run *run, const th_progress *progress) {
  if (progress->phase == *(const th_phase *)witness->act_user) th_run_cancel(run);
}

/* Canceled by its own observer when it enters a phase. */
static void assert_canceled_in(th_phase phase, th_phase last, th_phase never) {
  th_scheduler *scheduler = scheduler_make(2, 2);
  struct witness witness;
  witness_init(&witness);
  witness.act = cancel_in_phase;
  witness.act_user = &phase;
  th_run *run =
      run_make(4, TH_JOB_TRAIN, last == TH_PHASE_DONE ? SPEC : ENDLESS, &data, NULL, &witness);
  th_scheduler_add(scheduler, run, 0);
  witness_wait_over(&witness);
  cr_assert_eq(witness.newest.phase, last);
  cr_assert_eq(th_run_phases(run) & (1U << never), 0, "it went on to phase %d", never);
  cr_assert_eq(th_run_bytes(run), 0);
  const th_outcome *outcome = th_run_outcome(run);
  cr_assert_eq(outcome->error, last == TH_PHASE_DONE ? TH_OK : TH_ERR_CANCELED);
  if (last == TH_PHASE_CANCELED) {
    cr_assert_eq(strncmp(outcome->text, "job 4 was canceled at epoch ", 28), 0, "%s",
                 outcome->text);
    cr_assert_null(outcome->output.data);
  }
  th_scheduler_destroy(scheduler);
  th_run_destroy(run);
  cr_assert_eq(witness.calls_after_the_end, 0);
}

Test(scheduler_end, cancel_ends_a_run_as_it_is_queued) {
  assert_canceled_in(TH_PHASE_QUEUED, TH_PHASE_CANCELED, TH_PHASE_TRAINING);
}

Test(scheduler_end, cancel_ends_a_run_that_prepares) {
  assert_canceled_in(TH_PHASE_PREPARING, TH_PHASE_CANCELED, TH_PHASE_VALIDATING);
}

Test(scheduler_end, cancel_ends_a_run_that_trains) {
  assert_canceled_in(TH_PHASE_TRAINING, TH_PHASE_CANCELED, TH_PHASE_SAVING);
}

Test(scheduler_end, cancel_ends_a_run_that_validates) {
  assert_canceled_in(TH_PHASE_VALIDATING, TH_PHASE_CANCELED, TH_PHASE_SAVING);
}

Test(scheduler_end, cancel_comes_too_late_for_a_run_that_saves) {
  assert_canceled_in(TH_PHASE_SAVING, TH_PHASE_DONE, TH_PHASE_CANCELED);
}

Test(scheduler_end, cancel_changes_nothing_after_the_end) {
  assert_canceled_in(TH_PHASE_DONE, TH_PHASE_DONE, TH_PHASE_CANCELED);
}

Test(scheduler_end, cancel_does_not_wait_for_the_run_in_front) {
  th_scheduler *scheduler = scheduler_make(1, 1);
  struct witness first, second;
  witness_init(&first);
  witness_init(&second);
  th_run *runs[] = {run_make(1, TH_JOB_TRAIN, ENDLESS, &data, NULL, &first),
                    run_make(2, TH_JOB_TRAIN, ENDLESS, &data, NULL, &second)};
  th_scheduler_add(scheduler, runs[0], 1);
  th_scheduler_add(scheduler, runs[1], 1);
  witness_wait(&first, has_phase, TH_PHASE_TRAINING);
  th_run_cancel(runs[1]);
  witness_wait_over(&second);
  cr_assert_not(th_run_is_over(runs[0]));
  cr_assert_eq(th_run_phases(runs[1]) & (1U << TH_PHASE_PREPARING), 0);
  th_scheduler_destroy(scheduler);
  cr_assert(th_run_is_over(runs[0]));
  th_run_destroy(runs[0]);
  th_run_destroy(runs[1]);
}

static void destroy_at_the_end(struct witness *witness, th_run *run, const th_progress *progress) {
  (void)witness;
  if (th_phase_is_last(progress->phase)) th_run_destroy(run);
}

Test(scheduler_end, the_observer_may_destroy_a_run_that_is_over) {
  th_scheduler *scheduler = scheduler_make(2, 2);
  struct witness trained, canceled;
  witness_init(&trained);
  witness_init(&canceled);
  trained.act = canceled.act = destroy_at_the_end;
  th_scheduler_add(scheduler, run_make(1, TH_JOB_TRAIN, SPEC, &data, NULL, &trained), 1);
  witness_wait_over(&trained);
  th_run_cancel(run_make(2, TH_JOB_TRAIN, SPEC, &data, NULL, &canceled));
  cr_assert_eq(canceled.newest.phase, TH_PHASE_CANCELED);
  th_scheduler_destroy(scheduler);
}

Test(scheduler_end, a_run_canceled_before_it_is_added_stays_over) {
  th_scheduler *scheduler = scheduler_make(1, 1);
  struct witness witness;
  witness_init(&witness);
  th_run *run = run_make(1, TH_JOB_TRAIN, SPEC, &data, NULL, &witness);
  th_run_cancel(run);
  th_scheduler_add(scheduler, run, 0);
  th_scheduler_destroy(scheduler);
  cr_assert_eq(witness.calls, 1);
  th_run_destroy(run);
}

/* ---- stop ---- */

/* From its third epoch on it is slowed down, so that a stop finds it in the middle. */
static void slow_down(struct witness *witness, th_run *run, const th_progress *progress) {
  (void)witness;
  (void)run;
  if (progress->epoch >= 3) nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

static void assert_resumes_to(const th_buffer *checkpoint, const th_buffer *model) {
  th_scheduler *scheduler = scheduler_make(2, 1);
  struct witness witness;
  witness_init(&witness);
  th_run *run = run_make(8, TH_JOB_TRAIN, SPEC, &data, checkpoint, &witness);
  th_scheduler_add(scheduler, run, 0);
  witness_wait_over(&witness);
  const th_outcome *outcome = th_run_outcome(run);
  cr_assert_eq(outcome->error, TH_OK, "%s", outcome->text);
  cr_assert_eq(outcome->output.bytes, model->bytes);
  cr_assert_eq(memcmp(outcome->output.data, model->data, model->bytes), 0);
  th_epoch epoch;
  cr_assert_eq(th_run_epoch_after(run, 0, &epoch), TH_OK);
  cr_assert_eq(epoch.epoch, 1, "the epochs before the stop are gone");
  th_scheduler_destroy(scheduler);
  th_run_destroy(run);
}

Test(scheduler_end, stop_leaves_a_checkpoint_that_resumes_to_the_same_model) {
  set_fill(&data);
  th_buffer model = model_train(SPEC, &data, 1);
  th_scheduler *scheduler = scheduler_make(2, 1);
  struct witness witness;
  witness_init(&witness);
  witness.act = slow_down;
  th_run *run = run_make(4, TH_JOB_TRAIN, SPEC, &data, NULL, &witness);
  th_scheduler_add(scheduler, run, 0);
  witness_wait(&witness, has_epoch, 3);
  th_scheduler_stop(scheduler);
  const th_outcome *outcome = th_run_outcome(run);
  cr_assert_eq(witness.newest.phase, TH_PHASE_CANCELED);
  cr_assert_eq(outcome->error, TH_ERR_CANCELED);
  cr_assert(outcome->is_checkpoint);
  cr_assert_not_null(strstr(outcome->text, "checkpoint is kept"), "%s", outcome->text);
  assert_resumes_to(&outcome->output, &model);
  th_scheduler_destroy(scheduler);
  th_run_destroy(run);
  th_buffer_fini(&model);
}

Test(scheduler_end, stop_ends_every_run_wherever_it_is) {
  enum { RUNS = 6 };
  th_scheduler *scheduler = scheduler_make(2, 3);
  struct witness witnesses[RUNS];
  th_run *runs[RUNS];
  for (uint32_t i = 0; i < RUNS; i++) {
    witness_init(&witnesses[i]);
    runs[i] = run_make(i + 1, TH_JOB_TRAIN, ENDLESS, &data, NULL, &witnesses[i]);
    th_scheduler_add(scheduler, runs[i], i % 2);
  }
  witness_wait(&witnesses[0], has_epoch, 1);
  th_scheduler_stop(scheduler);
  for (int i = 0; i < RUNS; i++) {
    const th_outcome *outcome = th_run_outcome(runs[i]);
    bool has_begun = (th_run_phases(runs[i]) & (1U << TH_PHASE_TRAINING)) != 0;
    cr_assert_eq(witnesses[i].newest.phase, TH_PHASE_CANCELED);
    cr_assert_eq(outcome->error, TH_ERR_CANCELED);
    cr_assert_eq(outcome->is_checkpoint, has_begun);
    cr_assert_eq(outcome->output.bytes > 0, has_begun);
    cr_assert_not_null(strstr(outcome->text, "was stopped"), "%s", outcome->text);
    th_run_destroy(runs[i]);
  }
  th_scheduler_destroy(scheduler);
}

Test(scheduler_end, a_run_added_after_the_stop_is_canceled) {
  th_scheduler *scheduler = scheduler_make(1, 1);
  th_scheduler_stop(scheduler);
  struct witness witness;
  witness_init(&witness);
  th_run *run = run_make(1, TH_JOB_TRAIN, SPEC, &data, NULL, &witness);
  th_scheduler_add(scheduler, run, 0);
  cr_assert_eq(witness.newest.phase, TH_PHASE_CANCELED);
  th_scheduler_destroy(scheduler);
  th_run_destroy(run);
}

/* ---- all at once ---- */

enum { CALLERS = 3, RUNS_EACH = 12 };

struct caller {
  pthread_t thread;
  th_scheduler *scheduler;
  uint64_t owner;
  th_run *runs[RUNS_EACH];
  struct witness witnesses[RUNS_EACH];
};

/* Some end by themselves, some are canceled as they are added, some a little later, some twice. */
static void *caller_main(void *argument) {
  struct caller *caller = argument;
  for (int i = 0; i < RUNS_EACH; i++) {
    th_scheduler_add(caller->scheduler, caller->runs[i], caller->owner);
    if (i % 2 == 1) th_run_cancel(caller->runs[i]);
  }
  for (int i = 0; i < RUNS_EACH; i += 3) th_run_cancel(caller->runs[i]);
  return NULL;
}

static void caller_start(struct caller *caller, th_scheduler *scheduler, uint64_t owner) {
  caller->scheduler = scheduler;
  caller->owner = owner;
  for (uint32_t i = 0; i < RUNS_EACH; i++) {
    witness_init(&caller->witnesses[i]);
    caller->runs[i] = run_make(i + 1, TH_JOB_TRAIN, i % 3 == 0 ? ENDLESS : SPEC, &data, NULL,
                               &caller->witnesses[i]);
  }
  cr_assert_eq(pthread_create(&caller->thread, NULL, caller_main, caller), 0);
}

Test(scheduler_end, many_callers_and_cancels_lose_nothing) {
  static struct caller callers[CALLERS];
  th_scheduler *scheduler = scheduler_make(3, 3);
  for (int i = 0; i < CALLERS; i++) caller_start(&callers[i], scheduler, (uint64_t)i);
  for (int i = 0; i < CALLERS; i++) pthread_join(callers[i].thread, NULL);
  for (int i = 0; i < CALLERS * RUNS_EACH; i++) {
    struct witness *witness = &callers[i / RUNS_EACH].witnesses[i % RUNS_EACH];
    witness_wait_over(witness);
    cr_assert_not(witness->was_entered_twice);
    cr_assert_eq(witness->calls_after_the_end, 0);
    if (i % RUNS_EACH % 3 != 0 && i % RUNS_EACH % 2 == 0)
      cr_assert_eq(witness->newest.phase, TH_PHASE_DONE);
  }
  th_scheduler_destroy(scheduler);
  for (int i = 0; i < CALLERS * RUNS_EACH; i++)
    th_run_destroy(callers[i / RUNS_EACH].runs[i % RUNS_EACH]);
}

/* The way that trains in the process, through the table that the adapter calls. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/job.h"
#include "shim/way.h"

extern const th_way th_way_local;

enum { ROWS = 200, WIDTH = 6, CLASSES = 2, EPOCHS = 9 };

/* Longer than any event takes, under any sanitizer, on a busy machine. */
#define EVENT_TIMEOUT_NS (60 * TH_NS_PER_S)

#define SHORT "{\"hidden\": [8], \"epochs\": 9, \"validation_split\": 0.2, \"name\": \"short\"}"
#define ENDLESS "{\"hidden\": [8], \"epochs\": 1000000000}"

static const th_way *const way = &th_way_local;

static th_way_session *session_open(void) {
  th_way_session *session;
  cr_assert_eq(way->open(NULL, NULL, &session), TH_OK, "%s", way->error_text());
  return session;
}

/* From buffers that are gone when the call has returned. */
static th_way_job *job_start(th_way_session *session, const char *spec) {
  float *features = malloc(ROWS * WIDTH * sizeof *features);
  int32_t *labels = malloc(ROWS * sizeof *labels);
  for (int i = 0; i < ROWS * WIDTH; i++) features[i] = (float)((i * 37) % 101) / 101.0F;
  for (int i = 0; i < ROWS; i++) labels[i] = features[i * WIDTH] > 0.5F;
  th_job_request request = {.kind = TH_JOB_TRAIN,
                            .spec = spec,
                            .rows = ROWS,
                            .width = WIDTH,
                            .features = features,
                            .labels = labels};
  th_way_job *job;
  cr_assert_eq(way->start(session, &request, 0, &job), TH_OK, "%s", way->error_text());
  memset(features, 0xFF, ROWS * WIDTH * sizeof *features);
  free(features);
  free(labels);
  return job;
}

static th_event event_take(th_way_job *job) {
  th_event event;
  cr_assert_eq(way->next(job, &event, EVENT_TIMEOUT_NS), TH_OK, "%s", way->error_text());
  return event;
}

/* Take events up to the one that enters the phase. */
static th_event events_until(th_way_job *job, th_phase phase) {
  th_event event;
  do {
    event = event_take(job);
  } while (event.kind != TH_EVENT_PHASE || event.phase != phase);
  return event;
}

static bool event_is_last(const th_event *event) {
  return event->kind == TH_EVENT_PHASE && th_phase_is_last(event->phase);
}

/* What a reader must have been told of a SHORT job, whenever it came. */
struct story {
  uint32_t phases;
  uint32_t epochs;
  uint64_t steps; /* told or counted as left out */
  th_phase last;
};

static void story_hear(struct story *story, const th_event *event) {
  cr_assert_lt(story->last, TH_PHASE_DONE, "an event after the end");
  switch (event->kind) {
    case TH_EVENT_PHASE:
      cr_assert(event->phase > story->last || event->phase == TH_PHASE_TRAINING, "%d after %d",
                event->phase, story->last);
      story->phases |= 1U << event->phase;
      story->last = event->phase;
      break;
    case TH_EVENT_EPOCH:
      cr_assert_eq(event->epoch, ++story->epochs);
      cr_assert(event->validation_loss > 0);
      break;
    case TH_EVENT_STEP:
      story->steps += event->coalesced + 1;
      break;
  }
}

static void assert_story_is_whole(const struct story *story) {
  for (uint32_t phase = TH_PHASE_RECEIVING; phase <= TH_PHASE_DONE; phase++)
    cr_assert_neq(story->phases & (1U << phase), 0, "phase %u was never told", phase);
  cr_assert_eq(story->epochs, EPOCHS);
  cr_assert_eq(story->last, TH_PHASE_DONE);
}

static struct story story_follow(th_way_job *job) {
  struct story story = {0};
  th_event event;
  do {
    event = event_take(job);
    story_hear(&story, &event);
  } while (!event_is_last(&event));
  return story;
}

static int entries_count(const char *path) {
  int count = 0;
  DIR *dir = opendir(path);
  while (readdir(dir) != NULL) count++;
  closedir(dir);
  return count;
}

Test(local, exports_the_way_and_nothing_else) {
  cr_assert_not_null(dlsym(RTLD_DEFAULT, TH_WAY_LOCAL_SYMBOL));
  cr_assert_null(dlsym(RTLD_DEFAULT, "th_run_create"));
  cr_assert_null(dlsym(RTLD_DEFAULT, "th_error_text"));
}

Test(local, says_that_it_is_local) {
  th_way_session *session;
  const th_adapter_options options = {.client = "a test"};
  cr_assert_eq(way->open(NULL, &options, &session), TH_OK);
  th_health health;
  cr_assert_eq(way->health(session, &health), TH_OK);
  cr_assert_eq(strncmp(health.daemon, "local ", 6), 0);
  cr_assert_eq(strncmp(health.device, "cpu", 3), 0);
  cr_assert_geq(health.threads, 1);
  cr_assert_eq(health.jobs_running + health.jobs_queued + health.jobs_kept, 0);
  th_session_info *sessions;
  size_t count;
  cr_assert_eq(way->sessions(session, &sessions, &count), TH_OK);
  cr_assert_eq(count, 1);
  cr_assert_str_eq(sessions[0].client, "a test");
  cr_assert_eq(sessions[0].pid, getpid());
  free(sessions);
  way->close(session);
}

Test(local, tells_the_whole_story_of_a_job) {
  th_way_session *session = session_open();
  th_way_job *job = job_start(session, SHORT);
  cr_assert_eq(way->number(job), 1);
  struct story story = story_follow(job);
  assert_story_is_whole(&story);
  th_event event;
  cr_assert_eq(way->next(job, &event, 0), TH_ERR_NOT_FOUND);
  cr_assert_eq(way->next(job, &event, EVENT_TIMEOUT_NS), TH_ERR_NOT_FOUND);
  way->job_close(job);
  way->close(session);
}

Test(local, tells_it_to_who_comes_late) {
  th_way_session *session = session_open();
  way->job_close(job_start(session, SHORT));
  th_way_job *job;
  cr_assert_eq(way->attach(session, 1, &job), TH_OK);
  th_progress progress;
  do {
    cr_assert_eq(way->progress(job, &progress), TH_OK);
  } while (progress.phase < TH_PHASE_DONE);
  struct story story = story_follow(job);
  assert_story_is_whole(&story);
  cr_assert_eq(story.steps, 0, "steps of epochs that are over");
  way->job_close(job);
  way->close(session);
}

Test(local, gives_the_result_as_often_as_it_is_asked) {
  th_way_session *session = session_open();
  th_way_job *job = job_start(session, SHORT);
  (void)story_follow(job);
  th_result results[2];
  for (int i = 0; i < 2; i++)
    cr_assert_eq(way->result(job, &results[i]), TH_OK, "%s", way->error_text());
  cr_assert_eq(results[0].kind, TH_JOB_TRAIN);
  cr_assert_not(results[0].is_checkpoint);
  cr_assert_gt(results[0].output_bytes, 8);
  cr_assert_eq(results[0].output_bytes, results[1].output_bytes);
  cr_assert_eq(memcmp(results[0].output, results[1].output, results[0].output_bytes), 0);
  cr_assert_eq(strlen(results[0].card), results[0].card_bytes);
  for (int i = 0; i < 2; i++) {
    free(results[i].output);
    free(results[i].card);
  }
  way->job_close(job);
  way->close(session);
}

Test(local, waits_no_longer_than_it_is_told) {
  th_way_session *session = session_open();
  /* More than share the cores: the last is queued and nothing happens to it. */
  enum { JOBS = 5 };
  th_way_job *jobs[JOBS];
  for (int i = 0; i < JOBS; i++) jobs[i] = job_start(session, ENDLESS);
  th_event event = events_until(jobs[JOBS - 1], TH_PHASE_QUEUED);
  th_result result;
  cr_assert_eq(way->result(jobs[JOBS - 1], &result), TH_ERR_AGAIN);
  cr_assert_eq(way->next(jobs[JOBS - 1], &event, 0), TH_ERR_AGAIN);
  int64_t begin_ns = th_clock_now_ns();
  cr_assert_eq(way->next(jobs[JOBS - 1], &event, 30 * TH_NS_PER_MS), TH_ERR_TIMEOUT);
  cr_assert_geq(th_clock_now_ns() - begin_ns, 30 * TH_NS_PER_MS);
  th_health health;
  cr_assert_eq(way->health(session, &health), TH_OK);
  cr_assert_eq(health.jobs_running, JOBS - 1);
  cr_assert_eq(health.jobs_queued, 1);
  for (int i = 0; i < JOBS; i++) way->job_close(jobs[i]);
  way->close(session);
}

/* As a caller's event loop does: arm, poll, take all there is. */
static th_event poll_and_take(th_way_session *session, th_way_job *job, struct story *story) {
  th_event event = {0};
  while (!event_is_last(&event)) {
    if (way->arm(session) == TH_OK) {
      struct pollfd poll_fd = {.fd = way->fd(session), .events = POLLIN};
      cr_assert_eq(poll(&poll_fd, 1, (int)(EVENT_TIMEOUT_NS / TH_NS_PER_MS)), 1, "no ring");
    }
    while (way->next(job, &event, 0) == TH_OK) {
      story_hear(story, &event);
      if (event_is_last(&event)) break;
    }
  }
  return event;
}

Test(local, rings_the_descriptor_whenever_there_are_news) {
  th_way_session *session = session_open();
  th_way_job *job = job_start(session, SHORT);
  cr_assert_eq(way->arm(session), TH_ERR_AGAIN, "its first events wait already");
  struct story story = {0};
  th_event last = poll_and_take(session, job, &story);
  cr_assert_eq(last.error, TH_OK);
  assert_story_is_whole(&story);
  cr_assert_eq(way->arm(session), TH_OK, "a finished job has no news");
  struct pollfd poll_fd = {.fd = way->fd(session), .events = POLLIN};
  cr_assert_eq(poll(&poll_fd, 1, 0), 0);
  way->job_close(job);
  way->close(session);
}

Test(local, lets_a_loop_sleep_though_nobody_reads_a_job) {
  th_way_session *session = session_open();
  th_way_job *unread = job_start(session, SHORT), *job = job_start(session, SHORT);
  (void)events_until(job, TH_PHASE_DONE);
  th_progress progress = {0};
  while (progress.phase != TH_PHASE_DONE) cr_assert_eq(way->progress(unread, &progress), TH_OK);
  /* Of each change once; the last may be on its way still. */
  int told = 0;
  while (way->arm(session) == TH_ERR_AGAIN) cr_assert_leq(++told, 3);
  cr_assert_geq(told, 1);
  cr_assert_eq(event_take(unread).kind, TH_EVENT_PHASE);
  way->job_close(unread);
  way->job_close(job);
  way->close(session);
}

Test(local, cancel_ends_a_job_with_its_own_error) {
  th_way_session *session = session_open();
  th_way_job *job = job_start(session, ENDLESS);
  events_until(job, TH_PHASE_TRAINING);
  cr_assert_eq(way->cancel(session, way->number(job)), TH_OK);
  th_event event = events_until(job, TH_PHASE_CANCELED);
  cr_assert_eq(event.error, TH_ERR_CANCELED);
  th_result result;
  cr_assert_eq(way->result(job, &result), TH_ERR_CANCELED);
  cr_assert_eq(strncmp(way->error_text(), "job 1 was canceled at epoch ", 28), 0);
  cr_assert_eq(way->cancel(session, way->number(job)), TH_OK);
  way->job_close(job);
  way->close(session);
}

Test(local, a_failure_carries_its_reason) {
  th_way_session *session = session_open();
  th_way_job *job = job_start(session, "{\"learning_rate\": 1e30, \"optimizer\": \"sgd\"}");
  th_event event = events_until(job, TH_PHASE_FAILED);
  cr_assert_eq(event.error, TH_ERR_DIVERGED);
  th_result result;
  cr_assert_eq(way->result(job, &result), TH_ERR_DIVERGED);
  cr_assert_not_null(strstr(way->error_text(), "epoch"));
  way->job_close(job);
  way->close(session);
}

static size_t jobs_count(th_way_session *session) {
  th_job_info *jobs;
  size_t count;
  cr_assert_eq(way->jobs(session, &jobs, &count), TH_OK);
  for (size_t i = 1; i < count; i++)
    cr_assert_gt(jobs[i].progress.job, jobs[i - 1].progress.job, "not by number");
  free(jobs);
  return count;
}

Test(local, forgets_a_job_and_its_result) {
  th_way_session *session = session_open();
  th_way_job *done = job_start(session, SHORT);
  th_way_job *running = job_start(session, ENDLESS);
  (void)story_follow(done);
  cr_assert_eq(jobs_count(session), 2);
  cr_assert_eq(way->forget(done), TH_OK);
  cr_assert_eq(way->forget(done), TH_ERR_NOT_FOUND);
  th_result result;
  cr_assert_eq(way->result(done, &result), TH_ERR_NOT_FOUND);
  cr_assert_eq(jobs_count(session), 1);
  /* One that is not over is canceled first. */
  cr_assert_eq(way->forget(running), TH_OK);
  events_until(running, TH_PHASE_CANCELED);
  cr_assert_eq(jobs_count(session), 0);
  th_way_job *job;
  cr_assert_eq(way->attach(session, way->number(running), &job), TH_ERR_NOT_FOUND);
  way->job_close(done);
  way->job_close(running);
  way->close(session);
}

Test(local, a_job_forgotten_while_it_runs_goes_when_it_is_over) {
  th_way_session *session = session_open();
  th_way_job *job = job_start(session, ENDLESS);
  events_until(job, TH_PHASE_TRAINING);
  cr_assert_eq(way->forget(job), TH_OK);
  way->job_close(job);
  way->close(session);
}

Test(local, a_refused_job_leaves_nothing_behind) {
  th_way_session *session = session_open();
  const float features[4] = {0};
  const int32_t labels[2] = {0, 1};
  const th_job_request good = {
      .kind = TH_JOB_TRAIN, .rows = 2, .width = 2, .features = features, .labels = labels};
  th_job_request requests[] = {good, good, good, good, good, good};
  const th_error errors[] = {TH_ERR_DATA, TH_ERR_DATA,  TH_ERR_DATA,
                             TH_ERR_DATA, TH_ERR_USAGE, TH_ERR_USAGE};
  requests[0].features = NULL;
  requests[1].labels = NULL;
  requests[2].rows = 0;
  requests[3].rows = UINT64_MAX;
  requests[4].spec = "{\"epochs\": -1}";
  requests[5].kind = (th_job_kind)77;
  for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
    th_way_job *job;
    th_error error = way->start(session, &requests[i], 0, &job);
    cr_assert_eq(error, errors[i], "request %zu: %s", i, way->error_text());
    cr_assert_neq(way->error_text()[0], '\0');
  }
  cr_assert_eq(jobs_count(session), 0);
  th_statistics statistics;
  way->statistics(session, &statistics);
  cr_assert_eq(statistics.bytes_sent, 0);
  way->close(session);
}

Test(local, close_ends_what_runs_and_leaves_nothing) {
  way->close(session_open());
  int threads = entries_count("/proc/self/task"), fds = entries_count("/proc/self/fd");
  th_way_session *session = session_open();
  for (int i = 0; i < 6; i++) way->job_close(job_start(session, ENDLESS));
  way->close(session);
  cr_assert_eq(entries_count("/proc/self/task"), threads);
  cr_assert_eq(entries_count("/proc/self/fd"), fds);
  way->close(NULL);
}

/* Threads must not assert: they count what the job's own thread of the test then judges. */
static void *follow_main(void *argument) {
  th_way_job *job = argument;
  uintptr_t epochs = 0;
  th_event event = {0};
  while (way->next(job, &event, EVENT_TIMEOUT_NS) == TH_OK)
    if (event.kind == TH_EVENT_EPOCH) epochs++;
  return (void *)epochs;
}

Test(local, several_threads_follow_a_job_each) {
  enum { JOBS = 6 };
  th_way_session *session = session_open();
  th_way_job *jobs[JOBS];
  pthread_t threads[JOBS];
  for (int i = 0; i < JOBS; i++) jobs[i] = job_start(session, SHORT);
  for (int i = 0; i < JOBS; i++)
    cr_assert_eq(pthread_create(&threads[i], NULL, follow_main, jobs[i]), 0);
  for (int i = 0; i < JOBS; i++) {
    void *epochs;
    pthread_join(threads[i], &epochs);
    cr_assert_eq((uintptr_t)epochs, EPOCHS);
    way->job_close(jobs[i]);
  }
  way->close(session);
}

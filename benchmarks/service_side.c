#include "benchmarks/service_side.h"

#include <stdlib.h>

#include "base/clock.h"
#include "benchmarks/daemon.h"
#include "benchmarks/data.h"
#include "benchmarks/pair.h"
#include "benchmarks/peers/http_trainer.h"
#include "benchmarks/stop.h"

enum { ROWS = 20000, WIDTH = 50, CLASSES = 3, LOOK_NS = 1000000 };

/* Of tens of thousands of steps, each of some microseconds. */
static const char spec[] =
    "{\"hidden\": [64, 32], \"dropout\": 0.2, \"batch_size\": 32, \"epochs\": 40, "
    "\"weight_decay\": 0.0001, \"seed\": 1}";

typedef struct service {
  th_bench_data data;
  th_bench_daemon daemon; /* of the product */
  th_manager *manager; /* of local mode, with an adapter */
  th_adapter *adapter; /* whichever it is */
  th_http_trainer trainer; /* of HTTP */
} service;

static service *service_create(void) {
  service *s = calloc(1, sizeof *s);
  if (s == NULL) th_stop("service");
  s->data = th_bench_data_create(ROWS, WIDTH, CLASSES);
  th_watchdog_feed();
  return s;
}

static void service_destroy(service *s) {
  th_bench_data_destroy(&s->data);
  free(s);
}

static double us_since(int64_t start_ns) {
  return (double)(th_clock_now_ns() - start_ns) / 1e3;
}

/* ---- by the public calls ---- */

static void *product_open(const th_bench_options *options, const void *argument) {
  (void)options;
  service *s = service_create();
  if (*(const int *)argument == TH_MODE_HOST) {
    th_bench_daemon_start(&s->daemon);
    s->adapter = s->daemon.adapter;
    return s;
  }
  th_stop_unless_ok(th_manager_create(TH_MODE_LOCAL, NULL, &s->manager));
  th_stop_unless_ok(th_adapter_open(s->manager, NULL, &s->adapter));
  return s;
}

static void product_close(void *side) {
  service *s = side;
  if (s->manager == NULL) {
    th_bench_daemon_stop(&s->daemon);
  } else {
    th_adapter_close(s->adapter);
    th_manager_close(s->manager);
  }
  service_destroy(s);
}

static th_job *job_start(const service *s) {
  th_job *job;
  const th_job_request request = {.kind = TH_JOB_TRAIN,
                                  .spec = spec,
                                  .rows = ROWS,
                                  .width = WIDTH,
                                  .features = s->data.features,
                                  .labels = s->data.labels};
  th_watchdog_feed();
  th_stop_unless_ok(th_job_start(s->adapter, &request, &job));
  return job;
}

static void job_end(th_job *job) {
  th_stop_unless_ok(th_job_forget(job));
  th_job_close(job);
}

static void model_take(th_job *job) {
  th_result result;
  th_stop_unless_ok(th_job_result(job, &result));
  th_result_fini(&result);
}

/* What a program does that shows each step. */
static bool step_count(void *user, th_job *job, const th_event *event) {
  (void)job;
  *(uint64_t *)user += event->kind == TH_EVENT_STEP;
  return true;
}

/* Of what follows a phase the first is a step, or an epoch that was one step. */
static bool is_phase(void *user, th_job *job, const th_event *event) {
  (void)user, (void)job;
  return event->kind == TH_EVENT_PHASE;
}

static void first_step_measure(void *side, uint32_t count, int64_t rest_ns, th_samples *found) {
  const service *s = side;
  for (uint32_t i = 0; i < count; i++) {
    th_rest(rest_ns);
    int64_t start_ns = th_clock_now_ns();
    th_job *job = job_start(s);
    if (th_job_follow(job, is_phase, NULL) != TH_ERR_AGAIN) th_stop("the first step");
    th_samples_add(found, us_since(start_ns));
    job_end(job);
  }
}

static void training_measure(void *side, uint32_t count, int64_t rest_ns, th_samples *found) {
  const service *s = side;
  for (uint32_t i = 0; i < count; i++) {
    uint64_t steps = 0;
    th_rest(rest_ns);
    int64_t start_ns = th_clock_now_ns();
    th_job *job = job_start(s);
    th_stop_unless_ok(th_job_follow(job, step_count, &steps));
    model_take(job);
    th_samples_add(found, us_since(start_ns));
    job_end(job);
  }
}

static void unwatched_measure(void *side, uint32_t count, int64_t rest_ns, th_samples *found) {
  const service *s = side;
  for (uint32_t i = 0; i < count; i++) {
    th_progress progress = {0};
    th_rest(rest_ns);
    int64_t start_ns = th_clock_now_ns();
    th_job *job = job_start(s);
    while (progress.phase < TH_PHASE_DONE) {
      th_rest(LOOK_NS);
      th_error error = th_job_progress(job, &progress);
      if (error != TH_ERR_AGAIN) th_stop_unless_ok(error);
    }
    model_take(job);
    th_samples_add(found, us_since(start_ns));
    job_end(job);
  }
}

const th_side_kind th_side_first_step = {product_open, first_step_measure, product_close};
const th_side_kind th_side_training = {product_open, training_measure, product_close};
const th_side_kind th_side_unwatched = {product_open, unwatched_measure, product_close};

/* ---- behind HTTP ---- */

static void *http_open(const th_bench_options *options, const void *argument) {
  (void)options, (void)argument;
  service *s = service_create();
  th_http_trainer_start(&s->trainer, &s->data, spec);
  return s;
}

static void http_close(void *side) {
  service *s = side;
  th_http_trainer_stop(&s->trainer);
  service_destroy(s);
}

static void first_step_http_measure(void *side, uint32_t count, int64_t rest_ns,
                                    th_samples *found) {
  service *s = side;
  for (uint32_t i = 0; i < count; i++) {
    bool is_done;
    th_watchdog_feed();
    th_rest(rest_ns);
    int64_t start_ns = th_clock_now_ns();
    th_http_trainer_post(&s->trainer, &s->data);
    while (!th_http_trainer_ask(&s->trainer, &is_done)) continue;
    th_samples_add(found, us_since(start_ns));
    th_http_trainer_end(&s->trainer);
  }
}

static void training_http_measure(void *side, uint32_t count, int64_t rest_ns, th_samples *found) {
  service *s = side;
  for (uint32_t i = 0; i < count; i++) {
    bool is_done = false;
    th_watchdog_feed();
    th_rest(rest_ns);
    int64_t start_ns = th_clock_now_ns();
    th_http_trainer_post(&s->trainer, &s->data);
    while (!is_done) (void)th_http_trainer_ask(&s->trainer, &is_done);
    th_http_trainer_end(&s->trainer);
    th_samples_add(found, us_since(start_ns));
  }
}

const th_side_kind th_side_first_step_http = {http_open, first_step_http_measure, http_close};
const th_side_kind th_side_training_http = {http_open, training_http_measure, http_close};

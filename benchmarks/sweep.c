/**
 * Many trainings on one data set: side by side, sharing it, beside the same ones one after another,
 * and two beside one alone. In turns in one run, in this process.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "benchmarks/options.h"
#include "benchmarks/report.h"
#include "shim/trainhost.h"

enum { RUNS_DEFAULT = 15, ROWS = 20000, WIDTH = 50, CLASSES = 3, JOBS_MAX = 8 };

#define SPEC                                                                                       \
  "{\"hidden\": [64, 32], \"dropout\": 0.2, \"batch_size\": 32, \"epochs\": 5, \"weight_decay\": " \
  "0.0001, \"seed\": %d}"

static float features[ROWS * WIDTH];
static int32_t labels[ROWS];

static void check(th_error error) {
  if (error == TH_OK) return;
  fprintf(stderr, "%s\n", th_error_text());
  exit(EXIT_FAILURE);
}

/* Points in as many clouds as there are classes, from a linear congruential generator (Knuth, TAOCP
 * 2, 3.3.4). */
static void data_draw(void) {
  uint32_t state = 1;
  for (int row = 0; row < ROWS; row++) {
    labels[row] = row % CLASSES;
    for (int column = 0; column < WIDTH; column++) {
      state = state * 1664525U + 1013904223U;
      float noise = (float)(state >> 8) / 8388608.0F - 1;
      features[row * WIDTH + column] = noise + (column % CLASSES == labels[row]);
    }
  }
}

/* The first sends the data, and the others share them. */
static th_job *job_start(th_adapter *adapter, int seed, const th_job *data_of) {
  char spec[256];
  th_job *job;
  snprintf(spec, sizeof spec, SPEC, seed);
  th_job_request request = {.kind = TH_JOB_TRAIN, .spec = spec, .data_of = data_of};
  if (data_of == NULL) {
    request.rows = ROWS;
    request.width = WIDTH;
    request.features = features;
    request.labels = labels;
  }
  check(th_job_start(adapter, &request, &job));
  return job;
}

static void job_end(th_job *job) {
  check(th_job_follow(job, NULL, NULL));
  check(th_job_forget(job));
  th_job_close(job);
}

/* In milliseconds, as all times here. */
static double time_together(th_adapter *adapter, int count) {
  th_job *jobs[JOBS_MAX];
  int64_t start_ns = th_clock_now_ns();
  for (int i = 0; i < count; i++) jobs[i] = job_start(adapter, i, i == 0 ? NULL : jobs[0]);
  for (int i = 0; i < count; i++) job_end(jobs[i]);
  return (double)(th_clock_now_ns() - start_ns) / TH_NS_PER_MS;
}

static double time_in_turn(th_adapter *adapter, int count) {
  int64_t start_ns = th_clock_now_ns();
  for (int i = 0; i < count; i++) job_end(job_start(adapter, i, NULL));
  return (double)(th_clock_now_ns() - start_ns) / TH_NS_PER_MS;
}

static int measure(th_adapter *adapter, const th_bench_options *options) {
  th_samples one = th_samples_create(options->runs), two = th_samples_create(options->runs);
  th_samples all = th_samples_create(options->runs), turns = th_samples_create(options->runs);
  (void)time_together(adapter, 2);
  for (uint32_t i = 0; i < options->runs; i++) {
    th_samples_add(&one, time_in_turn(adapter, 1));
    th_samples_add(&two, time_together(adapter, 2));
    th_samples_add(&all, time_together(adapter, JOBS_MAX));
    th_samples_add(&turns, time_in_turn(adapter, JOBS_MAX));
  }
  const th_report_row rows[] = {
      th_report_compare("sweep-2/one", "ms", TH_REPORT_TIMES, &two, &one),
      th_report_compare("sweep-8/in-turn", "ms", TH_REPORT_TIMES, &all, &turns)};
  th_samples_fini(&one);
  th_samples_fini(&two);
  th_samples_fini(&all);
  th_samples_fini(&turns);
  return th_report_finish(rows, 2, options->json);
}

int main(int argc, char **argv) {
  static const th_bench bench = {
      .doc = "Measure trainings side by side beside the same ones one after another.",
      .runs = RUNS_DEFAULT};
  th_bench_options options = th_bench_options_read(&bench, argc, argv);
  th_manager *manager;
  th_adapter *adapter;
  check(th_manager_create(TH_MODE_LOCAL, NULL, &manager));
  check(th_adapter_open(manager, NULL, &adapter));
  th_report_warn_of_load();
  data_draw();
  int status = measure(adapter, &options);
  th_adapter_close(adapter);
  th_manager_close(manager);
  return status;
}

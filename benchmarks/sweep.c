/**
 * Many trainings on one data set: side by side, sharing it, beside the same ones one after another,
 * and two beside one alone. In turns in one run, in this process.
 */
#include <stdio.h>
#include <stdlib.h>

#include "benchmarks/jobs.h"
#include "benchmarks/options.h"
#include "benchmarks/report.h"

enum {
  RUNS_DEFAULT = 15,
  ROWS = 20000,
  WIDTH = 50,
  CLASSES = 3,
  THREADS = 2,
  JOBS = TH_BENCH_JOBS_MAX
};

/* Some tenths of a second each: long beside what sending and preparing take. */
#define SPEC(seed)                                                                \
  "{\"hidden\": [64, 32], \"dropout\": 0.2, \"batch_size\": 32, \"epochs\": 40, " \
  "\"weight_decay\": 0.0001, \"seed\": " #seed "}"

static const char *const specs[JOBS] = {SPEC(0), SPEC(1), SPEC(2), SPEC(3),
                                        SPEC(4), SPEC(5), SPEC(6), SPEC(7)};

static double run_in_turn(const th_bench_jobs *jobs, const th_bench_data *data) {
  double seconds = 0;
  for (int i = 0; i < JOBS; i++) seconds += th_bench_jobs_run(jobs, data, &specs[i], 1);
  return seconds;
}

static int measure(const th_bench_jobs *jobs, const th_bench_data *data,
                   const th_bench_options *options) {
  th_samples one = th_samples_create(options->runs), two = th_samples_create(options->runs);
  th_samples all = th_samples_create(options->runs), turns = th_samples_create(options->runs);
  (void)th_bench_jobs_run(jobs, data, specs, 2);
  for (uint32_t i = 0; i < options->runs; i++) {
    th_samples_add(&one, th_bench_jobs_run(jobs, data, specs, 1));
    th_samples_add(&two, th_bench_jobs_run(jobs, data, specs, 2));
    th_samples_add(&all, th_bench_jobs_run(jobs, data, specs, JOBS));
    th_samples_add(&turns, run_in_turn(jobs, data));
  }
  const th_report_row rows[] = {
      th_report_compare("sweep-2/one", "s", TH_REPORT_TIMES, &two, &one),
      th_report_compare("sweep-8/in-turn", "s", TH_REPORT_TIMES, &all, &turns)};
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
  th_report_warn_of_load();
  th_bench_jobs jobs = th_bench_jobs_open(THREADS);
  th_bench_data data = th_bench_data_create(ROWS, WIDTH, CLASSES);
  int status = measure(&jobs, &data, &options);
  th_bench_data_destroy(&data);
  th_bench_jobs_close(&jobs);
  return status;
}

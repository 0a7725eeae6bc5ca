/**
 * Many trainings on one data set: side by side, sharing it, beside the same ones one after another,
 * and two beside one alone. In turns in one run, in this process.
 */
#include <argp.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "benchmarks/report.h"
#include "shim/trainhost.h"

enum { RUNS_DEFAULT = 15, RUNS_MAX = 1000, ROWS = 20000, WIDTH = 50, CLASSES = 3, JOBS_MAX = 8 };

#define SPEC                                                                                       \
  "{\"hidden\": [64, 32], \"dropout\": 0.2, \"batch_size\": 32, \"epochs\": 5, \"weight_decay\": " \
  "0.0001, \"seed\": %d}"

typedef struct options {
  uint32_t runs;
  const char *json;
} options;

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

static int64_t time_together(th_adapter *adapter, int count) {
  th_job *jobs[JOBS_MAX];
  int64_t start_ns = th_clock_now_ns();
  for (int i = 0; i < count; i++) jobs[i] = job_start(adapter, i, i == 0 ? NULL : jobs[0]);
  for (int i = 0; i < count; i++) job_end(jobs[i]);
  return th_clock_now_ns() - start_ns;
}

static int64_t time_in_turn(th_adapter *adapter, int count) {
  int64_t start_ns = th_clock_now_ns();
  for (int i = 0; i < count; i++) job_end(job_start(adapter, i, NULL));
  return th_clock_now_ns() - start_ns;
}

static th_report_row row_of(const char *name, th_samples *product, th_samples *peer) {
  th_samples_sort(product);
  th_samples_sort(peer);
  double p50 = (double)th_samples_quantile(product, 0.5) / 1e6;
  return (th_report_row){.name = name,
                         .unit = "ms",
                         .product = p50,
                         .peer = (double)th_samples_quantile(peer, 0.5) / 1e6,
                         .p50 = p50,
                         .p99 = (double)th_samples_quantile(product, 0.99) / 1e6,
                         .runs = product->count};
}

static int measure(th_adapter *adapter, const options *chosen) {
  th_samples one = th_samples_create(chosen->runs), two = th_samples_create(chosen->runs);
  th_samples all = th_samples_create(chosen->runs), turns = th_samples_create(chosen->runs);
  (void)time_together(adapter, 2);
  for (uint32_t i = 0; i < chosen->runs; i++) {
    th_samples_add(&one, time_in_turn(adapter, 1));
    th_samples_add(&two, time_together(adapter, 2));
    th_samples_add(&all, time_together(adapter, JOBS_MAX));
    th_samples_add(&turns, time_in_turn(adapter, JOBS_MAX));
  }
  const th_report_row report[] = {row_of("sweep-2/one", &two, &one),
                                  row_of("sweep-8/in-turn", &all, &turns)};
  th_report_print(report, 2);
  th_samples_fini(&one);
  th_samples_fini(&two);
  th_samples_fini(&all);
  th_samples_fini(&turns);
  return chosen->json == NULL ? 0 : th_report_write(chosen->json, report, 2);
}

static error_t option_take(int key, char *text, struct argp_state *state) {
  options *chosen = state->input;
  switch (key) {
    case 'n':
      chosen->runs = (uint32_t)strtoul(text, NULL, 10);
      if (chosen->runs == 0 || chosen->runs > RUNS_MAX)
        argp_error(state, "--runs %s: not a count from 1 to %d", text, RUNS_MAX);
      return 0;
    case 'j':
      chosen->json = text;
      return 0;
    default:
      return ARGP_ERR_UNKNOWN;
  }
}

int main(int argc, char **argv) {
  static const struct argp_option rows[] = {
      {"runs", 'n', "N", 0, "Let the ways take N turns (default 15)", 0},
      {"json", 'j', "FILE", 0, "Write the rows to FILE as JSON", 0},
      {0}};
  static const struct argp parser = {
      .options = rows,
      .parser = option_take,
      .doc = "Measure trainings side by side beside the same ones one after another."};
  options chosen = {.runs = RUNS_DEFAULT};
  argp_parse(&parser, argc, argv, 0, NULL, &chosen);
  th_manager *manager;
  th_adapter *adapter;
  check(th_manager_create(TH_MODE_LOCAL, NULL, &manager));
  check(th_adapter_open(manager, NULL, &adapter));
  data_draw();
  int failed = measure(adapter, &chosen);
  th_adapter_close(adapter);
  th_manager_close(manager);
  return failed != 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

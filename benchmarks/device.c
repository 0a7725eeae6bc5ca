/**
 * Training on a GPU beside training on this machine's processor, in turns in one run: one job, and
 * as many small ones at once as there are multiprocessors.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "benchmarks/data.h"
#include "benchmarks/options.h"
#include "benchmarks/report.h"
#include "kernels/backend.h"
#include "kernels/cuda/runtime.h"

enum { RUNS_DEFAULT = 5, ROWS = 20000, WIDTH = 50, CLASSES = 3, JOBS_MAX = 256 };

/* EX_UNAVAILABLE of sysexits.h: there is no GPU to measure. */
enum { EXIT_NO_DEVICE = 69 };

#define SMALL "{\"hidden\": [64, 32], \"dropout\": 0.2, \"epochs\": 4, \"batch_size\": "
#define WIDE "{\"hidden\": [1024, 1024, 1024], \"epochs\": 1, \"batch_size\": "

static const struct {
  const char *name;
  const char *spec;
} cases[] = {
    {"small-b32-cuda/cpu", SMALL "32}"},
    {"small-b256-cuda/cpu", SMALL "256}"},
    {"small-b4096-cuda/cpu", SMALL "4096}"},
    {"wide1024-b256-cuda/cpu", WIDE "256}"},
};

enum { CASES = sizeof cases / sizeof *cases };

static void check(th_error error) {
  if (error == TH_OK) return;
  fprintf(stderr, "%s\n", th_error_text());
  exit(EXIT_FAILURE);
}

/* One training, from made trainer to its end. */
typedef struct job {
  const th_device *device;
  const th_data *data;
  const char *spec;
  uint32_t threads;
  double samples;
} job;

static void *job_run(void *argument) {
  job *j = argument;
  th_spec spec;
  th_trainer *trainer;
  th_team *team;
  check(th_spec_parse(j->spec, strlen(j->spec), &spec));
  check(th_trainer_create(&spec, j->data, j->device, NULL, NULL, &trainer));
  check(th_team_create(j->threads, &team));
  check(th_trainer_advance(trainer, team, INT64_MAX));
  th_team_destroy(team);
  th_trainer_destroy(trainer);
  j->samples = (double)spec.epochs * (double)j->data->rows;
  return NULL;
}

/* Samples a second of so many equal jobs at once, each driven by a thread. */
static double jobs_rate(const job *like, uint32_t count) {
  static job jobs[JOBS_MAX];
  static pthread_t threads[JOBS_MAX];
  int64_t start_ns = th_clock_now_ns();
  for (uint32_t i = 0; i < count; i++) {
    jobs[i] = *like;
    if (pthread_create(&threads[i], NULL, job_run, &jobs[i]) != 0) {
      fprintf(stderr, "no thread for job %u\n", i);
      exit(EXIT_FAILURE);
    }
  }
  double samples = 0;
  for (uint32_t i = 0; i < count; i++) {
    pthread_join(threads[i], NULL);
    samples += jobs[i].samples;
  }
  return samples * TH_NS_PER_S / (double)(th_clock_now_ns() - start_ns);
}

static th_report_row compare(const char *name, const job *product, uint32_t products,
                             const job *peer, uint32_t runs) {
  th_samples ours = th_samples_create(runs), theirs = th_samples_create(runs);
  (void)jobs_rate(product, products);
  (void)jobs_rate(peer, 1);
  for (uint32_t i = 0; i < runs; i++) {
    th_samples_add(&ours, jobs_rate(product, products));
    th_samples_add(&theirs, jobs_rate(peer, 1));
  }
  th_report_row row = th_report_compare(name, "samples/s", TH_REPORT_RATES, &ours, &theirs);
  th_samples_fini(&ours);
  th_samples_fini(&theirs);
  return row;
}

static int measure(const th_device *cuda, const th_device *cpu, const th_data *data,
                   const th_bench_options *options) {
  th_report_row rows[CASES + 1];
  th_cuda_facts facts = {0};
  uint32_t count = 0;
  for (size_t c = 0; c < CASES; c++) {
    if (!th_bench_wants(options, cases[c].name)) continue;
    job product = {.device = cuda, .data = data, .spec = cases[c].spec, .threads = 1};
    job peer = product;
    peer.device = cpu;
    peer.threads = cpu->threads;
    rows[count++] = compare(cases[c].name, &product, 1, &peer, options->runs);
  }
  (void)cuda->cuda->describe(cuda->index, &facts);
  uint32_t jobs = facts.multiprocessors < JOBS_MAX ? facts.multiprocessors : JOBS_MAX;
  job one = {.device = cuda, .data = data, .spec = cases[0].spec, .threads = 1};
  if (th_bench_wants(options, "sweep-cuda/one"))
    rows[count++] = compare("sweep-cuda/one", &one, jobs, &one, options->runs);
  return th_report_finish(rows, count, options->json);
}

int main(int argc, char **argv) {
  static const th_bench bench = {
      .doc =
          "Measure training on a GPU beside training on the processor. Its own exit status is "
          "69 where there is no GPU.",
      .runs = RUNS_DEFAULT,
      .has_cases = true};
  th_bench_options options = th_bench_options_read(&bench, argc, argv);
  th_device cuda, cpu;
  if (th_device_open("cuda", &cuda) != TH_OK) {
    fprintf(stderr, "SKIPPED: %s\n", th_error_text());
    return EXIT_NO_DEVICE;
  }
  check(th_device_open("cpu", &cpu));
  printf("%s\n%s\n", cuda.name, cpu.name);
  th_bench_data made = th_bench_data_create(ROWS, WIDTH, CLASSES);
  th_data data = {.features = made.features, .labels = made.labels, .rows = ROWS, .width = WIDTH};
  int status = measure(&cuda, &cpu, &data, &options);
  th_bench_data_destroy(&made);
  return status;
}

/**
 * Training speed: the product's trainer beside PyTorch (training_peer.py), which take turns in one
 * run, on the same net, data, batch and number of threads; and beside the machine's own matrix
 * product.
 *
 * A run of the product is a training of some epochs in this process, without the first one; or many
 * trainings at once, with all that belongs to them. A run of the peer is one epoch, by its own
 * clock. What is compared is the median of each.
 */
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "benchmarks/cases.h"
#include "benchmarks/jobs.h"
#include "benchmarks/peer.h"
#include "kernels/model.h"
#include "kernels/trainer.h"

enum { RUNS_DEFAULT = 15, EPOCHS_MAX = 64, SGEMM_SIZE = 2048 };

/* A comparison. The peer is told its name and decides on the way it is written. */
typedef struct training_case {
  const char *name;
  uint32_t rows, width, classes;
  const char *hidden;
  const char *dropout;
  const char *clip_norm; /* 0: no clipping */
  uint32_t batch_size;
  uint32_t threads;
  uint32_t epochs; /* of the product in one run, so many that it takes about as long as the peer */
  bool against_sgemm; /* too */
  uint32_t jobs; /* 0: the trainer alone; else as many at once by the public calls, one a seed */
} training_case;

static const training_case cases[] = {
    {"ktrdr-b32-1t", 20000, 50, 3, "64,32", "0.2", "0", 32, 1, 20, false, 0},
    {"ktrdr-b256-1t", 20000, 50, 3, "64,32", "0.2", "0", 256, 1, 20, false, 0},
    {"ktrdr-b256-2t", 20000, 50, 3, "64,32", "0.2", "0", 256, 2, 20, false, 0},
    {"ktrdr-loop-b32-1t", 20000, 50, 3, "64,32", "0.2", "1", 32, 1, 20, false, 0},
    {"sweep-8-2t", 20000, 50, 3, "64,32", "0.2", "0", 32, 2, 20, false, 8},
    {"fashion-b128-2t", 60000, 784, 10, "256,128,100", "0", "0", 128, 2, 1, false, 0},
    {"wide1024-b256-2t", 5120, 1024, 10, "1024,1024,1024,1024", "0", "0", 256, 2, 1, true, 0},
};
enum { CASES = sizeof cases / sizeof *cases };

enum { PRODUCT, TORCH, SGEMM, SIDES };

static void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, th_error_text());
  exit(EXIT_FAILURE);
}

static th_spec case_spec(const training_case *c) {
  char batch_size[16];
  char epochs[16];
  th_spec spec;
  th_spec_init(&spec);
  snprintf(batch_size, sizeof batch_size, "%u", c->batch_size);
  snprintf(epochs, sizeof epochs, "%u", c->epochs + 1);
  const char *const fields[][2] = {
      {"hidden", c->hidden},      {"dropout", c->dropout},   {"batch_size", batch_size},
      {"epochs", epochs},         {"optimizer", "adam"},     {"learning_rate", "0.001"},
      {"weight_decay", "0.0001"}, {"validation_split", "0"}, {"clip_norm", c->clip_norm}};
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
    if (th_spec_set(&spec, fields[i][0], fields[i][1]) != TH_OK) fail(c->name);
  return spec;
}

/* As the daemon's: it takes what it is told, and does no more. */
static void observer(void *user, const th_progress *progress) {
  *(th_progress *)user = *progress;
}

static void trainer_run(const training_case *c, const th_bench_data *shared,
                        const th_device *device, th_team *team, th_samples *found) {
  const th_data data = {.features = shared->features,
                        .labels = shared->labels,
                        .rows = shared->rows,
                        .width = shared->width};
  th_spec spec = case_spec(c);
  th_progress progress;
  th_trainer *trainer;
  if (th_trainer_create(&spec, &data, device, observer, &progress, &trainer) != TH_OK ||
      th_trainer_advance(trainer, team, INT64_MAX) != TH_OK)
    fail(c->name);
  const th_history *history = th_trainer_history(trainer);
  for (uint32_t e = 1; e < history->count; e++)
    th_samples_add(found, c->rows / history->epochs[e].seconds);
  th_trainer_destroy(trainer);
}

/* With all that belongs to them: sending, preparing, the models. */
static void jobs_run(const training_case *c, const th_bench_data *data, const th_bench_jobs *jobs,
                     th_samples *found) {
  th_buffer texts[TH_BENCH_JOBS_MAX] = {0};
  const char *specs[TH_BENCH_JOBS_MAX];
  th_spec spec = case_spec(c);
  for (uint32_t i = 0; i < c->jobs; i++) {
    spec.seed = i;
    if (th_spec_format(&spec, &texts[i]) != TH_OK) fail(c->name);
    specs[i] = texts[i].data;
  }
  double samples = (double)c->jobs * spec.epochs * c->rows;
  th_samples_add(found, samples / th_bench_jobs_run(jobs, data, specs, c->jobs));
  for (uint32_t i = 0; i < c->jobs; i++) th_buffer_fini(&texts[i]);
}

/* What the machine's best matrix product reaches with as many threads, in GFLOP/s. */
static double sgemm_run(uint32_t threads) {
  static float left[SGEMM_SIZE * SGEMM_SIZE];
  static float right[SGEMM_SIZE * SGEMM_SIZE];
  static float result[SGEMM_SIZE * SGEMM_SIZE];
  openblas_set_num_threads((int)threads);
  int64_t start = th_clock_now_ns();
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, SGEMM_SIZE, SGEMM_SIZE, SGEMM_SIZE, 1,
              left, SGEMM_SIZE, right, SGEMM_SIZE, 0, result, SGEMM_SIZE);
  double seconds = (double)(th_clock_now_ns() - start) / TH_NS_PER_S;
  openblas_set_num_threads(1);
  return 2e-9 * SGEMM_SIZE * SGEMM_SIZE * SGEMM_SIZE / seconds;
}

/* Measure in turns with the peer, and with sgemm where that is asked for. */
static void turns_take(const training_case *c, const th_bench_data *data, uint32_t runs,
                       th_peer *peer, th_samples found[SIDES]) {
  th_device device;
  th_team *team;
  if (th_device_open("cpu", &device) != TH_OK || th_team_create(c->threads, &team) != TH_OK)
    fail(c->name);
  th_bench_jobs jobs = th_bench_jobs_open(c->threads);
  for (uint32_t i = 0; i < runs; i++) {
    if (c->jobs > 0)
      jobs_run(c, data, &jobs, &found[PRODUCT]);
    else
      trainer_run(c, data, &device, team, &found[PRODUCT]);
    th_samples_add(&found[TORCH], th_peer_run(peer));
    if (c->against_sgemm) th_samples_add(&found[SGEMM], sgemm_run(c->threads));
  }
  printf("%s: PyTorch %s; %s\n", c->name, peer->description, device.name);
  fflush(stdout);
  th_bench_jobs_close(&jobs);
  th_team_destroy(team);
}

/* Arithmetic that a sample needs: forward, gradient, and backward but for the first layer. */
static double sample_gflop(const training_case *c) {
  th_spec spec = case_spec(c);
  th_model model;
  if (th_model_init(&model, &spec, &(th_model_sizes){.width = c->width, .classes = c->classes}) !=
      TH_OK)
    fail(c->name);
  double weights = 0;
  for (uint32_t l = 0; l < model.layer_count; l++)
    weights += (double)model.layers[l].inputs * model.layers[l].outputs * (l == 0 ? 2 : 3);
  return 2e-9 * weights;
}

/* Names of rows live as long as the report: "ktrdr-b32-1t/torch". */
static const char *row_name(const training_case *c, const char *peer) {
  char *name = NULL;
  if (asprintf(&name, "%s/%s", c->name, peer) < 0) exit(EXIT_FAILURE);
  return name;
}

/* A th_bench_case. */
static uint32_t case_measure(uint32_t index, const th_bench_options *options, th_report_row *rows) {
  const training_case *c = &cases[index];
  if (!th_bench_wants(options, c->name)) return 0;
  th_samples found[SIDES];
  for (int side = 0; side < SIDES; side++)
    found[side] = th_samples_create(options->runs * EPOCHS_MAX);
  th_bench_data data = th_bench_data_create(c->rows, c->width, c->classes);
  th_peer peer;
  th_peer_start_on(&peer, options, c->name, c->threads, &data);
  turns_take(c, &data, options->runs, &peer, found);
  th_peer_stop(&peer);
  th_bench_data_destroy(&data);
  uint32_t count = 0;
  rows[count++] = th_report_compare(row_name(c, "torch"), "samples/s", TH_REPORT_RATES,
                                    &found[PRODUCT], &found[TORCH]);
  if (c->against_sgemm) {
    double gflop = sample_gflop(c);
    for (uint32_t i = 0; i < found[PRODUCT].count; i++) found[PRODUCT].values[i] *= gflop;
    rows[count++] = th_report_compare(row_name(c, "sgemm"), "GFLOP/s", TH_REPORT_RATES,
                                      &found[PRODUCT], &found[SGEMM]);
  }
  for (int side = 0; side < SIDES; side++) th_samples_fini(&found[side]);
  return count;
}

int main(int argc, char **argv) {
  static const th_bench bench = {
      .doc = "Measure training beside PyTorch: PYTHON, which has it, runs the script PEER.",
      .runs = RUNS_DEFAULT,
      .has_cases = true,
      .has_peer = true};
  th_bench_options options = th_bench_options_read(&bench, argc, argv);
  return th_bench_cases_run(&options, CASES, case_measure);
}

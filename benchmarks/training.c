/**
 * Training speed: the product's trainer beside PyTorch (training_peer.py), which take turns in one
 * run, on the same net, data, batch and number of threads; and beside the machine's own matrix
 * product.
 *
 * A run of the product is a training of some epochs in this process, without the first one. A run
 * of the peer is one epoch, by its own clock. What is compared is the median of each.
 */
#include <argp.h>
#include <cblas.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "benchmarks/report.h"
#include "benchmarks/training_peer.h"
#include "kernels/model.h"
#include "kernels/random.h"
#include "kernels/trainer.h"

enum { RUNS_DEFAULT = 15, RUNS_MAX = 1000, EPOCHS_MAX = 64, SGEMM_SIZE = 2048 };

/* Running processes on average: what a machine shows that does nothing but this. */
#define LOAD_QUIET 0.5

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
} training_case;

static const training_case cases[] = {
    {"ktrdr-b32-1t", 20000, 50, 3, "64,32", "0.2", "0", 32, 1, 20, false},
    {"ktrdr-b256-1t", 20000, 50, 3, "64,32", "0.2", "0", 256, 1, 20, false},
    {"ktrdr-b256-2t", 20000, 50, 3, "64,32", "0.2", "0", 256, 2, 20, false},
    {"ktrdr-loop-b32-1t", 20000, 50, 3, "64,32", "0.2", "1", 32, 1, 20, false},
    {"fashion-b128-2t", 60000, 784, 10, "256,128,100", "0", "0", 128, 2, 1, false},
    {"wide1024-b256-2t", 5120, 1024, 10, "1024,1024,1024,1024", "0", "0", 256, 2, 1, true},
};
enum { CASES = sizeof cases / sizeof *cases };

typedef struct options {
  const char *python, *peer, *json, *only;
  uint32_t runs;
} options;

/* Rates of one side, taken run by run. Quantiles need them sorted. */
typedef struct rates {
  double *values;
  uint32_t count;
} rates;

static void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, th_error_text());
  exit(EXIT_FAILURE);
}

static rates rates_create(uint32_t capacity) {
  rates made = {.values = calloc(capacity, sizeof *made.values)};
  if (made.values != NULL) return made;
  fprintf(stderr, "no memory for %u rates\n", capacity);
  exit(EXIT_FAILURE);
}

static int compare_rates(const void *left, const void *right) {
  double a = *(const double *)left;
  double b = *(const double *)right;
  return (a > b) - (a < b);
}

/* @param quantile  of the time taken: 0.99 is the rate that 99 of 100 reach. */
static double rates_quantile(rates *r, double quantile) {
  qsort(r->values, r->count, sizeof *r->values, compare_rates);
  return r->values[(uint32_t)((1 - quantile) * (r->count - 1) + 0.5)];
}

/* Points in as many clouds as there are classes. */
static void data_draw(const training_case *c, float *features, int32_t *labels) {
  for (uint32_t r = 0; r < c->rows; r++) {
    labels[r] = (int32_t)(th_philox_at(1, r, 0, 0, 0).word[0] % c->classes);
    for (uint32_t i = 0; i < c->width; i++) {
      float noise = 2 * th_random_unit(th_philox_at(2, r, i, 0, 0).word[0]) - 1;
      features[(size_t)r * c->width + i] = noise + (i % c->classes == (uint32_t)labels[r]);
    }
  }
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

static void product_run(const training_case *c, const th_data *data, const th_device *device,
                        th_team *team, rates *found) {
  th_spec spec = case_spec(c);
  th_progress progress;
  th_trainer *trainer;
  if (th_trainer_create(&spec, data, device, observer, &progress, &trainer) != TH_OK ||
      th_trainer_advance(trainer, team, INT64_MAX) != TH_OK)
    fail(c->name);
  const th_history *history = th_trainer_history(trainer);
  for (uint32_t e = 1; e < history->count; e++)
    found->values[found->count++] = c->rows / history->epochs[e].seconds;
  th_trainer_destroy(trainer);
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

/* Arithmetic that a sample needs: forward, gradient, and backward but for the first layer. */
static double sample_gflop(const training_case *c) {
  th_spec spec = case_spec(c);
  th_model model;
  if (th_model_init(&model, &spec, c->width, c->classes) != TH_OK) fail(c->name);
  double weights = 0;
  for (uint32_t l = 0; l < model.layer_count; l++)
    weights += (double)model.layers[l].inputs * model.layers[l].outputs * (l == 0 ? 2 : 3);
  return 2e-9 * weights;
}

static th_report_row row_of(const char *name, const char *unit, rates *product, rates *peer,
                            double factor, uint32_t runs) {
  double p50 = factor * rates_quantile(product, 0.5);
  return (th_report_row){.name = name,
                         .unit = unit,
                         .product = p50,
                         .peer = rates_quantile(peer, 0.5),
                         .p50 = p50,
                         .p99 = factor * rates_quantile(product, 0.99),
                         .runs = runs};
}

/* Names of rows live as long as the report: "ktrdr-b32-1t/torch". */
static const char *row_name(const training_case *c, const char *peer) {
  char *name = NULL;
  if (asprintf(&name, "%s/%s", c->name, peer) < 0) exit(EXIT_FAILURE);
  return name;
}

/* @return how many rows of the report were written. */
static uint32_t case_measure(const training_case *c, const options *chosen, th_report_row *report) {
  th_peer peer;
  th_peer_data shared = th_peer_data_create(c->rows, c->width);
  data_draw(c, shared.features, shared.labels);
  th_data data = {
      .features = shared.features, .labels = shared.labels, .rows = c->rows, .width = c->width};
  th_device device;
  th_team *team;
  if (th_device_open("cpu", &device) != TH_OK || th_team_create(c->threads, &team) != TH_OK)
    fail(c->name);
  th_peer_start(&peer, chosen->python, chosen->peer, c->name, c->threads, &shared);
  rates product = rates_create(chosen->runs * EPOCHS_MAX);
  rates torch = rates_create(chosen->runs);
  rates sgemm = rates_create(chosen->runs);
  for (uint32_t i = 0; i < chosen->runs; i++) {
    product_run(c, &data, &device, team, &product);
    torch.values[torch.count++] = th_peer_run(&peer);
    if (c->against_sgemm) sgemm.values[sgemm.count++] = sgemm_run(c->threads);
  }
  printf("%s: PyTorch %s; %s\n", c->name, peer.description, device.name);
  fflush(stdout);
  th_peer_stop(&peer);
  uint32_t rows = 0;
  report[rows++] = row_of(row_name(c, "torch"), "samples/s", &product, &torch, 1, chosen->runs);
  if (c->against_sgemm)
    report[rows++] =
        row_of(row_name(c, "sgemm"), "GFLOP/s", &product, &sgemm, sample_gflop(c), chosen->runs);
  free(sgemm.values);
  free(torch.values);
  free(product.values);
  th_team_destroy(team);
  th_peer_data_destroy(&shared);
  return rows;
}

static error_t option_take(int key, char *text, struct argp_state *state) {
  options *chosen = state->input;
  switch (key) {
    case 'n':
      chosen->runs = (uint32_t)strtoul(text, NULL, 10);
      if (chosen->runs == 0 || chosen->runs > RUNS_MAX)
        argp_error(state, "--runs %s: not a count from 1 to %d", text, RUNS_MAX);
      return 0;
    case 'c':
      chosen->only = text;
      return 0;
    case 'j':
      chosen->json = text;
      return 0;
    case ARGP_KEY_ARG:
      if (state->arg_num == 0) chosen->python = text;
      if (state->arg_num == 1) chosen->peer = text;
      return state->arg_num < 2 ? 0 : ARGP_ERR_UNKNOWN;
    case ARGP_KEY_END:
      if (state->arg_num < 2) argp_usage(state);
      return 0;
    default:
      return ARGP_ERR_UNKNOWN;
  }
}

/* Threads that wait for each other lose far more to other work than one thread does, and the two
 * sides do not lose alike. */
static void load_warn(void) {
  double load;
  if (getloadavg(&load, 1) == 1 && load > LOAD_QUIET)
    fprintf(stderr, "Other work runs on this machine (load %.1f): do not trust the ratios.\n",
            load);
}

int main(int argc, char **argv) {
  static const struct argp_option flags[] = {
      {"runs", 'n', "N", 0, "Let the sides take N turns (default 15)", 0},
      {"case", 'c', "TEXT", 0, "Measure only cases whose name begins so", 0},
      {"json", 'j', "FILE", 0, "Write the rows to FILE as JSON", 0},
      {0}};
  static const struct argp parser = {.options = flags,
                                     .parser = option_take,
                                     .args_doc = "PYTHON PEER",
                                     .doc =
                                         "Measure training beside PyTorch: PYTHON, which has "
                                         "it, runs the script PEER."};
  options chosen = {.runs = RUNS_DEFAULT, .only = ""};
  argp_parse(&parser, argc, argv, 0, NULL, &chosen);
  load_warn();
  th_report_row report[2 * CASES];
  uint32_t rows = 0;
  for (uint32_t i = 0; i < CASES; i++)
    if (strncmp(cases[i].name, chosen.only, strlen(chosen.only)) == 0)
      rows += case_measure(&cases[i], &chosen, report + rows);
  printf("\n");
  th_report_print(report, rows);
  return chosen.json != NULL && th_report_write(chosen.json, report, rows) != 0 ? EXIT_FAILURE
                                                                                : EXIT_SUCCESS;
}

/**
 * A trained net applied to many rows, beside PyTorch (predicting_peer.py) with a net of the same
 * size, the same rows and number of threads. In turns in one run.
 *
 * "predict" is all that a prediction is: the model's file read, the rows checked and digested, the
 * net applied, the file of logits made. "apply" is the net alone. A run of the peer is the net
 * applied to a tensor that is there.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "benchmarks/cases.h"
#include "benchmarks/data.h"
#include "benchmarks/peer.h"
#include "kernels/inference.h"
#include "kernels/trainer.h"

enum { RUNS_DEFAULT = 15, THREADS = 2, TRAINED_ROWS = 1000 };

typedef struct predicting_case {
  const char *name; /* which the peer is told */
  const char *predict_row, *apply_row; /* of the report */
  uint32_t rows, width, classes;
  const char *hidden;
} predicting_case;

static const predicting_case cases[] = {
    {"predict-ktrdr-2t", "predict-ktrdr-2t/torch", "apply-ktrdr-2t/torch", 100000, 50, 3, "64,32"},
    {"predict-fashion-2t", "predict-fashion-2t/torch", "apply-fashion-2t/torch", 100000, 784, 10,
     "256,128,100"},
};
enum { CASES = sizeof cases / sizeof *cases };

static void check(th_error error) {
  if (error == TH_OK) return;
  fprintf(stderr, "%s\n", th_error_text());
  exit(EXIT_FAILURE);
}

/* Any net of that size will do, so a few rows and an epoch are enough. */
static th_buffer model_train(const predicting_case *c, const th_bench_data *rows,
                             const th_device *device, th_team *team) {
  const th_data data = {.features = rows->features,
                        .labels = rows->labels,
                        .rows = TRAINED_ROWS,
                        .width = rows->width};
  th_spec spec;
  th_trainer *trainer;
  th_buffer model, card;
  th_spec_init(&spec);
  check(th_spec_set(&spec, "hidden", c->hidden));
  check(th_spec_set(&spec, "epochs", "1"));
  check(th_trainer_create(&spec, &data, device, NULL, NULL, &trainer));
  check(th_trainer_advance(trainer, team, INT64_MAX));
  check(th_trainer_result(trainer, &model, &card));
  th_trainer_destroy(trainer);
  th_buffer_fini(&card);
  return model;
}

static double rate_since(int64_t start_ns, uint64_t rows) {
  return (double)rows * TH_NS_PER_S / (double)(th_clock_now_ns() - start_ns);
}

/* Rows a second, as all rates here. */
static void product_run(const th_buffer *model, const th_data *data, const th_device *device,
                        th_team *team, th_samples *predict, th_samples *apply) {
  th_inference *inference;
  th_buffer logits, card;
  int64_t start_ns = th_clock_now_ns();
  check(th_inference_create(model->data, model->bytes, data, device, NULL, NULL, &inference));
  int64_t applied_ns = th_clock_now_ns();
  check(th_inference_advance(inference, team, INT64_MAX));
  th_samples_add(apply, rate_since(applied_ns, data->rows));
  check(th_inference_result(inference, &logits, &card));
  th_samples_add(predict, rate_since(start_ns, data->rows));
  th_inference_destroy(inference);
  th_buffer_fini(&logits);
  th_buffer_fini(&card);
}

/* A th_bench_case. */
static uint32_t case_measure(uint32_t index, const th_bench_options *options, th_report_row *rows) {
  const predicting_case *c = &cases[index];
  if (!th_bench_wants(options, c->name)) return 0;
  th_bench_data shared = th_bench_data_create(c->rows, c->width, c->classes);
  const th_data data = {.features = shared.features, .rows = c->rows, .width = c->width};
  th_samples predict = th_samples_create(options->runs), apply = th_samples_create(options->runs);
  th_samples torch = th_samples_create(options->runs);
  th_device device;
  th_team *team;
  th_peer peer;
  check(th_device_open("cpu", &device));
  check(th_team_create(THREADS, &team));
  th_buffer model = model_train(c, &shared, &device, team);
  th_peer_start_on(&peer, options, c->name, THREADS, &shared);
  for (uint32_t i = 0; i < options->runs; i++) {
    product_run(&model, &data, &device, team, &predict, &apply);
    th_samples_add(&torch, th_peer_run(&peer));
  }
  printf("%s: PyTorch %s; %s\n", c->name, peer.description, device.name);
  fflush(stdout);
  rows[0] = th_report_compare(c->predict_row, "rows/s", TH_REPORT_RATES, &predict, &torch);
  rows[1] = th_report_compare(c->apply_row, "rows/s", TH_REPORT_RATES, &apply, &torch);
  th_peer_stop(&peer);
  th_buffer_fini(&model);
  th_team_destroy(team);
  th_samples_fini(&torch);
  th_samples_fini(&apply);
  th_samples_fini(&predict);
  th_bench_data_destroy(&shared);
  return 2;
}

int main(int argc, char **argv) {
  static const th_bench bench = {
      .doc = "Measure predicting beside PyTorch: PYTHON, which has it, runs the script PEER.",
      .runs = RUNS_DEFAULT,
      .has_cases = true,
      .has_peer = true};
  th_bench_options options = th_bench_options_read(&bench, argc, argv);
  return th_bench_cases_run(&options, CASES, case_measure);
}

/**
 * Whole trainings of a small net through the daemon, beside the same trainer in the client's own
 * process, which is the limit, and behind HTTP, in turns.
 */
#include <stddef.h>

#include "benchmarks/cases.h"
#include "benchmarks/rounds.h"
#include "benchmarks/service_side.h"
#include "shim/trainhost.h"

enum { RUNS_DEFAULT = 15, REST_NS = 20000000 };

#define LIMIT TH_REPORT_TIMES
#define OTHER TH_REPORT_SPEEDUP

static const int host = TH_MODE_HOST, local = TH_MODE_LOCAL;

static const th_round_group groups[] = {
    {"start-mlp",
     "a job is started until its first step is known of",
     REST_NS,
     0,
     {{"trainhost", &th_side_first_step, &host, 3, LIMIT},
      {"local", &th_side_first_step, &local, 3, LIMIT},
      {"http-c", &th_side_first_step_http, NULL, 3, OTHER}}},
    {"train-mlp",
     "a job is started until its model is here, with progress on the way",
     REST_NS,
     0,
     {{"trainhost", &th_side_training, &host, 1, LIMIT},
      {"unwatched", &th_side_unwatched, &host, 1, LIMIT},
      {"local", &th_side_training, &local, 1, LIMIT},
      {"http-c", &th_side_training_http, NULL, 1, OTHER}}},
};
enum { GROUPS = sizeof groups / sizeof *groups };

static uint32_t group_measure(uint32_t index, const th_bench_options *options,
                              th_report_row *rows) {
  return th_rounds_measure(&groups[index], options, rows);
}

int main(int argc, char **argv) {
  static const th_bench bench = {
      .doc = "Measure whole trainings through the daemon, beside the trainer behind HTTP.",
      .runs = RUNS_DEFAULT,
      .has_cases = true};
  th_bench_options options = th_bench_options_read(&bench, argc, argv);
  return th_bench_cases_run(&options, GROUPS, group_measure);
}

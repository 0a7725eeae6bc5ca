#include "benchmarks/options.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RUNS_MAX = 1000000, PEER_WORDS = 2 };

/* argp hands its parser one pointer. */
typedef struct option_reading {
  const th_bench *bench;
  th_bench_options *options;
} option_reading;

static void runs_take(struct argp_state *state, const char *text, uint32_t *runs) {
  char *end;
  unsigned long number = strtoul(text, &end, 10);
  if (text[0] < '0' || text[0] > '9' || *end != '\0' || number < 1 || number > RUNS_MAX)
    argp_error(state, "--runs %s: not a count from 1 to %d", text, RUNS_MAX);
  *runs = (uint32_t)number;
}

static error_t word_take(const option_reading *reading, unsigned number, const char *text) {
  if (!reading->bench->has_peer || number >= PEER_WORDS) return ARGP_ERR_UNKNOWN;
  if (number == 0)
    reading->options->python = text;
  else
    reading->options->peer = text;
  return 0;
}

static error_t option_take(int key, char *text, struct argp_state *state) {
  const option_reading *reading = state->input;
  switch (key) {
    case 'n':
      runs_take(state, text, &reading->options->runs);
      return 0;
    case 'c':
      reading->options->only = text;
      return 0;
    case 'j':
      reading->options->json = text;
      return 0;
    case ARGP_KEY_ARG:
      return word_take(reading, state->arg_num, text);
    case ARGP_KEY_END:
      if (reading->bench->has_peer && state->arg_num < PEER_WORDS) argp_usage(state);
      return 0;
    default:
      return ARGP_ERR_UNKNOWN;
  }
}

th_bench_options th_bench_options_read(const th_bench *bench, int argc, char **argv) {
  char runs_doc[80];
  snprintf(runs_doc, sizeof runs_doc, "Measure each side N times, in turns (%u)", bench->runs);
  struct argp_option rows[] = {
      {"runs", 'n', "N", 0, runs_doc, 0},
      {"json", 'j', "FILE", 0, "Write the rows to FILE as JSON", 0},
      {"case", 'c', "TEXT", 0, "Measure only the cases whose names begin so", 0},
      {0}};
  if (!bench->has_cases) rows[2] = (struct argp_option){0};
  const struct argp parser = {.options = rows,
                              .parser = option_take,
                              .args_doc = bench->has_peer ? "PYTHON PEER" : NULL,
                              .doc = bench->doc};
  th_bench_options options = {.runs = bench->runs, .only = ""};
  option_reading reading = {bench, &options};
  argp_parse(&parser, argc, argv, 0, NULL, &reading);
  return options;
}

bool th_bench_wants(const th_bench_options *options, const char *name) {
  return strncmp(name, options->only, strlen(options->only)) == 0;
}

/** What a benchmark takes on its command line; the same words mean the same in all of them. */
#ifndef TH_BENCHMARKS_OPTIONS_H
#define TH_BENCHMARKS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

/** A benchmark, as its --help tells of it. */
typedef struct th_bench {
  const char *doc; /**< a sentence */
  uint32_t runs; /**< unless --runs says otherwise */
  bool has_cases; /**< takes --case */
  bool has_peer; /**< takes the words PYTHON and PEER */
} th_bench;

/** Texts are the command line's own. */
typedef struct th_bench_options {
  uint32_t runs; /**< how often each side is measured */
  const char *json; /**< the file for the rows; NULL: none */
  const char *only; /**< how the names of the cases begin that are wanted; "": all */
  const char *python, *peer; /**< the interpreter that runs the script; NULL without has_peer */
} th_bench_options;

/** Read the command line. A wrong one, --help and --usage print and end the process. */
th_bench_options th_bench_options_read(const th_bench *bench, int argc, char **argv);

/** Whether the case of that name is to be measured. */
bool th_bench_wants(const th_bench_options *options, const char *name);

#endif

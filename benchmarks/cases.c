#include "benchmarks/cases.h"

#include <stdio.h>
#include <stdlib.h>

int th_bench_cases_run(const th_bench_options *options, uint32_t count, th_bench_case *measure) {
  th_report_row *rows = calloc(count, TH_BENCH_CASE_ROWS_MAX * sizeof *rows);
  if (rows == NULL) {
    perror("the rows of the report");
    return EXIT_FAILURE;
  }
  th_report_warn_of_load();
  uint32_t found = 0;
  for (uint32_t i = 0; i < count; i++) found += measure(i, options, rows + found);
  printf("\n");
  int status = th_report_finish(rows, found, options->json);
  free(rows);
  return status;
}

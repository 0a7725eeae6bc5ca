/** A benchmark of several cases, from its command line to its report. */
#ifndef TH_BENCHMARKS_CASES_H
#define TH_BENCHMARKS_CASES_H

#include "benchmarks/options.h"
#include "benchmarks/report.h"

/** Rows that a case gives at most. */
enum { TH_BENCH_CASE_ROWS_MAX = 10 };

/**
 * Measure a case, if it is wanted (th_bench_wants).
 *
 * @param rows  [out] room for TH_BENCH_CASE_ROWS_MAX.
 * @return how many there are.
 */
typedef uint32_t th_bench_case(uint32_t index, const th_bench_options *options,
                               th_report_row *rows);

/** Measure the cases one after another. @return the exit status of the process, as
 *  th_report_finish. */
int th_bench_cases_run(const th_bench_options *options, uint32_t count, th_bench_case *measure);

#endif

/** Trainings by the public calls, in this process. */
#ifndef TH_BENCHMARKS_JOBS_H
#define TH_BENCHMARKS_JOBS_H

#include "benchmarks/data.h"
#include "shim/trainhost.h"

/** At once. */
enum { TH_BENCH_JOBS_MAX = 8 };

typedef struct th_bench_jobs {
  th_manager *manager;
  th_adapter *adapter;
} th_bench_jobs;

/**
 * Open the local way on that many threads, or on all cores if they are fewer.
 *
 * All of these exit with a message when something fails.
 */
th_bench_jobs th_bench_jobs_open(uint32_t threads);

/**
 * Train by every specification, side by side on the same data, by one call.
 *
 * @param specs  [count]; at most TH_BENCH_JOBS_MAX.
 * @return seconds, from the call to the last model.
 */
double th_bench_jobs_run(const th_bench_jobs *jobs, const th_bench_data *data,
                         const char *const *specs, uint32_t count);

void th_bench_jobs_close(th_bench_jobs *jobs);

#endif

#include "benchmarks/jobs.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

static void fail(const char *what) {
  perror(what);
  exit(EXIT_FAILURE);
}

static void check(th_error error) {
  if (error == TH_OK) return;
  fprintf(stderr, "%s: %s\n", th_error_name(error), th_error_text());
  exit(EXIT_FAILURE);
}

/* The first so many of the cores that this process may use. */
static cpu_set_t cores_choose(const cpu_set_t *allowed, uint32_t count) {
  cpu_set_t chosen;
  CPU_ZERO(&chosen);
  for (int core = 0; core < CPU_SETSIZE && CPU_COUNT(&chosen) < (int)count; core++)
    if (CPU_ISSET(core, allowed)) CPU_SET(core, &chosen);
  return chosen;
}

/* The local way takes as many threads as its opener has cores, and they keep to those. */
th_bench_jobs th_bench_jobs_open(uint32_t threads) {
  th_bench_jobs jobs;
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) fail("sched_getaffinity");
  cpu_set_t chosen = cores_choose(&allowed, threads);
  if (sched_setaffinity(0, sizeof chosen, &chosen) != 0) fail("sched_setaffinity");
  check(th_manager_create(TH_MODE_LOCAL, NULL, &jobs.manager));
  check(th_adapter_open(jobs.manager, NULL, &jobs.adapter));
  if (sched_setaffinity(0, sizeof allowed, &allowed) != 0) fail("sched_setaffinity");
  return jobs;
}

double th_bench_jobs_run(const th_bench_jobs *jobs, const th_bench_data *data,
                         const char *const *specs, uint32_t count) {
  th_job *started[TH_BENCH_JOBS_MAX];
  const th_job_request request = {.kind = TH_JOB_TRAIN,
                                  .rows = data->rows,
                                  .width = data->width,
                                  .features = data->features,
                                  .labels = data->labels};
  int64_t start_ns = th_clock_now_ns();
  check(th_jobs_start(jobs->adapter, &request, specs, count, started));
  for (uint32_t i = 0; i < count; i++) {
    th_result result;
    check(th_job_follow(started[i], NULL, NULL));
    check(th_job_result(started[i], &result));
    th_result_fini(&result);
  }
  double seconds = (double)(th_clock_now_ns() - start_ns) / TH_NS_PER_S;
  for (uint32_t i = 0; i < count; i++) {
    check(th_job_forget(started[i]));
    th_job_close(started[i]);
  }
  return seconds;
}

void th_bench_jobs_close(th_bench_jobs *jobs) {
  th_adapter_close(jobs->adapter);
  th_manager_close(jobs->manager);
}

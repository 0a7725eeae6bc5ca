/* The product brings data to the daemon as the arrays of a job, by the public calls; and reading a
 * file, which is what it is compared with when the data lie in one. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "benchmarks/bulk.h"
#include "benchmarks/daemon.h"
#include "benchmarks/pair.h"
#include "benchmarks/stop.h"

typedef struct bulk_job {
  th_bench_daemon daemon; /* of the product */
  uint32_t bytes;
  float *features;
  int32_t *labels;
  int fd; /* the file of the features */
} bulk_job;

static bulk_job *data_create(const th_bulk *what) {
  bulk_job *b = calloc(1, sizeof *b);
  if (b == NULL) th_stop("bulk");
  b->bytes = what->bytes;
  b->features = malloc(b->bytes);
  b->labels = calloc(b->bytes / TH_BULK_ROW_BYTES, sizeof *b->labels);
  b->fd = memfd_create("trainhost-bench", MFD_CLOEXEC);
  if (b->features == NULL || b->labels == NULL || b->fd < 0) th_stop("bulk");
  for (uint32_t i = 0; i < b->bytes / sizeof(float); i++)
    b->features[i] = (float)(i % 1000) * 0.37f;
  for (uint32_t i = 0; i < b->bytes / TH_BULK_ROW_BYTES; i++) b->labels[i] = (int32_t)i % 2;
  th_bulk_write(b->fd, b->features, b->bytes);
  return b;
}

static void data_destroy(bulk_job *b) {
  close(b->fd);
  free(b->labels);
  free(b->features);
  free(b);
}

/* ---- the product ---- */

static void *job_open(const th_bench_options *options, const void *argument) {
  (void)options;
  bulk_job *b = data_create(argument);
  th_bench_daemon_start(&b->daemon);
  return b;
}

/* It is gone, and its memory free, before the next one. */
static void job_end(th_job *job) {
  th_stop_unless_ok(th_job_cancel(job));
  th_error error = th_job_follow(job, NULL, NULL);
  if (error != TH_ERR_CANCELED) th_stop_unless_ok(error);
  th_stop_unless_ok(th_job_forget(job));
  th_job_close(job);
}

/* It starts when the daemon has taken all of the data. */
static double job_time(const bulk_job *b, const float *features, int64_t start_ns) {
  th_job *job;
  const th_job_request request = {.kind = TH_JOB_TRAIN,
                                  .spec = "{\"epochs\": 1000000}",
                                  .rows = b->bytes / TH_BULK_ROW_BYTES,
                                  .width = TH_BULK_WIDTH,
                                  .features = features,
                                  .labels = b->labels};
  th_stop_unless_ok(th_job_start(b->daemon.adapter, &request, &job));
  double taken = (double)(th_clock_now_ns() - start_ns) / 1e3;
  job_end(job);
  return taken;
}

static void job_measure(void *side, uint32_t count, int64_t rest_ns, th_samples *found) {
  const bulk_job *b = side;
  for (uint32_t i = 0; i < count; i++) {
    th_watchdog_feed();
    th_rest(rest_ns);
    th_samples_add(found, job_time(b, b->features, th_clock_now_ns()));
  }
}

static void file_job_measure(void *side, uint32_t count, int64_t rest_ns, th_samples *found) {
  const bulk_job *b = side;
  for (uint32_t i = 0; i < count; i++) {
    th_watchdog_feed();
    th_rest(rest_ns);
    int64_t start_ns = th_clock_now_ns();
    void *map = mmap(NULL, b->bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, b->fd, 0);
    if (map == MAP_FAILED) th_stop("mmap");
    th_samples_add(found, job_time(b, map, start_ns));
    munmap(map, b->bytes);
  }
}

static void job_close(void *side) {
  bulk_job *b = side;
  th_bench_daemon_stop(&b->daemon);
  data_destroy(b);
}

const th_side_kind th_side_bulk_job = {job_open, job_measure, job_close};
const th_side_kind th_side_bulk_file_job = {job_open, file_job_measure, job_close};

/* ---- read(2) ---- */

static void *read_open(const th_bench_options *options, const void *argument) {
  (void)options;
  return data_create(argument);
}

static void read_measure(void *side, uint32_t count, int64_t rest_ns, th_samples *found) {
  const bulk_job *b = side;
  for (uint32_t i = 0; i < count; i++) {
    th_rest(rest_ns);
    int64_t start_ns = th_clock_now_ns();
    if (lseek(b->fd, 0, SEEK_SET) != 0) th_stop("lseek");
    th_bulk_read(b->fd, b->features, b->bytes);
    th_samples_add(found, (double)(th_clock_now_ns() - start_ns) / 1e3);
  }
}

static void read_close(void *side) {
  data_destroy(side);
}

const th_side_kind th_side_bulk_file_read = {read_open, read_measure, read_close};

/**
 * Loading data: a file in the page cache becomes an array in memory, beside what the system needs
 * to read it, and beside the fastest of what Python offers (loading_peer.py). In turns in one run,
 * on one thread.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "benchmarks/cases.h"
#include "benchmarks/data.h"
#include "benchmarks/peer.h"
#include "formats/file.h"
#include "formats/table.h"

enum { RUNS_DEFAULT = 15, WIDTH = 50, CLASSES = 3, PIXELS = 784 };

/* The directory of the files, which goes when the process ends, however it does. */
static char dir[] = "/tmp/trainhost-loading-XXXXXX";

static void fail(const char *what) {
  perror(what);
  exit(EXIT_FAILURE);
}

static void check(th_error error) {
  if (error == TH_OK) return;
  fprintf(stderr, "%s\n", th_error_text());
  exit(EXIT_FAILURE);
}

/* ---- files ---- */

static void npy_write(const char *path, uint32_t rows) {
  th_bench_data data = th_bench_data_create(rows, WIDTH, CLASSES);
  th_buffer npy;
  check(th_npy_encode(data.features, rows, WIDTH, &npy));
  check(th_file_write(path, npy.data, npy.bytes));
  th_buffer_fini(&npy);
  th_bench_data_destroy(&data);
}

/* @param digits  significant ones: 9 tell any two of float32 apart, 17 any two of double. */
static void text_write(const char *path, uint32_t rows, int digits) {
  th_bench_data data = th_bench_data_create(rows, WIDTH, CLASSES);
  FILE *file = fopen(path, "w");
  if (file == NULL) fail(path);
  for (size_t i = 0; i < (size_t)rows * WIDTH; i++)
    fprintf(file, "%.*g%c", digits, data.features[i] / 3.0, i % WIDTH == WIDTH - 1 ? '\n' : ',');
  if (fclose(file) != 0) fail(path);
  th_bench_data_destroy(&data);
}

static void csv_single_write(const char *path, uint32_t rows) {
  text_write(path, rows, 9);
}

static void csv_double_write(const char *path, uint32_t rows) {
  text_write(path, rows, 17);
}

/* Pixels, as MNIST's files have them. */
static void idx_write(const char *path, uint32_t rows) {
  const uint8_t header[] = {
      0, 0, 0x08, 2, 0, 0, (uint8_t)(rows >> 8), (uint8_t)rows, 0, 0, PIXELS >> 8, PIXELS & 0xFF};
  size_t bytes = sizeof header + (size_t)rows * PIXELS;
  uint8_t *file = malloc(bytes);
  if (file == NULL) fail(path);
  memcpy(file, header, sizeof header);
  for (size_t i = sizeof header; i < bytes; i++) file[i] = (uint8_t)(i * 2654435761U >> 24);
  check(th_file_write(path, file, bytes));
  free(file);
}

/* ---- cases ---- */

typedef struct loading_case {
  const char *name; /* which the peer is told */
  const char *row; /* of the report */
  void (*write)(const char *path, uint32_t rows);
  uint32_t rows;
  const char *read_row; /* of the report, too: beside read(2); NULL: not so */
} loading_case;

static const loading_case cases[] = {
    {"load-npy", "load-npy/numpy", npy_write, 400000, "load-npy/read"},
    {"load-csv", "load-csv/pandas", csv_single_write, 40000, NULL},
    {"load-csv-double", "load-csv-double/pandas", csv_double_write, 40000, NULL},
    {"load-idx", "load-idx/numpy", idx_write, 60000, NULL},
};
enum { CASES = sizeof cases / sizeof *cases };

/* ---- sides ---- */

/* In gigabytes of the file a second, as all rates here. */
static double rate_since(int64_t start_ns, const struct stat *file) {
  return (double)file->st_size / (double)(th_clock_now_ns() - start_ns);
}

static double product_run(const char *path, const struct stat *file) {
  th_numbers features;
  int64_t start_ns = th_clock_now_ns();
  check(th_features_read(path, &features));
  double rate = rate_since(start_ns, file);
  th_numbers_fini(&features);
  return rate;
}

/* Into fresh memory, as an array needs it. */
static double read_run(const char *path, const struct stat *file) {
  int64_t start_ns = th_clock_now_ns();
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  char *bytes = malloc((size_t)file->st_size);
  if (bytes == NULL || read(fd, bytes, (size_t)file->st_size) != file->st_size) fail(path);
  double rate = rate_since(start_ns, file);
  close(fd);
  free(bytes);
  return rate;
}

/* A th_bench_case. */
static uint32_t case_measure(uint32_t index, const th_bench_options *options, th_report_row *rows) {
  const loading_case *c = &cases[index];
  if (!th_bench_wants(options, c->name)) return 0;
  char path[64];
  struct stat file;
  snprintf(path, sizeof path, "%s/%s", dir, c->name);
  c->write(path, c->rows);
  if (stat(path, &file) != 0) fail(path);
  th_peer peer;
  const char *const arguments[] = {c->name, path, NULL};
  th_peer_start(&peer, options, 1, arguments);
  th_samples product = th_samples_create(options->runs);
  th_samples python = th_samples_create(options->runs);
  th_samples bare = th_samples_create(options->runs);
  for (uint32_t i = 0; i < options->runs; i++) {
    th_samples_add(&product, product_run(path, &file));
    th_samples_add(&python, th_peer_run(&peer));
    th_samples_add(&bare, read_run(path, &file));
  }
  printf("%s: %s; %.0f MB\n", c->name, peer.description, (double)file.st_size / 1e6);
  fflush(stdout);
  th_peer_stop(&peer);
  unlink(path);
  uint32_t count = 0;
  rows[count++] = th_report_compare(c->row, "GB/s", TH_REPORT_RATES, &product, &python);
  if (c->read_row != NULL)
    rows[count++] = th_report_compare(c->read_row, "GB/s", TH_REPORT_RATES, &product, &bare);
  th_samples_fini(&bare);
  th_samples_fini(&python);
  th_samples_fini(&product);
  return count;
}

static void dir_remove(void) {
  for (uint32_t i = 0; i < CASES; i++) {
    char path[64];
    snprintf(path, sizeof path, "%s/%s", dir, cases[i].name);
    unlink(path);
  }
  rmdir(dir);
}

int main(int argc, char **argv) {
  static const th_bench bench = {
      .doc =
          "Measure loading data beside NumPy and pandas: PYTHON, which has them, runs the script "
          "PEER.",
      .runs = RUNS_DEFAULT,
      .has_cases = true,
      .has_peer = true};
  th_bench_options options = th_bench_options_read(&bench, argc, argv);
  if (mkdtemp(dir) == NULL) fail(dir);
  atexit(dir_remove);
  return th_bench_cases_run(&options, CASES, case_measure);
}

#include "benchmarks/report.h"

#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

/* Running processes on average: what a machine shows that does nothing but this. */
#define LOAD_QUIET 0.5

th_samples th_samples_create(uint32_t capacity) {
  th_samples samples = {.values = calloc(capacity, sizeof(double)), .capacity = capacity};
  if (samples.values != NULL) return samples;
  fprintf(stderr, "no memory for %u samples\n", capacity);
  exit(EXIT_FAILURE);
}

void th_samples_add(th_samples *samples, double value) {
  if (samples->count < samples->capacity) samples->values[samples->count++] = value;
}

static int compare_values(const void *left, const void *right) {
  double a = *(const double *)left;
  double b = *(const double *)right;
  return (a > b) - (a < b);
}

double th_samples_quantile(th_samples *samples, double quantile) {
  qsort(samples->values, samples->count, sizeof *samples->values, compare_values);
  double rank = ceil(quantile * samples->count);
  uint32_t index = rank < 1 ? 0 : (uint32_t)rank - 1;
  return samples->values[index < samples->count ? index : samples->count - 1];
}

void th_samples_fini(th_samples *samples) {
  free(samples->values);
  *samples = (th_samples){0};
}

th_report_row th_report_compare(const char *name, const char *unit, th_report_kind kind,
                                th_samples *product, th_samples *peer) {
  bool is_rate = kind == TH_REPORT_RATES;
  double p50 = th_samples_quantile(product, 0.5), other = th_samples_quantile(peer, 0.5);
  return (th_report_row){.name = name,
                         .unit = unit,
                         .product = p50,
                         .peer = other,
                         .ratio = kind == TH_REPORT_SPEEDUP ? other / p50 : p50 / other,
                         .p50 = p50,
                         .p90 = th_samples_quantile(product, is_rate ? 0.1 : 0.9),
                         .p99 = th_samples_quantile(product, is_rate ? 0.01 : 0.99),
                         .p999 = th_samples_quantile(product, is_rate ? 0.001 : 0.999),
                         .runs = peer->count};
}

static void processor_name(char *name, size_t bytes) {
  snprintf(name, bytes, "unknown processor");
  FILE *file = fopen("/proc/cpuinfo", "r");
  if (file == NULL) return;
  char line[256];
  while (fgets(line, sizeof line, file) != NULL) {
    const char *colon = strchr(line, ':');
    if (strncmp(line, "model name", 10) != 0 || colon == NULL) continue;
    snprintf(name, bytes, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
    break;
  }
  fclose(file);
}

const char *th_report_machine(void) {
  static char text[256];
  char name[128];
  struct utsname system;
  processor_name(name, sizeof name);
  uname(&system);
  snprintf(text, sizeof text, "%s, %ld cores, %s %.40s", name, sysconf(_SC_NPROCESSORS_ONLN),
           system.sysname, system.release);
  return text;
}

void th_report_warn_of_load(void) {
  double load;
  if (getloadavg(&load, 1) == 1 && load > LOAD_QUIET)
    fprintf(stderr, "Other work runs on this machine (load %.1f): do not trust the ratios.\n",
            load);
}

static void rows_print(const th_report_row *rows, uint32_t count) {
  printf("%s\n\n%-42s %12s %12s %10s  %s\n", th_report_machine(), "case", "product", "peer",
         "ratio", "unit");
  for (uint32_t i = 0; i < count; i++)
    printf("%-42s %12.3f %12.3f %10.3f  %s\n", rows[i].name, rows[i].product, rows[i].peer,
           rows[i].ratio, rows[i].unit);
}

int th_report_finish(const th_report_row *rows, uint32_t count, const char *path) {
  rows_print(rows, count);
  if (path == NULL) return EXIT_SUCCESS;
  json_t *array = json_array();
  for (uint32_t i = 0; i < count; i++)
    json_array_append_new(
        array, json_pack("{s:s, s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:i, s:s}", "case",
                         rows[i].name, "unit", rows[i].unit, "product", rows[i].product, "peer",
                         rows[i].peer, "ratio", rows[i].ratio, "p50", rows[i].p50, "p90",
                         rows[i].p90, "p99", rows[i].p99, "p99.9", rows[i].p999, "runs",
                         (int)rows[i].runs, "machine", th_report_machine()));
  bool failed = json_dump_file(array, path, JSON_INDENT(2)) != 0;
  if (failed) fprintf(stderr, "cannot write %s\n", path);
  json_decref(array);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

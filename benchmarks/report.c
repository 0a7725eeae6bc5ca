#include "benchmarks/report.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

th_samples th_samples_create(uint32_t capacity) {
  th_samples samples = {.ns = calloc(capacity, sizeof(int64_t)), .capacity = capacity};
  if (samples.ns != NULL) return samples;
  fprintf(stderr, "no memory for %u samples\n", capacity);
  exit(EXIT_FAILURE);
}

void th_samples_add(th_samples *samples, int64_t ns) {
  if (samples->count < samples->capacity) samples->ns[samples->count++] = ns;
}

static int compare_ns(const void *left, const void *right) {
  int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
  return (a > b) - (a < b);
}

void th_samples_sort(th_samples *samples) {
  qsort(samples->ns, samples->count, sizeof *samples->ns, compare_ns);
}

int64_t th_samples_quantile(const th_samples *samples, double quantile) {
  double rank = ceil(quantile * samples->count);
  uint32_t index = rank < 1 ? 0 : (uint32_t)rank - 1;
  return samples->ns[index < samples->count ? index : samples->count - 1];
}

void th_samples_fini(th_samples *samples) {
  free(samples->ns);
  *samples = (th_samples){0};
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

void th_report_print(const th_report_row *rows, uint32_t count) {
  printf("%s\n\n%-28s %12s %12s %8s  %s\n", th_report_machine(), "case", "product", "peer", "ratio",
         "unit");
  for (uint32_t i = 0; i < count; i++)
    printf("%-28s %12.3f %12.3f %8.2f  %s\n", rows[i].name, rows[i].product, rows[i].peer,
           rows[i].product / rows[i].peer, rows[i].unit);
}

int th_report_write(const char *path, const th_report_row *rows, uint32_t count) {
  json_t *array = json_array();
  for (uint32_t i = 0; i < count; i++)
    json_array_append_new(
        array, json_pack("{s:s, s:s, s:f, s:f, s:f, s:f, s:f, s:i, s:s}", "case", rows[i].name,
                         "unit", rows[i].unit, "product", rows[i].product, "peer", rows[i].peer,
                         "ratio", rows[i].product / rows[i].peer, "p50", rows[i].p50, "p99",
                         rows[i].p99, "runs", (int)rows[i].runs, "machine", th_report_machine()));
  int failed = json_dump_file(array, path, JSON_INDENT(2));
  if (failed) fprintf(stderr, "cannot write %s\n", path);
  json_decref(array);
  return failed;
}

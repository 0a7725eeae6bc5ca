/**
 * How long it takes to bring data to the daemon: the product beside memcpy, which is the limit, and
 * beside what others use, in turns. What is timed ends when the other process may use all of it in
 * its own memory.
 */
#include <stddef.h>

#include "benchmarks/bulk.h"
#include "benchmarks/cases.h"
#include "benchmarks/rounds.h"

enum { RUNS_DEFAULT = 20, REST_NS = 1000000 };

#define BULK(way, size) (&(const th_bulk){.bytes = (size), .kind = (way)})

/* Without JSON: it takes seconds for the large ones. */
#define SIDES(size, block)                                                                 \
  {"trainhost", &th_side_bulk_job, BULK(NULL, size), block, TH_REPORT_RATES},              \
      {"memcpy", &th_side_bulk_memcpy, BULK(NULL, size), block, TH_REPORT_RATES},          \
      {"unix-socket", &th_side_bulk, BULK(&th_bulk_socket, size), block, TH_REPORT_RATES}, \
      {"zeromq", &th_side_bulk, BULK(&th_bulk_zeromq, size), block, TH_REPORT_RATES}, {    \
    "http-c", &th_side_bulk, BULK(&th_bulk_http, size), block, TH_REPORT_RATES             \
  }
#define JSON_SIDE(size) \
  { "http-c-json", &th_side_bulk, BULK(&th_bulk_http_json, size), 1, TH_REPORT_RATES }
#define FILE_SIDES(size, block)                                                      \
  {"trainhost", &th_side_bulk_file_job, BULK(NULL, size), block, TH_REPORT_RATES}, { \
    "read", &th_side_bulk_file_read, BULK(NULL, size), block, TH_REPORT_RATES        \
  }

#define KIB(n) ((n)*1024U)
#define MIB(n) ((n)*1024U * 1024U)

static const char memory_meaning[] = "numbers in this process' memory until the other has them";
static const char file_meaning[] = "numbers in a file in memory until the daemon has them";

static const th_round_group groups[] = {
    {"bulk-1KiB", memory_meaning, REST_NS, KIB(1), {SIDES(KIB(1), 20), JSON_SIDE(KIB(1))}},
    {"bulk-64KiB", memory_meaning, REST_NS, KIB(64), {SIDES(KIB(64), 20), JSON_SIDE(KIB(64))}},
    {"bulk-1MiB", memory_meaning, REST_NS, MIB(1), {SIDES(MIB(1), 10), JSON_SIDE(MIB(1))}},
    {"bulk-16MiB", memory_meaning, REST_NS, MIB(16), {SIDES(MIB(16), 3)}},
    {"bulk-64MiB", memory_meaning, REST_NS, MIB(64), {SIDES(MIB(64), 1)}},
    {"bulk-file-1MiB", file_meaning, REST_NS, MIB(1), {FILE_SIDES(MIB(1), 10)}},
    {"bulk-file-64MiB", file_meaning, REST_NS, MIB(64), {FILE_SIDES(MIB(64), 1)}},
};
enum { GROUPS = sizeof groups / sizeof *groups };

static uint32_t group_measure(uint32_t index, const th_bench_options *options,
                              th_report_row *rows) {
  return th_rounds_measure(&groups[index], options, rows);
}

int main(int argc, char **argv) {
  static const th_bench bench = {
      .doc = "Measure how fast data come to the daemon.", .runs = RUNS_DEFAULT, .has_cases = true};
  th_bench_options options = th_bench_options_read(&bench, argc, argv);
  return th_bench_cases_run(&options, GROUPS, group_measure);
}

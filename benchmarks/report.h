/**
 * What every benchmark does with its measurements: quantiles, one table on the terminal, and the
 * rows as JSON.
 */
#ifndef TH_BENCHMARKS_REPORT_H
#define TH_BENCHMARKS_REPORT_H

#include <stdint.h>

/** Times or rates of one side, in the order in which they were measured. */
typedef struct th_samples {
  double *values;
  uint32_t count, capacity;
} th_samples;

/** Room for capacity samples. Exits with a message without memory: a benchmark has nothing to save.
 */
th_samples th_samples_create(uint32_t capacity);

/** Add one; not beyond the capacity. */
void th_samples_add(th_samples *samples, double value);

/** The sample that the given share of all, 0 to 1, does not exceed (nearest rank). Sorts them. */
double th_samples_quantile(th_samples *samples, double quantile);

void th_samples_fini(th_samples *samples);

/** One comparison. */
typedef struct th_report_row {
  const char *name; /**< "absent/connect" */
  const char *unit; /**< of product and peer */
  double product, peer;
  double ratio; /**< product / peer; of TH_REPORT_SPEEDUP peer / product */
  double p50, p90, p99, p999; /**< of the product; p99 is what 99 of 100 runs reach */
  uint32_t runs; /**< how often the sides took turns */
} th_report_row;

/** What is compared. */
typedef enum th_report_kind {
  TH_REPORT_TIMES, /**< how many times the peer's time, which is a limit, the product takes */
  TH_REPORT_RATES,
  TH_REPORT_SPEEDUP, /**< times, and how many times faster the product is */
} th_report_kind;

/**
 * Compare the medians of two sides. Sorts the samples.
 *
 * @param name,unit  borrowed.
 * @param peer       one sample a run; the product may have several.
 */
th_report_row th_report_compare(const char *name, const char *unit, th_report_kind kind,
                                th_samples *product, th_samples *peer);

/** "AMD EPYC, 2 cores, Linux 6.1": where the numbers were taken. Static. */
const char *th_report_machine(void);

/** Say on stderr if other work runs on this machine: sides whose threads wait for each other lose
 * far more to it than others do. */
void th_report_warn_of_load(void);

/**
 * Print the rows as a table and, if a path is given, write them there as a JSON array.
 *
 * @param path  may be NULL.
 * @return the exit status of the process: failure, after a message, if the file cannot be written.
 */
int th_report_finish(const th_report_row *rows, uint32_t count, const char *path);

#endif

/**
 * What every benchmark does with its measurements: percentiles, one table on the terminal, and the
 * rows as JSON.
 */
#ifndef TH_BENCHMARKS_REPORT_H
#define TH_BENCHMARKS_REPORT_H

#include <stdint.h>
#include <stdio.h>

/** Time samples in nanoseconds, in the order in which they were taken until th_samples_sort. */
typedef struct th_samples {
  int64_t *ns;
  uint32_t count, capacity;
} th_samples;

/** Room for capacity samples. Exits with a message without memory: a benchmark has nothing to save.
 */
th_samples th_samples_create(uint32_t capacity);

/** Add one; not beyond the capacity. */
void th_samples_add(th_samples *samples, int64_t ns);

void th_samples_sort(th_samples *samples);

/** The sample at a quantile, 0 to 1, of sorted samples (nearest rank). */
int64_t th_samples_quantile(const th_samples *samples, double quantile);

void th_samples_fini(th_samples *samples);

/** One comparison. ratio = product / peer: against a limit, how many times its cost. */
typedef struct th_report_row {
  const char *name; /**< "absent/connect" */
  const char *unit; /**< of product and peer */
  double product, peer;
  double p50, p99; /**< of the product */
  uint32_t runs;
} th_report_row;

/** "AMD EPYC, 2 cores, Linux 6.1": where the numbers were taken. Static. */
const char *th_report_machine(void);

/** Print the rows as a table. */
void th_report_print(const th_report_row *rows, uint32_t count);

/** Write the rows as a JSON array to path. @return 0, or −1 after a message on stderr. */
int th_report_write(const char *path, const th_report_row *rows, uint32_t count);

#endif

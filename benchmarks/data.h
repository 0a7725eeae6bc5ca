/** Data to train on that two processes see: in a memory file, made up. */
#ifndef TH_BENCHMARKS_DATA_H
#define TH_BENCHMARKS_DATA_H

#include <stddef.h>
#include <stdint.h>

typedef struct th_bench_data {
  int fd; /**< of the memory file: features, then labels */
  size_t bytes;
  uint32_t rows, width;
  float *features; /**< [rows, width] */
  int32_t *labels; /**< [rows] */
} th_bench_data;

/** Points in as many clouds as there are classes. Exits with a message when something fails. */
th_bench_data th_bench_data_create(uint32_t rows, uint32_t width, uint32_t classes);

void th_bench_data_destroy(th_bench_data *data);

#endif

#include "benchmarks/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* From a linear congruential generator (Knuth, TAOCP 2, 3.3.4): it is the clouds that matter. */
static void points_draw(th_bench_data *data, uint32_t classes) {
  uint32_t state = 1;
  for (uint32_t row = 0; row < data->rows; row++) {
    data->labels[row] = (int32_t)(row % classes);
    float *features = data->features + (size_t)row * data->width;
    for (uint32_t column = 0; column < data->width; column++) {
      state = state * 1664525U + 1013904223U;
      float noise = (float)(state >> 8) / 8388608.0F - 1;
      features[column] = noise + (column % classes == row % classes);
    }
  }
}

th_bench_data th_bench_data_create(uint32_t rows, uint32_t width, uint32_t classes) {
  th_bench_data data = {.rows = rows, .width = width};
  data.bytes = (size_t)rows * (width + 1) * sizeof(float);
  /* A child opens it by its number, so it stays open over exec. */
  data.fd = memfd_create("data", 0);
  void *mapped = MAP_FAILED;
  if (data.fd >= 0 && ftruncate(data.fd, (off_t)data.bytes) == 0)
    mapped = mmap(NULL, data.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, data.fd, 0);
  if (mapped == MAP_FAILED) {
    perror("a memory file for the data");
    exit(EXIT_FAILURE);
  }
  data.features = mapped;
  data.labels = (int32_t *)mapped + (size_t)rows * width;
  points_draw(&data, classes);
  return data;
}

void th_bench_data_destroy(th_bench_data *data) {
  munmap(data->features, data->bytes);
  close(data->fd);
}

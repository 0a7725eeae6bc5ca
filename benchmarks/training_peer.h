/** PyTorch as a process that trains one epoch each time that it is asked. */
#ifndef TH_BENCHMARKS_TRAINING_PEER_H
#define TH_BENCHMARKS_TRAINING_PEER_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/** A data set that both sides see, in a memory file. */
typedef struct th_peer_data {
  int fd;
  size_t bytes;
  uint32_t rows, width;
  float *features; /**< [rows, width] */
  int32_t *labels; /**< [rows], right behind the features */
} th_peer_data;

typedef struct th_peer {
  pid_t process;
  FILE *asks, *answers;
  char description[128]; /**< "2.9.0, eager, Adam(fused)" */
} th_peer;

/** All of these exit with a message when something fails: a benchmark has nothing to save. */
th_peer_data th_peer_data_create(uint32_t rows, uint32_t width);

void th_peer_data_destroy(th_peer_data *data);

/** Start the script and wait until it has chosen its fastest way. */
void th_peer_start(th_peer *peer, const char *python, const char *script, const char *name,
                   uint32_t threads, const th_peer_data *data);

/** Have it train one epoch. @return samples a second. */
double th_peer_run(th_peer *peer);

void th_peer_stop(th_peer *peer);

#endif

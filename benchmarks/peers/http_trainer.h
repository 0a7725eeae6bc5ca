/**
 * The product's own trainer behind HTTP: a process that trains in local mode what is posted to it,
 * and tells how far it is when it is asked.
 */
#ifndef TH_BENCHMARKS_PEERS_HTTP_TRAINER_H
#define TH_BENCHMARKS_PEERS_HTTP_TRAINER_H

#include <stdbool.h>
#include <sys/types.h>

#include "benchmarks/data.h"
#include "benchmarks/peers/http.h"

typedef struct th_http_trainer {
  th_http_client client;
  pid_t process;
} th_http_trainer;

/** Start one for data of that shape. All of these end the process with a message when something
 * fails. */
void th_http_trainer_start(th_http_trainer *trainer, const th_bench_data *data, const char *spec);

/** Post the data, which begins the training; then it can be asked. */
void th_http_trainer_post(th_http_trainer *trainer, const th_bench_data *data);

/** Ask how far it is. @return whether a step has been made; *is_done: whether all have. */
bool th_http_trainer_ask(th_http_trainer *trainer, bool *is_done);

/** End the training that was posted, and take its model if it is done. */
void th_http_trainer_end(th_http_trainer *trainer);

void th_http_trainer_stop(th_http_trainer *trainer);

#endif

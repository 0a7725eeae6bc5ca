#include "benchmarks/peers/http_trainer.h"

#include <microhttpd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "benchmarks/stop.h"
#include "shim/trainhost.h"

enum { SERVER_MEMORY = 1 << 20, MODEL_BYTES_MAX = 1 << 22, ANSWER_BYTES_MAX = 64 };

/* All of it is used by the one thread of the server. */
typedef struct server {
  th_http_place place;
  th_manager *manager;
  th_adapter *adapter;
  th_job *job; /* of what was posted last; NULL: it has ended */
  th_job_request request;
  char *body; /* the posted features, then labels */
  size_t body_bytes, body_max;
} server;

/* ---- the server ---- */

static enum MHD_Result reply(struct MHD_Connection *connection, void *text, size_t bytes,
                             enum MHD_ResponseMemoryMode whose) {
  struct MHD_Response *response = MHD_create_response_from_buffer(bytes, text, whose);
  if (response == NULL) return MHD_NO;
  enum MHD_Result result = MHD_queue_response(connection, MHD_HTTP_OK, response);
  MHD_destroy_response(response);
  return result;
}

static enum MHD_Result progress_reply(const server *s, struct MHD_Connection *connection) {
  char text[ANSWER_BYTES_MAX];
  th_progress progress;
  while (th_job_progress(s->job, &progress) == TH_ERR_AGAIN) continue;
  int bytes = snprintf(text, sizeof text, "%u %u %u %.6f", progress.phase, progress.epoch,
                       progress.step, progress.loss);
  return reply(connection, text, (size_t)bytes, MHD_RESPMEM_MUST_COPY);
}

/* The model if there is one; else what runs is canceled. */
static enum MHD_Result end_reply(server *s, struct MHD_Connection *connection) {
  th_result result = {0};
  th_error error = th_job_result(s->job, &result);
  if (error != TH_ERR_AGAIN) th_stop_unless_ok(error);
  th_stop_unless_ok(th_job_forget(s->job));
  th_job_close(s->job);
  s->job = NULL;
  enum MHD_Result replied =
      reply(connection, result.output, result.output_bytes, MHD_RESPMEM_MUST_COPY);
  th_result_fini(&result);
  return replied;
}

static enum MHD_Result answer(void *user, struct MHD_Connection *connection, const char *path,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_bytes, void **state) {
  (void)method, (void)version;
  server *s = user;
  if (*state == NULL) {
    s->body_bytes = 0;
    *state = s;
    return MHD_YES;
  }
  if (*upload_bytes > 0) {
    if (*upload_bytes > s->body_max - s->body_bytes) return MHD_NO;
    memcpy(s->body + s->body_bytes, upload, *upload_bytes);
    s->body_bytes += *upload_bytes;
    *upload_bytes = 0;
    return MHD_YES;
  }
  if (strcmp(path, "/progress") == 0) return progress_reply(s, connection);
  if (strcmp(path, "/end") == 0) return end_reply(s, connection);
  th_stop_unless_ok(th_job_start(s->adapter, &s->request, &s->job));
  return reply(connection, NULL, 0, MHD_RESPMEM_PERSISTENT);
}

static _Noreturn void server_run(server *s) {
  th_stop_unless_ok(th_manager_create(TH_MODE_LOCAL, NULL, &s->manager));
  th_stop_unless_ok(th_adapter_open(s->manager, NULL, &s->adapter));
  if (MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_TURBO, 0, NULL, NULL, answer, s,
                       MHD_OPTION_LISTEN_SOCKET, s->place.fd, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                       (size_t)SERVER_MEMORY, MHD_OPTION_END) == NULL)
    th_stop("MHD_start_daemon");
  for (;;) pause();
}

/* ---- the client ---- */

void th_http_trainer_start(th_http_trainer *trainer, const th_bench_data *data, const char *spec) {
  server s = {.body_max = data->bytes};
  th_http_listen(&s.place, false);
  trainer->process = th_fork();
  if (trainer->process == 0) {
    s.body = malloc(s.body_max);
    if (s.body == NULL) th_stop("the server's memory");
    size_t features_bytes = (size_t)data->rows * data->width * sizeof(float);
    s.request =
        (th_job_request){.kind = TH_JOB_TRAIN,
                         .spec = spec,
                         .rows = data->rows,
                         .width = data->width,
                         .features = (const float *)(const void *)s.body,
                         .labels = (const int32_t *)(const void *)(s.body + features_bytes)};
    server_run(&s);
  }
  close(s.place.fd);
  th_http_open(&trainer->client, &s.place, MODEL_BYTES_MAX);
}

/* In a memory file the labels follow the features, as the server takes them. */
void th_http_trainer_post(th_http_trainer *trainer, const th_bench_data *data) {
  th_http_post(&trainer->client, "/train", data->features, data->bytes);
}

bool th_http_trainer_ask(th_http_trainer *trainer, bool *is_done) {
  char *rest;
  th_http_get(&trainer->client, "/progress");
  unsigned long phase = strtoul(trainer->client.answer, &rest, 10);
  unsigned long epoch = strtoul(rest, &rest, 10), step = strtoul(rest, NULL, 10);
  if (phase < TH_PHASE_RECEIVING || phase > TH_PHASE_DONE) {
    fprintf(stderr, "the training behind HTTP has failed: %s\n", trainer->client.answer);
    exit(EXIT_FAILURE);
  }
  *is_done = phase == TH_PHASE_DONE;
  return epoch > 1 || step > 0;
}

void th_http_trainer_end(th_http_trainer *trainer) {
  th_http_get(&trainer->client, "/end");
}

void th_http_trainer_stop(th_http_trainer *trainer) {
  th_http_close(&trainer->client);
  kill(trainer->process, SIGKILL);
  waitpid(trainer->process, NULL, 0);
}

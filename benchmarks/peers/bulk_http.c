/* Bytes in a POST: as they are, or the numbers as a JSON array, which is what services in Python
 * are sent. */
#include <jansson.h>
#include <microhttpd.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "benchmarks/bulk.h"
#include "benchmarks/carrier.h"
#include "benchmarks/peers/http.h"
#include "benchmarks/stop.h"

/* A number has at most so many characters as JSON, for each byte that it has as it is. */
enum { TEXT_FOR_BYTE = 8, SERVER_MEMORY = 1 << 20 };

typedef struct http {
  th_http_place place;
  bool is_json;
  th_http_client client;
  char *body; /* the server's, of body_max bytes */
  size_t body_bytes, body_max;
  sem_t whole; /* posted when it is there */
} http;

static enum MHD_Result answer(void *bulk, struct MHD_Connection *connection, const char *path,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_bytes, void **state) {
  (void)path, (void)method, (void)version;
  http *h = bulk;
  if (*state == NULL) {
    h->body_bytes = 0;
    *state = h;
    return MHD_YES;
  }
  if (*upload_bytes > 0) {
    if (*upload_bytes > h->body_max - h->body_bytes) return MHD_NO;
    memcpy(h->body + h->body_bytes, upload, *upload_bytes);
    h->body_bytes += *upload_bytes;
    *upload_bytes = 0;
    return MHD_YES;
  }
  sem_post(&h->whole);
  struct MHD_Response *response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
  if (response == NULL) return MHD_NO;
  enum MHD_Result result = MHD_queue_response(connection, MHD_HTTP_OK, response);
  MHD_destroy_response(response);
  return result;
}

static void *create(uint32_t bytes, bool is_json) {
  http *h = calloc(1, sizeof *h);
  if (h == NULL) th_stop("http");
  h->is_json = is_json;
  h->body_max = is_json ? (size_t)bytes * TEXT_FOR_BYTE : bytes;
  th_http_listen(&h->place, false);
  return h;
}

static void *bytes_create(uint32_t bytes) {
  return create(bytes, false);
}

static void *json_create(uint32_t bytes) {
  return create(bytes, true);
}

static void server_open(http *h) {
  h->body = malloc(h->body_max);
  if (h->body == NULL || sem_init(&h->whole, 0, 0) != 0) th_stop("http");
  if (MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_TURBO, 0, NULL, NULL, answer, h,
                       MHD_OPTION_LISTEN_SOCKET, h->place.fd, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                       (size_t)SERVER_MEMORY, MHD_OPTION_END) == NULL)
    th_stop("MHD_start_daemon");
}

static void http_open(void *bulk, bool sends) {
  http *h = bulk;
  if (!sends) {
    server_open(h);
    return;
  }
  close(h->place.fd);
  th_http_open(&h->client, &h->place, 0);
}

static void bytes_send(void *bulk, const float *numbers, uint32_t bytes) {
  http *h = bulk;
  th_http_post(&h->client, "/data", numbers, bytes);
}

static void json_send(void *bulk, const float *numbers, uint32_t bytes) {
  http *h = bulk;
  json_t *array = json_array();
  for (uint32_t i = 0; i < bytes / sizeof *numbers; i++)
    json_array_append_new(array, json_real((double)numbers[i]));
  /* Nine digits tell every float from its neighbours. */
  char *text = json_dumps(array, JSON_COMPACT | JSON_REAL_PRECISION(9));
  json_decref(array);
  if (text == NULL) th_stop("json_dumps");
  th_http_post(&h->client, "/data", text, strlen(text));
  free(text);
}

/* The server has put them where they are used. */
static void bytes_receive(void *bulk, float *numbers, uint32_t bytes) {
  (void)numbers, (void)bytes;
  http *h = bulk;
  while (sem_wait(&h->whole) != 0) continue;
}

static void json_receive(void *bulk, float *numbers, uint32_t bytes) {
  http *h = bulk;
  while (sem_wait(&h->whole) != 0) continue;
  json_t *array = json_loadb(h->body, h->body_bytes, 0, NULL);
  if (json_array_size(array) != bytes / sizeof *numbers) th_stop("JSON of the numbers");
  for (uint32_t i = 0; i < bytes / sizeof *numbers; i++)
    numbers[i] = (float)json_number_value(json_array_get(array, i));
  json_decref(array);
}

const th_bulk_kind th_bulk_http = {bytes_create, http_open, bytes_send, bytes_receive};
const th_bulk_kind th_bulk_http_json = {json_create, http_open, json_send, json_receive};

/* The server answers with the newest moment, and the client asks until it is a new one: HTTP tells
 * nobody anything by itself. */
#include <inttypes.h>
#include <microhttpd.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "benchmarks/carrier.h"
#include "benchmarks/pair.h"
#include "benchmarks/peers/http.h"
#include "benchmarks/side.h"
#include "benchmarks/stop.h"

enum { ANSWER_BYTES_MAX = 512 };

/* About what th_health holds. */
static const char health[] =
    "{\"daemon\": \"peer 0.1.0\", \"device\": \"cpu: two cores\", \"uptime_ms\": 123456, "
    "\"sessions\": 1, \"sessions_max\": 64, \"jobs_running\": 0, \"jobs_queued\": 0, "
    "\"jobs_kept\": 0, \"threads\": 2, \"data_bytes\": 0, \"data_bytes_max\": 10630000000}";

typedef struct http {
  th_http_place place;
  _Atomic int64_t newest_ns; /* the server's */
  th_http_client client;
  int64_t seen_ns; /* the client's */
} http;

/* ---- the server ---- */

static struct MHD_Response *answer_make(http *h, const char *path) {
  if (strcmp(path, "/health") == 0)
    return MHD_create_response_from_buffer(sizeof health - 1, (void *)(uintptr_t)health,
                                           MHD_RESPMEM_PERSISTENT);
  char text[32];
  int bytes = snprintf(text, sizeof text, "%" PRId64, atomic_load(&h->newest_ns));
  return MHD_create_response_from_buffer((size_t)bytes, text, MHD_RESPMEM_MUST_COPY);
}

static enum MHD_Result answer(void *carrier, struct MHD_Connection *connection, const char *path,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_bytes, void **state) {
  (void)method, (void)version, (void)upload, (void)upload_bytes, (void)state;
  struct MHD_Response *response = answer_make(carrier, path);
  if (response == NULL) return MHD_NO;
  enum MHD_Result result = MHD_queue_response(connection, MHD_HTTP_OK, response);
  MHD_destroy_response(response);
  return result;
}

static void http_put(void *carrier, int64_t moment_ns) {
  http *h = carrier;
  atomic_store(&h->newest_ns, moment_ns);
}

/* ---- the client ---- */

static void http_ask(void *carrier) {
  http *h = carrier;
  th_http_get(&h->client, "/health");
}

static int64_t http_take(void *carrier) {
  http *h = carrier;
  int64_t moment_ns;
  do {
    th_http_get(&h->client, "/progress");
    moment_ns = strtoll(h->client.answer, NULL, 10);
  } while (moment_ns == h->seen_ns);
  h->seen_ns = moment_ns;
  return moment_ns;
}

/* ---- both ---- */

static void *http_create(bool is_unix) {
  http *h = calloc(1, sizeof *h);
  if (h == NULL) th_stop("http");
  th_http_listen(&h->place, is_unix);
  return h;
}

static void *tcp_create(void) {
  return http_create(false);
}

static void *unix_create(void) {
  return http_create(true);
}

static void http_open(void *carrier, bool puts) {
  http *h = carrier;
  if (puts) {
    if (MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_TURBO, 0, NULL, NULL, answer, h,
                         MHD_OPTION_LISTEN_SOCKET, h->place.fd, MHD_OPTION_END) == NULL)
      th_stop("MHD_start_daemon");
    return;
  }
  close(h->place.fd);
  th_http_open(&h->client, &h->place, ANSWER_BYTES_MAX);
}

const th_carrier_kind th_carrier_http = {tcp_create, http_open, http_put, http_take, http_ask};
const th_carrier_kind th_carrier_http_unix = {unix_create, http_open, http_put, http_take,
                                              http_ask};

/* ---- time to error when nobody listens ---- */

/* A port that was free a moment ago. */
static void *absent_open(const th_bench_options *options, const void *argument) {
  (void)options, (void)argument;
  http *h = http_create(false);
  close(h->place.fd);
  th_http_open(&h->client, &h->place, ANSWER_BYTES_MAX);
  return h;
}

static void absent_measure(void *side, uint32_t count, int64_t rest_ns, th_samples *found) {
  http *h = side;
  for (uint32_t i = 0; i < count; i++) {
    th_rest(rest_ns);
    int64_t start_ns = th_clock_now_ns();
    CURLcode code = th_http_try(&h->client, "/health");
    th_samples_add(found, (double)(th_clock_now_ns() - start_ns) / 1e3);
    if (code == CURLE_COULDNT_CONNECT) continue;
    fprintf(stderr, "libcurl did not fail as it should: %s\n", curl_easy_strerror(code));
    exit(EXIT_FAILURE);
  }
}

static void absent_close(void *side) {
  http *h = side;
  th_http_close(&h->client);
  free(h);
}

const th_side_kind th_side_absent_http = {absent_open, absent_measure, absent_close};

/* A server and a client in Python, each a process of the script that the options name. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "benchmarks/pair.h"
#include "benchmarks/peer.h"
#include "benchmarks/side.h"
#include "benchmarks/stop.h"

/* A client that polls with a new connection each time asks every 20 ms or so: it has begun when a
 * moment is put, and the moments fall anywhere between two of its questions. */
enum { HOP_REST_NS = 30000000, PEER_THREADS = 1 };

typedef struct fastapi {
  bool has_server, is_hop;
  th_peer server, client;
} fastapi;

/* They are the same for all sides. */
static void versions_print(const char *versions) {
  static bool are_printed;
  if (!are_printed) printf("%s\n", versions);
  are_printed = true;
}

static void *fastapi_open(const th_bench_options *options, const void *argument) {
  const char *way = argument;
  fastapi *f = calloc(1, sizeof *f);
  if (f == NULL) th_stop("fastapi");
  f->is_hop = strncmp(way, "hop-", 4) == 0;
  f->has_server = strncmp(way, "absent-", 7) != 0;
  th_watchdog_feed();
  if (f->has_server)
    th_peer_start(&f->server, options, PEER_THREADS, (const char *const[]){"serve", NULL});
  /* Nobody listens on the port of the discard service, 9. */
  const char *port = f->has_server ? f->server.description : "9";
  th_peer_start(&f->client, options, PEER_THREADS, (const char *const[]){way, port, NULL});
  versions_print(f->client.description);
  th_core_keep(f->client.process, 0);
  if (f->has_server) th_core_keep(f->server.process, 1);
  return f;
}

/* All questions at once, so that one follows the other. */
static void trips_measure(fastapi *f, uint32_t count, th_samples *found) {
  for (uint32_t i = 0; i < count; i++) th_peer_ask(&f->client);
  for (uint32_t i = 0; i < count; i++) th_samples_add(found, th_peer_answer(&f->client));
}

static void fastapi_measure(void *side, uint32_t count, int64_t rest_ns, th_samples *found) {
  fastapi *f = side;
  th_watchdog_feed();
  if (!f->is_hop && rest_ns == 0) {
    trips_measure(f, count, found);
    return;
  }
  for (uint32_t i = 0; i < count; i++) {
    th_rest(rest_ns);
    th_peer_ask(&f->client);
    if (f->is_hop) {
      th_rest(HOP_REST_NS);
      fprintf(f->server.asks, "%" PRId64 "\n", th_clock_now_ns());
      fflush(f->server.asks);
    }
    th_samples_add(found, th_peer_answer(&f->client));
  }
}

static void fastapi_close(void *side) {
  fastapi *f = side;
  th_peer_stop(&f->client);
  if (f->has_server) th_peer_stop(&f->server);
  free(f);
}

const th_side_kind th_side_fastapi = {fastapi_open, fastapi_measure, fastapi_close};

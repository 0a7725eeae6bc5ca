/** What C programs can do with HTTP: a server of libmicrohttpd, and libcurl, which keeps its
 * connection. Whatever fails ends the process with a message. */
#ifndef TH_BENCHMARKS_PEERS_HTTP_H
#define TH_BENCHMARKS_PEERS_HTTP_H

#include <curl/curl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/un.h>

/** Where a server listens: loopback TCP, or a name without a file. */
typedef struct th_http_place {
  int fd; /**< listens */
  bool is_unix;
  union {
    struct sockaddr any;
    struct sockaddr_in tcp;
    struct sockaddr_un local;
  } address;
} th_http_place;

void th_http_listen(th_http_place *place, bool is_unix);

/** A client of it, in any process. */
CURL *th_http_client(const th_http_place *place);

/** The URL of a path there. Static, until the next call. */
const char *th_http_url(const th_http_place *place, const char *path);

#endif

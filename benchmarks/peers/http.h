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

/** A client of it, in any process, that keeps its connection. */
typedef struct th_http_client {
  th_http_place place;
  CURL *curl;
  char *answer; /**< the newest one's body, with a NUL behind it */
  size_t answer_bytes, answer_max;
} th_http_client;

/** @param answer_max  bytes of a body; a larger one is a failure. */
void th_http_open(th_http_client *client, const th_http_place *place, size_t answer_max);

void th_http_get(th_http_client *client, const char *path);
void th_http_post(th_http_client *client, const char *path, const void *body, size_t bytes);

/** As th_http_get, but whether it works is the caller's affair. */
CURLcode th_http_try(th_http_client *client, const char *path);

void th_http_close(th_http_client *client);

#endif

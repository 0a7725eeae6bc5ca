#include "benchmarks/peers/http.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "benchmarks/stop.h"

enum { BACKLOG = 16, TIMEOUT_S = 20, UPLOAD_BYTES = 1 << 21 };

/* Linux's abstract names begin with a zero byte, which is not part of curl's spelling. */
static socklen_t place_name(th_http_place *place) {
  static unsigned made;
  if (!place->is_unix) {
    place->address.tcp =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return sizeof place->address.tcp;
  }
  struct sockaddr_un *local = &place->address.local;
  local->sun_family = AF_UNIX;
  int length = snprintf(local->sun_path + 1, sizeof local->sun_path - 1, "trainhost-http-%d-%u",
                        (int)getpid(), made++);
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
}

void th_http_listen(th_http_place *place, bool is_unix) {
  *place = (th_http_place){.is_unix = is_unix};
  socklen_t bytes = place_name(place);
  place->fd = socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (place->fd < 0 || bind(place->fd, &place->address.any, bytes) != 0 ||
      listen(place->fd, BACKLOG) != 0 ||
      (!is_unix && getsockname(place->fd, &place->address.any, &bytes) != 0))
    th_stop("listening for HTTP");
}

static size_t answer_take(char *bytes, size_t size, size_t count, void *taker) {
  th_http_client *client = taker;
  size_t taken = size * count;
  if (taken > client->answer_max - client->answer_bytes) return 0;
  memcpy(client->answer + client->answer_bytes, bytes, taken);
  client->answer_bytes += taken;
  client->answer[client->answer_bytes] = '\0';
  return taken;
}

/* Large buffers, and no waiting for leave to send a body: what makes curl fastest. */
void th_http_open(th_http_client *client, const th_http_place *place, size_t answer_max) {
  *client = (th_http_client){.place = *place, .answer_max = answer_max};
  client->answer = malloc(answer_max + 1);
  client->curl = curl_easy_init();
  if (client->answer == NULL || client->curl == NULL) th_stop("curl");
  if (place->is_unix)
    curl_easy_setopt(client->curl, CURLOPT_ABSTRACT_UNIX_SOCKET, place->address.local.sun_path + 1);
  curl_easy_setopt(client->curl, CURLOPT_TIMEOUT, (long)TIMEOUT_S);
  curl_easy_setopt(client->curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(client->curl, CURLOPT_PROXY, "");
  curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, curl_slist_append(NULL, "Expect:"));
  curl_easy_setopt(client->curl, CURLOPT_UPLOAD_BUFFERSIZE, (long)UPLOAD_BYTES);
  curl_easy_setopt(client->curl, CURLOPT_WRITEFUNCTION, answer_take);
  curl_easy_setopt(client->curl, CURLOPT_WRITEDATA, client);
}

static CURLcode perform(th_http_client *client, const char *path) {
  char url[96];
  int port = client->place.is_unix ? 80 : ntohs(client->place.address.tcp.sin_port);
  snprintf(url, sizeof url, "http://127.0.0.1:%d%s", port, path);
  curl_easy_setopt(client->curl, CURLOPT_URL, url);
  client->answer_bytes = 0;
  client->answer[0] = '\0';
  return curl_easy_perform(client->curl);
}

static void check(CURLcode code, const char *path) {
  if (code == CURLE_OK) return;
  fprintf(stderr, "%s by libcurl: %s\n", path, curl_easy_strerror(code));
  exit(EXIT_FAILURE);
}

CURLcode th_http_try(th_http_client *client, const char *path) {
  curl_easy_setopt(client->curl, CURLOPT_HTTPGET, 1L);
  return perform(client, path);
}

void th_http_get(th_http_client *client, const char *path) {
  check(th_http_try(client, path), path);
}

void th_http_post(th_http_client *client, const char *path, const void *body, size_t bytes) {
  curl_easy_setopt(client->curl, CURLOPT_POSTFIELDS, body);
  curl_easy_setopt(client->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)bytes);
  check(perform(client, path), path);
}

void th_http_close(th_http_client *client) {
  curl_easy_cleanup(client->curl);
  free(client->answer);
}

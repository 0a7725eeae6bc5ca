#include "benchmarks/peers/http.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "benchmarks/stop.h"

enum { BACKLOG = 16, TIMEOUT_S = 20 };

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

const char *th_http_url(const th_http_place *place, const char *path) {
  static char url[96];
  int port = place->is_unix ? 80 : ntohs(place->address.tcp.sin_port);
  snprintf(url, sizeof url, "http://127.0.0.1:%d%s", port, path);
  return url;
}

CURL *th_http_client(const th_http_place *place) {
  CURL *curl = curl_easy_init();
  if (curl == NULL) th_stop("curl");
  if (place->is_unix)
    curl_easy_setopt(curl, CURLOPT_ABSTRACT_UNIX_SOCKET, place->address.local.sun_path + 1);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TIMEOUT_S);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_PROXY, "");
  return curl;
}

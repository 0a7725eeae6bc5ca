#include "shim/link.h"

#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

/* How long to wait before knocking again at a daemon whose backlog is full. */
enum { KNOCK_AGAIN_NS = 1000000 };

/* A slower heartbeat could not tell a daemon that hangs from one that works. */
enum { HEARTBEAT_MS_MAX = 10000 };

static const char *type_word(uint32_t type) {
  static const char *const words[] = {
      [TH_WIRE_HELLO] = "hello",
      [TH_WIRE_PING] = "health",
      [TH_WIRE_START] = "start",
      [TH_WIRE_ATTACH] = "attach",
      [TH_WIRE_CANCEL] = "cancel",
      [TH_WIRE_RESULT] = "result",
      [TH_WIRE_FORGET] = "forget",
      [TH_WIRE_JOBS] = "list of jobs",
      [TH_WIRE_SESSIONS] = "list of sessions",
      [TH_WIRE_STOP] = "stop",
      [TH_WIRE_CHECKPOINT] = "checkpoint",
  };
  bool is_known = type < sizeof words / sizeof words[0] && words[type] != NULL;
  return is_known ? words[type] : "unknown";
}

/* ---- the end ---- */

th_error th_link_end(th_link *link, th_error error) {
  pthread_mutex_lock(&link->lock);
  if (link->end == TH_OK) {
    snprintf(link->end_text, sizeof link->end_text, "%s", th_error_text());
    link->end = error;
    /* A daemon that is still there sees the session end; our own waits see the hang-up. */
    shutdown(link->fd, SHUT_RDWR);
  }
  pthread_mutex_unlock(&link->lock);
  return error;
}

th_error th_link_end_lost(th_link *link) {
  return th_link_end(link, th_fail(TH_ERR_HOST_LOST,
                                   "trainhostd at %s went away: it was stopped or it ended this "
                                   "session; see its log, then open a new adapter (finished and "
                                   "detached jobs can be attached again)",
                                   link->path));
}

th_error th_link_state(th_link *link) {
  pthread_mutex_lock(&link->lock);
  th_error end = link->end;
  if (end != TH_OK) (void)th_fail(end, "%s", link->end_text);
  pthread_mutex_unlock(&link->lock);
  return end;
}

void th_link_check_hang_up(th_link *link) {
  struct pollfd socket = {.fd = link->fd, .events = POLLRDHUP};
  if (poll(&socket, 1, 0) > 0) (void)th_link_end_lost(link);
}

/* ---- sending and receiving ---- */

static th_error fail_stalled(const th_link *link, uint32_t type, int64_t since_ns) {
  return th_fail(TH_ERR_HOST_STALLED,
                 "trainhostd at %s has not answered a %s request for %" PRId64
                 " ms; it is stopped, blocked or overloaded: see its log, or allow more time",
                 link->path, type_word(type), (th_clock_now_ns() - since_ns) / TH_NS_PER_MS);
}

/* Give what the channel says the path, and let the link end where it must. */
static th_error transport_judge(th_link *link, th_error error, uint32_t type, int64_t since_ns) {
  if (error == TH_ERR_AGAIN) return fail_stalled(link, type, since_ns);
  if (error == TH_ERR_HOST_LOST) return th_link_end_lost(link);
  if (error == TH_ERR_PROTOCOL)
    error = th_fail(error, "trainhostd at %s broke the protocol: %s", link->path, th_error_text());
  return error == TH_OK ? TH_OK : th_link_end(link, error);
}

th_error th_link_fail_protocol(th_link *link, const char *what) {
  return th_link_end(
      link, th_fail(TH_ERR_PROTOCOL, "trainhostd at %s broke the protocol: %s", link->path, what));
}

static th_error request_send(th_link *link, th_wire_type type, const void *body,
                             uint32_t body_bytes, int64_t deadline_ns) {
  th_wire_header header = {.type = type, .request = ++link->request, .body_bytes = body_bytes};
  return th_channel_send(link->fd, &header, body, NULL, 0, deadline_ns);
}

void th_link_discard_late(th_link *link) {
  th_message *answer = &link->answer;
  th_message_close_fds(answer, 0);
  th_wire_job job;
  if (answer->header.type != TH_WIRE_START || answer->header.status != TH_OK ||
      answer->header.body_bytes != sizeof job)
    return;
  memcpy(&job, answer->body, sizeof job);
  if (request_send(link, TH_WIRE_FORGET, &job, sizeof job, th_clock_now_ns()) == TH_OK)
    link->unanswered++;
}

/* The refusal's code is one of ours and its text is the daemon's. */
static th_error answer_refusal(th_link *link) {
  const th_wire_header *header = &link->answer.header;
  if (header->status > TH_OK || header->status < TH_ERR_SYSTEM)
    return th_link_fail_protocol(link, "an answer with an unknown status");
  bool may_come_later = header->type == TH_WIRE_RESULT || header->type == TH_WIRE_CHECKPOINT;
  if (header->status == TH_ERR_AGAIN && !may_come_later)
    return th_link_fail_protocol(
        link, "\"again\" for an answer, which only a result or a checkpoint may be");
  if (header->status == TH_OK || header->status == TH_ERR_AGAIN) return (th_error)header->status;
  if (header->body_bytes == 0)
    return th_fail((th_error)header->status, "trainhostd refused a %s request and gave no reason",
                   type_word(header->type));
  return th_fail((th_error)header->status, "%.*s", (int)header->body_bytes, link->answer.body);
}

th_error th_link_judge_answer(th_link *link, th_error error, th_wire_type type, int64_t since_ns) {
  error = transport_judge(link, error, type, since_ns);
  return error == TH_OK ? answer_refusal(link) : error;
}

/* What is not the answer to the newest request must answer one that was given up. */
static th_error late_answer_judge(th_link *link) {
  if (link->unanswered == 0) return th_link_fail_protocol(link, "an answer to no request");
  link->unanswered--;
  th_link_discard_late(link);
  return TH_OK;
}

/* Bounded by the deadline even if late answers never cease. */
static th_error answer_receive(th_link *link, th_wire_type type, uint32_t request, int64_t since_ns,
                               int64_t deadline_ns) {
  do {
    th_error error = th_channel_receive(link->fd, &link->answer, deadline_ns);
    if (error == TH_ERR_AGAIN) break;
    if (error != TH_OK) return transport_judge(link, error, type, since_ns);
    if (link->answer.header.request == request) {
      if (link->answer.header.type != type)
        return th_link_fail_protocol(link, "an answer of another type");
      return answer_refusal(link);
    }
    error = late_answer_judge(link);
    if (error != TH_OK) return error;
  } while (th_clock_now_ns() < deadline_ns);
  link->unanswered++;
  return fail_stalled(link, type, since_ns);
}

int64_t th_link_deadline_ns(const th_link *link) {
  return th_clock_deadline_ns(link->call_timeout_ns);
}

th_error th_link_enter(th_link *link, int64_t deadline_ns) {
  struct timespec until = {.tv_sec = deadline_ns / TH_NS_PER_S,
                           .tv_nsec = deadline_ns % TH_NS_PER_S};
  int timed_out = 0;
  pthread_mutex_lock(&link->lock);
  while (link->is_busy && timed_out == 0)
    timed_out = pthread_cond_clockwait(&link->idle, &link->lock, CLOCK_MONOTONIC, &until);
  bool is_ours = !link->is_busy;
  link->is_busy = true;
  pthread_mutex_unlock(&link->lock);
  if (is_ours) return TH_OK;
  return th_fail(TH_ERR_HOST_STALLED,
                 "trainhostd at %s has left another thread's request unanswered all the while",
                 link->path);
}

void th_link_leave(th_link *link) {
  th_message_close_fds(&link->answer, 0);
  pthread_mutex_lock(&link->lock);
  link->is_busy = false;
  pthread_cond_signal(&link->idle);
  pthread_mutex_unlock(&link->lock);
}

th_error th_link_exchange(th_link *link, th_wire_type type, const void *body, uint32_t body_bytes,
                          int64_t deadline_ns) {
  int64_t since_ns = th_clock_now_ns();
  th_error error = th_link_state(link);
  if (error != TH_OK) return error;
  error = request_send(link, type, body, body_bytes, deadline_ns);
  if (error != TH_OK) return transport_judge(link, error, type, since_ns);
  return answer_receive(link, type, link->request, since_ns, deadline_ns);
}

void th_link_post(th_link *link, th_wire_type type, const void *body, uint32_t body_bytes) {
  if (th_link_enter(link, th_link_deadline_ns(link)) != TH_OK) return;
  if (request_send(link, type, body, body_bytes, th_clock_now_ns()) == TH_OK) link->unanswered++;
  th_link_leave(link);
}

/* ---- handshake ---- */

/* A full backlog is a crowd at the door as often as a daemon that sleeps behind it: knock until the
 * deadline. */
static th_error connect_until(const char *path, int64_t deadline_ns, int *fd) {
  for (;;) {
    th_error error = th_channel_connect(path, fd);
    if (error != TH_ERR_HOST_STALLED || th_clock_now_ns() >= deadline_ns) return error;
    nanosleep(&(struct timespec){.tv_nsec = KNOCK_AGAIN_NS}, NULL);
  }
}

static th_error welcome_judge(th_link *link, const th_wire_welcome *welcome) {
  if (welcome->magic != TH_WIRE_MAGIC)
    return th_link_fail_protocol(link, "a welcome without its magic");
  if (welcome->version < TH_WIRE_VERSION_MIN || welcome->version > TH_WIRE_VERSION_MAX)
    return th_fail(TH_ERR_VERSION,
                   "trainhostd at %s chose protocol version %u and this libtrainhost " TH_VERSION
                   " speaks %d to %d; update the older one",
                   link->path, welcome->version, TH_WIRE_VERSION_MIN, TH_WIRE_VERSION_MAX);
  if ((welcome->features & ~TH_WIRE_FEATURE_CALLS) != 0)
    return th_link_fail_protocol(link, "a welcome with features that were not asked for");
  if (welcome->heartbeat_ms == 0 || welcome->heartbeat_ms > HEARTBEAT_MS_MAX)
    return th_link_fail_protocol(link, "a welcome with a heartbeat that is too slow to watch");
  if (link->answer.fd_count != TH_WIRE_WELCOME_FDS)
    return th_link_fail_protocol(link, "a welcome with the wrong number of descriptors");
  return TH_OK;
}

/* Both ranges, whichever side found out. */
static th_error refusal_complete(const th_link *link, th_error error) {
  if (error != TH_ERR_VERSION) return error;
  return th_fail(error,
                 "%s (trainhostd at %s; this libtrainhost " TH_VERSION
                 " speaks protocol versions %d to %d)",
                 th_error_text(), link->path, TH_WIRE_VERSION_MIN, TH_WIRE_VERSION_MAX);
}

static th_error greet(th_link *link, const char *client, int64_t deadline_ns,
                      th_greeting *greeting) {
  th_wire_hello hello = {.magic = TH_WIRE_MAGIC,
                         .version_min = TH_WIRE_VERSION_MIN,
                         .version_max = TH_WIRE_VERSION_MAX,
                         .features = TH_WIRE_FEATURE_CALLS};
  snprintf(hello.client, sizeof hello.client, "trainhost " TH_VERSION ", %s", client);
  th_error error = th_link_exchange(link, TH_WIRE_HELLO, &hello, sizeof hello, deadline_ns);
  if (error != TH_OK) return refusal_complete(link, error);
  if (link->answer.header.body_bytes != sizeof greeting->welcome)
    return th_link_fail_protocol(link, "a welcome of another size");
  memcpy(&greeting->welcome, link->answer.body, sizeof greeting->welcome);
  error = welcome_judge(link, &greeting->welcome);
  if (error != TH_OK) return error;
  memcpy(greeting->fds, link->answer.fds, sizeof greeting->fds);
  link->answer.fd_count = 0;
  return TH_OK;
}

th_error th_link_open(th_link *link, const char *path, const char *client,
                      int64_t connect_timeout_ns, th_greeting *greeting) {
  int64_t deadline_ns = th_clock_deadline_ns(connect_timeout_ns);
  link->fd = -1;
  pthread_mutex_init(&link->lock, NULL);
  pthread_cond_init(&link->idle, NULL);
  snprintf(link->path, sizeof link->path, "%s", path);
  th_error error = connect_until(path, deadline_ns, &link->fd);
  if (error != TH_OK) {
    link->fd = -1;
    return error;
  }
  error = th_link_enter(link, deadline_ns);
  if (error != TH_OK) return error;
  error = greet(link, client, deadline_ns, greeting);
  th_link_leave(link);
  return error;
}

void th_link_close(th_link *link) {
  if (link->fd >= 0) close(link->fd);
  link->fd = -1;
  pthread_cond_destroy(&link->idle);
  pthread_mutex_destroy(&link->lock);
}

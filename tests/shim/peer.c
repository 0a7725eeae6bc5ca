#include "tests/shim/peer.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "ipc/doorbell.h"
#include "ipc/progress.h"

/* Longer than any step of a test takes; a script that waits longer has lost its client. */
#define PATIENCE_NS (20 * TH_NS_PER_S)

static const float small_features[] = {1, 2, 3, 4, 5, 6};
static const int32_t small_labels[] = {0, 1};
const th_job_request peer_small_request = {.kind = TH_JOB_TRAIN,
                                           .rows = 2,
                                           .width = 3,
                                           .features = small_features,
                                           .labels = small_labels};

/* ---- the peer's thread ---- */

static void *peer_run(void *argument) {
  struct peer *peer = argument;
  struct pollfd listener = {.fd = peer->listener, .events = POLLIN};
  th_peer client;
  th_check(poll(&listener, 1, (int)(PATIENCE_NS / TH_NS_PER_MS)) == 1);
  th_check(th_channel_accept(peer->listener, &peer->fd, &client) == TH_OK);
  peer->script(peer);
  return NULL;
}

struct peer *peer_start(void (*script)(struct peer *peer), void *user) {
  struct peer *peer = calloc(1, sizeof *peer);
  th_check(peer != NULL);
  peer->fd = peer->daemon_bell = peer->client_bell = peer->answer_bell = -1;
  peer->region = TH_REGION_NONE;
  peer->script = script;
  peer->user = user;
  strcpy(peer->directory, "/tmp/trainhost-peer-XXXXXX");
  th_check(mkdtemp(peer->directory) != NULL);
  snprintf(peer->path, sizeof peer->path, "%s/socket", peer->directory);
  th_check(th_channel_listen(peer->path, 0600, &peer->listener, &peer->lock_fd) == TH_OK);
  if (script != NULL) th_check(pthread_create(&peer->thread, NULL, peer_run, peer) == 0);
  return peer;
}

static void close_fd(int fd) {
  if (fd >= 0) close(fd);
}

void peer_stop(struct peer *peer) {
  if (peer->script != NULL) pthread_join(peer->thread, NULL);
  close_fd(peer->fd);
  close_fd(peer->daemon_bell);
  close_fd(peer->client_bell);
  close_fd(peer->answer_bell);
  close(peer->listener);
  close(peer->lock_fd);
  th_region_fini(&peer->region);
  char lock[sizeof peer->path + 8];
  snprintf(lock, sizeof lock, "%s.lock", peer->path);
  unlink(lock);
  unlink(peer->path);
  th_check(rmdir(peer->directory) == 0);
  free(peer);
}

th_adapter *peer_connect(const struct peer *peer, const th_adapter_options *options) {
  char url[sizeof peer->path + 8];
  snprintf(url, sizeof url, "unix://%s", peer->path);
  th_manager *manager;
  th_adapter *adapter;
  cr_assert_eq(th_manager_create(TH_MODE_HOST, url, &manager), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_adapter_open(manager, options, &adapter), TH_OK, "%s", th_error_text());
  th_manager_close(manager);
  return adapter;
}

/* ---- requests ---- */

void peer_expect(struct peer *peer, th_wire_type type) {
  th_error error = th_channel_receive(peer->fd, &peer->message, th_clock_deadline_ns(PATIENCE_NS));
  th_check(error == TH_OK);
  th_check(peer->message.header.type == (uint32_t)type);
  th_check(peer->message.header.status == 0);
  th_check(peer->message.fd_count == 0);
}

static void answer_send(struct peer *peer, th_error status, const void *body, uint32_t bytes,
                        const int *fds, uint32_t fd_count) {
  th_wire_header header = {.type = peer->message.header.type,
                           .request = peer->message.header.request,
                           .status = status,
                           .body_bytes = bytes};
  th_check(th_channel_send(peer->fd, &header, body, fds, fd_count,
                           th_clock_deadline_ns(PATIENCE_NS)) == TH_OK);
}

void peer_answer(struct peer *peer, const void *body, uint32_t bytes, const int *fds,
                 uint32_t fd_count) {
  answer_send(peer, TH_OK, body, bytes, fds, fd_count);
}

void peer_refuse(struct peer *peer, th_error status, const char *text) {
  answer_send(peer, status, text, (uint32_t)strlen(text), NULL, 0);
}

void peer_greet(struct peer *peer, th_wire_welcome *welcome) {
  peer_expect(peer, TH_WIRE_HELLO);
  th_region_geometry geometry = {.submission_entries = PEER_EVENTS,
                                 .event_entries = PEER_EVENTS,
                                 .cell_count = PEER_CELLS,
                                 .slot_bytes = PEER_SLOT_BYTES,
                                 .slot_count = PEER_SLOTS};
  th_region *region = &peer->region;
  th_check(th_region_create(&geometry, region) == TH_OK);
  th_check(th_doorbell_create(&peer->daemon_bell) == TH_OK);
  th_check(th_doorbell_create(&peer->client_bell) == TH_OK);
  th_check(th_doorbell_create(&peer->answer_bell) == TH_OK);
  th_ring_init(&peer->submissions, region->submissions, PEER_EVENTS,
               &region->status->submission_head, &region->ctl->submission_tail);
  th_ring_init(&peer->events, region->events, PEER_EVENTS, &region->status->event_tail,
               &region->ctl->event_head);
  peer->calls = (th_callee){.call = &region->ctl->call, .answer = &region->status->answer};
  *welcome = (th_wire_welcome){.magic = TH_WIRE_MAGIC,
                               .version = TH_WIRE_VERSION_MAX,
                               .session = 1,
                               .heartbeat_ms = PEER_HEARTBEAT_MS,
                               .daemon = "peer",
                               .device = "none"};
  th_region_describe(region, welcome);
}

void peer_send_welcome(struct peer *peer, const th_wire_welcome *welcome) {
  const int fds[TH_WIRE_WELCOME_FDS] = {peer->region.ctl_fd,   peer->region.status_fd,
                                        peer->region.arena_fd, peer->daemon_bell,
                                        peer->client_bell,     peer->answer_bell};
  peer_answer(peer, welcome, sizeof *welcome, fds, TH_WIRE_WELCOME_FDS);
}

void peer_welcome(struct peer *peer) {
  th_wire_welcome welcome;
  peer_greet(peer, &welcome);
  peer_send_welcome(peer, &welcome);
}

void peer_welcome_calls(struct peer *peer) {
  th_wire_welcome welcome;
  peer_greet(peer, &welcome);
  welcome.features = TH_WIRE_FEATURE_CALLS;
  peer_send_welcome(peer, &welcome);
}

/* ---- calls ---- */

void peer_expect_call(struct peer *peer, th_wire_type type) {
  int64_t deadline_ns = th_clock_deadline_ns(PATIENCE_NS);
  struct pollfd bell = {.fd = peer->daemon_bell, .events = POLLIN};
  _Atomic uint32_t *sleeps = &peer->region.status->daemon_sleeps;
  while (!th_call_is_waiting(&peer->calls)) {
    th_check(th_clock_now_ns() < deadline_ns);
    th_doorbell_sleep(sleeps);
    if (!th_call_is_waiting(&peer->calls)) poll(&bell, 1, 1000);
    (void)th_doorbell_wake(sleeps, peer->daemon_bell);
  }
  th_check(th_call_take(&peer->calls, &peer->message) == TH_OK);
  th_check(peer->message.header.type == (uint32_t)type);
}

void peer_answer_call(struct peer *peer, th_error status, const void *body, uint32_t bytes) {
  th_call_answer(&peer->calls, status, body, bytes);
  th_doorbell_ring(&peer->region.ctl->client_awaits, peer->answer_bell);
}

/* ---- jobs ---- */

void peer_accept_job(struct peer *peer, th_wire_type type, uint64_t job, uint32_t cell) {
  peer_expect(peer, type);
  th_wire_job answer = {.job = job, .cell = cell, .kind = TH_JOB_TRAIN};
  peer_answer(peer, &answer, sizeof answer, NULL, 0);
}

/* ---- queues ---- */

th_wire_submission peer_take(struct peer *peer) {
  int64_t deadline_ns = th_clock_deadline_ns(PATIENCE_NS);
  th_wire_submission submission;
  struct pollfd bell = {.fd = peer->daemon_bell, .events = POLLIN};
  for (;;) {
    th_error error = th_ring_take(&peer->submissions, &submission);
    if (error == TH_OK) return submission;
    th_check(error == TH_ERR_AGAIN && th_clock_now_ns() < deadline_ns);
    th_doorbell_sleep(&peer->region.status->daemon_sleeps);
    if (th_ring_take(&peer->submissions, &submission) == TH_OK) return submission;
    poll(&bell, 1, 1000);
    th_doorbell_wake(&peer->region.status->daemon_sleeps, peer->daemon_bell);
  }
}

void peer_put(struct peer *peer, const th_wire_event *event) {
  int64_t deadline_ns = th_clock_deadline_ns(PATIENCE_NS);
  while (th_ring_put(&peer->events, event) == TH_ERR_AGAIN) {
    th_check(th_clock_now_ns() < deadline_ns);
    peer_beat(peer);
    peer_sleep_ms(1);
  }
  th_doorbell_ring(&peer->region.ctl->client_sleeps, peer->client_bell);
}

void peer_complete(struct peer *peer, const th_wire_submission *submission, th_error status) {
  th_wire_event event = {.job = submission->job,
                         .cookie = submission->cookie,
                         .kind = TH_WIRE_EVENT_COMPLETION,
                         .status = status,
                         .slot = submission->slot};
  peer_put(peer, &event);
}

void peer_swallow(struct peer *peer, uint64_t bytes) {
  while (bytes > 0) {
    th_wire_submission submission = peer_take(peer);
    th_check(submission.bytes <= bytes);
    bytes -= submission.bytes;
    peer_complete(peer, &submission, TH_OK);
  }
}

void peer_put_phase(struct peer *peer, uint64_t job, th_phase phase, th_error status) {
  th_wire_event event = {.job = job, .kind = TH_WIRE_EVENT_PHASE, .phase = phase, .status = status};
  peer_put(peer, &event);
}

void peer_put_epoch(struct peer *peer, uint64_t job, uint32_t epoch) {
  th_wire_event event = {.job = job, .kind = TH_WIRE_EVENT_EPOCH, .epoch = epoch, .loss = 0.5F};
  peer_put(peer, &event);
}

void peer_publish(struct peer *peer, uint32_t cell, uint64_t job, th_phase phase) {
  th_progress progress = {.job = job, .phase = phase};
  th_progress_publish(&peer->region.cells[cell], &progress);
}

void peer_beat(struct peer *peer) {
  atomic_fetch_add_explicit(&peer->region.status->heartbeat, 1, memory_order_relaxed);
}

void peer_sleep_ms(int64_t ms) {
  struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * TH_NS_PER_MS};
  nanosleep(&time, NULL);
}

void peer_await_hang_up(struct peer *peer) {
  struct pollfd socket = {.fd = peer->fd, .events = POLLRDHUP};
  th_check(poll(&socket, 1, (int)(PATIENCE_NS / TH_NS_PER_MS)) == 1);
}

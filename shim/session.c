#include "shim/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "ipc/doorbell.h"

/* Defaults of th_adapter_options. */
#define CONNECT_TIMEOUT_NS (2 * TH_NS_PER_S)
#define CALL_TIMEOUT_NS (2 * TH_NS_PER_S)
#define STALL_TIMEOUT_NS (2 * TH_NS_PER_S)

/* Longer ones are cut, so that sums of times cannot overflow. */
#define TIMEOUT_NS_MAX (TH_FOREVER / 4)

/* A heart that missed so many beats may have stopped: one late beat is a busy host. */
enum { BEATS_MISSED_MAX = 3 };

/* A watch looks at the heartbeat a few times within the time after which it counts as stopped. */
enum { LOOKS_PER_STALL = 8 };
#define LOOK_EVERY_NS_MAX (TH_NS_PER_S / 4)

static int64_t larger(int64_t a, int64_t b) {
  return a > b ? a : b;
}

static int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}

static int64_t timeout_or(int64_t timeout_ns, int64_t fallback_ns) {
  return timeout_ns == 0 ? fallback_ns : smaller(timeout_ns, TIMEOUT_NS_MAX);
}

static void close_fd(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

/* A forked child that keeps running would otherwise keep the arena's memory after this process has
 * ended. */
static th_error region_keep_from_children(const th_region *region) {
  if (madvise(region->ctl, region->ctl_bytes, MADV_DONTFORK) == 0 &&
      madvise(region->status, region->status_bytes, MADV_DONTFORK) == 0 &&
      madvise(region->arena, region->arena_bytes, MADV_DONTFORK) == 0)
    return TH_OK;
  return th_fail_errno(TH_ERR_SYSTEM, "cannot keep the shared memory from forked children");
}

static th_error watch_add(int epoll_fd, int fd, uint32_t events) {
  struct epoll_event event = {.events = events, .data.fd = fd};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0) return TH_OK;
  return th_fail_errno(TH_ERR_SYSTEM, "cannot watch descriptor %d", fd);
}

/* Of the socket only the hang-up: an answer is for the thread that asked. */
static th_error epoll_open(th_way_session *session) {
  th_error error = th_doorbell_create(&session->notice_fd);
  if (error != TH_OK) return error;
  session->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (session->epoll_fd < 0) return th_fail_errno(TH_ERR_SYSTEM, "cannot make an epoll set");
  error = watch_add(session->epoll_fd, session->client_bell_fd, EPOLLIN);
  if (error == TH_OK) error = watch_add(session->epoll_fd, session->notice_fd, EPOLLIN);
  if (error == TH_OK) error = watch_add(session->epoll_fd, session->link.fd, EPOLLRDHUP);
  return error;
}

static th_error slots_open(th_way_session *session) {
  const th_region_geometry *geometry = &session->region.geometry;
  session->slot_count = geometry->slot_count < geometry->submission_entries
                            ? geometry->slot_count
                            : geometry->submission_entries;
  session->slots = calloc(session->slot_count, sizeof *session->slots);
  session->free_slots = calloc(session->slot_count, sizeof *session->free_slots);
  if (session->slots == NULL || session->free_slots == NULL)
    return th_fail(TH_ERR_SYSTEM, "no memory for a list of %u slots", session->slot_count);
  /* The lowest is taken first, so that a small job always touches the same few pages. */
  for (uint32_t i = 0; i < session->slot_count; i++)
    session->free_slots[i] = session->slot_count - 1 - i;
  session->free_slot_count = session->slot_count;
  return TH_OK;
}

static void rings_init(th_way_session *session) {
  const th_region *region = &session->region;
  th_ring_init(&session->submissions, region->submissions, region->geometry.submission_entries,
               &region->ctl->submission_tail, &region->status->submission_head);
  th_ring_init(&session->events, region->events, region->geometry.event_entries,
               &region->ctl->event_head, &region->status->event_tail);
}

/* Texts are not believed to end. */
static void welcome_keep(th_way_session *session, const th_wire_welcome *welcome) {
  memcpy(session->daemon, welcome->daemon, sizeof session->daemon - 1);
  memcpy(session->device, welcome->device, sizeof session->device - 1);
  session->answers = (th_engine){.kind = &th_engine_syscall,
                                 .bell_fd = session->answer_bell_fd,
                                 .socket_fd = session->link.fd};
  if ((welcome->features & TH_WIRE_FEATURE_CALLS) == 0) return;
  session->caller.call = &session->region.ctl->call;
  session->caller.answer = &session->region.status->answer;
}

static void pulse_init(th_way_session *session, int64_t stall_timeout_ns, uint32_t heartbeat_ms) {
  th_pulse *pulse = &session->pulse;
  int64_t beats_ns = BEATS_MISSED_MAX * (heartbeat_ms * TH_NS_PER_MS);
  pulse->stall_timeout_ns = larger(stall_timeout_ns, beats_ns);
  pulse->look_every_ns = smaller(pulse->stall_timeout_ns / LOOKS_PER_STALL, LOOK_EVERY_NS_MAX);
  pulse->grace_ns = larger(2 * pulse->look_every_ns, beats_ns);
  pulse->beat = atomic_load_explicit(&session->region.status->heartbeat, memory_order_relaxed);
  pulse->moved_ns = pulse->looked_ns = th_clock_now_ns();
}

static th_way_session *session_create(void) {
  th_way_session *session = calloc(1, sizeof *session);
  if (session == NULL) return NULL;
  session->region = TH_REGION_NONE;
  session->daemon_bell_fd = session->client_bell_fd = session->answer_bell_fd = -1;
  session->notice_fd = session->epoll_fd = -1;
  th_spin_init(&session->spin);
  th_spin_init(&session->call_spin);
  pthread_mutex_init(&session->lock, NULL);
  pthread_cond_init(&session->changed, NULL);
  return session;
}

static th_error session_connect(th_way_session *session, const char *path,
                                const th_adapter_options *options) {
  th_greeting greeting;
  const char *client = options->client != NULL ? options->client : program_invocation_short_name;
  session->link.call_timeout_ns = timeout_or(options->call_timeout_ns, CALL_TIMEOUT_NS);
  th_error error =
      th_link_open(&session->link, path, client,
                   timeout_or(options->connect_timeout_ns, CONNECT_TIMEOUT_NS), &greeting);
  if (error != TH_OK) return error;
  session->daemon_bell_fd = greeting.fds[3];
  session->client_bell_fd = greeting.fds[4];
  session->answer_bell_fd = greeting.fds[5];
  error = th_region_adopt(&greeting.welcome, greeting.fds, &session->region);
  if (error == TH_OK) error = region_keep_from_children(&session->region);
  if (error == TH_OK) error = slots_open(session);
  if (error == TH_OK) error = epoll_open(session);
  if (error == TH_OK)
    error = th_engine_open(&session->engine, session->client_bell_fd, session->link.fd);
  if (error != TH_OK) return error;
  rings_init(session);
  welcome_keep(session, &greeting.welcome);
  pulse_init(session, timeout_or(options->stall_timeout_ns, STALL_TIMEOUT_NS),
             greeting.welcome.heartbeat_ms);
  return TH_OK;
}

th_error th_session_open(const char *path, const th_adapter_options *options,
                         th_way_session **opened) {
  th_engine engine;
  th_error error = th_engine_choose(options->io, &engine);
  if (error != TH_OK) return error;
  th_way_session *session = session_create();
  if (session == NULL) return th_fail(TH_ERR_SYSTEM, "no memory for a session");
  session->engine = engine;
  error = session_connect(session, path, options);
  if (error != TH_OK) {
    th_session_close(session);
    return error;
  }
  *opened = session;
  return TH_OK;
}

/* The child must not hold the socket: the daemon would not see this process die. Only system calls:
 * in the child, another thread's locks may never open again. */
void th_session_abandon(th_way_session *session) {
  th_engine_abandon(&session->engine);
  close_fd(&session->link.fd);
  close_fd(&session->daemon_bell_fd);
  close_fd(&session->client_bell_fd);
  close_fd(&session->answer_bell_fd);
  close_fd(&session->notice_fd);
  close_fd(&session->epoll_fd);
  close_fd(&session->region.ctl_fd);
  close_fd(&session->region.status_fd);
  close_fd(&session->region.arena_fd);
}

void th_session_close(th_way_session *session) {
  th_engine_close(&session->engine);
  th_session_abandon(session);
  th_link_close(&session->link);
  th_region_fini(&session->region);
  while (session->jobs != NULL) {
    th_way_job *job = session->jobs;
    session->jobs = job->next;
    th_inbox_fini(&job->inbox);
    free(job);
  }
  free(session->slots);
  free(session->free_slots);
  pthread_cond_destroy(&session->changed);
  pthread_mutex_destroy(&session->lock);
  free(session);
}

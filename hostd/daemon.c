#include "hostd/daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "hostd/session.h"

/* After SIGTERM, how long clients may collect the checkpoints of their jobs. */
enum { FAREWELL_MS = 500 };

/* Connections beyond the limit are told so in answer to their hello; beyond this many more they are
 * closed. */
enum { SESSIONS_REFUSED_MAX = 16 };

/* How long clients' shared memory may keep the loop from its descriptors. */
#define SERVE_NS_MAX TH_NS_PER_MS

/* What a signal handler can reach. */
static int stop_fd = -1;
static atomic_int stop_signal;

/* ---- what the loop calls ---- */

static void listener_ready(th_watch *watch) {
  th_daemon *daemon = watch->owner;
  int fd;
  th_peer peer;
  th_error error = th_channel_accept(watch->fd, &fd, &peer);
  if (error == TH_ERR_AGAIN) return;
  if (error != TH_OK) {
    th_log(TH_LOG_WARNING, "%s", th_error_text());
    return;
  }
  if (daemon->session_count >= daemon->options->sessions_max + SESSIONS_REFUSED_MAX) {
    close(fd);
    return;
  }
  th_session *session;
  if (th_session_create(daemon, fd, &peer, &session) != TH_OK) {
    th_log(TH_LOG_WARNING, "%s", th_error_text());
    return;
  }
  session->next = daemon->sessions;
  daemon->sessions = session;
  daemon->session_count++;
}

static void counter_empty(int fd) {
  uint64_t count;
  ssize_t taken = read(fd, &count, sizeof count);
  th_check(taken == sizeof count || errno == EAGAIN);
}

static void stop_ready(th_watch *watch) {
  th_daemon *daemon = watch->owner;
  counter_empty(watch->fd);
  th_log(TH_LOG_INFO, "%s: stopping", strsignal(atomic_load(&stop_signal)));
  daemon->is_stopping = true;
}

static void poke_ready(th_watch *watch) {
  th_daemon *daemon = watch->owner;
  counter_empty(watch->fd);
  th_jobs_settle(&daemon->jobs);
}

static void heartbeat_ready(th_watch *watch) {
  th_daemon *daemon = watch->owner;
  counter_empty(watch->fd);
  int64_t now = th_clock_now_ns();
  for (th_session *session = daemon->sessions; session != NULL; session = session->next) {
    if (session->is_open) /* The daemon is the only writer; nothing is published through it. */
      atomic_fetch_add_explicit(&session->region.status->heartbeat, 1, memory_order_relaxed);
    else if (now - session->accepted_ns > TH_HELLO_TIMEOUT_MS * TH_NS_PER_MS)
      th_session_end(session, "connected and said nothing");
  }
  th_jobs_settle(&daemon->jobs);
}

/* ---- one turn of the loop ---- */

static bool sessions_pump(th_daemon *daemon) {
  bool is_done = false;
  for (th_session *session = daemon->sessions; session != NULL; session = session->next)
    is_done |= th_session_pump(session);
  return is_done;
}

static void sessions_reap(th_daemon *daemon) {
  for (th_session **link = &daemon->sessions; *link != NULL;) {
    th_session *session = *link;
    if (!session->is_ending) {
      link = &session->next;
      continue;
    }
    *link = session->next;
    daemon->session_count--;
    th_session_destroy(session);
  }
}

static bool is_any_work(const void *of) {
  const th_daemon *daemon = of;
  for (const th_session *session = daemon->sessions; session != NULL; session = session->next)
    if (th_session_has_work(session)) return true;
  return false;
}

/* What clients put into shared memory comes in bursts, and a client that waits for its answer asks
 * again at once: after work, look for more for as long as that pays. Sockets and timers wait
 * meanwhile, so not for long. */
static void sessions_serve(th_daemon *daemon) {
  int64_t now_ns = th_clock_now_ns(), end_ns = now_ns + SERVE_NS_MAX;
  for (; now_ns < end_ns && sessions_pump(daemon); now_ns = th_clock_now_ns()) {
    int64_t budget_ns = th_spin_budget_ns(&daemon->spin);
    if (budget_ns == 0) return;
    bool has_come = th_spin_until(th_clock_now_ns() + budget_ns, is_any_work, daemon);
    th_spin_learn(&daemon->spin, has_come);
    if (!has_come) return;
  }
}

/* Nothing left to do: say so where clients look, look once more, and only then wait. */
static bool may_sleep(th_daemon *daemon) {
  if (sessions_pump(daemon)) return false;
  for (th_session *session = daemon->sessions; session != NULL; session = session->next)
    th_session_sleep(session);
  return !sessions_pump(daemon);
}

static void loop_turn(th_daemon *daemon, int timeout_ms) {
  sessions_serve(daemon);
  th_loop_wait(&daemon->loop, may_sleep(daemon) ? timeout_ms : 0);
  for (th_session *session = daemon->sessions; session != NULL; session = session->next)
    th_session_wake(session);
  sessions_reap(daemon);
}

/* The last words: jobs ended by the stop are told, and their clients may collect the checkpoints.
 */
static void farewell(th_daemon *daemon) {
  int64_t deadline = th_clock_deadline_ns(FAREWELL_MS * TH_NS_PER_MS);
  th_jobs_settle(&daemon->jobs);
  bool is_any_attached = true;
  while (is_any_attached && daemon->sessions != NULL && th_clock_now_ns() < deadline) {
    loop_turn(daemon, 10);
    is_any_attached = false;
    for (uint32_t i = 0; i < daemon->jobs.count; i++)
      is_any_attached |= daemon->jobs.table[i]->session != 0;
  }
}

/* ---- start ---- */

static th_error watch_add(th_daemon *daemon, th_watch *watch, int fd,
                          void (*ready)(th_watch *watch), const char *name) {
  if (fd < 0) return th_fail_errno(TH_ERR_SYSTEM, "cannot make the %s's descriptor", name);
  *watch = (th_watch){.fd = fd, .ready = ready, .owner = daemon};
  return th_loop_add(&daemon->loop, watch);
}

static void signal_arrived(int number) {
  uint64_t one = 1;
  int before = errno;
  atomic_store(&stop_signal, number);
  ssize_t written = write(stop_fd, &one, sizeof one);
  (void)written; /* full only after as many signals as nobody sends */
  errno = before;
}

/* A handler and not a blocked signal with a signalfd: libraries start threads before main, which
 * would take the signal instead. */
static th_error signals_open(th_daemon *daemon) {
  struct sigaction action = {.sa_handler = signal_arrived, .sa_flags = SA_RESTART};
  struct sigaction ignore = {.sa_handler = SIG_IGN};
  stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  th_error error = watch_add(daemon, &daemon->stop, stop_fd, stop_ready, "stop signal");
  if (error != TH_OK) return error;
  sigemptyset(&action.sa_mask);
  if (sigaction(SIGTERM, &action, NULL) == 0 && sigaction(SIGINT, &action, NULL) == 0 &&
      sigaction(SIGPIPE, &ignore, NULL) == 0)
    return TH_OK;
  return th_fail_errno(TH_ERR_SYSTEM, "cannot handle signals");
}

static th_error heartbeat_open(th_daemon *daemon) {
  struct itimerspec period = {.it_interval.tv_nsec = TH_HEARTBEAT_MS * TH_NS_PER_MS,
                              .it_value.tv_nsec = TH_HEARTBEAT_MS * TH_NS_PER_MS};
  int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  th_error error = watch_add(daemon, &daemon->heartbeat, fd, heartbeat_ready, "heartbeat");
  if (error == TH_OK && timerfd_settime(fd, 0, &period, NULL) != 0)
    error = th_fail_errno(TH_ERR_SYSTEM, "cannot start the heartbeat");
  return error;
}

static th_error poke_open(th_daemon *daemon) {
  return watch_add(daemon, &daemon->poke, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), poke_ready,
                   "poke");
}

/* What the kernel could give without swapping: free memory and caches that it would drop. */
static uint64_t memory_available(void) {
  static const char name[] = "MemAvailable:";
  unsigned long long kib = 0;
  char line[128];
  FILE *file = fopen("/proc/meminfo", "re");
  while (file != NULL && kib == 0 && fgets(line, sizeof line, file) != NULL)
    if (strncmp(line, name, strlen(name)) == 0) kib = strtoull(line + strlen(name), NULL, 10);
  if (file != NULL) fclose(file);
  struct sysinfo info;
  if (kib > 0) return (uint64_t)kib << 10;
  th_check(sysinfo(&info) == 0);
  return (uint64_t)info.freeram * info.mem_unit;
}

/* Jobs in progress at once, unless the options say otherwise: one for each thread, but enough that
 * several users see theirs go on. */
#define ACTIVE_MIN 8

static th_error jobs_open(th_daemon *daemon) {
  const th_options *options = daemon->options;
  th_device *device = &daemon->device;
  if (options->threads != 0) device->threads = options->threads;
  uint32_t active_max = options->active_max;
  if (active_max == 0) active_max = device->threads < ACTIVE_MIN ? ACTIVE_MIN : device->threads;
  th_job_limits limits = {
      .jobs_max = options->jobs_max,
      /* The other half is for models, moments and everybody else. */
      .data_bytes_max =
          options->data_bytes_max != 0 ? options->data_bytes_max : memory_available() / 2,
  };
  th_error error =
      th_scheduler_create(device->threads, device->threads_each, active_max, &daemon->scheduler);
  if (error == TH_OK)
    error = th_jobs_open(&daemon->store, device, daemon->scheduler, &limits, daemon->poke.fd,
                         &daemon->jobs);
  return error;
}

/* The socket's directory, if only the last part of the path is missing. Others must be able to pass
 * through to the socket, whose own mode then decides. */
static th_error socket_directory_make(const char *socket_path) {
  char directory[PATH_MAX];
  const char *slash = strrchr(socket_path, '/');
  size_t length = slash == NULL ? 0 : (size_t)(slash - socket_path);
  if (length == 0 || length >= sizeof directory) return TH_OK;
  memcpy(directory, socket_path, length);
  directory[length] = '\0';
  if (mkdir(directory, 0755) == 0 || errno == EEXIST) return TH_OK;
  return th_fail_errno(TH_ERR_IO, "cannot make the directory %s for the socket", directory);
}

static th_error listener_open(th_daemon *daemon) {
  const th_options *options = daemon->options;
  int fd;
  th_error error = socket_directory_make(options->socket_path);
  if (error == TH_OK)
    error = th_channel_listen(options->socket_path, options->socket_mode, &fd, &daemon->lock_fd);
  if (error == TH_OK) error = watch_add(daemon, &daemon->listener, fd, listener_ready, "listener");
  if (error == TH_OK && options->socket_gid != (gid_t)-1 &&
      chown(options->socket_path, (uid_t)-1, options->socket_gid) != 0)
    error = th_fail_errno(TH_ERR_DENIED, "cannot give %s to group %u", options->socket_path,
                          (unsigned)options->socket_gid);
  return error;
}

static void watch_close(th_watch *watch) {
  if (watch->fd >= 0) close(watch->fd);
}

/* In the reverse order of the start. Takes a half-started daemon. */
static void daemon_fini(th_daemon *daemon) {
  if (daemon->listener.fd >= 0) unlink(daemon->options->socket_path);
  for (th_session *session = daemon->sessions; session != NULL; session = session->next)
    session->is_ending = true;
  sessions_reap(daemon);
  th_scheduler_destroy(daemon->scheduler);
  th_jobs_close(&daemon->jobs);
  th_store_close(&daemon->store);
  watch_close(&daemon->listener);
  watch_close(&daemon->heartbeat);
  watch_close(&daemon->poke);
  watch_close(&daemon->stop);
  th_loop_fini(&daemon->loop);
  if (daemon->lock_fd >= 0) close(daemon->lock_fd);
}

static th_error daemon_start(th_daemon *daemon) {
  const th_options *options = daemon->options;
  th_error error = th_device_open(options->device, &daemon->device);
  if (error == TH_OK) error = th_loop_init(&daemon->loop);
  if (error == TH_OK) error = signals_open(daemon);
  if (error == TH_OK) error = poke_open(daemon);
  if (error == TH_OK) error = heartbeat_open(daemon);
  if (error == TH_OK) error = th_store_open(options->state_dir, &daemon->store);
  if (error == TH_OK) error = jobs_open(daemon);
  /* Last, so that a client that can connect finds a daemon that is ready. */
  if (error == TH_OK) error = listener_open(daemon);
  return error;
}

th_error th_daemon_run(const th_options *options) {
  th_daemon *daemon = calloc(1, sizeof *daemon);
  if (daemon == NULL) return th_fail(TH_ERR_SYSTEM, "no memory for the daemon");
  daemon->options = options;
  daemon->loop.epoll_fd = daemon->lock_fd = daemon->store.lock_fd = -1;
  daemon->listener.fd = daemon->stop.fd = daemon->poke.fd = daemon->heartbeat.fd = -1;
  daemon->next_session = 1;
  daemon->started_ns = th_clock_now_ns();
  th_spin_init(&daemon->spin);
  th_error error = daemon_start(daemon);
  if (error == TH_OK) {
    th_log(TH_LOG_INFO,
           "trainhostd " TH_VERSION " serves %s on %s, %u threads, %" PRIu64
           " MiB for data, results in %s",
           daemon->device.name, options->socket_path, daemon->device.threads,
           daemon->jobs.limits.data_bytes_max >> 20, options->state_dir);
    while (!daemon->is_stopping) loop_turn(daemon, -1);
    th_scheduler_stop(daemon->scheduler);
    farewell(daemon);
    th_log(TH_LOG_INFO, "stopped");
  }
  daemon_fini(daemon);
  free(daemon);
  return error;
}

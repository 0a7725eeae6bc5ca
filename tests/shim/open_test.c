#include <criterion/criterion.h>
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/shim/peer.h"
#include "tests/support/leak.h"
#include "tests/support/refuse.h"

static char directory[] = "/tmp/trainhost-open-XXXXXX";
static char path[64];
static void setup(void) {
  cr_assert_not_null(mkdtemp(directory));
  snprintf(path, sizeof path, "%s/socket", directory);
  leak_begin();
}

static void teardown(void) {
  leak_end();
  unlink(path);
  rmdir(directory);
}

TestSuite(open, .init = setup, .fini = teardown);

static th_error open_path(const char *socket_path, int64_t connect_timeout_ns, int64_t *took_ns) {
  char url[80];
  snprintf(url, sizeof url, "unix://%s", socket_path);
  th_manager *manager;
  th_adapter *adapter;
  cr_assert_eq(th_manager_create(TH_MODE_HOST, url, &manager), TH_OK);
  th_adapter_options options = {.connect_timeout_ns = connect_timeout_ns};
  int64_t begin_ns = th_clock_now_ns();
  th_error error = th_adapter_open(manager, &options, &adapter);
  *took_ns = th_clock_now_ns() - begin_ns;
  if (error == TH_OK) th_adapter_close(adapter);
  th_manager_close(manager);
  return error;
}

static void assert_fails(th_error expected, int64_t within_ms) {
  int64_t took_ns;
  th_error error = open_path(path, 0, &took_ns);
  cr_assert_eq(error, expected, "%s: %s", th_error_name(error), th_error_text());
  cr_assert_not_null(strstr(th_error_text(), path), "no path in: %s", th_error_text());
  cr_assert_lt(took_ns, within_ms * TH_NS_PER_MS);
}

/* ---- nobody there ---- */

Test(open, an_absent_socket_fails_at_once) {
  assert_fails(TH_ERR_HOST_ABSENT, 50);
}

static void socket_leave_stale(void) {
  int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strcpy(address.sun_path, path);
  cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
  close(fd);
}

Test(open, a_stale_socket_fails_at_once) {
  socket_leave_stale();
  assert_fails(TH_ERR_HOST_ABSENT, 50);
}

Test(open, a_regular_file_fails_at_once) {
  fclose(fopen(path, "w"));
  int64_t took_ns;
  th_error error = open_path(path, 0, &took_ns);
  cr_assert(error == TH_ERR_HOST_ABSENT || error == TH_ERR_USAGE, "%s", th_error_name(error));
  cr_assert_not_null(strstr(th_error_text(), path));
  cr_assert_lt(took_ns, 50 * TH_NS_PER_MS);
}

/* Exit status of a child without rights: 0 if it was denied with a text that names the path. */
static int denied_child(void) {
  if (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0) return 77;
  int64_t took_ns;
  if (open_path(path, 0, &took_ns) != TH_ERR_DENIED) return 1;
  return strstr(th_error_text(), path) != NULL ? 0 : 2;
}

Test(open, a_socket_without_permission_is_denied) {
  struct peer *peer = peer_start(NULL, NULL);
  strcpy(path, peer->path);
  chmod(peer->directory, 0755);
  pid_t child = fork();
  if (child == 0) _exit(denied_child());
  int status;
  waitpid(child, &status, 0);
  peer_stop(peer);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
    cr_skip_test("only root can give up its rights");
  cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status);
}

/* ---- somebody there, but no daemon as it should be ---- */

static void await_end(struct peer *peer) {
  peer_await_hang_up(peer);
}

static th_error open_peer(void (*script)(struct peer *peer), int64_t timeout_ns, int64_t *took_ns) {
  struct peer *peer = peer_start(script, NULL);
  strcpy(path, peer->path);
  th_error error = open_path(peer->path, timeout_ns, took_ns);
  char text[512];
  strcpy(text, th_error_text());
  peer_stop(peer);
  cr_expect_not_null(strstr(text, path), "no path in: %s", text);
  return error;
}

Test(open, a_listener_that_says_nothing_stalls_within_the_bound) {
  int64_t took_ns;
  cr_assert_eq(open_peer(await_end, 150 * TH_NS_PER_MS, &took_ns), TH_ERR_HOST_STALLED);
  cr_assert_geq(took_ns, 150 * TH_NS_PER_MS);
  cr_assert_lt(took_ns, 1000 * TH_NS_PER_MS);
  cr_assert_not_null(strstr(th_error_text(), "15"), "not how long: %s", th_error_text());
}

Test(open, a_listener_that_never_accepts_stalls_within_the_bound) {
  struct peer *peer = peer_start(NULL, NULL);
  int64_t took_ns;
  th_error error = open_path(peer->path, 100 * TH_NS_PER_MS, &took_ns);
  peer_stop(peer);
  cr_assert_eq(error, TH_ERR_HOST_STALLED);
  cr_assert_lt(took_ns, 1000 * TH_NS_PER_MS);
}

static void hang_up(struct peer *peer) {
  close(peer->fd);
  peer->fd = -1;
}

Test(open, a_listener_that_closes_at_once_is_lost) {
  int64_t took_ns;
  cr_assert_eq(open_peer(hang_up, 0, &took_ns), TH_ERR_HOST_LOST);
  cr_assert_lt(took_ns, 500 * TH_NS_PER_MS);
}

static void say_garbage(struct peer *peer) {
  peer_expect(peer, TH_WIRE_HELLO);
  send(peer->fd, "HTTP/1.1 200 OK\r\n\r\n", 19, MSG_NOSIGNAL);
  peer_await_hang_up(peer);
}

Test(open, garbage_breaks_the_protocol) {
  int64_t took_ns;
  cr_assert_eq(open_peer(say_garbage, 0, &took_ns), TH_ERR_PROTOCOL);
}

static void say_other_version(struct peer *peer) {
  th_wire_welcome welcome;
  peer_greet(peer, &welcome);
  welcome.version = TH_WIRE_VERSION_MAX + 1;
  peer_send_welcome(peer, &welcome);
  peer_await_hang_up(peer);
}

Test(open, a_version_that_was_not_offered_is_named) {
  int64_t took_ns;
  cr_assert_eq(open_peer(say_other_version, 0, &took_ns), TH_ERR_VERSION);
  cr_assert_not_null(strstr(th_error_text(), "version 2"), "%s", th_error_text());
  cr_assert_not_null(strstr(th_error_text(), "1 to 1"), "%s", th_error_text());
}

static void refuse_version(struct peer *peer) {
  peer_expect(peer, TH_WIRE_HELLO);
  peer_refuse(peer, TH_ERR_VERSION, "trainhostd 9 speaks protocol versions 7 to 9");
  peer_await_hang_up(peer);
}

Test(open, a_version_refused_names_both_ranges) {
  int64_t took_ns;
  cr_assert_eq(open_peer(refuse_version, 0, &took_ns), TH_ERR_VERSION);
  cr_assert_not_null(strstr(th_error_text(), "7 to 9"), "%s", th_error_text());
  cr_assert_not_null(strstr(th_error_text(), "1 to 1"), "%s", th_error_text());
}

static void refuse_busy(struct peer *peer) {
  peer_expect(peer, TH_WIRE_HELLO);
  peer_refuse(peer, TH_ERR_BUSY, "64 of 64 sessions are taken");
  peer_await_hang_up(peer);
}

Test(open, a_refusal_comes_with_the_daemons_code_and_text) {
  struct peer *peer = peer_start(refuse_busy, NULL);
  int64_t took_ns;
  cr_assert_eq(open_path(peer->path, 0, &took_ns), TH_ERR_BUSY);
  cr_assert_str_eq(th_error_text(), "64 of 64 sessions are taken");
  peer_stop(peer);
}

static void refuse_oddly(struct peer *peer) {
  peer_expect(peer, TH_WIRE_HELLO);
  peer_refuse(peer, (th_error)5, "positive");
  peer_await_hang_up(peer);
}

Test(open, an_unknown_status_breaks_the_protocol) {
  int64_t took_ns;
  cr_assert_eq(open_peer(refuse_oddly, 0, &took_ns), TH_ERR_PROTOCOL);
}

/* ---- hostile welcomes ---- */

typedef void alteration(th_wire_welcome *welcome);

static void no_magic(th_wire_welcome *welcome) {
  welcome->magic = 0;
}
static void no_heartbeat(th_wire_welcome *welcome) {
  welcome->heartbeat_ms = 0;
}
static void slow_heartbeat(th_wire_welcome *welcome) {
  welcome->heartbeat_ms = UINT32_MAX;
}
static void no_slots(th_wire_welcome *welcome) {
  welcome->slot_count = 0;
}
static void vast_slots(th_wire_welcome *welcome) {
  welcome->slot_bytes = UINT32_MAX;
}
static void odd_entries(th_wire_welcome *welcome) {
  welcome->event_entries = 3;
}
static void vast_arena(th_wire_welcome *welcome) {
  welcome->arena_bytes = UINT64_MAX;
}
static void no_cells(th_wire_welcome *welcome) {
  welcome->cell_count = 0;
}

static void welcome_altered(struct peer *peer) {
  th_wire_welcome welcome;
  peer_greet(peer, &welcome);
  alteration *const *alter = peer->user;
  (*alter)(&welcome);
  peer_send_welcome(peer, &welcome);
  peer_await_hang_up(peer);
}

Test(open, a_welcome_that_does_not_fit_breaks_the_protocol) {
  static alteration *const alterations[] = {no_magic,   no_heartbeat, slow_heartbeat, no_slots,
                                            vast_slots, odd_entries,  vast_arena,     no_cells};
  for (size_t i = 0; i < sizeof alterations / sizeof alterations[0]; i++) {
    alteration *alter = alterations[i];
    struct peer *peer = peer_start(welcome_altered, &alter);
    int64_t took_ns;
    th_error error = open_path(peer->path, 0, &took_ns);
    cr_expect_eq(error, TH_ERR_PROTOCOL, "alteration %zu: %s", i, th_error_name(error));
    peer_stop(peer);
  }
}

static void welcome_without_doorbells(struct peer *peer) {
  th_wire_welcome welcome;
  peer_greet(peer, &welcome);
  const int fds[] = {peer->region.ctl_fd, peer->region.status_fd, peer->region.arena_fd};
  peer_answer(peer, &welcome, sizeof welcome, fds, 3);
  peer_await_hang_up(peer);
}

Test(open, a_welcome_with_too_few_descriptors_breaks_the_protocol) {
  int64_t took_ns;
  cr_assert_eq(open_peer(welcome_without_doorbells, 0, &took_ns), TH_ERR_PROTOCOL);
}

static void welcome_short(struct peer *peer) {
  th_wire_welcome welcome;
  peer_greet(peer, &welcome);
  peer_answer(peer, &welcome, sizeof welcome - 8, NULL, 0);
  peer_await_hang_up(peer);
}

Test(open, a_short_welcome_breaks_the_protocol) {
  int64_t took_ns;
  cr_assert_eq(open_peer(welcome_short, 0, &took_ns), TH_ERR_PROTOCOL);
}

/* ---- as it should be ---- */

static void serve(struct peer *peer) {
  peer_welcome(peer);
  peer_await_hang_up(peer);
}

Test(open, and_close_leave_nothing_behind) {
  for (int i = 0; i < 3; i++) {
    struct peer *peer = peer_start(serve, NULL);
    th_adapter *adapter = peer_connect(peer, NULL);
    cr_assert_eq(th_adapter_mode(adapter), TH_MODE_HOST);
    th_adapter_close(adapter);
    peer_stop(peer);
  }
}

/* ---- the engine ---- */

static th_error open_by(struct peer *peer, const char *io) {
  char url[80];
  snprintf(url, sizeof url, "unix://%s", peer->path);
  th_manager *manager;
  th_adapter *adapter;
  cr_assert_eq(th_manager_create(TH_MODE_HOST, url, &manager), TH_OK);
  th_error error = th_adapter_open(manager, &(th_adapter_options){.io = io}, &adapter);
  if (error == TH_OK) th_adapter_close(adapter);
  th_manager_close(manager);
  return error;
}

static void assert_says(const char *part) {
  cr_assert_not_null(strstr(th_error_text(), part), "no \"%s\" in: %s", part, th_error_text());
}

Test(open, an_engine_that_there_is_not_is_refused_before_anybody_is_asked) {
  struct peer *peer = peer_start(NULL, NULL);
  cr_assert_eq(open_by(peer, "uring"), TH_ERR_USAGE);
  assert_says("must be io_uring, or syscall");
  setenv("TRAINING_HOST_IO", "epoll", 1);
  cr_assert_eq(open_by(peer, NULL), TH_ERR_USAGE);
  assert_says("TRAINING_HOST_IO");
  peer_stop(peer);
}

/* The client has come and gone; the next one, which does without, is served. */
Test(open, a_container_that_blocks_io_uring_is_told_the_remedy_and_it_works) {
  refuse_call(SYS_io_uring_setup, EPERM);
  struct peer *peer = peer_start(serve, NULL);
  uint32_t open_before = leak_count_fds();
  cr_assert_eq(open_by(peer, "io_uring"), TH_ERR_DENIED);
  assert_says("io_uring_setup: Operation not permitted");
  assert_says("TRAINING_HOST_IO=syscall");
  peer_stop(peer);
  cr_assert_leq(leak_count_fds(), open_before, "a descriptor was left open");
  peer = peer_start(serve, NULL);
  cr_assert_eq(open_by(peer, "syscall"), TH_OK, "%s", th_error_text());
  peer_stop(peer);
}

Test(open, a_negative_timeout_is_refused) {
  int64_t took_ns;
  cr_assert_eq(open_path(path, -1, &took_ns), TH_ERR_USAGE);
  cr_assert_not_null(strstr(th_error_text(), "negative"));
}

Test(open, close_takes_null) {
  th_adapter_close(NULL);
  th_job_close(NULL);
}

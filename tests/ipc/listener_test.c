/* Connecting, listening, accepting: th_channel_* up to the first message. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "ipc/channel.h"
#include "tests/support/leak.h"

/* A directory for each test, which others may enter. */
static char dir[64], path[96], lock_path[104];

static void dir_make(void) {
  leak_begin();
  snprintf(dir, sizeof dir, "/tmp/th-listener-XXXXXX");
  cr_assert_not_null(mkdtemp(dir));
  cr_assert_eq(chmod(dir, 0755), 0);
  snprintf(path, sizeof path, "%s/host.sock", dir);
  snprintf(lock_path, sizeof lock_path, "%s.lock", path);
}

static void dir_remove(void) {
  (void)unlink(path);
  (void)unlink(lock_path);
  th_check(rmdir(dir) == 0); /* nothing else was left in it */
  leak_end();
}

TestSuite(listener, .init = dir_make, .fini = dir_remove);

typedef struct listener {
  int fd, lock_fd;
} listener;

static listener listen_well(mode_t mode) {
  listener made;
  cr_assert_eq(th_channel_listen(path, mode, &made.fd, &made.lock_fd), TH_OK, "%s",
               th_error_text());
  return made;
}

static void listener_close(listener *made) {
  close(made->fd);
  close(made->lock_fd);
}

static int connect_well(void) {
  int fd;
  cr_assert_eq(th_channel_connect(path, &fd), TH_OK, "%s", th_error_text());
  return fd;
}

static void expect_connect_fails(const char *to, th_error expected, const char *remedy) {
  int fd = -1;
  cr_assert_eq(th_channel_connect(to, &fd), expected, "%s", th_error_text());
  cr_assert_not_null(strstr(th_error_text(), to), "\"%s\" does not name %s", th_error_text(), to);
  cr_assert_not_null(strstr(th_error_text(), remedy), "\"%s\" does not say \"%s\"", th_error_text(),
                     remedy);
}

static void expect_listen_fails(th_error expected, const char *reason) {
  int fd = 0, lock_fd = 0;
  cr_assert_eq(th_channel_listen(path, 0660, &fd, &lock_fd), expected, "%s", th_error_text());
  cr_assert_eq(fd, -1);
  cr_assert_eq(lock_fd, -1);
  cr_assert_not_null(strstr(th_error_text(), reason), "\"%s\" does not say \"%s\"", th_error_text(),
                     reason);
}

static void file_write(const char *name, const char *text) {
  FILE *file = fopen(name, "w");
  cr_assert_not_null(file);
  fputs(text, file);
  fclose(file);
}

/* A socket that another program made, of any type, with or without somebody listening. */
static int foreign_bind(int type, bool listens) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
  int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
  cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
  if (listens) cr_assert_eq(listen(fd, 1), 0);
  return fd;
}

/* ---- connect ---- */

Test(listener, connect_says_that_there_is_no_socket) {
  expect_connect_fails(path, TH_ERR_HOST_ABSENT, "start trainhostd");
}

Test(listener, connect_says_that_nobody_listens) {
  close(foreign_bind(SOCK_SEQPACKET, false));
  expect_connect_fails(path, TH_ERR_HOST_ABSENT, "nobody listens");
}

Test(listener, connect_says_that_the_path_is_no_socket) {
  file_write(path, "text");
  expect_connect_fails(path, TH_ERR_HOST_ABSENT, "it is no socket");
}

Test(listener, connect_says_that_a_directory_is_a_file) {
  char below[112];
  file_write(path, "text");
  snprintf(below, sizeof below, "%s/host.sock", path);
  expect_connect_fails(below, TH_ERR_HOST_ABSENT, "no directory");
}

Test(listener, connect_says_that_the_socket_is_of_another_type) {
  int fd = foreign_bind(SOCK_STREAM, true);
  expect_connect_fails(path, TH_ERR_HOST_ABSENT, "of another type");
  close(fd);
}

Test(listener, connect_says_that_it_is_not_permitted) {
  listener host = listen_well(0600);
  /* Root may connect to anything, so the test becomes nobody where it can. */
  bool was_root = geteuid() == 0;
  if (was_root)
    cr_assert_eq(seteuid(65534), 0);
  else
    cr_assert_eq(chmod(path, 0), 0);
  expect_connect_fails(path, TH_ERR_DENIED, "--socket-group");
  if (was_root) cr_assert_eq(seteuid(0), 0);
  listener_close(&host);
}

Test(listener, connect_does_not_wait_for_a_full_backlog) {
  enum { CLIENTS_MAX = 1000 };
  listener host = listen_well(0600);
  static int fds[CLIENTS_MAX];
  int count = 0;
  int64_t since_ns = th_clock_now_ns();
  th_error error = TH_OK;
  while (count < CLIENTS_MAX && (error = th_channel_connect(path, &fds[count])) == TH_OK) count++;
  cr_assert_eq(error, TH_ERR_HOST_STALLED);
  cr_assert_not_null(strstr(th_error_text(), path));
  cr_assert_lt(th_clock_now_ns() - since_ns, TH_NS_PER_S);
  while (count > 0) close(fds[--count]);
  listener_close(&host);
}

Test(listener, connect_refuses_a_path_that_no_address_holds) {
  char longest[sizeof((struct sockaddr_un *)0)->sun_path + 1];
  memset(longest, 'x', sizeof longest);
  longest[sizeof longest - 1] = '\0';
  int fd;
  cr_assert_eq(th_channel_connect(longest, &fd), TH_ERR_USAGE);
  longest[sizeof longest - 2] = '\0';
  cr_assert_eq(th_channel_connect(longest, &fd), TH_ERR_HOST_ABSENT, "107 bytes are a path");
  cr_assert_eq(th_channel_connect("", &fd), TH_ERR_USAGE);
}

Test(listener, connect_fails_within_a_millisecond) {
  int64_t best_ns = TH_FOREVER;
  for (int i = 0; i < 200; i++) {
    int fd;
    int64_t since_ns = th_clock_now_ns();
    cr_assert_eq(th_channel_connect(path, &fd), TH_ERR_HOST_ABSENT);
    int64_t took_ns = th_clock_now_ns() - since_ns;
    if (took_ns < best_ns) best_ns = took_ns;
  }
  cr_assert_lt(best_ns, TH_NS_PER_MS);
}

Test(listener, connected_sockets_neither_block_nor_survive_exec) {
  listener host = listen_well(0600);
  int client = connect_well(), served;
  th_peer peer;
  cr_assert_eq(th_channel_accept(host.fd, &served, &peer), TH_OK);
  const int fds[] = {client, served, host.fd};
  for (int i = 0; i < 3; i++) {
    cr_assert(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
    cr_assert(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
    close(fds[i]);
  }
  cr_assert(fcntl(host.lock_fd, F_GETFD) & FD_CLOEXEC);
  close(host.lock_fd);
}

/* ---- listen ---- */

Test(listener, listen_refuses_a_second_daemon) {
  listener host = listen_well(0600);
  expect_listen_fails(TH_ERR_BUSY, "another trainhostd");
  close(connect_well());
  listener_close(&host);
}

Test(listener, listen_refuses_while_another_daemon_only_starts) {
  int lock_fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  cr_assert_eq(flock(lock_fd, LOCK_EX), 0);
  expect_listen_fails(TH_ERR_BUSY, "another trainhostd");
  cr_assert_neq(access(path, F_OK), 0, "the first one's socket was made for it");
  close(lock_fd);
}

Test(listener, listen_replaces_the_socket_of_a_killed_daemon) {
  pid_t child = fork();
  if (child == 0) {
    int fd, lock_fd;
    if (th_channel_listen(path, 0600, &fd, &lock_fd) == TH_OK) kill(getpid(), SIGKILL);
    _exit(1);
  }
  int status;
  cr_assert_eq(waitpid(child, &status, 0), child);
  cr_assert(WIFSIGNALED(status));
  cr_assert_eq(access(path, F_OK), 0);
  listener host = listen_well(0600);
  close(connect_well());
  listener_close(&host);
}

Test(listener, listen_deletes_no_file_that_is_not_a_socket) {
  file_write(path, "precious");
  expect_listen_fails(TH_ERR_IO, "is no socket");
  char text[16] = "";
  FILE *file = fopen(path, "r");
  cr_assert_not_null(file);
  cr_assert_not_null(fgets(text, sizeof text, file));
  fclose(file);
  cr_assert_str_eq(text, "precious");
}

Test(listener, listen_leaves_another_programs_socket_alone) {
  int fd = foreign_bind(SOCK_STREAM, true);
  expect_listen_fails(TH_ERR_BUSY, "another program");
  cr_assert_eq(access(path, F_OK), 0);
  close(fd);
}

Test(listener, listen_follows_no_link_in_place_of_the_lock) {
  char target[96];
  snprintf(target, sizeof target, "%s/target", dir);
  cr_assert_eq(symlink(target, lock_path), 0);
  expect_listen_fails(TH_ERR_IO, "lock file");
  cr_assert_neq(access(target, F_OK), 0, "the link's target was made");
}

Test(listener, listen_says_that_the_directory_is_missing) {
  snprintf(path, sizeof path, "%s/missing/host.sock", dir);
  expect_listen_fails(TH_ERR_IO, "No such file or directory");
}

Test(listener, the_socket_has_the_mode_asked_for_whatever_the_umask) {
  static const mode_t masks[] = {0, 022, 077, 0777};
  for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++) {
    umask(masks[i]);
    listener host = listen_well(0660);
    umask(022);
    struct stat status;
    cr_assert_eq(stat(path, &status), 0);
    cr_assert_eq(status.st_mode & 07777, 0660, "umask %o gives %o", (unsigned)masks[i],
                 (unsigned)status.st_mode & 07777);
    listener_close(&host);
  }
}

/* The lock takes the first descriptor and the socket the second. */
Test(listener, listen_without_descriptors_fails_and_leaves_none) {
  int lowest = dup(0);
  close(lowest);
  struct rlimit before;
  cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
  for (int allowed = 0; allowed < 2; allowed++) {
    struct rlimit few = {.rlim_cur = (rlim_t)(lowest + allowed), .rlim_max = before.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    expect_listen_fails(allowed == 0 ? TH_ERR_IO : TH_ERR_SYSTEM, "Too many open files");
  }
  cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
  listener host = listen_well(0600);
  listener_close(&host);
}

/* ---- accept ---- */

Test(listener, accept_says_who_is_there) {
  listener host = listen_well(0600);
  int client = connect_well(), served;
  th_peer peer;
  cr_assert_eq(th_channel_accept(host.fd, &served, &peer), TH_OK);
  cr_assert_eq(peer.pid, getpid());
  cr_assert_eq(peer.uid, geteuid());
  cr_assert_eq(peer.gid, getegid());
  close(served);
  close(client);
  listener_close(&host);
}

Test(listener, accept_returns_again_when_nobody_waits) {
  listener host = listen_well(0600);
  int served = -1;
  th_peer peer;
  cr_assert_eq(th_channel_accept(host.fd, &served, &peer), TH_ERR_AGAIN);
  cr_assert_eq(served, -1);
  listener_close(&host);
}

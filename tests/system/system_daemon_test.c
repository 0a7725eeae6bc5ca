/* The daemon itself: how it starts, what it refuses, what it survives. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "ipc/wire.h"
#include "tests/support/host.h"

TestSuite(system_daemon, .init = test_set_up, .fini = test_tear_down, .timeout = 60);

static char text[4096];

Test(system_daemon, cuda_without_a_gpu_is_an_error_that_names_the_cpu) {
  if (access("/dev/nvidiactl", F_OK) == 0) cr_skip_test("this machine has a GPU");
  const char *const unnamed[] = {"--socket", "/tmp/unused.sock", NULL};
  cr_assert_eq(test_host_fail(unnamed, text, sizeof text), 69, "the default device is cuda: %s",
               text);
  const char *const named[] = {"--device", "cuda:1", "--socket", "/tmp/unused.sock", NULL};
  cr_assert_eq(test_host_fail(named, text, sizeof text), 69, "%s", text);
  cr_assert_not_null(strstr(text, "--device cpu"), "%s", text);
  cr_assert_neq(access("/tmp/unused.sock", F_OK), 0);
}

Test(system_daemon, a_wrong_command_line_is_a_usage_error) {
  static const char *const lines[][3] = {
      {"--device", "tpu", NULL},
      {"--no-such-option", NULL, NULL},
      {"--threads", "0", NULL},
      {"--threads", "-3", NULL},
      {"--arena", "lots", NULL},
      {"--data-max", "99999999999T", NULL},
      {"--socket-mode", "rw-rw----", NULL},
      {"argument", NULL, NULL},
  };
  for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
    cr_assert_eq(test_host_fail(lines[i], text, sizeof text), 64, "%s %s: %s", lines[i][0],
                 lines[i][1], text);
    cr_assert_gt(strlen(text), 10);
  }
}

Test(system_daemon, a_second_one_on_the_same_socket_is_refused) {
  const char *const again[] = {"--device",    "cpu",
                               "--socket",    test_host.socket_path,
                               "--state-dir", "/tmp/trainhost-second-state",
                               NULL};
  cr_assert_eq(test_host_fail(again, text, sizeof text), 75, "%s", text);
  cr_assert_not_null(strstr(text, test_host.socket_path), "%s", text);
  th_adapter *adapter = test_adapter_open(&test_host, NULL);
  th_health health;
  cr_assert_eq(th_adapter_health(adapter, &health), TH_OK, "the first one still serves");
  th_adapter_close(adapter);
  cr_assert_eq(system("rm -rf /tmp/trainhost-second-state"), 0);
}

Test(system_daemon, a_stale_socket_file_is_replaced) {
  test_host_end(&test_host, SIGKILL);
  cr_assert_eq(access(test_host.socket_path, F_OK), 0, "a kill -9 leaves the socket file");
  test_host_restart(&test_host, NULL);
}

Test(system_daemon, a_clean_stop_takes_its_socket_file_along) {
  cr_assert_eq(test_host_end(&test_host, SIGTERM), 0);
  cr_assert_neq(access(test_host.socket_path, F_OK), 0);
}

Test(system_daemon, the_sockets_mode_is_as_asked) {
  struct stat status;
  cr_assert_eq(stat(test_host.socket_path, &status), 0);
  cr_assert_eq(status.st_mode & 07777, 0660);
  const char *const open_to_all[] = {"--socket-mode", "0666", NULL};
  test_host_end(&test_host, SIGTERM);
  test_host_restart(&test_host, open_to_all);
  cr_assert_eq(stat(test_host.socket_path, &status), 0);
  cr_assert_eq(status.st_mode & 07777, 0666);
}

Test(system_daemon, health_tells_what_it_is) {
  th_adapter *adapter = test_adapter_open(&test_host, NULL);
  th_health health;
  cr_assert_eq(th_adapter_health(adapter, &health), TH_OK, "%s", th_error_text());
  cr_assert_not_null(strstr(health.daemon, th_version()));
  cr_assert_eq(strncmp(health.device, "cpu", 3), 0);
  cr_assert_eq(health.sessions, 1);
  cr_assert_gt(health.round_trip_ns, 0);
  cr_assert_gt(health.threads, 0);
  th_adapter_close(adapter);
}

Test(system_daemon, limits_refuse_with_the_numbers_and_harm_nobody) {
  const char *const small[] = {"--data-max", "1M", "--jobs-max", "2", "--sessions-max", "1", NULL};
  test_host_end(&test_host, SIGTERM);
  test_host_restart(&test_host, small);
  th_adapter *adapter = test_adapter_open(&test_host, NULL), *second;
  th_manager *manager;
  cr_assert_eq(th_manager_create(TH_MODE_HOST, test_host.url, &manager), TH_OK);
  cr_assert_eq(th_adapter_open(manager, NULL, &second), TH_ERR_BUSY);
  cr_assert_not_null(strstr(th_error_text(), "--sessions-max"), "%s", th_error_text());
  th_manager_close(manager);

  th_test_data large = test_data_create(20000, 20, 1), small_data = test_data_create(5000, 20, 1);
  th_job_request request = test_train_request(&large, TEST_ENDLESS);
  th_job *jobs[3];
  cr_assert_eq(th_job_start(adapter, &request, &jobs[0]), TH_ERR_LIMIT);
  cr_assert_not_null(strstr(th_error_text(), "--data-max"), "%s", th_error_text());
  /* 400 kB of features, and 800 kB of targets. */
  request = test_train_request(&small_data, TEST_ENDLESS);
  request.labels = NULL;
  request.targets = large.features;
  request.target_width = 40;
  cr_assert_eq(th_job_start(adapter, &request, &jobs[0]), TH_ERR_LIMIT, "%s", th_error_text());
  request = test_train_request(&small_data, TEST_ENDLESS);
  cr_assert_eq(th_job_start(adapter, &request, &jobs[0]), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_start(adapter, &request, &jobs[1]), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_start(adapter, &request, &jobs[2]), TH_ERR_BUSY);
  cr_assert_eq(th_job_forget(jobs[0]), TH_OK);
  for (int i = 0; i < 2; i++) th_job_close(jobs[i]);
  test_data_free(&large);
  test_data_free(&small_data);
  th_adapter_close(adapter);
}

/* ---- peers that break the protocol ---- */

static int raw_connect(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strcpy(address.sun_path, test_host.socket_path);
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
  return fd;
}

static void raw_send(int fd, uint32_t type, uint32_t body_bytes, const void *bytes, size_t count) {
  char datagram[sizeof(th_wire_header) + 4096];
  th_wire_header header = {.type = type, .request = 1, .body_bytes = body_bytes};
  memcpy(datagram, &header, sizeof header);
  if (count > 0) memcpy(datagram + sizeof header, bytes, count);
  cr_assert_eq(send(fd, datagram, sizeof header + count, MSG_NOSIGNAL),
               (ssize_t)(sizeof header + count));
}

/* The answer's status, if there is one, and that the daemon then hangs up. */
static int32_t raw_last_word(int fd) {
  th_wire_header header = {.status = 1};
  char datagram[4096];
  int32_t status = 1;
  struct timeval bound = {.tv_sec = 5};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof bound);
  ssize_t length;
  /* A ring that an adapter closed a moment ago interrupts this thread once. */
  while ((length = TEMP_FAILURE_RETRY(recv(fd, datagram, sizeof datagram, 0))) > 0) {
    memcpy(&header, datagram, sizeof header);
    cr_assert_gt(length, (ssize_t)sizeof header, "a refusal without a text");
    status = header.status;
  }
  cr_assert_eq(length, 0, "the daemon does not hang up");
  close(fd);
  return status;
}

Test(system_daemon, broken_messages_end_their_session_and_no_other) {
  th_adapter *bystander = test_adapter_open(&test_host, NULL);
  uint32_t fds = test_process_fds(test_host.pid);
  th_wire_hello hello = {.magic = TH_WIRE_MAGIC, .version_min = 1, .version_max = 1};
  char zeros[4096] = {0};

  int fd = raw_connect();
  cr_assert_eq(send(fd, "hello", 5, MSG_NOSIGNAL), 5);
  (void)raw_last_word(fd);
  fd = raw_connect();
  raw_send(fd, TH_WIRE_PING, 0, NULL, 0);
  cr_assert_eq(raw_last_word(fd), TH_ERR_PROTOCOL, "a ping before the hello");
  fd = raw_connect();
  raw_send(fd, 77, 0, NULL, 0);
  cr_assert_eq(raw_last_word(fd), TH_ERR_PROTOCOL, "an unknown type");
  fd = raw_connect();
  raw_send(fd, TH_WIRE_HELLO, 4000, &hello, sizeof hello);
  (void)raw_last_word(fd);
  fd = raw_connect();
  raw_send(fd, TH_WIRE_HELLO, sizeof hello, zeros, sizeof hello);
  cr_assert_eq(raw_last_word(fd), TH_ERR_PROTOCOL, "a hello without the magic number");
  hello.version_min = hello.version_max = 9;
  fd = raw_connect();
  raw_send(fd, TH_WIRE_HELLO, sizeof hello, &hello, sizeof hello);
  cr_assert_eq(raw_last_word(fd), TH_ERR_VERSION);

  th_health health;
  cr_assert_eq(th_adapter_health(bystander, &health), TH_OK, "%s", th_error_text());
  cr_assert_eq(health.sessions, 1);
  cr_assert_eq(test_process_fds(test_host.pid), fds, "descriptors leaked");
  th_adapter_close(bystander);
}

Test(system_daemon, who_connects_and_says_nothing_is_shown_out) {
  int fd = raw_connect();
  int64_t start = th_clock_now_ns();
  cr_assert_eq(raw_last_word(fd), 1, "without a word");
  cr_assert_lt(th_clock_now_ns() - start, 4 * TH_NS_PER_S);
}

Test(system_daemon, a_thousand_connects_leak_nothing) {
  th_adapter *bystander = test_adapter_open(&test_host, NULL);
  uint32_t fds = test_process_fds(test_host.pid);
  for (int i = 0; i < 1000; i++) close(raw_connect());
  for (int i = 0; i < 50; i++) th_adapter_close(test_adapter_open(&test_host, NULL));
  th_health health = {0};
  int64_t deadline = th_clock_deadline_ns(10 * TH_NS_PER_S);
  do cr_assert_eq(th_adapter_health(bystander, &health), TH_OK, "%s", th_error_text());
  while (health.sessions != 1 && th_clock_now_ns() < deadline);
  cr_assert_eq(health.sessions, 1);
  cr_assert_eq(test_process_fds(test_host.pid), fds, "descriptors leaked");
  th_adapter_close(bystander);
}

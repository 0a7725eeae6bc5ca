#include "tests/support/host.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

enum { ARGUMENTS_MAX = 32, START_MS_MAX = 20000, AWAIT_MS_MAX = 20000 };

static void sleep_ms(long ms) {
  nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* The daemon dies with the test, also when the test is killed. */
static pid_t daemon_spawn(const char *const *arguments, const char *log_path) {
  const char *argv[ARGUMENTS_MAX] = {TH_TRAINHOSTD};
  for (int i = 0; arguments[i] != NULL && i < ARGUMENTS_MAX - 2; i++) argv[i + 1] = arguments[i];
  pid_t pid = fork();
  cr_assert_geq(pid, 0);
  if (pid > 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  dup2(log, STDERR_FILENO);
  execv(argv[0], (char *const *)(uintptr_t)argv);
  _exit(127);
}

static void log_print(const char *log_path) {
  char line[512];
  FILE *file = fopen(log_path, "r");
  while (file != NULL && fgets(line, sizeof line, file) != NULL) fputs(line, stderr);
  if (file != NULL) fclose(file);
}

/* Ready when it answers, and not merely when its socket is there. */
static void host_await(th_test_host *host) {
  th_manager *manager;
  th_adapter *adapter;
  cr_assert_eq(th_manager_create(TH_MODE_HOST, host->url, &manager), TH_OK);
  int64_t deadline = th_clock_deadline_ns(START_MS_MAX * TH_NS_PER_MS);
  while (th_adapter_open(manager, NULL, &adapter) != TH_OK) {
    bool is_running = waitpid(host->pid, NULL, WNOHANG) == 0;
    if (!is_running || th_clock_now_ns() > deadline) log_print(host->log_path);
    cr_assert(is_running, "trainhostd ended at its start");
    cr_assert_lt(th_clock_now_ns(), deadline, "trainhostd does not answer: %s", th_error_text());
    sleep_ms(2);
  }
  th_adapter_close(adapter);
  th_manager_close(manager);
}

void test_host_restart(th_test_host *host, const char *const *arguments) {
  char state[96];
  snprintf(state, sizeof state, "%s/state", host->dir);
  const char *argv[ARGUMENTS_MAX] = {"--device",    "cpu", "--socket",    host->socket_path,
                                     "--state-dir", state, "--log-level", "debug"};
  int count = 8;
  for (; arguments != NULL && *arguments != NULL && count < ARGUMENTS_MAX - 1; arguments++)
    argv[count++] = *arguments;
  host->pid = daemon_spawn(argv, host->log_path);
  host_await(host);
}

void test_host_start(th_test_host *host, const char *const *arguments) {
  strcpy(host->dir, "/tmp/trainhost-test-XXXXXX");
  cr_assert_not_null(mkdtemp(host->dir));
  snprintf(host->socket_path, sizeof host->socket_path, "%s/trainhost.sock", host->dir);
  snprintf(host->url, sizeof host->url, "unix://%s", host->socket_path);
  snprintf(host->log_path, sizeof host->log_path, "%s/log", host->dir);
  test_host_restart(host, arguments);
}

int test_host_end(th_test_host *host, int signal) {
  int status;
  cr_assert_eq(kill(host->pid, signal), 0);
  cr_assert_eq(waitpid(host->pid, &status, 0), host->pid);
  host->pid = 0;
  return status;
}

static void state_path(const th_test_host *host, char path[96]) {
  snprintf(path, 96, "%s/state", host->dir);
}

void test_host_restart_on_small_disk(th_test_host *host) {
  if (geteuid() != 0) cr_skip_test("needs root to mount a small file system");
  char state[96];
  state_path(host, state);
  test_host_end(host, SIGTERM);
  if (mount("tmpfs", state, "tmpfs", 0, "size=32k") != 0)
    cr_skip_test("this machine does not let root mount a tmpfs");
  test_host_restart(host, NULL);
}

void test_host_end_on_small_disk(th_test_host *host) {
  char state[96];
  state_path(host, state);
  cr_assert_eq(test_host_end(host, SIGTERM), 0);
  cr_assert_eq(umount(state), 0);
}

void test_host_stop(th_test_host *host) {
  if (host->pid != 0) {
    int status = test_host_end(host, SIGTERM);
    /* Criterion does not count an assertion that fails after the test: this is a crash to it. */
    if (status != 0) {
      log_print(host->log_path);
      fprintf(stderr, "trainhostd did not stop cleanly: wait status %d\n", status);
      abort();
    }
  }
  char command[96];
  snprintf(command, sizeof command, "rm -rf %s", host->dir);
  cr_assert_eq(system(command), 0);
}

int test_host_fail(const char *const *arguments, char *text, size_t bytes) {
  char log_path[] = "/tmp/trainhost-log-XXXXXX";
  int log = mkstemp(log_path), status;
  cr_assert_geq(log, 0);
  pid_t pid = daemon_spawn(arguments, log_path);
  cr_assert_eq(waitpid(pid, &status, 0), pid);
  ssize_t length = read(log, text, bytes - 1);
  text[length > 0 ? length : 0] = '\0';
  close(log);
  unlink(log_path);
  cr_assert(WIFEXITED(status), "ended by a signal: %s", text);
  return WEXITSTATUS(status);
}

uint32_t test_process_fds(pid_t pid) {
  char path[32];
  snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
  DIR *directory = opendir(path);
  cr_assert_not_null(directory);
  uint32_t count = 0;
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
    count += entry->d_name[0] != '.';
  closedir(directory);
  return count;
}

double test_process_cpu_seconds(pid_t pid) {
  clockid_t clock;
  struct timespec used;
  cr_assert_eq(clock_getcpuclockid(pid, &clock), 0);
  cr_assert_eq(clock_gettime(clock, &used), 0);
  return (double)used.tv_sec + (double)used.tv_nsec * 1e-9;
}

th_adapter *test_adapter_open(const th_test_host *host, const th_adapter_options *options) {
  th_manager *manager;
  th_adapter *adapter;
  th_mode mode = host == NULL ? TH_MODE_LOCAL : TH_MODE_HOST;
  cr_assert_eq(th_manager_create(mode, host == NULL ? NULL : host->url, &manager), TH_OK);
  cr_assert_eq(th_adapter_open(manager, options, &adapter), TH_OK, "%s", th_error_text());
  th_manager_close(manager);
  return adapter;
}

/* Numbers that are the same everywhere: a linear congruential generator (Knuth, TAOCP 2, 3.3.4). */
static float noise(uint32_t *state) {
  *state = *state * 1664525u + 1013904223u;
  return (float)(*state >> 8) / 16777216.0f - 0.5f;
}

th_test_data test_data_create(uint64_t rows, uint32_t width, uint32_t seed) {
  th_test_data data = {.features = calloc(rows * width, sizeof(float)),
                       .labels = calloc(rows, sizeof(int32_t)),
                       .rows = rows,
                       .width = width};
  cr_assert(data.features != NULL && data.labels != NULL);
  for (uint64_t row = 0; row < rows; row++) {
    data.labels[row] = (int32_t)(row % 2);
    for (uint32_t column = 0; column < width; column++)
      data.features[row * width + column] = noise(&seed) + (data.labels[row] == 1 ? 0.25f : -0.25f);
  }
  return data;
}

void test_data_free(th_test_data *data) {
  free(data->features);
  free(data->labels);
  *data = (th_test_data){0};
}

th_job_request test_train_request(const th_test_data *data, const char *spec) {
  return (th_job_request){.kind = TH_JOB_TRAIN,
                          .spec = spec,
                          .rows = data->rows,
                          .width = data->width,
                          .features = data->features,
                          .labels = data->labels};
}

th_job *test_job_start(th_adapter *adapter, const th_job_request *request) {
  th_job *job;
  cr_assert_eq(th_job_start(adapter, request, &job), TH_OK, "%s", th_error_text());
  return job;
}

th_result test_job_run(th_adapter *adapter, const th_job_request *request) {
  th_job *job = test_job_start(adapter, request);
  th_result result = {0};
  cr_assert_eq(th_job_follow(job, NULL, NULL), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_result(job, &result), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_forget(job), TH_OK, "%s", th_error_text());
  th_job_close(job);
  return result;
}

void test_job_await(th_job *job, th_phase phase) {
  int64_t deadline = th_clock_deadline_ns(AWAIT_MS_MAX * TH_NS_PER_MS);
  th_progress progress = {0};
  while (progress.phase != (uint32_t)phase) {
    th_error error = th_job_progress(job, &progress);
    cr_assert(error == TH_OK || error == TH_ERR_AGAIN, "%s", th_error_text());
    cr_assert_lt(th_clock_now_ns(), deadline, "in phase %u and not %d", progress.phase, phase);
    sleep_ms(1);
  }
}

th_test_host test_host;
th_test_data test_data;

void test_set_up(void) {
  test_host_start(&test_host, NULL);
  test_data = test_data_create(2000, 16, 1);
}

void test_tear_down(void) {
  test_data_free(&test_data);
  test_host_stop(&test_host);
}

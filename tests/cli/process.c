#include "tests/cli/process.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "formats/file.h"
#include "formats/table.h"

enum { COMMAND_BYTES = 4096, RUN_SECONDS_MAX = 60, AWAIT_MS_MAX = 20000 };

static char directory[] = "/tmp/trainhost-cli-XXXXXX";

void test_enter_directory(void) {
  cr_assert_not_null(mkdtemp(directory));
  cr_assert_eq(chdir(directory), 0);
}

void test_leave_directory(void) {
  char command[64];
  snprintf(command, sizeof command, "rm -rf %s", directory);
  cr_assert_eq(chdir("/"), 0);
  cr_assert_eq(system(command), 0);
}

static int output_open(const char *path) {
  return open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
}

static void command_exec(const char *words, const test_process *process) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  alarm(RUN_SECONDS_MAX);
  dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
  dup2(output_open(process->out_path), STDOUT_FILENO);
  dup2(output_open(process->err_path), STDERR_FILENO);
  execl("/bin/sh", "sh", "-c", words, NULL);
  _exit(127);
}

static test_process start(const char *format, va_list arguments) {
  static int count;
  char words[COMMAND_BYTES];
  test_process process;
  int length = snprintf(words, sizeof words, "exec %s ", TH_TRAINHOST);
  vsnprintf(words + length, sizeof words - (size_t)length, format, arguments);
  snprintf(process.out_path, sizeof process.out_path, "out-%d", ++count);
  snprintf(process.err_path, sizeof process.err_path, "err-%d", count);
  process.pid = fork();
  cr_assert_geq(process.pid, 0);
  if (process.pid == 0) command_exec(words, &process);
  return process;
}

static char *text_read(const char *path) {
  th_buffer text;
  cr_assert_eq(th_file_read(path, &text), TH_OK, "%s", th_error_text());
  return text.data;
}

test_run test_process_end(test_process *process) {
  int status;
  cr_assert_eq(waitpid(process->pid, &status, 0), process->pid);
  return (test_run){
      .exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
      .out = text_read(process->out_path),
      .err = text_read(process->err_path),
  };
}

test_process test_trainhost_start(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  test_process process = start(format, arguments);
  va_end(arguments);
  return process;
}

test_run test_trainhost(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  test_process process = start(format, arguments);
  va_end(arguments);
  return test_process_end(&process);
}

void test_process_await(const test_process *process, const char *text) {
  int64_t deadline = th_clock_deadline_ns(AWAIT_MS_MAX * TH_NS_PER_MS);
  for (bool is_there = false; !is_there;) {
    cr_assert_lt(th_clock_now_ns(), deadline, "no \"%s\" within %d ms", text, AWAIT_MS_MAX);
    nanosleep(&(struct timespec){.tv_nsec = 5 * TH_NS_PER_MS}, NULL);
    if (!test_file_exists(process->out_path)) continue;
    char *out = text_read(process->out_path);
    is_there = strstr(out, text) != NULL;
    free(out);
  }
}

void test_run_free(test_run *run) {
  free(run->out);
  free(run->err);
  *run = (test_run){0};
}

json_t *test_last_object(const char *text) {
  json_t *last = NULL;
  while (*text != '\0') {
    size_t length = strcspn(text, "\n");
    cr_assert_eq(text[length], '\n', "a line without an end: %s", text);
    json_error_t why;
    json_decref(last);
    last = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
    cr_assert(json_is_object(last), "%s: %.*s", why.text, (int)length, text);
    text += length + 1;
  }
  cr_assert_not_null(last, "there is no line");
  return last;
}

void test_file_write(const char *path, const char *text) {
  cr_assert_eq(th_file_write(path, text, strlen(text)), TH_OK, "%s", th_error_text());
}

int test_file_exists(const char *path) {
  struct stat status;
  return stat(path, &status) == 0;
}

/* ---- data ---- */

enum { WIDTH = 4 };

/* A linear congruential generator (Knuth, TAOCP 2, 3.3.4): the same numbers everywhere. */
static float noise(uint32_t *state) {
  *state = *state * 1664525u + 1013904223u;
  return (float)(*state >> 8) / 16777216.0f - 0.5f;
}

static void labels_write(const uint8_t *labels, unsigned rows) {
  FILE *file = fopen("y.idx", "wb");
  cr_assert_not_null(file);
  const uint8_t head[] = {0, 0, 8, 1, 0, 0, (uint8_t)(rows >> 8), (uint8_t)rows};
  cr_assert_eq(fwrite(head, sizeof head, 1, file), 1);
  cr_assert_eq(fwrite(labels, rows, 1, file), 1);
  cr_assert_eq(fclose(file), 0);
}

void test_data_write(unsigned rows) {
  float *features = calloc(rows * WIDTH, sizeof *features);
  uint8_t *labels = calloc(rows, 1);
  FILE *csv = fopen("xy.csv", "w");
  uint32_t state = 7;
  cr_assert(features != NULL && labels != NULL && csv != NULL && rows < 65536);
  fputs("a,b,c,d,class\n", csv);
  for (unsigned row = 0; row < rows; row++) {
    labels[row] = row % 2;
    for (unsigned i = 0; i < WIDTH; i++) {
      float value = noise(&state) + (labels[row] == 1 ? 1.0f : -1.0f);
      features[row * WIDTH + i] = value;
      fprintf(csv, "%.9g,", (double)value);
    }
    fprintf(csv, "%u\n", labels[row]);
  }
  cr_assert_eq(fclose(csv), 0);
  labels_write(labels, rows);
  th_buffer npy;
  cr_assert_eq(th_npy_encode(features, rows, WIDTH, &npy), TH_OK);
  cr_assert_eq(th_file_write("x.npy", npy.data, npy.bytes), TH_OK, "%s", th_error_text());
  th_buffer_fini(&npy);
  free(features);
  free(labels);
}

/** The built command, run as a process of its own. Whatever fails fails the test. */
#ifndef TH_TESTS_CLI_PROCESS_H
#define TH_TESTS_CLI_PROCESS_H

#include <jansson.h>
#include <sys/types.h>

/** What a process left behind. */
typedef struct test_run {
  int exit_status; /**< 128 + the signal that ended it */
  char *out, *err; /**< what it wrote; NUL-terminated */
} test_run;

/** A process that runs, its output going to files. */
typedef struct test_process {
  pid_t pid;
  char out_path[64], err_path[64];
} test_process;

/** Make a directory for this test and work in it; and remove it. For .init and .fini. */
void test_enter_directory(void);
void test_leave_directory(void);

/**
 * Run `trainhost` with these arguments, a line of shell words, and wait for its end.
 *
 * The environment's mode is local, unless the test sets the variables itself. A run of more than a
 * minute is killed.
 */
__attribute__((format(printf, 1, 2))) test_run test_trainhost(const char *format, ...);

/** Start it without waiting. */
__attribute__((format(printf, 1, 2))) test_process test_trainhost_start(const char *format, ...);

/** Wait until its standard output holds the text, at most 20 s. */
void test_process_await(const test_process *process, const char *text);

/** Wait for its end. */
test_run test_process_end(test_process *process);

void test_run_free(test_run *run);

/** The last line of a text as a JSON object; every other line must be one, too. */
json_t *test_last_object(const char *text);

/** Write a text file. */
void test_file_write(const char *path, const char *text);

/** Whether there is such a file. */
int test_file_exists(const char *path);

/**
 * Write a data set of two classes that are easy to tell apart: x.npy, y.idx, xy.csv (the same, its
 * last column "class").
 */
void test_data_write(unsigned rows);

#endif

/**
 * A real trainhostd for a test, on a private socket, and data to train on. Whatever fails fails the
 * test.
 */
#ifndef TH_TESTS_SUPPORT_HOST_H
#define TH_TESTS_SUPPORT_HOST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "shim/trainhost.h"

typedef struct th_test_host {
  char dir[64]; /**< everything of it lies here */
  char socket_path[96]; /**< dir/trainhost.sock */
  char url[112];
  char log_path[96];
  pid_t pid; /**< 0: not running */
} th_test_host;

/** Make a directory and start a daemon in it. @param arguments  NULL-terminated, more options; may
 * be NULL. */
void test_host_start(th_test_host *host, const char *const *arguments);

/** Start one again in the same directory, after it was stopped or killed. */
void test_host_restart(th_test_host *host, const char *const *arguments);

/** Send a signal and wait for its end. @return as waitpid's status. */
int test_host_end(th_test_host *host, int signal);

/** SIGTERM if it runs; its exit status must be 0. Then delete the directory. */
void test_host_stop(th_test_host *host);

/** Start it again with a disk of 32 KiB for its state. Skips the test where none is to be had. */
void test_host_restart_on_small_disk(th_test_host *host);

/** Stop it, with exit status 0, and take that disk away. */
void test_host_end_on_small_disk(th_test_host *host);

/** Start a daemon that is expected to give up at once. @return its exit status; its words in
 * `text`. */
int test_host_fail(const char *const *arguments, char *text, size_t bytes);

/** The number of descriptors that the process has open. */
uint32_t test_process_fds(pid_t pid);

/** Processor time used so far. */
double test_process_cpu_seconds(pid_t pid);

/** Open an adapter to the host (NULL options: defaults), or to local mode with host NULL. */
th_adapter *test_adapter_open(const th_test_host *host, const th_adapter_options *options);

/** Two classes in `width` dimensions that a small net learns to tell apart; the same for the same
 * seed. */
typedef struct th_test_data {
  float *features;
  int32_t *labels;
  uint64_t rows;
  uint32_t width;
} th_test_data;

th_test_data test_data_create(uint64_t rows, uint32_t width, uint32_t seed);
void test_data_free(th_test_data *data);

/** A request to train on data. */
th_job_request test_train_request(const th_test_data *data, const char *spec);

/** Start a job, which must be accepted. */
th_job *test_job_start(th_adapter *adapter, const th_job_request *request);

/** Start, follow to the end, fetch the result and acknowledge it. */
th_result test_job_run(th_adapter *adapter, const th_job_request *request);

/** Wait until the job is in the phase, at most 20 s. */
void test_job_await(th_job *job, th_phase phase);

/** What most suites work with, made and removed by the two functions for .init and .fini: a host,
 * and 2,000 rows of 16 features. */
extern th_test_host test_host;
extern th_test_data test_data;

void test_set_up(void);
void test_tear_down(void);

/** A specification that trains for as long as any test could want. */
#define TEST_ENDLESS "{\"hidden\": [64, 64], \"epochs\": 1000000, \"seed\": 3}"

#endif

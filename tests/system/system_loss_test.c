/* The daemon goes away, stops, or was never there: the caller knows, soon, and why. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/support/host.h"

TestSuite(system_loss, .init = test_set_up, .fini = test_tear_down, .timeout = 120);

static th_job *start_endless(th_adapter *adapter) {
  th_job_request request = test_train_request(&test_data, TEST_ENDLESS);
  th_job *job = test_job_start(adapter, &request);
  test_job_await(job, TH_PHASE_TRAINING);
  return job;
}

static void *kill_soon(void *killed_ns) {
  nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
  *(int64_t *)killed_ns = th_clock_now_ns();
  kill(test_host.pid, SIGKILL);
  return NULL;
}

Test(system_loss, a_waiting_client_learns_of_the_daemons_death_within_10_ms) {
  th_adapter *adapter = test_adapter_open(&test_host, NULL);
  th_job *job = start_endless(adapter);
  pthread_t killer;
  int64_t killed_ns = 0;
  cr_assert_eq(pthread_create(&killer, NULL, kill_soon, &killed_ns), 0);
  cr_assert_eq(th_job_follow(job, NULL, NULL), TH_ERR_HOST_LOST);
  int64_t noticed_ns = th_clock_now_ns();
  pthread_join(killer, NULL);
  waitpid(test_host.pid, NULL, 0);
  test_host.pid = 0;
  cr_assert_lt(noticed_ns - killed_ns, 10 * TH_NS_PER_MS, "took %.1f ms",
               (double)(noticed_ns - killed_ns) / 1e6);
  cr_assert_not_null(strstr(th_error_text(), test_host.socket_path), "%s", th_error_text());

  th_progress progress;
  th_health health;
  cr_assert_eq(th_job_progress(job, &progress), TH_OK, "the last state can still be read");
  cr_assert_eq(progress.phase, TH_PHASE_TRAINING);
  cr_assert_eq(th_adapter_health(adapter, &health), TH_ERR_HOST_LOST);
  cr_assert_eq(th_job_cancel(job), TH_ERR_HOST_LOST);
  th_job_close(job);
  th_adapter_close(adapter);
}

Test(system_loss, a_stopped_daemon_is_a_stalled_one_within_the_callers_bound) {
  th_adapter_options options = {.call_timeout_ns = 300 * TH_NS_PER_MS,
                                .stall_timeout_ns = 600 * TH_NS_PER_MS,
                                .connect_timeout_ns = 300 * TH_NS_PER_MS};
  th_adapter *adapter = test_adapter_open(&test_host, &options);
  th_job *job = start_endless(adapter);
  kill(test_host.pid, SIGSTOP);

  int64_t start = th_clock_now_ns();
  th_health health;
  cr_assert_eq(th_adapter_health(adapter, &health), TH_ERR_HOST_STALLED);
  int64_t call_ns = th_clock_now_ns() - start;
  cr_assert_geq(call_ns, 295 * TH_NS_PER_MS);
  cr_assert_lt(call_ns, 500 * TH_NS_PER_MS);
  cr_assert_gt(strlen(th_error_text()), 20);

  start = th_clock_now_ns();
  cr_assert_eq(th_job_follow(job, NULL, NULL), TH_ERR_HOST_STALLED);
  cr_assert_lt(th_clock_now_ns() - start, 1200 * TH_NS_PER_MS);

  th_manager *manager;
  th_adapter *second;
  cr_assert_eq(th_manager_create(TH_MODE_HOST, test_host.url, &manager), TH_OK);
  start = th_clock_now_ns();
  cr_assert_eq(th_adapter_open(manager, &options, &second), TH_ERR_HOST_STALLED);
  cr_assert_lt(th_clock_now_ns() - start, 500 * TH_NS_PER_MS);
  th_manager_close(manager);

  kill(test_host.pid, SIGCONT);
  cr_assert_eq(th_job_cancel(job), TH_OK, "works again: %s", th_error_text());
  cr_assert_eq(th_job_follow(job, NULL, NULL), TH_ERR_CANCELED);
  th_job_close(job);
  th_adapter_close(adapter);
}

Test(system_loss, an_absent_daemon_is_an_error_at_once_that_names_path_and_remedy) {
  th_manager *manager;
  th_adapter *adapter;
  cr_assert_eq(th_manager_create(TH_MODE_HOST, "unix:///nowhere/trainhost.sock", &manager), TH_OK);
  int64_t best = INT64_MAX;
  for (int i = 0; i < 20; i++) {
    int64_t start = th_clock_now_ns();
    cr_assert_eq(th_adapter_open(manager, NULL, &adapter), TH_ERR_HOST_ABSENT);
    int64_t taken = th_clock_now_ns() - start;
    if (taken < best) best = taken;
  }
  cr_assert_lt(best, TH_NS_PER_MS);
  cr_assert_not_null(strstr(th_error_text(), "/nowhere/trainhost.sock"), "%s", th_error_text());
  cr_assert_not_null(strstr(th_error_text(), "trainhostd"), "%s", th_error_text());
  th_manager_close(manager);
}

static void wait_for_sessions(th_adapter *adapter, uint32_t count) {
  th_health health = {0};
  int64_t deadline = th_clock_deadline_ns(10 * TH_NS_PER_S);
  do {
    cr_assert_lt(th_clock_now_ns(), deadline, "%u sessions and not %u", health.sessions, count);
    cr_assert_eq(th_adapter_health(adapter, &health), TH_OK, "%s", th_error_text());
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  } while (health.sessions != count);
}

static void await_no_jobs(th_adapter *adapter) {
  th_job_info *jobs;
  size_t count = 1;
  int64_t deadline = th_clock_deadline_ns(10 * TH_NS_PER_S);
  while (count > 0) {
    cr_assert_lt(th_clock_now_ns(), deadline, "%zu jobs are left", count);
    cr_assert_eq(th_adapter_jobs(adapter, &jobs, &count), TH_OK, "%s", th_error_text());
    free(jobs);
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
}

Test(system_loss, a_client_that_vanishes_leaves_nothing_behind) {
  th_adapter *watcher = test_adapter_open(&test_host, NULL);
  uint32_t fds_before = test_process_fds(test_host.pid);
  for (int i = 0; i < 5; i++) {
    pid_t child = fork();
    if (child == 0) {
      th_adapter *adapter = test_adapter_open(&test_host, NULL);
      (void)start_endless(adapter);
      kill(getpid(), SIGKILL);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status));
  }
  wait_for_sessions(watcher, 1);
  await_no_jobs(watcher);
  cr_assert_eq(test_process_fds(test_host.pid), fds_before, "descriptors leaked");
  th_adapter_close(watcher);
}

Test(system_loss, a_forked_child_can_not_use_and_does_not_hold_its_parents_session) {
  th_adapter *watcher = test_adapter_open(&test_host, NULL);
  int pipe_fds[2];
  cr_assert_eq(pipe(pipe_fds), 0);
  pid_t parent = fork();
  if (parent == 0) {
    th_adapter *adapter = test_adapter_open(&test_host, NULL);
    pid_t child = fork();
    if (child == 0) {
      th_health health;
      /* Its own number if it was refused. It outlives its parent and is ended below. */
      pid_t verdict = th_adapter_health(adapter, &health) == TH_ERR_USAGE ? getpid() : 0;
      if (write(pipe_fds[1], &verdict, sizeof verdict) != sizeof verdict) _exit(1);
      sleep(60);
      _exit(0);
    }
    sleep(1);
    _exit(0);
  }
  pid_t orphan;
  cr_assert_eq(read(pipe_fds[0], &orphan, sizeof orphan), (ssize_t)sizeof orphan);
  cr_assert_gt(orphan, 0, "a forked child could use its parent's adapter");
  waitpid(parent, NULL, 0);
  wait_for_sessions(watcher, 1);
  cr_assert_eq(kill(orphan, SIGKILL), 0, "the orphan must still live, or nothing was shown");
  th_adapter_close(watcher);
}

Test(system_loss, idle_costs_no_processor_time) {
  th_adapter *adapter = test_adapter_open(&test_host, NULL);
  th_job_request request = test_train_request(&test_data, "{\"epochs\": 1}");
  th_result result = test_job_run(adapter, &request);
  th_result_fini(&result);
  /* The threads that the BLAS starts spin for a moment before they sleep for ever. */
  nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL);
  double daemon_before = test_process_cpu_seconds(test_host.pid);
  double client_before = test_process_cpu_seconds(getpid());
  sleep(2);
  cr_assert_lt(test_process_cpu_seconds(test_host.pid) - daemon_before, 0.02);
  cr_assert_lt(test_process_cpu_seconds(getpid()) - client_before, 0.02);
  th_adapter_close(adapter);
}

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/shim/peer.h"

static void serve(struct peer *peer) {
  peer_welcome(peer);
  peer_accept_job(peer, TH_WIRE_ATTACH, 1, 0);
  peer_await_hang_up(peer);
}

/* Which promise the child found broken; 0: none. Asserts belong to the parent. */
static int child_check(th_adapter *adapter, th_job *job) {
  th_health health;
  th_event event;
  th_progress progress;
  th_statistics statistics;
  if (th_adapter_health(adapter, &health) != TH_ERR_USAGE) return 1;
  if (strstr(th_error_text(), "fork") == NULL) return 2;
  if (th_job_next(job, &event, TH_WAIT_FOREVER) != TH_ERR_USAGE) return 3;
  if (th_job_follow(job, NULL, NULL) != TH_ERR_USAGE) return 4;
  if (th_job_progress(job, &progress) != TH_ERR_USAGE) return 5;
  if (th_job_cancel(job) != TH_ERR_USAGE || th_job_forget(job) != TH_ERR_USAGE) return 6;
  if (th_adapter_arm(adapter) != TH_ERR_USAGE || th_adapter_fd(adapter) != -1) return 7;
  th_adapter_statistics(adapter, &statistics);
  if (th_job_number(job) != 1) return 8;
  th_job_close(job);
  th_adapter_close(adapter);
  return 0;
}

Test(fork, a_child_may_only_close_what_it_inherited) {
  struct peer *peer = peer_start(serve, NULL);
  th_adapter *adapter = peer_connect(peer, NULL);
  th_job *job;
  cr_assert_eq(th_job_attach(adapter, 1, &job), TH_OK);
  pid_t child = fork();
  if (child == 0) _exit(child_check(adapter, job));
  int status;
  waitpid(child, &status, 0);
  cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
  th_event event;
  cr_assert_eq(th_job_next(job, &event, 0), TH_ERR_AGAIN, "the parent's session goes on");
  th_job_close(job);
  th_adapter_close(adapter);
  peer_stop(peer);
}

/* A process that connects, forks a child that lives on, and dies itself. */
static void die_leaving_a_child(const struct peer *peer, int child_lives_fd) {
  char url[80];
  snprintf(url, sizeof url, "unix://%s", peer->path);
  th_manager *manager;
  th_adapter *adapter;
  if (th_manager_create(TH_MODE_HOST, url, &manager) != TH_OK) _exit(1);
  if (th_adapter_open(manager, NULL, &adapter) != TH_OK) _exit(1);
  if (fork() == 0) {
    char byte;
    _exit(read(child_lives_fd, &byte, 1) == 0 ? 0 : 1);
  }
  _exit(0);
}

static void expect_quick_hang_up(struct peer *peer) {
  peer_welcome(peer);
  peer_await_hang_up(peer);
}

Test(fork, the_daemon_sees_the_parents_death_though_a_child_lives) {
  struct peer *peer = peer_start(expect_quick_hang_up, NULL);
  int lives[2];
  cr_assert_eq(pipe(lives), 0);
  int64_t begin_ns = th_clock_now_ns();
  pid_t parent = fork();
  if (parent == 0) {
    close(lives[1]);
    die_leaving_a_child(peer, lives[0]);
  }
  peer_stop(peer);
  cr_assert_lt(th_clock_now_ns() - begin_ns, 5 * TH_NS_PER_S);
  int status;
  waitpid(parent, &status, 0);
  cr_assert_eq(status, 0);
  close(lives[0]);
  close(lives[1]);
}

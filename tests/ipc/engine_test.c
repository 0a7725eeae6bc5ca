/* Both engines sleep and wake alike, and one that is not to be had says why and what to do. */
#include "ipc/engine.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "ipc/doorbell.h"
#include "tests/support/leak.h"
#include "tests/support/refuse.h"

static int bell, sockets[2];
static _Atomic uint32_t sleeps;
static th_engine engine;

static void fds_make(void) {
  leak_begin();
  cr_assert_eq(th_doorbell_create(&bell), TH_OK, "%s", th_error_text());
  cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
}

static void fds_close(void) {
  th_engine_close(&engine);
  close(bell);
  close(sockets[0]);
  close(sockets[1]);
  leak_end();
}

TestSuite(engine, .init = fds_make, .fini = fds_close);

static void open_as(const char *name) {
  cr_assert_eq(th_engine_choose(name, &engine), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_engine_open(&engine, bell, sockets[0]), TH_OK, "%s", th_error_text());
}

static void ring_bell(void) {
  th_doorbell_sleep(&sleeps);
  cr_assert(th_doorbell_ring(&sleeps, bell));
}

static bool wake_up(void) {
  return th_doorbell_wake(&sleeps, bell);
}

/* ---- what both promise ---- */

static void name_free(struct criterion_test_params *parameters) {
  (void)parameters;
}

/* Criterion hands a parameter to another process: no pointers. */
static struct criterion_test_params engine_names(void) {
  static char names[][16] = {"io_uring", "syscall"};
  return cr_make_param_array(char[16], names, 2, name_free);
}

#define EACH_ENGINE(test)                     \
  ParameterizedTestParameters(engine, test) { \
    return engine_names();                    \
  }                                           \
  ParameterizedTest(char name[16], engine, test, .init = fds_make, .fini = fds_close)

EACH_ENGINE(a_ring_from_before_ends_the_wait_at_once) {
  open_as(name);
  ring_bell();
  cr_assert_eq(th_engine_wait(&engine, 20 * TH_NS_PER_S), TH_OK);
  cr_assert_eq(th_engine_wait(&engine, 20 * TH_NS_PER_S), TH_OK, "until it is emptied");
  cr_assert(wake_up());
  cr_assert_eq(th_engine_wait(&engine, 0), TH_ERR_AGAIN);
}

EACH_ENGINE(time_passes) {
  open_as(name);
  int64_t begin_ns = th_clock_now_ns();
  cr_assert_eq(th_engine_wait(&engine, 30 * TH_NS_PER_MS), TH_ERR_AGAIN);
  int64_t took_ns = th_clock_now_ns() - begin_ns;
  cr_assert(took_ns >= 30 * TH_NS_PER_MS && took_ns < 5 * TH_NS_PER_S, "%ld ns", (long)took_ns);
  cr_assert_eq(th_engine_wait(&engine, -1), TH_ERR_AGAIN, "a time that is over is none");
}

EACH_ENGINE(a_wait_that_timed_out_leaves_nothing_for_the_next) {
  open_as(name);
  for (int i = 0; i < 1000; i++) {
    cr_assert_eq(th_engine_wait(&engine, 0), TH_ERR_AGAIN);
    ring_bell();
    cr_assert_eq(th_engine_wait(&engine, 0), TH_OK, "round %d", i);
    cr_assert(wake_up());
  }
}

EACH_ENGINE(a_hang_up_ends_this_wait_and_every_later_one) {
  open_as(name);
  shutdown(sockets[1], SHUT_RDWR);
  cr_assert_eq(th_engine_wait(&engine, 20 * TH_NS_PER_S), TH_OK);
  cr_assert_eq(th_engine_wait(&engine, 20 * TH_NS_PER_S), TH_OK);
  cr_assert_not(wake_up());
}

EACH_ENGINE(an_answer_on_the_socket_wakes_nobody) {
  open_as(name);
  cr_assert_eq(send(sockets[1], "answer", 6, 0), 6);
  cr_assert_eq(th_engine_wait(&engine, 10 * TH_NS_PER_MS), TH_ERR_AGAIN);
}

static void on_alarm(int number) {
  (void)number;
}

EACH_ENGINE(a_signal_ends_the_wait_early_and_leaves_nothing) {
  open_as(name);
  struct sigaction action = {.sa_handler = on_alarm};
  cr_assert_eq(sigaction(SIGALRM, &action, NULL), 0);
  struct itimerval soon = {.it_value.tv_usec = 20000};
  cr_assert_eq(setitimer(ITIMER_REAL, &soon, NULL), 0);
  int64_t begin_ns = th_clock_now_ns();
  cr_assert_eq(th_engine_wait(&engine, 20 * TH_NS_PER_S), TH_ERR_AGAIN);
  cr_assert_lt(th_clock_now_ns() - begin_ns, 10 * TH_NS_PER_S);
  ring_bell();
  cr_assert_eq(th_engine_wait(&engine, 0), TH_OK);
}

/* Threads take turns, and each ends while its successor goes on: what they waited with ends, too.
 */
static bool turn_take(void) {
  bool is_right = th_engine_wait(&engine, 0) == TH_ERR_AGAIN;
  ring_bell();
  is_right &= th_engine_wait(&engine, 20 * TH_NS_PER_S) == TH_OK;
  return wake_up() && is_right;
}

static void *turn_run(void *is_right) {
  *(bool *)is_right = turn_take();
  return NULL;
}

EACH_ENGINE(threads_that_come_and_go_take_turns) {
  open_as(name);
  for (int i = 0; i < 50; i++) {
    pthread_t thread;
    bool is_right = false;
    cr_assert_eq(pthread_create(&thread, NULL, turn_run, &is_right), 0);
    pthread_join(thread, NULL);
    cr_assert(is_right, "thread %d", i);
    cr_assert(turn_take(), "after thread %d", i);
  }
}

static void *ring_soon(void *argument) {
  (void)argument;
  usleep(20000);
  ring_bell();
  return NULL;
}

EACH_ENGINE(a_sleeper_is_woken_and_burns_no_time) {
  open_as(name);
  struct rusage before, after;
  getrusage(RUSAGE_THREAD, &before);
  for (int i = 0; i < 10; i++) {
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, ring_soon, NULL), 0);
    cr_assert_eq(th_engine_wait(&engine, 20 * TH_NS_PER_S), TH_OK);
    cr_assert(wake_up());
    pthread_join(thread, NULL);
  }
  getrusage(RUSAGE_THREAD, &after);
  int64_t used_us = (after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 +
                    (after.ru_utime.tv_usec - before.ru_utime.tv_usec);
  cr_assert_lt(used_us, 50000, "%ld us of 200 ms", (long)used_us);
}

/* The child closes what it inherited, and the parent's engine goes on. */
EACH_ENGINE(a_forked_child_gives_it_up) {
  open_as(name);
  pid_t child = fork();
  if (child == 0) {
    uint32_t before = leak_count_fds();
    th_engine_abandon(&engine);
    uint32_t closed = before - leak_count_fds();
    _exit(closed == (strcmp(name, "io_uring") == 0 ? 2 : 0) ? 0 : 1);
  }
  int status;
  waitpid(child, &status, 0);
  cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
  ring_bell();
  cr_assert_eq(th_engine_wait(&engine, 20 * TH_NS_PER_S), TH_OK);
}

/* ---- the choice ---- */

static void assert_text(const char *part) {
  cr_assert_not_null(strstr(th_error_text(), part), "no \"%s\" in: %s", part, th_error_text());
}

Test(engine, io_uring_is_the_default_and_says_so) {
  unsetenv(TH_ENGINE_VARIABLE);
  open_as(NULL);
  cr_assert_eq(strncmp(engine.text, "io_uring (the default; ", 23), 0, "%s", engine.text);
}

Test(engine, the_environment_chooses_where_the_caller_does_not) {
  setenv(TH_ENGINE_VARIABLE, "syscall", 1);
  open_as(NULL);
  cr_assert_str_eq(engine.text, "syscall (as TRAINING_HOST_IO says)");
  th_engine_close(&engine);
  open_as("io_uring");
  cr_assert_eq(strncmp(engine.text, "io_uring (as the caller chose; ", 31), 0, "%s", engine.text);
}

Test(engine, an_empty_variable_says_nothing) {
  setenv(TH_ENGINE_VARIABLE, "", 1);
  open_as(NULL);
  cr_assert_eq(engine.kind, &th_engine_io_uring);
}

Test(engine, any_other_name_is_an_error_that_names_both) {
  static const char *const names[] = {"epoll", "IO_URING", "io_uring ", "sys", "%s%n"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    setenv(TH_ENGINE_VARIABLE, names[i], 1);
    cr_assert_eq(th_engine_choose(NULL, &engine), TH_ERR_USAGE, "%s", names[i]);
    cr_assert_eq(th_engine_choose(names[i], &engine), TH_ERR_USAGE, "%s", names[i]);
    assert_text(names[i]);
    assert_text("must be io_uring, or syscall");
  }
  cr_assert_eq(th_engine_choose("", &engine), TH_ERR_USAGE, "a caller who chooses names one");
}

/* ---- io_uring that is not to be had ---- */

static const struct {
  int failure;
  th_error error;
  const char *says;
} refusals[] = {
    {EPERM, TH_ERR_DENIED, "Operation not permitted"},
    {EACCES, TH_ERR_DENIED, "Permission denied"},
    {ENOSYS, TH_ERR_SYSTEM, "Function not implemented"},
    {EOPNOTSUPP, TH_ERR_SYSTEM, "Operation not supported"},
    {ENOMEM, TH_ERR_SYSTEM, "RLIMIT_MEMLOCK"},
};

enum { REFUSALS = sizeof refusals / sizeof refusals[0] };

static void assert_refused(int call, const char *name, int i) {
  refuse_call((unsigned)call, (unsigned)refusals[i].failure);
  uint32_t fds = leak_count_fds();
  cr_assert_eq(th_engine_choose("io_uring", &engine), TH_OK);
  cr_assert_eq(th_engine_open(&engine, bell, sockets[0]), refusals[i].error);
  assert_text(name);
  assert_text(refusals[i].says);
  assert_text(TH_ENGINE_VARIABLE "=syscall");
  th_engine_close(&engine);
  cr_assert_eq(leak_count_fds(), fds, "a descriptor was left open");
  open_as("syscall");
  cr_assert_eq(th_engine_wait(&engine, 0), TH_ERR_AGAIN);
}

/* One process for each errno, since a filter stays. */
#define EACH_REFUSAL(test)                                      \
  ParameterizedTestParameters(engine, test) {                   \
    static int rows[REFUSALS] = {0, 1, 2, 3, 4};                \
    return cr_make_param_array(int, rows, REFUSALS, name_free); \
  }                                                             \
  ParameterizedTest(int *row, engine, test, .init = fds_make, .fini = fds_close)

EACH_REFUSAL(a_ring_that_cannot_be_made_says_why_and_what_to_do) {
  assert_refused(SYS_io_uring_setup, "io_uring_setup", *row);
}

EACH_REFUSAL(a_ring_that_cannot_be_entered_is_found_out_at_once) {
  assert_refused(SYS_io_uring_enter, "io_uring_enter", *row);
}

EACH_REFUSAL(a_ring_that_cannot_be_probed_is_none) {
  assert_refused(SYS_io_uring_register, "io_uring_register", *row);
}

Test(engine, a_kernel_that_knows_no_flags_is_asked_without) {
  refuse_call(SYS_io_uring_setup, EINVAL);
  cr_assert_eq(th_engine_choose("io_uring", &engine), TH_OK);
  cr_assert_eq(th_engine_open(&engine, bell, sockets[0]), TH_ERR_SYSTEM);
  assert_text("Invalid argument");
}

Test(engine, no_descriptor_left_is_an_error_and_leaves_none_open) {
  int lowest = dup(bell);
  cr_assert_eq(close(lowest), 0);
  struct rlimit limit = {.rlim_cur = (rlim_t)lowest, .rlim_max = 4096};
  for (int room = 0; room < 2; room++, limit.rlim_cur++) {
    cr_assert_eq(th_engine_choose("io_uring", &engine), TH_OK);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    th_error error = th_engine_open(&engine, bell, sockets[0]);
    struct rlimit wide = {.rlim_cur = 4096, .rlim_max = 4096};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &wide), 0);
    cr_assert_eq(error, TH_ERR_SYSTEM, "room for %d", room);
    assert_text("Too many open files");
    th_engine_close(&engine);
  }
}

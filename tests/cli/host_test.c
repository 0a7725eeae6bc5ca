/* The command and a real daemon. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cli/process.h"
#include "tests/support/host.h"

static th_test_host host;

static void set_up(void) {
  test_enter_directory();
  test_data_write(400);
  test_host_start(&host, NULL);
  setenv("USE_TRAINING_HOST_SERVICE", "true", 1);
  setenv("TRAINING_HOST_SERVICE_URL", host.url, 1);
}

static void tear_down(void) {
  test_host_stop(&host);
  test_leave_directory();
}

TestSuite(host, .init = set_up, .fini = tear_down);

#define DATA "--data x.npy --labels y.idx"
#define ENDLESS DATA " --epochs 1000000"

static void assert_holds(const char *text, const char *part) {
  cr_assert_not_null(strstr(text, part), "no \"%s\" in: %s", part, text);
}

/* Run what must succeed, and find these words in what it prints. */
static void assert_prints(test_run run, const char *part) {
  cr_assert_eq(run.exit_status, 0, "%d: %s", run.exit_status, run.err);
  assert_holds(run.out, part);
  test_run_free(&run);
}

static void assert_fails(test_run run, int exit_status, const char *part) {
  cr_assert_eq(run.exit_status, exit_status, "%d: %s", run.exit_status, run.err);
  assert_holds(run.err, part);
  test_run_free(&run);
}

static json_t *status_of(const char *words) {
  test_run run = test_trainhost("status %s --json", words);
  cr_assert_eq(run.exit_status, 0, "%s", run.out);
  json_t *status = test_last_object(run.out);
  test_run_free(&run);
  return status;
}

static size_t jobs_count(void) {
  json_t *status = status_of("");
  size_t count = json_array_size(json_object_get(status, "jobs"));
  json_decref(status);
  return count;
}

Test(host, ping_tells_daemon_device_and_round_trip) {
  assert_prints(test_trainhost("ping"), "trainhostd " TH_VERSION " at unix:///");
  assert_prints(test_trainhost("ping --verbose"), "io          io_uring (the default");
  setenv("TRAINING_HOST_IO", "syscall", 1);
  assert_prints(test_trainhost("ping --verbose"), "io          syscall (as TRAINING_HOST_IO says)");
  setenv("TRAINING_HOST_IO", "aio", 1);
  assert_fails(test_trainhost("ping"), 64, "must be io_uring, or syscall");
  unsetenv("TRAINING_HOST_IO");
  test_run run = test_trainhost("ping --json --count 3");
  json_t *ping = test_last_object(run.out);
  json_int_t least = json_integer_value(json_object_get(ping, "round_trip_least_ns"));
  json_int_t median = json_integer_value(json_object_get(ping, "round_trip_median_ns"));
  cr_assert(least > 0 && least <= median);
  cr_assert_eq(json_integer_value(json_object_get(ping, "sessions")), 1);
  cr_assert_eq(strncmp(json_string_value(json_object_get(ping, "device")), "cpu", 3), 0);
  json_decref(ping);
  test_run_free(&run);
}

Test(host, host_and_local_mode_write_the_same_model_and_leave_no_job) {
  assert_prints(test_trainhost("train " DATA " --epochs 4 --seed 9 --out host.safetensors"),
                "trained 4 epochs");
  cr_assert_eq(jobs_count(), 0);
  assert_prints(test_trainhost("evaluate --model host.safetensors " DATA), "400 rows");
  assert_prints(test_trainhost("predict --model host.safetensors --data x.npy --out p.csv"),
                "p.csv");
  cr_assert_eq(jobs_count(), 0);
  unsetenv("USE_TRAINING_HOST_SERVICE");
  assert_prints(test_trainhost("train " DATA " --epochs 4 --seed 9 --out local.safetensors"),
                "trained 4 epochs");
  cr_assert_eq(system("cmp host.safetensors local.safetensors"), 0);
}

Test(host, a_detached_job_is_listed_fetched_and_forgotten) {
  test_run run = test_trainhost("train " DATA " --epochs 20 --name \"my job\" --detach --json");
  cr_assert_eq(run.exit_status, 0, "%s", run.out);
  json_t *started = test_last_object(run.out);
  cr_assert_eq(json_integer_value(json_object_get(started, "job")), 1);
  json_decref(started);
  test_run_free(&run);
  assert_prints(test_trainhost("result 1 --wait --out m.safetensors"), "trained 20 epochs");
  cr_assert(test_file_exists("m.json"));
  assert_prints(test_trainhost("status"), "my job");
  assert_prints(test_trainhost("status 1 --watch"), "done");
  assert_fails(test_trainhost("cancel 1"), 66, "nothing left to cancel");
  assert_prints(test_trainhost("forget 1"), "job 1 is forgotten");
  assert_fails(test_trainhost("result 1 --out n"), 66, "1");
  assert_fails(test_trainhost("status 1"), 66, "no job 1");
}

Test(host, a_job_that_is_not_over_has_no_result_and_can_be_canceled) {
  assert_prints(test_trainhost("train " ENDLESS " --detach"), "job 1 goes on");
  assert_fails(test_trainhost("result 1 --out m.safetensors"), 75, "--wait");
  assert_prints(test_trainhost("cancel 1"), "job 1 is canceled");
  assert_fails(test_trainhost("result 1 --wait --out m.safetensors"), 130, "canceled");
}

Test(host, ctrl_c_while_waiting_leaves_the_job) {
  assert_prints(test_trainhost("train " ENDLESS " --detach"), "job 1 goes on");
  test_process process = test_trainhost_start("result 1 --wait --json --out m.safetensors");
  test_process_await(&process, "\"event\":\"epoch\"");
  cr_assert_eq(kill(process.pid, SIGINT), 0);
  test_run run = test_process_end(&process);
  cr_assert_eq(run.exit_status, 130);
  assert_holds(run.out, "goes on");
  test_run_free(&run);
  json_t *status = status_of("1");
  const json_t *job = json_array_get(json_object_get(status, "jobs"), 0);
  cr_assert_str_eq(json_string_value(json_object_get(job, "phase")), "training");
  json_decref(status);
}

Test(host, ctrl_c_while_training_leaves_nothing_at_the_host) {
  test_process process = test_trainhost_start("train " ENDLESS " --json --out m.safetensors");
  test_process_await(&process, "\"event\":\"epoch\"");
  cr_assert_eq(kill(process.pid, SIGINT), 0);
  test_run run = test_process_end(&process);
  cr_assert_eq(run.exit_status, 130, "%s", run.out);
  test_run_free(&run);
  cr_assert_eq(jobs_count(), 0);
}

Test(host, a_daemon_that_dies_is_told_at_once) {
  test_process process = test_trainhost_start("train " ENDLESS " --json --out m.safetensors");
  test_process_await(&process, "\"event\":\"epoch\"");
  test_host_end(&host, SIGKILL);
  test_run run = test_process_end(&process);
  cr_assert_eq(run.exit_status, 69, "%s", run.out);
  json_t *error = test_last_object(run.out);
  cr_assert_str_eq(json_string_value(json_object_get(error, "code")), "TH_ERR_HOST_LOST");
  json_decref(error);
  test_run_free(&run);
}

Test(host, a_result_that_cannot_be_written_is_kept_and_the_text_says_how_to_fetch_it) {
  test_process process =
      test_trainhost_start("train " DATA " --epochs 300 --json --out there/m.safetensors");
  /* The directory is there when the path is judged and gone when the model is ready. */
  test_run run = test_process_end(&process);
  cr_assert_eq(run.exit_status, 74);
  test_run_free(&run);
  cr_assert_eq(system("mkdir there"), 0);
  process = test_trainhost_start("train " DATA " --epochs 300 --json --out there/m.safetensors");
  test_process_await(&process, "\"event\":\"epoch\"");
  cr_assert_eq(system("rmdir there"), 0);
  run = test_process_end(&process);
  cr_assert_eq(run.exit_status, 74, "%s", run.out);
  assert_holds(run.out, "trainhost result 1 --out FILE");
  test_run_free(&run);
  assert_prints(test_trainhost("result 1 --out m.safetensors"), "trained 300 epochs");
}

Test(host, a_stopped_host_leaves_a_checkpoint_to_go_on_from) {
  assert_prints(test_trainhost("train " ENDLESS " --detach"), "job 1 goes on");
  test_process process = test_trainhost_start("result 1 --wait --json --out m.safetensors");
  test_process_await(&process, "\"event\":\"epoch\"");
  kill(process.pid, SIGKILL);
  test_run killed = test_process_end(&process);
  test_run_free(&killed);
  cr_assert_eq(test_host_end(&host, SIGTERM), 0);
  test_host_restart(&host, NULL);
  assert_prints(test_trainhost("result 1 --wait --out c.safetensors"), "a checkpoint");
  cr_assert_not(test_file_exists("c.json"), "a checkpoint has no card");
  /* What is no checkpoint is refused, so what is taken is one. */
  assert_fails(test_trainhost("train " ENDLESS " --resume xy.csv --out m"), 65, "safetensors");
  process = test_trainhost_start("train " ENDLESS " --resume c.safetensors --json --out m");
  test_process_await(&process, "\"event\":\"epoch\"");
  cr_assert_eq(kill(process.pid, SIGINT), 0);
  test_run run = test_process_end(&process);
  cr_assert_eq(run.exit_status, 130, "%s", run.out);
  test_run_free(&run);
}

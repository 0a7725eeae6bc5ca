/* The file of --checkpoint, with the built command: what an interrupted training leaves. */
#include <criterion/criterion.h>
#include <glob.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "formats/file.h"
#include "formats/safetensors.h"
#include "tests/cli/process.h"
#include "tests/support/host.h"

static void set_up(void) {
  unsetenv("USE_TRAINING_HOST_SERVICE");
  test_enter_directory();
  test_data_write(400);
}

TestSuite(cli_checkpoint, .init = set_up, .fini = test_leave_directory);

#define DATA "--data x.npy --labels y.idx"
#define ENDLESS DATA " --epochs 1000000 --json"

/* Long enough to be interrupted, and no longer: sanitizers make all of it ten times slower. */
#ifdef __SANITIZE_ADDRESS__
#define LONG DATA " --epochs 40 --batch-size 2 --dropout 0.1 --json"
#else
#define LONG DATA " --epochs 300 --batch-size 2 --dropout 0.1 --json"
#endif

static void assert_holds(const char *text, const char *part) {
  cr_assert_not_null(strstr(text, part), "no \"%s\" in: %s", part, text);
}

static void assert_ends(test_run run, int exit_status, const char *part) {
  cr_assert_eq(run.exit_status, exit_status, "%d: %s%s", run.exit_status, run.out, run.err);
  assert_holds(run.exit_status == 0 || run.err[0] == '\0' ? run.out : run.err, part);
  test_run_free(&run);
}

static void await_file(const char *path) {
  int64_t deadline_ns = th_clock_deadline_ns(20 * TH_NS_PER_S);
  while (!test_file_exists(path)) {
    cr_assert_lt(th_clock_now_ns(), deadline_ns, "%s does not come", path);
    usleep(1000);
  }
}

/* The first of its counters, see kernels/trainer_checkpoint.c. */
static int64_t epoch_of(const char *path) {
  th_buffer file;
  th_safetensors decoded;
  cr_assert_eq(th_file_read(path, &file), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_safetensors_decode(file.data, file.bytes, &decoded), TH_OK, "%s",
               th_error_text());
  const th_tensor *counters = th_safetensors_find(&decoded, "place.counters");
  cr_assert_not_null(counters, "%s is no checkpoint", path);
  int64_t epoch;
  memcpy(&epoch, counters->data, sizeof epoch);
  th_safetensors_fini(&decoded);
  th_buffer_fini(&file);
  return epoch;
}

static void check_ctrl_c(void) {
  assert_ends(test_trainhost("train " LONG " --out whole"), 0, "\"result\"");
  test_process process = test_trainhost_start("train " LONG " --checkpoint c --out m");
  test_process_await(&process, "\"event\":\"epoch\"");
  cr_assert_eq(kill(process.pid, SIGINT), 0);
  assert_ends(test_process_end(&process), 130, "--resume c goes on");
  cr_assert_not(test_file_exists("m"), "a checkpoint was written as a model");
  cr_assert_gt(epoch_of("c"), 0);
  assert_ends(test_trainhost("train " LONG " --resume c --out m"), 0, "\"result\"");
  cr_assert_eq(system("cmp m whole"), 0);
}

Test(cli_checkpoint, of_ctrl_c_goes_on_to_the_same_model) {
  check_ctrl_c();
}

Test(cli_checkpoint, of_ctrl_c_goes_on_to_the_same_model_at_a_host, .timeout = 120) {
  test_host_start(&test_host, NULL);
  setenv("USE_TRAINING_HOST_SERVICE", "true", 1);
  setenv("TRAINING_HOST_SERVICE_URL", test_host.url, 1);
  check_ctrl_c();
  assert_ends(test_trainhost("status --json"), 0, "\"jobs\":[]");
  test_host_stop(&test_host);
}

Test(cli_checkpoint, is_not_taken_for_a_model_nor_a_model_for_one) {
  assert_ends(test_trainhost("train " LONG " --epochs 2 --out m"), 0, "\"result\"");
  test_process process = test_trainhost_start("train " LONG " --checkpoint c --out n");
  test_process_await(&process, "\"event\":\"epoch\"");
  cr_assert_eq(kill(process.pid, SIGINT), 0);
  assert_ends(test_process_end(&process), 130, "--resume c");
  assert_ends(test_trainhost("evaluate " DATA " --model c"), 64, "--model c is a checkpoint");
  assert_ends(test_trainhost("train " DATA " --init c --out n"), 64, "--init c is a checkpoint");
  assert_ends(test_trainhost("train " DATA " --resume m --out n"), 64, "--resume m is a model");
}

Test(cli_checkpoint, of_every_nth_epoch_outlives_the_process) {
  test_process process =
      test_trainhost_start("train " ENDLESS " --checkpoint-epochs 2 --checkpoint c --out m");
  await_file("c");
  cr_assert_eq(kill(process.pid, SIGKILL), 0);
  test_run killed = test_process_end(&process);
  test_run_free(&killed);
  process = test_trainhost_start("train " ENDLESS " --resume c --checkpoint later --out m");
  test_process_await(&process, "\"event\":\"epoch\"");
  cr_assert_eq(kill(process.pid, SIGTERM), 0);
  assert_ends(test_process_end(&process), 130, "--resume later goes on");
  cr_assert_eq(epoch_of("c") % 2, 0);
  cr_assert_gt(epoch_of("later"), epoch_of("c"), "it began at the beginning");
}

Test(cli_checkpoint, of_a_killed_host_is_with_the_client_and_with_the_host, .timeout = 120) {
  test_host_start(&test_host, NULL);
  setenv("USE_TRAINING_HOST_SERVICE", "true", 1);
  setenv("TRAINING_HOST_SERVICE_URL", test_host.url, 1);
  test_process process =
      test_trainhost_start("train " ENDLESS " --checkpoint-epochs 2 --checkpoint c --out m");
  await_file("c");
  test_host_end(&test_host, SIGKILL);
  assert_ends(test_process_end(&process), 69, "TH_ERR_HOST_LOST");
  test_host_restart(&test_host, NULL);
  assert_ends(test_trainhost("result 1 --checkpoint d"), 0, "written: d, a checkpoint of job 1");
  assert_ends(test_trainhost("result 1 --out e"), 0, "written: e, a checkpoint of job 1");
  cr_assert_eq(system("cmp d e"), 0);
  static const char *const files[] = {"c", "d"};
  for (size_t i = 0; i < 2; i++) {
    process = test_trainhost_start("train " ENDLESS " --resume %s --out m", files[i]);
    test_process_await(&process, "\"event\":\"epoch\"");
    cr_assert_eq(kill(process.pid, SIGINT), 0);
    assert_ends(test_process_end(&process), 130, "canceled");
    cr_assert_geq(epoch_of(files[i]), 2);
  }
  test_host_stop(&test_host);
}

Test(cli_checkpoint, of_a_running_job_is_fetched, .timeout = 120) {
  test_host_start(&test_host, NULL);
  setenv("USE_TRAINING_HOST_SERVICE", "true", 1);
  setenv("TRAINING_HOST_SERVICE_URL", test_host.url, 1);
  assert_ends(test_trainhost("train " ENDLESS " --detach"), 0, "\"job\":1");
  assert_ends(test_trainhost("result 1 --checkpoint c"), 75, "checkpoint_epochs");
  assert_ends(test_trainhost("train " ENDLESS " --checkpoint-epochs 1 --detach"), 0, "\"job\":2");
  int64_t deadline_ns = th_clock_deadline_ns(20 * TH_NS_PER_S);
  test_run run = test_trainhost("result 2 --checkpoint c");
  while (run.exit_status == 75 && th_clock_now_ns() < deadline_ns) {
    test_run_free(&run);
    run = test_trainhost("result 2 --checkpoint c");
  }
  assert_ends(run, 0, "--resume c");
  assert_ends(test_trainhost("status 2"), 0, "training");
  assert_ends(test_trainhost("result 2 --checkpoint c --out m"), 64, "without --out");
  assert_ends(test_trainhost("result 2 --checkpoint no/such/c"), 74, "no/such/c");
  test_host_stop(&test_host);
}

Test(cli_checkpoint, needs_a_place_of_its_own) {
  assert_ends(test_trainhost("train " DATA " --checkpoint-epochs 2 --out m"), 64,
              "--checkpoint FILE");
  assert_ends(test_trainhost("train " DATA " --checkpoint m --out m"), 64, "both m");
  assert_ends(test_trainhost("train " DATA " --checkpoint c --detach"), 64,
              "result JOB --checkpoint FILE");
  assert_ends(test_trainhost("train " DATA " --checkpoint no/such/c --out m"), 74, "no/such/c");
}

static unsigned count(const char *text, const char *part) {
  unsigned found = 0;
  for (const char *at = text; (at = strstr(at, part)) != NULL; at++) found++;
  return found;
}

/* The directory is there when the path is judged, and gone when there is a checkpoint. A second
 * passes between two attempts. */
Test(cli_checkpoint, that_cannot_be_written_is_told_once_and_ends_no_training) {
  cr_assert_eq(mkdir("there", 0777), 0);
  setenv("TMPDIR", ".", 1);
  test_process process =
      test_trainhost_start("train " ENDLESS " --checkpoint-epochs 1 --checkpoint there/c --out m");
  test_process_await(&process, "\"event\":\"epoch\"");
  cr_assert_eq(rename("there", "gone"), 0);
  test_process_await(&process, "\"event\":\"warning\"");
  nanosleep(&(struct timespec){.tv_sec = 2, .tv_nsec = 500000000}, NULL);
  cr_assert_eq(kill(process.pid, SIGINT), 0);
  test_run run = test_process_end(&process);
  cr_assert_eq(count(run.out, "\"event\":\"warning\""), 1);
  assert_holds(run.out, "there/c");
  assert_ends(run, 74, "it is in ./trainhost-");
}

/* ---- a model that has no room where it should go ---- */

static char *rescued_path(const char *pattern) {
  glob_t found;
  cr_assert_eq(glob(pattern, 0, NULL, &found), 0, "nothing is there as %s", pattern);
  char *path = strdup(found.gl_pathv[0]);
  globfree(&found);
  return path;
}

#define LARGE DATA " --epochs 2 --hidden 256,128 --out full/m.safetensors"

Test(cli_checkpoint, or_the_place_of_temporary_files_takes_a_model_that_has_no_room) {
  if (geteuid() != 0) cr_skip_test("needs root to mount a small file system");
  cr_assert_eq(system("mkdir full saved temporary"), 0);
  if (mount("tmpfs", "full", "tmpfs", 0, "size=16k") != 0)
    cr_skip_test("this machine does not let root mount a tmpfs");
  setenv("TMPDIR", "temporary", 1);
  assert_ends(test_trainhost("train " LARGE), 74, "it is in temporary/trainhost-");
  assert_ends(test_trainhost("train " LARGE " --checkpoint saved/c"), 74,
              "it is in saved/trainhost-");
  static const char *const patterns[] = {"temporary/trainhost-*-m.safetensors",
                                         "saved/trainhost-*-m.safetensors"};
  for (size_t i = 0; i < 2; i++) {
    char *path = rescued_path(patterns[i]);
    assert_ends(test_trainhost("evaluate " DATA " --model %s", path), 0, "accuracy");
    free(path);
  }
  setenv("TMPDIR", "full", 1);
  assert_ends(test_trainhost("train " LARGE), 74, "nor could it be written anywhere else");
  cr_assert_eq(umount("full"), 0);
}

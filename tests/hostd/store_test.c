#include "hostd/store.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Each test runs in its own process: one directory for it. */
static char dir[] = "/tmp/trainhost-store-XXXXXX";
static th_store store;

static void setup(void) {
  cr_assert_not_null(mkdtemp(dir));
  cr_assert_eq(th_store_open(dir, &store), TH_OK, "%s", th_error_text());
}

static void teardown(void) {
  th_store_close(&store);
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", dir);
  cr_assert_eq(system(command), 0);
}

TestSuite(store, .init = setup, .fini = teardown);

static void reopen(void) {
  th_store_close(&store);
  cr_assert_eq(th_store_open(dir, &store), TH_OK, "%s", th_error_text());
}

static th_record record_of(uint64_t job) {
  th_record record = {.job = job, .uid = 1000, .kind = TH_JOB_TRAIN, .name = "example"};
  record.progress.phase = TH_PHASE_DONE;
  return record;
}

static th_error save(uint64_t job, const char *output, const char *card) {
  th_record record = record_of(job);
  th_buffer output_bytes = {.data = (void *)(uintptr_t)output, .bytes = strlen(output)};
  th_buffer card_bytes = {.data = (void *)(uintptr_t)card, .bytes = strlen(card)};
  return th_store_save(&store, &record, &output_bytes, &card_bytes);
}

static void assert_file(uint64_t job, th_store_file file, const char *expected) {
  int fd;
  uint64_t bytes;
  char text[64] = "";
  cr_assert_eq(th_store_open_file(&store, job, file, &fd, &bytes), TH_OK, "%s", th_error_text());
  cr_assert_geq(fd, 0);
  cr_assert_eq(bytes, strlen(expected));
  cr_assert_eq(read(fd, text, sizeof text - 1), (ssize_t)bytes);
  cr_assert_str_eq(text, expected);
  cr_assert_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY, "a client could write the result");
  close(fd);
}

static th_error count_record(void *user, const th_record *record) {
  uint64_t *sum = user;
  *sum += record->job;
  return TH_OK;
}

static void count_skipped(void *user) {
  uint64_t *sum = user;
  *sum += 1000000;
}

static uint64_t stored_sum(void) {
  uint64_t sum = 0;
  cr_assert_eq(th_store_each(&store, count_record, count_skipped, &sum), TH_OK);
  return sum;
}

Test(store, numbers_begin_at_one_and_never_come_twice) {
  uint64_t first, second, third;
  cr_assert_eq(th_store_take_number(&store, &first), TH_OK);
  cr_assert_eq(th_store_take_number(&store, &second), TH_OK);
  reopen();
  cr_assert_eq(th_store_take_number(&store, &third), TH_OK);
  cr_assert_eq(first, 1);
  cr_assert_eq(second, 2);
  cr_assert_eq(third, 3, "a clean stop wastes no number");
}

Test(store, numbers_never_come_twice_after_a_crash) {
  uint64_t before, after;
  cr_assert_eq(th_store_take_number(&store, &before), TH_OK);
  close(store.lock_fd); /* what a kill -9 leaves: no close */
  cr_assert_eq(th_store_open(dir, &store), TH_OK);
  cr_assert_eq(th_store_take_number(&store, &after), TH_OK);
  cr_assert_gt(after, before);
}

Test(store, a_result_is_there_after_a_restart) {
  cr_assert_eq(save(7, "weights", "{\"a\": 1}"), TH_OK, "%s", th_error_text());
  reopen();
  cr_assert_eq(stored_sum(), 7);
  assert_file(7, TH_STORE_OUTPUT, "weights");
  assert_file(7, TH_STORE_CARD, "{\"a\": 1}");
}

Test(store, a_job_without_output_has_no_file) {
  int fd;
  uint64_t bytes;
  cr_assert_eq(save(7, "", "{}"), TH_OK);
  cr_assert_eq(th_store_open_file(&store, 7, TH_STORE_OUTPUT, &fd, &bytes), TH_OK);
  cr_assert_eq(fd, -1);
  cr_assert_eq(bytes, 0);
}

Test(store, an_unknown_job_is_not_found) {
  int fd;
  uint64_t bytes;
  cr_assert_eq(th_store_open_file(&store, 8, TH_STORE_CARD, &fd, &bytes), TH_ERR_NOT_FOUND);
  cr_assert_eq(th_store_forget(&store, 8), TH_OK);
}

static th_error save_checkpoint(uint64_t job, uint32_t epoch, const th_buffer *output) {
  const th_buffer none = {0};
  th_record record = record_of(job);
  record.is_checkpoint = true;
  record.progress.phase = TH_PHASE_CANCELED;
  record.progress.epoch = epoch;
  return th_store_save(&store, &record, output, &none);
}

static void assert_no_file(uint64_t job, th_store_file file) {
  int fd;
  uint64_t bytes;
  cr_assert_eq(th_store_open_file(&store, job, file, &fd, &bytes), TH_OK);
  cr_assert_eq(fd, -1);
}

Test(store, a_checkpoint_takes_the_older_ones_place_and_the_result_its) {
  char words[] = "first second";
  const th_buffer first = {.data = words, .bytes = 5}, second = {.data = words + 6, .bytes = 6};
  cr_assert_eq(save_checkpoint(7, 1, &first), TH_OK, "%s", th_error_text());
  assert_file(7, TH_STORE_CHECKPOINT, "first");
  assert_no_file(7, TH_STORE_OUTPUT);
  cr_assert_eq(save_checkpoint(7, 2, &second), TH_OK, "%s", th_error_text());
  assert_file(7, TH_STORE_CHECKPOINT, "second");
  cr_assert_eq(save(7, "weights", "{}"), TH_OK, "%s", th_error_text());
  assert_file(7, TH_STORE_OUTPUT, "weights");
  assert_no_file(7, TH_STORE_CHECKPOINT);
  cr_assert_eq(stored_sum(), 7);
  char path[128];
  snprintf(path, sizeof path, "%s/jobs/.new-7", dir);
  cr_assert_neq(access(path, F_OK), 0, "the older one is left");
}

/* Each checkpoint is as many bytes of one value as its epoch says. */
static void save_for_ever(void) {
  static unsigned char bytes[4096];
  for (uint32_t epoch = 1;; epoch++) {
    memset(bytes, (int)(epoch % 251), sizeof bytes);
    const th_buffer output = {.data = bytes, .bytes = 1 + epoch % sizeof bytes};
    if (save_checkpoint(7, epoch, &output) != TH_OK) _exit(1);
  }
}

static th_error check_whole(void *user, const th_record *record) {
  unsigned char bytes[4096];
  uint32_t *epoch = user;
  int fd;
  uint64_t count;
  cr_assert(record->is_checkpoint);
  cr_assert_geq(record->progress.epoch, *epoch, "an older one came back");
  *epoch = record->progress.epoch;
  cr_assert_eq(th_store_open_file(&store, 7, TH_STORE_CHECKPOINT, &fd, &count), TH_OK);
  cr_assert_eq(count, 1 + *epoch % sizeof bytes, "a checkpoint with another's record");
  cr_assert_eq(read(fd, bytes, sizeof bytes), (ssize_t)count);
  close(fd);
  for (uint64_t i = 0; i < count; i++) cr_assert_eq(bytes[i], *epoch % 251);
  return TH_OK;
}

static void fail_skipped(void *user) {
  (void)user;
  cr_assert_fail("half a checkpoint: %s", th_error_text());
}

Test(store, a_kill_at_any_moment_leaves_a_whole_checkpoint, .timeout = 60) {
  uint32_t newest = 1;
  char ones[] = {1, 1};
  const th_buffer first = {.data = ones, .bytes = sizeof ones};
  cr_assert_eq(save_checkpoint(7, 1, &first), TH_OK, "%s", th_error_text());
  for (long round = 0; round < 20; round++) {
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) save_for_ever();
    nanosleep(&(struct timespec){.tv_nsec = 1000000 + round * 370000}, NULL);
    kill(child, SIGKILL);
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status), "a save failed");
    reopen();
    newest = 0;
    cr_assert_eq(th_store_each(&store, check_whole, fail_skipped, &newest), TH_OK);
    cr_assert_gt(newest, 0, "it is gone");
  }
}

Test(store, forget_deletes_all_of_a_job) {
  cr_assert_eq(save(7, "weights", "{}"), TH_OK);
  cr_assert_eq(save(9, "others", "{}"), TH_OK);
  cr_assert_eq(th_store_forget(&store, 7), TH_OK);
  cr_assert_eq(stored_sum(), 9);
  char path[128];
  snprintf(path, sizeof path, "%s/jobs/7", dir);
  cr_assert_neq(access(path, F_OK), 0);
}

Test(store, open_clears_what_a_crash_left_half_written) {
  char path[128], file[160];
  snprintf(path, sizeof path, "%s/jobs/.new-12", dir);
  snprintf(file, sizeof file, "%s/output", path);
  cr_assert_eq(mkdir(path, 0700), 0);
  int fd = open(file, O_CREAT | O_WRONLY, 0600);
  cr_assert_eq(write(fd, "half", 4), 4);
  close(fd);
  reopen();
  cr_assert_neq(access(path, F_OK), 0);
  cr_assert_eq(stored_sum(), 0);
}

Test(store, a_broken_record_is_skipped_and_kept) {
  char path[128], file[160];
  snprintf(path, sizeof path, "%s/jobs/5", dir);
  snprintf(file, sizeof file, "%s/job.json", path);
  cr_assert_eq(mkdir(path, 0700), 0);
  int fd = open(file, O_CREAT | O_WRONLY, 0600);
  cr_assert_eq(write(fd, "{", 1), 1);
  close(fd);
  cr_assert_eq(save(7, "weights", "{}"), TH_OK);
  cr_assert_eq(stored_sum(), 1000007);
  cr_assert_eq(access(file, F_OK), 0);
}

Test(store, a_second_daemon_is_kept_out) {
  th_store second;
  cr_assert_eq(th_store_open(dir, &second), TH_ERR_BUSY);
  cr_assert_not_null(strstr(th_error_text(), dir));
}

Test(store, a_state_dir_that_cannot_be_made_is_an_error_that_names_it) {
  th_store other;
  cr_assert_eq(th_store_open("/proc/no/such/place", &other), TH_ERR_IO);
  cr_assert_not_null(strstr(th_error_text(), "/proc/no/such/place"));
  char endless[PATH_MAX];
  memset(endless, 'a', sizeof endless - 1);
  endless[sizeof endless - 1] = '\0';
  cr_assert_eq(th_store_open(endless, &other), TH_ERR_USAGE);
}

Test(store, a_full_disk_leaves_what_was_there_and_nothing_else) {
  if (geteuid() != 0) cr_skip_test("needs root to mount a small file system");
  char small[] = "/tmp/trainhost-small-XXXXXX";
  cr_assert_not_null(mkdtemp(small));
  if (mount("tmpfs", small, "tmpfs", 0, "size=64k") != 0)
    cr_skip_test("this machine does not let root mount a tmpfs");
  th_store full;
  cr_assert_eq(th_store_open(small, &full), TH_OK, "%s", th_error_text());
  th_record record = record_of(3);
  th_buffer output = {.data = calloc(1, 1 << 20), .bytes = 100}, card = {0};
  cr_assert_eq(th_store_save(&full, &record, &output, &card), TH_OK, "%s", th_error_text());
  output.bytes = 1 << 20;
  cr_assert_eq(th_store_save(&full, &record, &output, &card), TH_ERR_IO);
  cr_assert_not_null(strstr(th_error_text(), "No space left"), "%s", th_error_text());
  int fd;
  uint64_t bytes;
  cr_assert_eq(th_store_open_file(&full, 3, TH_STORE_OUTPUT, &fd, &bytes), TH_OK);
  cr_assert_eq(bytes, 100, "what was stored before must stay");
  close(fd);
  output.bytes = 200;
  cr_assert_eq(th_store_save(&full, &record, &output, &card), TH_OK,
               "the space of the failed one must be free again: %s", th_error_text());
  th_buffer_fini(&output);
  th_store_close(&full);
  cr_assert_eq(umount(small), 0);
  rmdir(small);
}

#include "formats/file.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scratch.h"

TestSuite(file, .init = scratch_open, .fini = scratch_close);

static void assert_contents(const char *name, const void *data, size_t bytes) {
  th_buffer read;
  cr_assert_eq(th_file_read(name, &read), TH_OK, "%s", th_error_text());
  cr_assert_eq(read.bytes, bytes);
  cr_assert_eq(memcmp(read.data, data, bytes), 0);
  cr_assert_eq(((char *)read.data)[bytes], '\0');
  th_buffer_fini(&read);
}

Test(file, read_gives_every_byte_and_a_nul) {
  scratch_write("a", "x\0y", 3);
  assert_contents("a", "x\0y", 3);
  scratch_write("empty", "", 0);
  assert_contents("empty", "", 0);
}

Test(file, read_tells_what_is_wrong_with_the_path) {
  th_buffer read;
  assert_failed(th_file_read("absent", &read), TH_ERR_NOT_FOUND, "absent: No such file");
  scratch_write("plain", "x", 1);
  assert_failed(th_file_read("plain/below", &read), TH_ERR_NOT_FOUND, "plain/below");
  assert_failed(th_file_read(".", &read), TH_ERR_IO, "regular file");
  assert_failed(th_file_read("/dev/zero", &read), TH_ERR_IO, "/dev/zero");
}

/* An open without a reader at the other end would wait for ever. */
Test(file, read_does_not_wait_for_a_pipe, .timeout = 10) {
  th_buffer read;
  cr_assert_eq(mkfifo("pipe", 0600), 0);
  assert_failed(th_file_read("pipe", &read), TH_ERR_IO, "pipe");
}

Test(file, read_fd_leaves_the_position_and_does_not_unpack) {
  scratch_write_gzip("a.gz", "hello", 5);
  int fd = open("a.gz", O_RDONLY);
  cr_assert_eq(lseek(fd, 3, SEEK_SET), 3);
  th_buffer read;
  cr_assert_eq(th_file_read_fd(fd, "a.gz", &read), TH_OK);
  cr_assert_eq(((unsigned char *)read.data)[0], 0x1F);
  cr_assert_eq(lseek(fd, 0, SEEK_CUR), 3);
  th_buffer_fini(&read);
  close(fd);
}

Test(file, read_fd_names_what_it_was_told) {
  th_buffer read;
  assert_failed(th_file_read_fd(-1, "the features", &read), TH_ERR_IO, "the features");
}

Test(file, read_at_reads_all_that_is_asked_for_or_fails) {
  int fd;
  uint64_t bytes;
  char read[4];
  scratch_write("a", "hello", 5);
  cr_assert_eq(th_file_open("a", &fd, &bytes), TH_OK, "%s", th_error_text());
  cr_assert_eq(bytes, 5);
  cr_assert_eq(th_file_read_at(fd, "a", 1, read, 4), TH_OK, "%s", th_error_text());
  cr_assert_eq(memcmp(read, "ello", 4), 0);
  cr_assert_eq(th_file_read_at(fd, "a", 5, read, 0), TH_OK);
  assert_failed(th_file_read_at(fd, "a", 2, read, 4), TH_ERR_IO, "a: it became shorter");
  close(fd);
}

/* ---- gzip ---- */

Test(file, read_unpacks_gzip_of_any_length) {
  size_t bytes = (5 << 20) + 3;
  char *data = malloc(bytes);
  for (size_t i = 0; i < bytes; i++) data[i] = (char)(i * i >> 7);
  scratch_write_gzip("large.gz", data, bytes);
  assert_contents("large.gz", data, bytes);
  scratch_write_gzip("exact.gz", data, 1 << 20);
  assert_contents("exact.gz", data, 1 << 20);
  scratch_write_gzip("none.gz", data, 0);
  assert_contents("none.gz", "", 0);
  free(data);
}

Test(file, read_unpacks_members_that_follow_each_other) {
  scratch_write_gzip("one.gz", "one", 3);
  scratch_write_gzip("two.gz", "two", 3);
  cr_assert_eq(system("cat one.gz two.gz > both.gz"), 0);
  assert_contents("both.gz", "onetwo", 6);
}

Test(file, read_refuses_gzip_that_is_cut_off_or_followed_by_something) {
  th_buffer packed, read;
  scratch_write_gzip("whole.gz", "hello hello hello", 17);
  int fd = open("whole.gz", O_RDONLY);
  cr_assert_eq(th_file_read_fd(fd, "whole.gz", &packed), TH_OK);
  close(fd);
  for (size_t bytes = 2; bytes < packed.bytes; bytes++) {
    scratch_write("cut.gz", packed.data, bytes);
    assert_failed(th_file_read("cut.gz", &read), TH_ERR_DATA, "cut.gz");
  }
  th_buffer_fini(&packed);
  cr_assert_eq(system("(cat whole.gz; echo more) > more.gz"), 0);
  assert_failed(th_file_read("more.gz", &read), TH_ERR_DATA, "more.gz");
}

static th_error read_and_free(const char *name) {
  th_buffer read = {0};
  th_error error = th_file_read(name, &read);
  th_buffer_fini(&read);
  return error;
}

Test(file, read_judges_every_damage_to_gzip) {
  th_buffer packed;
  scratch_write_gzip("a.gz", "damage", 6);
  int fd = open("a.gz", O_RDONLY);
  cr_assert_eq(th_file_read_fd(fd, "a.gz", &packed), TH_OK);
  close(fd);
  scratch_corrupt("a.gz", packed.data, packed.bytes, read_and_free);
  th_buffer_fini(&packed);
}

/* ---- writing ---- */

Test(file, write_replaces_the_whole_file_and_leaves_nothing_beside_it) {
  cr_assert_eq(th_file_write("a", "a longer text", 13), TH_OK);
  cr_assert_eq(th_file_write("./a", "new", 3), TH_OK);
  assert_contents("a", "new", 3);
  cr_assert_eq(th_file_write("a", NULL, 0), TH_OK);
  assert_contents("a", "", 0);
  cr_assert_eq(scratch_count(), 1);
}

Test(file, write_gives_the_mode_that_the_umask_leaves) {
  struct stat status;
  umask(027);
  cr_assert_eq(th_file_write("a", "x", 1), TH_OK);
  cr_assert_eq(stat("a", &status), 0);
  cr_assert_eq(status.st_mode & 0777, 0640);
}

Test(file, write_tells_what_is_wrong_with_the_path) {
  assert_failed(th_file_write("absent/a", "x", 1), TH_ERR_IO, "absent/a");
  cr_assert_eq(mkdir("directory", 0755), 0);
  assert_failed(th_file_write("directory", "x", 1), TH_ERR_IO, "directory");
  cr_assert_eq(scratch_count(), 1);
  char path[5000];
  memset(path, 'p', sizeof path - 1);
  path[sizeof path - 1] = '\0';
  assert_failed(th_file_write(path, "x", 1), TH_ERR_IO, "pppp");
}

Test(file, write_to_a_full_disk_keeps_the_old_file_and_leaves_nothing) {
  cr_assert_eq(mkdir("disk", 0755), 0);
  if (mount("none", "disk", "tmpfs", 0, "size=1m") != 0)
    cr_skip_test("mounting a small file system needs root");
  size_t bytes = 4 << 20;
  char *data = calloc(1, bytes);
  th_error first = th_file_write("disk/a", "old", 3);
  th_error second = th_file_write("disk/a", data, bytes);
  char text[512];
  snprintf(text, sizeof text, "%s", th_error_text());
  th_buffer read = {0};
  th_error third = th_file_read("disk/a", &read);
  bool is_alone =
      rmdir("disk") != 0 && unlink("disk/a") == 0 && system("ls -A disk | wc -l | grep -qx 0") == 0;
  /* Before the judgement, for a failed one would leave the mount behind. */
  cr_assert_eq(umount("disk"), 0);
  cr_assert_eq(first, TH_OK);
  cr_assert_eq(second, TH_ERR_IO);
  cr_assert_not_null(strstr(text, "No space left"), "%s", text);
  cr_assert_eq(third, TH_OK);
  cr_assert_str_eq(read.data, "old");
  cr_assert(is_alone, "a half-written file was left");
  th_buffer_fini(&read);
  free(data);
}

Test(file, write_beyond_the_limit_of_the_process_keeps_the_old_file) {
  cr_assert_eq(th_file_write("a", "old", 3), TH_OK);
  signal(SIGXFSZ, SIG_IGN);
  struct rlimit limit, before;
  getrlimit(RLIMIT_FSIZE, &before);
  limit = (struct rlimit){.rlim_cur = 5, .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &limit);
  th_error error = th_file_write("a", "longer than five", 16);
  setrlimit(RLIMIT_FSIZE, &before);
  assert_failed(error, TH_ERR_IO, "a: File too large");
  assert_contents("a", "old", 3);
  cr_assert_eq(scratch_count(), 1);
}

enum { WRITES = 100, WRITE_BYTES = 100000 };

static void *write_repeatedly(void *done) {
  char *data = malloc(WRITE_BYTES);
  for (int i = 0; i < WRITES; i++) {
    memset(data, 'a' + i % 26, WRITE_BYTES);
    if (th_file_write("a", data, WRITE_BYTES) != TH_OK) break;
  }
  free(data);
  atomic_store((atomic_bool *)done, true);
  return NULL;
}

Test(file, a_reader_sees_the_old_file_or_the_whole_new_one) {
  atomic_bool is_done = false;
  pthread_t writer;
  cr_assert_eq(th_file_write("a", "", 0), TH_OK);
  pthread_create(&writer, NULL, write_repeatedly, &is_done);
  while (!atomic_load(&is_done)) {
    th_buffer read;
    cr_assert_eq(th_file_read("a", &read), TH_OK);
    const char *bytes = read.data;
    if (read.bytes > 0) {
      cr_assert_eq(read.bytes, WRITE_BYTES);
      cr_assert_eq(memcmp(bytes, bytes + 1, WRITE_BYTES - 1), 0, "two files in one");
    }
    th_buffer_fini(&read);
  }
  pthread_join(writer, NULL);
  cr_assert_eq(scratch_count(), 1);
}

Test(file, check_writable_tells_what_write_would_and_leaves_nothing) {
  cr_assert_eq(th_file_check_writable("a"), TH_OK);
  cr_assert_eq(scratch_count(), 0);
  scratch_write("a", "kept", 4);
  cr_assert_eq(th_file_check_writable("a"), TH_OK);
  assert_contents("a", "kept", 4);
  assert_failed(th_file_check_writable("absent/a"), TH_ERR_IO, "absent/a");
  assert_failed(th_file_check_writable("."), TH_ERR_IO, "directory");
}

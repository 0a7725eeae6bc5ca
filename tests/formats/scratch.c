#include "scratch.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

/* Criterion runs each test in a process of its own. */
static char directory[] = "/tmp/trainhost-formats-XXXXXX";
static uint32_t fds_before;

static uint32_t entries_count(const char *path) {
  uint32_t count = 0;
  DIR *listing = opendir(path);
  cr_assert_not_null(listing);
  while (readdir(listing) != NULL) count++;
  closedir(listing);
  return count - 2; /* "." and ".." */
}

void scratch_open(void) {
  cr_assert_not_null(mkdtemp(directory));
  cr_assert_eq(chdir(directory), 0);
  fds_before = entries_count("/proc/self/fd");
}

void scratch_close(void) {
  char command[128];
  cr_expect_eq(entries_count("/proc/self/fd"), fds_before, "a descriptor was left open");
  snprintf(command, sizeof command, "rm -rf %s", directory);
  cr_assert_eq(system(command), 0);
}

void scratch_write(const char *name, const void *data, size_t bytes) {
  int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  cr_assert_geq(fd, 0);
  cr_assert_eq(write(fd, data, bytes), (ssize_t)bytes);
  close(fd);
}

void scratch_write_gzip(const char *name, const void *data, size_t bytes) {
  gzFile file = gzopen(name, "wb");
  cr_assert_not_null(file);
  cr_assert_eq(gzwrite(file, data, (unsigned)bytes), (int)bytes);
  cr_assert_eq(gzclose(file), Z_OK);
}

uint32_t scratch_count(void) {
  return entries_count(".");
}

bool scratch_numpy(const char *script) {
  if (system("/usr/bin/python3 -c 'import numpy' 2>/dev/null") != 0) return false;
  char text[4096];
  int length = snprintf(text, sizeof text, "import numpy as np\n%s", script);
  scratch_write("script.py", text, (size_t)length);
  cr_assert_eq(system("/usr/bin/python3 script.py"), 0);
  return true;
}

void assert_failed(th_error error, th_error expected, const char *words) {
  cr_assert_eq(error, expected, "%s: %s", th_error_name(error), th_error_text());
  cr_assert_not_null(strstr(th_error_text(), words), "\"%s\" does not say \"%s\"", th_error_text(),
                     words);
}

static void assert_judged(const char *name, th_error (*read)(const char *name), const char *what,
                          size_t place) {
  (void)th_fail(TH_ERR_SYSTEM, "%s", " ");
  th_error error = read(name);
  cr_assert(error == TH_OK || error == TH_ERR_DATA, "%s %zu: %s", what, place, th_error_text());
  if (error != TH_OK) cr_assert_gt(strlen(th_error_text()), 10, "%s %zu", what, place);
}

void scratch_corrupt(const char *name, const void *data, size_t bytes,
                     th_error (*read)(const char *name)) {
  char *copy = malloc(bytes);
  memcpy(copy, data, bytes);
  for (size_t length = 0; length < bytes; length++) {
    scratch_write(name, copy, length);
    assert_judged(name, read, "cut at", length);
  }
  scratch_write(name, copy, bytes);
  cr_assert_eq(read(name), TH_OK, "whole: %s", th_error_text());
  int fd = open(name, O_WRONLY);
  for (size_t i = 0; i < bytes; i++) {
    for (int change = 1; change < 256; change++) {
      char changed = (char)(copy[i] ^ change);
      cr_assert_eq(pwrite(fd, &changed, 1, (off_t)i), 1);
      assert_judged(name, read, "changed byte", i);
    }
    cr_assert_eq(pwrite(fd, &copy[i], 1, (off_t)i), 1);
  }
  close(fd);
  free(copy);
}

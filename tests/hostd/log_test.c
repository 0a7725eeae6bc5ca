#include "hostd/log.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINES = 1000 };

/* Stderr becomes a pipe that nobody reads. @return its other end. */
static int log_to_pipe(void) {
  int ends[2];
  cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
  cr_assert_geq(fcntl(ends[0], F_SETPIPE_SZ, 16384), 16384);
  cr_assert_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
  close(ends[1]);
  return ends[0];
}

Test(log, a_full_pipe_stops_nobody_and_what_was_lost_is_told, .timeout = 10) {
  char text[65536];
  int reader = log_to_pipe();
  for (int i = 0; i < LINES; i++) th_log(TH_LOG_INFO, "line %d of many", i);
  ssize_t bytes = read(reader, text, sizeof text - 1);
  cr_assert_gt(bytes, 0);
  text[bytes] = '\0';
  cr_assert_not_null(strstr(text, "line 0 of many\n"));
  cr_assert_null(strstr(text, "line 999 of many"));
  th_log(TH_LOG_INFO, "there is room again");
  bytes = read(reader, text, sizeof text - 1);
  cr_assert_gt(bytes, 0);
  text[bytes] = '\0';
  unsigned lost = 0;
  const char *told = strstr(text, "warning: ");
  cr_assert_not_null(told, "%s", text);
  cr_assert_eq(sscanf(told, "warning: %u lines", &lost), 1);
  cr_assert(lost > 0 && lost < LINES);
  cr_assert_not_null(strstr(text, "there is room again\n"));
  close(reader);
}

Test(log, a_peer_cannot_forge_a_line) {
  char text[4096];
  int reader = log_to_pipe();
  th_log(TH_LOG_INFO, "client \"%s\"", "a\nb\033[2J");
  ssize_t bytes = read(reader, text, sizeof text - 1);
  cr_assert_gt(bytes, 0);
  text[bytes] = '\0';
  cr_assert_not_null(strstr(text, "client \"a?b?[2J\"\n"));
  close(reader);
}

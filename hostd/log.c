#include "hostd/log.h"

#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES_MAX = 1024 };

static th_log_level level_max = TH_LOG_INFO;

static pthread_mutex_t write_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned lines_lost; /* under the lock: since the last that was written */

void th_log_set_level(th_log_level level) {
  level_max = level;
}

static const char *level_word(th_log_level level) {
  switch (level) {
    case TH_LOG_ERROR:
      return "error: ";
    case TH_LOG_WARNING:
      return "warning: ";
    case TH_LOG_INFO:
    case TH_LOG_DEBUG:
      return "";
  }
  return "";
}

/* journald adds the time itself and reads "<6>" as the priority. */
static int line_begin(char *line, size_t bytes, th_log_level level) {
  if (getenv("JOURNAL_STREAM") != NULL) return snprintf(line, bytes, "<%d>", level);
  struct timespec now;
  struct tm parts;
  clock_gettime(CLOCK_REALTIME, &now);
  localtime_r(&now.tv_sec, &parts);
  size_t used = strftime(line, bytes, "%F %T", &parts);
  return (int)used + snprintf(line + used, bytes - used, ".%03ld trainhostd: %s",
                              now.tv_nsec / 1000000, level_word(level));
}

/* A peer chooses parts of what is logged; it must not be able to forge a line or drive a terminal.
 */
static void line_mask_control_characters(char *line) {
  for (; *line != '\0'; line++)
    if ((unsigned char)*line < 0x20 || *line == 0x7F) *line = '?';
}

/* Whether a line can be written without waiting: a pipe that polls as writable has room for as much
 * as a line has at most. */
static bool has_room(void) {
  struct pollfd log = {.fd = STDERR_FILENO, .events = POLLOUT};
  return poll(&log, 1, 0) == 1 && (log.revents & POLLOUT) != 0;
}

/* A log that takes nothing, because its reader has stopped, is no reason to stop serving. One write
 * a line, so that threads' lines do not mix. */
static void line_write(const char *line, size_t length) {
  if (!has_room()) {
    lines_lost++;
    return;
  }
  ssize_t written = write(STDERR_FILENO, line, length);
  (void)written;
}

__attribute__((format(printf, 2, 0))) static void line_log(th_log_level level, const char *format,
                                                           va_list arguments) {
  char line[LINE_BYTES_MAX];
  int used = line_begin(line, sizeof line - 1, level);
  vsnprintf(line + used, sizeof line - 1 - (size_t)used, format, arguments);
  line_mask_control_characters(line);
  size_t length = strlen(line);
  line[length++] = '\n';
  line_write(line, length);
}

__attribute__((format(printf, 2, 3))) static void line_print(th_log_level level, const char *format,
                                                             ...) {
  va_list arguments;
  va_start(arguments, format);
  line_log(level, format, arguments);
  va_end(arguments);
}

void th_log(th_log_level level, const char *format, ...) {
  if (level > level_max) return;
  va_list arguments;
  va_start(arguments, format);
  pthread_mutex_lock(&write_lock);
  if (lines_lost > 0 && has_room()) {
    unsigned lost = lines_lost;
    lines_lost = 0;
    line_print(TH_LOG_WARNING, "%u lines before this one found no room in the log", lost);
  }
  line_log(level, format, arguments);
  pthread_mutex_unlock(&write_lock);
  va_end(arguments);
}

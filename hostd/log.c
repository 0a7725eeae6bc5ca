#include "hostd/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES_MAX = 1024 };

static th_log_level level_max = TH_LOG_INFO;

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

void th_log(th_log_level level, const char *format, ...) {
  if (level > level_max) return;
  char line[LINE_BYTES_MAX];
  int used = line_begin(line, sizeof line - 1, level);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line + used, sizeof line - 1 - (size_t)used, format, arguments);
  va_end(arguments);
  line_mask_control_characters(line);
  size_t length = strlen(line);
  line[length++] = '\n';
  /* One write a line, so that threads' lines do not mix; a log that cannot be written is no reason
   * to stop serving. */
  ssize_t written = write(STDERR_FILENO, line, length);
  (void)written;
}

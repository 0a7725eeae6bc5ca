#include "cli/output.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* As many digits as bring back every decimal number of a model card as it stands there. */
#define JSON_FLAGS (JSON_COMPACT | JSON_REAL_PRECISION(15))

/* A process has one standard output, so its state is the process's. */
static struct {
  bool is_json, is_quiet;
  bool has_failed;
  int reason; /* errno of the first write that failed */
} output;

void th_output_set_json(void) {
  output.is_json = true;
}

void th_output_set_quiet(void) {
  output.is_quiet = true;
}

bool th_output_is_json(void) {
  return output.is_json;
}

bool th_output_is_quiet(void) {
  return output.is_quiet;
}

/* Remembers the first failure and goes on: a training is worth finishing although nobody can be
 * told of it, and the exit status says so at the end. */
static void write_judge(bool has_failed) {
  if (!has_failed || output.has_failed) return;
  output.has_failed = true;
  output.reason = errno;
}

void th_output_text(const char *format, ...) {
  if (output.is_json || output.is_quiet) return;
  va_list arguments;
  va_start(arguments, format);
  int length = vprintf(format, arguments);
  va_end(arguments);
  write_judge(length < 0);
}

void th_output_json(json_t *object) {
  if (output.is_json) {
    /* What jansson fails with; a failing write sets its own. */
    errno = ENOMEM;
    write_judge(object == NULL || json_dumpf(object, stdout, JSON_FLAGS) != 0 ||
                putchar('\n') == EOF || fflush(stdout) != 0);
  }
  json_decref(object);
}

bool th_output_flush(void) {
  write_judge(fflush(stdout) != 0);
  return !output.has_failed;
}

json_t *th_output_number(double number) {
  return isfinite(number) ? json_real(number) : json_null();
}

json_t *th_output_string(const char *text) {
  json_t *string = json_string(text);
  if (string != NULL) return string;
  /* A path may hold any bytes, and JSON may not. */
  char *ascii = strdup(text);
  if (ascii == NULL) return NULL;
  for (char *at = ascii; *at != '\0'; at++)
    if ((unsigned char)*at >= 0x80) *at = '?';
  string = json_string(ascii);
  free(ascii);
  return string;
}

void th_output_fail(th_error error) {
  if (output.is_json)
    th_output_json(json_pack("{s:s, s:s, s:i, s:o}", "event", "error", "code", th_error_name(error),
                             "exit", th_error_exit_status(error), "message",
                             th_output_string(th_error_text())));
  else /* and also when quiet: an exit status alone explains nothing */
    fprintf(stderr, "trainhost: %s\n", th_error_text());
}

/* Quiet JSON has one line, the last, and a warning is not that. */
void th_output_warn(th_error error) {
  if (!output.is_json)
    fprintf(stderr, "trainhost: warning: %s\n", th_error_text());
  else if (!output.is_quiet)
    th_output_json(json_pack("{s:s, s:s, s:o}", "event", "warning", "code", th_error_name(error),
                             "message", th_output_string(th_error_text())));
}

int th_output_finish(th_error error) {
  if (error != TH_OK) th_output_fail(error);
  if (th_output_flush()) return th_error_exit_status(error);
  /* Whoever closed the pipe knows it, and has no use for a message. */
  if (output.reason != EPIPE)
    fprintf(stderr, "trainhost: cannot write to standard output: %s\n", strerror(output.reason));
  return th_error_exit_status(error != TH_OK ? error : TH_ERR_IO);
}

void th_output_abandon(th_error error) {
  _exit(th_output_finish(error));
}

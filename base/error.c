#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

static _Thread_local char error_text[TH_ERROR_TEXT_BYTES_MAX] = "no error was recorded";

/* A text cut in the middle of a UTF-8 character would not be valid JSON later on. */
static void text_trim_partial_character(char *text, size_t length) {
  size_t start = length;
  while (start > 0 && ((unsigned char)text[start - 1] & 0xC0) == 0x80) start--;
  if (start == 0) return;
  unsigned char lead = (unsigned char)text[start - 1];
  size_t want = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
  if (length - (start - 1) < want) text[start - 1] = '\0';
}

__attribute__((format(printf, 1, 0))) static void text_format(const char *format,
                                                              va_list arguments) {
  /* Formatted aside first: an argument may be the present text itself. */
  char text[TH_ERROR_TEXT_BYTES_MAX];
  int length = vsnprintf(text, sizeof text, format, arguments);
  if (length < 0) length = snprintf(text, sizeof text, "%s", format);
  if ((size_t)length >= sizeof text) text_trim_partial_character(text, sizeof text - 1);
  memcpy(error_text, text, sizeof text);
}

void th_error_record(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  text_format(format, arguments);
  va_end(arguments);
}

void th_error_record_errno(const char *format, ...) {
  int number = errno;
  va_list arguments;
  va_start(arguments, format);
  text_format(format, arguments);
  va_end(arguments);
  size_t used = strlen(error_text);
  snprintf(error_text + used, sizeof error_text - used, ": %s", strerror(number));
  errno = number;
}

const char *th_error_text(void) {
  return error_text;
}

/* One row an error, so that a name and an exit status cannot drift apart. */
static const struct {
  th_error code;
  const char *name;
  int exit_status;
} error_rows[] = {
    {TH_OK, "TH_OK", EX_OK},
    {TH_ERR_AGAIN, "TH_ERR_AGAIN", EX_TEMPFAIL},
    {TH_ERR_TIMEOUT, "TH_ERR_TIMEOUT", EX_TEMPFAIL},
    {TH_ERR_USAGE, "TH_ERR_USAGE", EX_USAGE},
    {TH_ERR_DATA, "TH_ERR_DATA", EX_DATAERR},
    {TH_ERR_LIMIT, "TH_ERR_LIMIT", EX_DATAERR},
    {TH_ERR_BUSY, "TH_ERR_BUSY", EX_TEMPFAIL},
    {TH_ERR_DENIED, "TH_ERR_DENIED", EX_NOPERM},
    {TH_ERR_NOT_FOUND, "TH_ERR_NOT_FOUND", EX_NOINPUT},
    {TH_ERR_HOST_ABSENT, "TH_ERR_HOST_ABSENT", EX_UNAVAILABLE},
    {TH_ERR_HOST_LOST, "TH_ERR_HOST_LOST", EX_UNAVAILABLE},
    {TH_ERR_HOST_STALLED, "TH_ERR_HOST_STALLED", EX_UNAVAILABLE},
    {TH_ERR_VERSION, "TH_ERR_VERSION", EX_PROTOCOL},
    {TH_ERR_PROTOCOL, "TH_ERR_PROTOCOL", EX_PROTOCOL},
    {TH_ERR_DEVICE, "TH_ERR_DEVICE", EX_UNAVAILABLE},
    {TH_ERR_DIVERGED, "TH_ERR_DIVERGED", EX_SOFTWARE},
    {TH_ERR_CANCELED, "TH_ERR_CANCELED", 130},
    {TH_ERR_IO, "TH_ERR_IO", EX_IOERR},
    {TH_ERR_SYSTEM, "TH_ERR_SYSTEM", EX_OSERR},
};

enum { ERROR_ROWS = sizeof error_rows / sizeof error_rows[0] };

const char *th_error_name(th_error code) {
  for (int i = 0; i < ERROR_ROWS; i++)
    if (error_rows[i].code == code) return error_rows[i].name;
  return "unknown error";
}

int th_error_exit_status(th_error code) {
  for (int i = 0; i < ERROR_ROWS; i++)
    if (error_rows[i].code == code) return error_rows[i].exit_status;
  return EX_SOFTWARE;
}

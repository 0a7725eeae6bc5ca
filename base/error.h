/** The reason of the newest failure on this thread, kept as text beside the code. */
#ifndef TH_BASE_ERROR_H
#define TH_BASE_ERROR_H

#include "base/trainhost_types.h"

#define TH_ERROR_TEXT_BYTES_MAX 512

/**
 * Record why a call fails: what was tried, with what, and the remedy. A macro, so that compilers
 * and analysers see which code is returned.
 *
 * @return code, so that a function can end with `return th_fail(TH_ERR_DATA, "…")`.
 *
 * Memory:  a fixed thread-local buffer; a longer text is cut at a whole UTF-8 character.
 * Threads: each thread sees only its own text.
 */
#define th_fail(code, ...) (th_error_record(__VA_ARGS__), (th_error)(code))

/** As th_fail, with ": " and the meaning of errno appended. errno is kept. */
#define th_fail_errno(code, ...) (th_error_record_errno(__VA_ARGS__), (th_error)(code))

/** What the two macros call. */
__attribute__((format(printf, 1, 2), cold)) void th_error_record(const char *format, ...);
__attribute__((format(printf, 1, 2), cold)) void th_error_record_errno(const char *format, ...);

/** The text of this thread's newest failure; never NULL, never empty. */
const char *th_error_text(void);

/** "TH_ERR_DATA" for TH_ERR_DATA; "unknown error" for a number that is none. */
const char *th_error_name(th_error code);

/** The exit status for a failure, after sysexits.h; 0 for TH_OK. */
int th_error_exit_status(th_error code);

#endif

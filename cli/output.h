/** The one place that prints: text or JSON on standard output, errors on standard error. */
#ifndef TH_CLI_OUTPUT_H
#define TH_CLI_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/** From now on everything goes to standard output as one JSON object a line. */
void th_output_set_json(void);

/** From now on nothing is told but errors; of JSON nothing but the result. */
void th_output_set_quiet(void);

bool th_output_is_json(void);
bool th_output_is_quiet(void);

/** Print on standard output, unless it is JSON or quiet. */
__attribute__((format(printf, 1, 2))) void th_output_text(const char *format, ...);

/**
 * Print one JSON object as a line, if the output is JSON, and flush it: a reader at the other end
 * of a pipe waits for it.
 *
 * @param object  taken over; NULL, which is how jansson reports that memory ran out, counts as a
 *                failed write.
 */
void th_output_json(json_t *object);

/** Send off what was printed. @return whether all so far has arrived: if not, more is of no use. */
bool th_output_flush(void);

/** A number as JSON; null for NaN and infinity, which JSON does not know. */
json_t *th_output_number(double number);

/** A text as JSON, whatever its bytes: those that are no UTF-8 become '?'. */
json_t *th_output_string(const char *text);

/** Tell this thread's newest failure, in the form chosen. */
void th_output_fail(th_error error);

/** Likewise, of something that went wrong on the way and ends nothing. */
void th_output_warn(th_error error);

/**
 * Tell the failure, if it is one, and see that everything printed has arrived.
 *
 * @return the exit status of the process: of the error, or 74 if the output could not be written.
 */
int th_output_finish(th_error error);

/** As th_output_finish, and end the process at once, without waiting for its threads. */
_Noreturn void th_output_abandon(th_error error);

#endif

/** A job's progress as one line that fits a terminal. Pure: no clock, no terminal, no memory. */
#ifndef TH_CLI_LINE_H
#define TH_CLI_LINE_H

#include <stdint.h>

#include "base/trainhost_types.h"

/** Wider terminals are not filled: the eye does not follow. */
#define TH_LINE_WIDTH_MAX 160

typedef struct th_line {
  char text[TH_LINE_WIDTH_MAX + 1];
} th_line;

/**
 * Describe progress in at most `width` columns, the more important first when there is little room.
 *
 * All of it is printable ASCII, so that bytes are columns.
 *
 * @param score  what accuracy is called: "acc", or "R2" of a regression.
 */
th_line th_line_format(th_job_kind kind, const char *score, const th_progress *progress,
                       uint32_t width);

#endif

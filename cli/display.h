/** How a job's progress is shown: a live line, lines, JSON, or not at all. */
#ifndef TH_CLI_DISPLAY_H
#define TH_CLI_DISPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/trainhost.h"

typedef enum th_display_form {
  TH_DISPLAY_NONE,
  TH_DISPLAY_LIVE, /**< one line on a terminal, drawn anew */
  TH_DISPLAY_LINES, /**< a line for each phase and epoch, on standard error */
  TH_DISPLAY_JSON, /**< an object for each event, on standard output */
} th_display_form;

typedef struct th_display {
  th_display_form form;
  th_job_kind kind;
  bool is_regression; /**< what is called accuracy is R² */
  uint32_t phase; /**< the last one shown */
  int64_t next_ns; /**< not drawn again before */
  bool is_drawn; /**< a live line stands on the terminal */
} th_display;

/** Choose the form by the flags and by whether standard error is a terminal. */
void th_display_init(th_display *display, th_job_kind kind);

/** Say what is being done before there is a job: "reading train.csv". */
void th_display_note(th_display *display, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** Show the job's newest state, a few times a second at most. */
void th_display_progress(th_display *display, const th_progress *progress);

/** Show an event, with the state that goes with it. */
void th_display_event(th_display *display, const th_event *event, const th_progress *progress);

/** Take the live line away, before anything else is printed. */
void th_display_clear(th_display *display);

#endif

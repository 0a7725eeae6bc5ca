#include "cli/display.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/job.h"
#include "cli/line.h"
#include "cli/output.h"
#include "cli/words.h"

/* Ten times a second is as fast as digits can be read. */
#define REDRAW_NS (100 * TH_NS_PER_MS)

enum { WIDTH_DEFAULT = 80 };

/* Without TERM nobody knows what the terminal understands; "dumb" says that it is not much. */
static bool terminal_can_redraw(void) {
  const char *terminal = getenv("TERM");
  return isatty(STDERR_FILENO) && terminal != NULL && strcmp(terminal, "dumb") != 0;
}

void th_display_init(th_display *display, th_job_kind kind) {
  *display = (th_display){.kind = kind, .form = TH_DISPLAY_LINES};
  if (th_output_is_quiet())
    display->form = TH_DISPLAY_NONE;
  else if (th_output_is_json())
    display->form = TH_DISPLAY_JSON;
  else if (terminal_can_redraw())
    display->form = TH_DISPLAY_LIVE;
}

/* ---- the live line ---- */

/* Asked for each time, since a terminal may be resized at any. One column less than there are: a
 * full last column makes some terminals begin a new line. */
static uint32_t terminal_width(void) {
  struct winsize size;
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 2) return WIDTH_DEFAULT - 1;
  return size.ws_col - 1U;
}

/* The old line is overwritten and its rest erased, instead of erased first: that would flicker. */
static void live_draw(th_display *display, const char *text) {
  fprintf(stderr, "\r%s\x1b[K", text);
  fflush(stderr);
  display->is_drawn = true;
}

void th_display_clear(th_display *display) {
  if (display->is_drawn) fprintf(stderr, "\r\x1b[K");
  display->is_drawn = false;
}

void th_display_note(th_display *display, const char *format, ...) {
  if (display->form != TH_DISPLAY_LIVE) return;
  char text[TH_LINE_WIDTH_MAX + 1];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  /* It may name a file, and a file may be named anything. */
  th_words_disarm(text);
  uint32_t width = terminal_width();
  if (width < sizeof text) text[width] = '\0';
  live_draw(display, text);
}

/* ---- JSON ---- */

/* The object is complete, or NULL without memory. */
static json_t *scores_add(json_t *object, double loss, double accuracy, double validation_loss,
                          double validation_accuracy) {
  json_t *scores =
      json_pack("{s:o, s:o, s:o, s:o}", "loss", th_output_number(loss), "accuracy",
                th_output_number(accuracy), "validation_loss", th_output_number(validation_loss),
                "validation_accuracy", th_output_number(validation_accuracy));
  bool is_whole = scores != NULL && json_object_update(object, scores) == 0;
  json_decref(scores);
  if (is_whole) return object;
  json_decref(object);
  return NULL;
}

static json_t *phase_to_json(uint32_t phase, const th_progress *progress) {
  json_t *object = json_pack("{s:s, s:s}", "event", "phase", "phase", th_phase_name(phase));
  int failed = object == NULL;
  /* While its data are sent, a job's number is not known here yet. */
  if (!failed && progress->job != 0)
    failed = json_object_set_new(object, "job", json_integer((json_int_t)progress->job)) != 0;
  if (!failed && phase == TH_PHASE_RECEIVING)
    failed = json_object_set_new(object, "received_bytes",
                                 json_integer((json_int_t)progress->received_bytes)) != 0 ||
             json_object_set_new(object, "expected_bytes",
                                 json_integer((json_int_t)progress->expected_bytes)) != 0;
  if (!failed && phase == TH_PHASE_QUEUED)
    failed =
        json_object_set_new(object, "queue_position", json_integer(progress->queue_position)) != 0;
  if (!failed) return object;
  json_decref(object);
  return NULL;
}

static json_t *epoch_to_json(const th_event *event, const th_progress *progress) {
  json_t *object =
      json_pack("{s:s, s:I, s:I, s:I, s:I}", "event", "epoch", "job", (json_int_t)progress->job,
                "epoch", (json_int_t)event->epoch, "epochs", (json_int_t)progress->epochs,
                "left_out", (json_int_t)event->coalesced);
  return scores_add(object, event->loss, event->accuracy, event->validation_loss,
                    event->validation_accuracy);
}

static json_t *step_to_json(const th_progress *progress) {
  json_t *object =
      json_pack("{s:s, s:I, s:s, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "event", "step", "job",
                (json_int_t)progress->job, "phase", th_phase_name(progress->phase), "epoch",
                (json_int_t)progress->epoch, "epochs", (json_int_t)progress->epochs, "step",
                (json_int_t)progress->step, "steps", (json_int_t)progress->steps, "fraction",
                th_output_number(progress->fraction), "samples_per_second",
                th_output_number(progress->samples_per_second), "eta_seconds",
                th_output_number(progress->eta_seconds));
  return scores_add(object, progress->loss, progress->accuracy, progress->validation_loss,
                    progress->validation_accuracy);
}

/* ---- lines ---- */

/* Training speaks through its epochs, and the end through the result or the error. */
static void phase_print(uint32_t phase, const th_progress *progress) {
  if (phase == TH_PHASE_RECEIVING)
    fprintf(stderr, "sending data: %s\n", th_words_bytes(progress->expected_bytes).text);
  else if (phase == TH_PHASE_QUEUED && progress->queue_position > 0)
    fprintf(stderr, "queued: position %u\n", progress->queue_position);
  else if (phase == TH_PHASE_PREPARING || phase == TH_PHASE_SAVING)
    fprintf(stderr, "%s\n", th_phase_name(phase));
}

static void epoch_print(const th_display *display, const th_event *event,
                        const th_progress *progress) {
  const char *word = display->is_regression ? "R²" : "accuracy";
  fprintf(stderr, "epoch %u/%u  loss %s  %s %s", event->epoch, progress->epochs,
          th_words_score(event->loss).text, word, th_words_score(event->accuracy).text);
  if (!isnan(event->validation_loss))
    fprintf(stderr, "  validation loss %s  %s %s", th_words_score(event->validation_loss).text,
            word, th_words_score(event->validation_accuracy).text);
  fprintf(stderr, "  %s samples/s  ETA %s\n", th_words_rate(progress->samples_per_second).text,
          th_words_duration(progress->eta_seconds).text);
}

/* ---- what is shown when ---- */

/* Back and forth between training and validating is no news to a person. */
static bool phase_is_news(const th_display *display, uint32_t phase) {
  if (phase == display->phase) return false;
  return phase != TH_PHASE_TRAINING || display->phase != TH_PHASE_VALIDATING;
}

static void phase_show(th_display *display, uint32_t phase, const th_progress *progress) {
  if (!phase_is_news(display, phase)) return;
  if (display->form == TH_DISPLAY_JSON) th_output_json(phase_to_json(phase, progress));
  if (display->form == TH_DISPLAY_LINES) phase_print(phase, progress);
  display->phase = phase;
}

/* Counted from the last time, so that a slow terminal is not given more than it can show. */
static bool is_due(th_display *display) {
  int64_t now_ns = th_clock_now_ns();
  if (now_ns < display->next_ns) return false;
  display->next_ns = now_ns + REDRAW_NS;
  return true;
}

static void live_progress(th_display *display, const th_progress *progress) {
  /* A new phase is shown at once, so that none that is short goes by unseen. */
  if (!is_due(display) && progress->phase == display->phase) return;
  display->phase = progress->phase;
  const char *score = display->is_regression ? "R2" : "acc";
  live_draw(display, th_line_format(display->kind, score, progress, terminal_width()).text);
}

static void json_progress(th_display *display, const th_progress *progress) {
  if (th_phase_is_last(progress->phase) || !is_due(display)) return;
  bool has_begun = progress->phase > TH_PHASE_QUEUED;
  th_output_json(has_begun ? step_to_json(progress) : phase_to_json(progress->phase, progress));
}

void th_display_progress(th_display *display, const th_progress *progress) {
  if (display->form == TH_DISPLAY_LIVE) live_progress(display, progress);
  if (display->form == TH_DISPLAY_JSON) json_progress(display, progress);
}

void th_display_event(th_display *display, const th_event *event, const th_progress *progress) {
  if (event->kind == TH_EVENT_STEP || display->form == TH_DISPLAY_LIVE)
    th_display_progress(display, progress);
  else if (event->kind == TH_EVENT_PHASE)
    phase_show(display, event->phase, progress);
  else if (display->form == TH_DISPLAY_JSON)
    th_output_json(epoch_to_json(event, progress));
  else if (display->form == TH_DISPLAY_LINES)
    epoch_print(display, event, progress);
}

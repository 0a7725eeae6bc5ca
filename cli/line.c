#include "cli/line.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/job.h"
#include "cli/words.h"

/* So that epoch, step, bar, loss, accuracy, rate and ETA go together into 80 columns. */
enum { GAP = 1, BAR_WIDTH_MIN = 8, BAR_WIDTH_MAX = 40 };

/* The parts of a line, in the order in which they stand there. */
typedef enum line_part {
  PART_PHASE,
  PART_EPOCH,
  PART_STEP,
  PART_BAR,
  PART_PERCENT,
  PART_DETAIL, /* bytes while receiving, the position in the queue */
  PART_LOSS,
  PART_ACCURACY,
  PART_RATE,
  PART_ETA,
  PART_COUNT,
} line_part;

/* What is let in first; the bar then grows into what room is left. At work the epoch says as much
 * as the phase's name, which is left out first. */
static const line_part at_work[PART_COUNT] = {PART_PERCENT, PART_EPOCH,    PART_LOSS, PART_ETA,
                                              PART_BAR,     PART_ACCURACY, PART_RATE, PART_STEP,
                                              PART_PHASE,   PART_DETAIL};
static const line_part at_rest[PART_COUNT] = {PART_PHASE, PART_PERCENT, PART_DETAIL, PART_BAR,
                                              PART_EPOCH, PART_LOSS,    PART_ETA,    PART_ACCURACY,
                                              PART_RATE,  PART_STEP};

/* Each is as wide as a line at most, so that none needs memory. */
typedef struct line_parts {
  char text[PART_COUNT][TH_LINE_WIDTH_MAX + 1]; /* empty: it has nothing to say */
} line_parts;

#define PART_SET(parts, part, ...) \
  snprintf((parts)->text[part], sizeof(parts)->text[part], __VA_ARGS__)

static bool is_at_work(const th_progress *progress) {
  return progress->phase == TH_PHASE_TRAINING || progress->phase == TH_PHASE_VALIDATING;
}

/* As seen from here: what the host receives is what this program sends, and an inference validates
 * nothing. */
static const char *phase_word(th_job_kind kind, const th_progress *progress) {
  if (progress->phase == TH_PHASE_RECEIVING) return "sending data";
  if (progress->phase == TH_PHASE_VALIDATING && kind == TH_JOB_EVALUATE) return "evaluating";
  if (progress->phase == TH_PHASE_VALIDATING && kind == TH_JOB_PREDICT) return "predicting";
  return th_phase_name(progress->phase);
}

/* Between 0 and 1 whatever came from outside. */
static double fraction_of(const th_progress *progress) {
  double fraction = progress->fraction;
  if (progress->phase == TH_PHASE_RECEIVING)
    fraction = progress->expected_bytes == 0
                   ? 0
                   : (double)progress->received_bytes / (double)progress->expected_bytes;
  if (!(fraction > 0)) return 0;
  return fraction < 1 ? fraction : 1;
}

/* How many columns a count takes up, so that what stands behind it does not jump when it grows. */
static int digits(uint32_t count) {
  int columns = 1;
  for (; count >= 10; count /= 10) columns++;
  return columns;
}

static void parts_of_work(const th_progress *progress, const char *score, line_parts *parts) {
  /* An evaluation has no rows to train on: its scores are those of validation. */
  bool validated = !isnan(progress->validation_loss);
  double loss = validated && isnan(progress->loss) ? progress->validation_loss : progress->loss;
  double accuracy =
      validated && isnan(progress->loss) ? progress->validation_accuracy : progress->accuracy;
  if (progress->epochs > 0)
    PART_SET(parts, PART_EPOCH, "epoch %*u/%u", digits(progress->epochs), progress->epoch,
             progress->epochs);
  if (progress->steps > 0)
    PART_SET(parts, PART_STEP, "step %*u/%u", digits(progress->steps), progress->step,
             progress->steps);
  if (!isnan(loss)) PART_SET(parts, PART_LOSS, "loss %s", th_words_score(loss).text);
  if (!isnan(accuracy))
    PART_SET(parts, PART_ACCURACY, "%s %s", score, th_words_score(accuracy).text);
  if (progress->samples_per_second > 0)
    PART_SET(parts, PART_RATE, "%s/s", th_words_rate(progress->samples_per_second).text);
  if (!isnan(progress->eta_seconds))
    PART_SET(parts, PART_ETA, "ETA %s", th_words_duration(progress->eta_seconds).text);
}

/* The fraction is at most 1, so that the bar never grows beyond its brackets. */
static void bar_draw(char *text, uint32_t width, double fraction) {
  uint32_t inside = width - 2;
  uint32_t full = (uint32_t)(fraction * inside);
  text[0] = '[';
  memset(text + 1, '.', inside);
  memset(text + 1, '#', full);
  text[width - 1] = ']';
  text[width] = '\0';
}

static void parts_make(th_job_kind kind, const char *score, const th_progress *progress,
                       line_parts *parts) {
  *parts = (line_parts){0};
  bool is_work = is_at_work(progress);
  /* Training and validating alternate many times a second: the line must not jump. */
  PART_SET(parts, PART_PHASE, "%-*s", is_work ? (int)strlen("validating") : 0,
           phase_word(kind, progress));
  if (is_work) parts_of_work(progress, score, parts);
  if (is_work || progress->phase == TH_PHASE_RECEIVING) {
    PART_SET(parts, PART_PERCENT, "%3.0f%%", floor(fraction_of(progress) * 100));
    bar_draw(parts->text[PART_BAR], BAR_WIDTH_MIN, fraction_of(progress));
  }
  if (progress->phase == TH_PHASE_RECEIVING)
    PART_SET(parts, PART_DETAIL, "%s of %s", th_words_bytes(progress->received_bytes).text,
             th_words_bytes(progress->expected_bytes).text);
  if (progress->phase == TH_PHASE_QUEUED && progress->queue_position > 0)
    PART_SET(parts, PART_DETAIL, "position %u", progress->queue_position);
}

/* Empty the parts that do not fit beside the more important ones. @return columns taken. */
static uint32_t parts_choose(const line_part *by_importance, line_parts *parts, uint32_t width) {
  uint32_t used = 0;
  for (size_t i = 0; i < PART_COUNT; i++) {
    char *text = parts->text[by_importance[i]];
    uint32_t wanted = (uint32_t)strlen(text);
    if (wanted == 0) continue;
    if (used > 0) wanted += GAP;
    /* The first stays, and is cut if it must be. */
    if (used > 0 && used + wanted > width)
      text[0] = '\0';
    else
      used += wanted;
  }
  return used;
}

/* It may have been left out already for want of room. */
static void bar_grow(line_parts *parts, uint32_t room, double fraction) {
  if (parts->text[PART_BAR][0] == '\0') return;
  uint32_t bar_width = BAR_WIDTH_MIN + room;
  bar_draw(parts->text[PART_BAR], bar_width < BAR_WIDTH_MAX ? bar_width : BAR_WIDTH_MAX, fraction);
}

th_line th_line_format(th_job_kind kind, const char *score, const th_progress *progress,
                       uint32_t width) {
  if (width > TH_LINE_WIDTH_MAX) width = TH_LINE_WIDTH_MAX;
  line_parts parts;
  parts_make(kind, score, progress, &parts);
  uint32_t used = parts_choose(is_at_work(progress) ? at_work : at_rest, &parts, width);
  if (used < width) bar_grow(&parts, width - used, fraction_of(progress));
  th_line line = {0};
  uint32_t length = 0;
  for (uint32_t i = 0; i < PART_COUNT && length < width; i++) {
    if (parts.text[i][0] == '\0') continue;
    /* Cuts what is too long, and returns what it would have been: the loop ends then. */
    int written = snprintf(line.text + length, width - length + 1, "%*s%s", length > 0 ? GAP : 0,
                           "", parts.text[i]);
    length += (uint32_t)written;
  }
  return line;
}

#include "cli/summary.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/output.h"
#include "cli/words.h"

typedef enum figure {
  FIGURE_VALIDATION_LOSS,
  FIGURE_VALIDATION_ACCURACY,
  FIGURE_LOSS,
  FIGURE_ACCURACY,
  FIGURE_SECONDS,
  FIGURES,
} figure;

static const char *const keys[FIGURES] = {"validation_loss", "validation_accuracy", "loss",
                                          "accuracy", "seconds"};

/* Of those combinations that have the figure. */
typedef struct spread {
  uint32_t count;
  double mean; /* NaN: none has it */
  double deviation; /* NaN: one alone has none */
} spread;

typedef struct summary {
  const th_setting *setting;
  uint32_t done; /* combinations */
  spread figures[FIGURES];
  double rank; /* lower is better */
} summary;

/* ---- summing up ---- */

static summary *summary_of(summary *summaries, const th_results *results, const th_row *row) {
  return &summaries[results->grid->trials[row->number - 1].setting];
}

/* First the mean and then the squares of what lies beside it: the difference of two large sums
 * would have no digits left where all runs end alike. */
static void figure_sum_up(const th_results *results, figure which, summary *summaries) {
  const th_grid *grid = results->grid;
  for (uint32_t i = 0; i < grid->count; i++) {
    double number = th_row_number(&results->rows[i], keys[which]);
    spread *sum = &summary_of(summaries, results, &results->rows[i])->figures[which];
    if (isnan(number)) continue;
    sum->count++;
    sum->mean += number;
  }
  for (uint32_t i = 0; i < grid->setting_count; i++)
    summaries[i].figures[which].mean /= summaries[i].figures[which].count;
  for (uint32_t i = 0; i < grid->count; i++) {
    double number = th_row_number(&results->rows[i], keys[which]);
    spread *sum = &summary_of(summaries, results, &results->rows[i])->figures[which];
    if (!isnan(number)) sum->deviation += (number - sum->mean) * (number - sum->mean);
  }
  for (uint32_t i = 0; i < grid->setting_count; i++) {
    spread *sum = &summaries[i].figures[which];
    sum->deviation = sum->count > 1 ? sqrt(sum->deviation / (sum->count - 1)) : NAN;
  }
}

static double rank_of(const th_grid *grid, const spread figures[FIGURES]) {
  const spread *loss = &figures[FIGURE_VALIDATION_LOSS];
  const spread *accuracy = &figures[FIGURE_VALIDATION_ACCURACY];
  if (loss->count == 0) loss = &figures[FIGURE_LOSS];
  if (accuracy->count == 0) accuracy = &figures[FIGURE_ACCURACY];
  double rank = grid->by_accuracy ? -accuracy->mean : loss->mean;
  return isnan(rank) ? INFINITY : rank;
}

static int summary_compare(const void *left, const void *right) {
  const summary *a = left, *b = right;
  bool a_whole = a->done == a->setting->trials, b_whole = b->done == b->setting->trials;
  if (a_whole != b_whole) return a_whole ? -1 : 1;
  if (a->rank != b->rank) return a->rank < b->rank ? -1 : 1;
  return a->setting < b->setting ? -1 : 1;
}

/* @return [setting_count], best first, free() it; NULL without memory. */
static summary *summaries_make(const th_results *results) {
  const th_grid *grid = results->grid;
  summary *summaries = calloc(grid->setting_count, sizeof *summaries);
  if (summaries == NULL) return NULL;
  for (uint32_t i = 0; i < grid->count; i++)
    summary_of(summaries, results, &results->rows[i])->done +=
        results->rows[i].state == TH_ROW_DONE;
  for (figure which = 0; which < FIGURES; which++) figure_sum_up(results, which, summaries);
  for (uint32_t i = 0; i < grid->setting_count; i++) {
    summaries[i].setting = &grid->settings[i];
    summaries[i].rank = rank_of(grid, summaries[i].figures);
  }
  qsort(summaries, grid->setting_count, sizeof *summaries, summary_compare);
  return summaries;
}

/* ---- telling ---- */

static json_t *one_to_json(const summary *one) {
  json_t *json = json_pack("{s:O, s:I, s:I}", "fields", one->setting->fields, "combinations",
                           (json_int_t)one->setting->trials, "done", (json_int_t)one->done);
  bool failed = json == NULL;
  for (figure which = 0; which < FIGURES && !failed; which++) {
    const spread *sum = &one->figures[which];
    json_t *pair = json_pack("{s:o, s:o}", "mean", th_output_number(sum->mean), "deviation",
                             th_output_number(sum->deviation));
    failed = json_object_set_new(json, keys[which], pair) != 0;
  }
  if (!failed) return json;
  json_decref(json);
  return NULL;
}

json_t *th_summary_to_json(const th_results *results) {
  summary *summaries = summaries_make(results);
  json_t *array = summaries != NULL ? json_array() : NULL;
  bool failed = array == NULL;
  for (uint32_t i = 0; i < results->grid->setting_count && !failed; i++)
    failed = json_array_append_new(array, one_to_json(&summaries[i])) != 0;
  free(summaries);
  if (!failed) return array;
  json_decref(array);
  return NULL;
}

/* "0.4321 ± 0.0123" in 18 columns. The sign is two bytes long, so that no width of printf's would
 * do for the whole. */
static void spread_print(const spread *sum) {
  if (sum->count > 1)
    th_output_text("  %9s ± %6s", th_words_score(sum->mean).text,
                   th_words_score(sum->deviation).text);
  else
    th_output_text("  %18s", th_words_score(sum->mean).text);
}

static void one_print(const summary *one) {
  const spread *figures = one->figures;
  bool is_validated = figures[FIGURE_VALIDATION_LOSS].count > 0;
  char done[24];
  snprintf(done, sizeof done, "%u/%u", one->done, one->setting->trials);
  th_output_text("%9s", done);
  spread_print(&figures[FIGURE_VALIDATION_LOSS]);
  spread_print(&figures[FIGURE_LOSS]);
  /* As in the table of combinations. */
  spread_print(&figures[is_validated ? FIGURE_VALIDATION_ACCURACY : FIGURE_ACCURACY]);
  double seconds = figures[FIGURE_SECONDS].count > 0 ? figures[FIGURE_SECONDS].mean : 0;
  th_output_text("  %8.1f  %s\n", seconds, one->setting->label);
}

th_error th_summary_print(const th_results *results) {
  summary *summaries = summaries_make(results);
  if (summaries == NULL) return th_fail(TH_ERR_SYSTEM, "no memory for the settings of a sweep");
  th_output_text("%9s  %18s  %18s  %10s%s  %8s  %s\n", "done", "val. loss", "loss", "",
                 th_results_score_word(results), "seconds",
                 "setting: mean ± deviation over folds and seeds");
  for (uint32_t i = 0; i < results->grid->setting_count; i++) one_print(&summaries[i]);
  free(summaries);
  return TH_OK;
}

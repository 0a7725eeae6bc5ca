/** What came of a sweep: one row for each combination, and the table of all, best first. */
#ifndef TH_CLI_RESULTS_H
#define TH_CLI_RESULTS_H

#include <jansson.h>
#include <stdbool.h>

#include "cli/grid.h"

typedef enum th_row_state {
  TH_ROW_OPEN, /**< not over */
  TH_ROW_DONE,
  TH_ROW_FAILED,
} th_row_state;

/** A combination and what came of it. */
typedef struct th_row {
  uint32_t number; /**< from 1, in the order of the grid */
  th_row_state state;
  double score; /**< what decides which is best: validation loss, or accuracy where all combinations
                   say so; of the training rows without validation. Of a row that is done */
  double rank; /**< the same as lower is better; infinite for a score that is none */
  json_t *json; /**< number, fields, and either the card's figures or the error; NULL while open */
} th_row;

typedef struct th_results {
  const th_grid *grid; /**< borrowed */
  th_row *rows; /**< [grid->count], in the order of the grid */
} th_results;

/** @return TH_OK; TH_ERR_SYSTEM. Free with th_results_fini, which takes an empty one. */
th_error th_results_init(th_results *results, const th_grid *grid);
void th_results_fini(th_results *results);

/**
 * A combination is done.
 *
 * @param card   the card's text.
 * @param model,card_path  where the two were written.
 * @return TH_OK; TH_ERR_PROTOCOL if the card is no JSON object; TH_ERR_SYSTEM.
 */
th_error th_results_done(th_results *results, uint32_t index, const char *card, size_t bytes,
                         const char *model, const char *card_path);

/** A combination has failed, with this thread's newest text. @return TH_OK; TH_ERR_SYSTEM. */
th_error th_results_failed(th_results *results, uint32_t index, th_error error);

/** What a row says under a key; NaN if nothing, or no number. */
double th_row_number(const th_row *row, const char *key);

/** The word for what cards call accuracy, eight columns wide. Static. */
const char *th_results_score_word(const th_results *results);

/** How many rows are in that state. */
uint32_t th_results_count(const th_results *results, th_row_state state);

/** The best row; NULL before any is done. */
const th_row *th_results_best(const th_results *results);

/** Tell a row that is over: an object, or a line on standard error. */
void th_results_tell_row(const th_results *results, uint32_t index, bool as_line);

/** Write DIR/sweep.csv and DIR/sweep.json. @return TH_OK; TH_ERR_IO; TH_ERR_SYSTEM. */
th_error th_results_write(const th_results *results, const char *dir);

/**
 * Tell the table: the object that is the last line, or text. Text sums up the settings where folds
 * or seeds are repeated, and lists the combinations only if it is to tell all.
 *
 * @return TH_OK; TH_ERR_SYSTEM.
 */
th_error th_results_tell(const th_results *results, const char *mode, const char *dir,
                         bool tells_all);

#endif

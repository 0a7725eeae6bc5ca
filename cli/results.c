#include "cli/results.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/card.h"
#include "cli/output.h"
#include "cli/summary.h"
#include "cli/words.h"
#include "formats/file.h"

static th_error fail_memory(void) {
  return th_fail(TH_ERR_SYSTEM, "no memory for the results of a sweep");
}

th_error th_results_init(th_results *results, const th_grid *grid) {
  *results = (th_results){.grid = grid, .rows = calloc(grid->count, sizeof *results->rows)};
  if (results->rows == NULL) return fail_memory();
  for (uint32_t i = 0; i < grid->count; i++) results->rows[i].number = i + 1;
  return TH_OK;
}

void th_results_fini(th_results *results) {
  for (uint32_t i = 0; results->rows != NULL && i < results->grid->count; i++)
    json_decref(results->rows[i].json);
  free(results->rows);
  *results = (th_results){0};
}

/* ---- rows ---- */

double th_row_number(const th_row *row, const char *key) {
  const json_t *value = json_object_get(row->json, key);
  return json_is_number(value) ? json_number_value(value) : NAN;
}

const char *th_results_score_word(const th_results *results) {
  return results->grid->is_regression ? "      R²" : "accuracy";
}

/* What is told of a row: its place in the grid, and then what came of it, which is taken over. */
static th_error row_set(th_results *results, uint32_t index, th_row_state state, json_t *rest) {
  th_row *row = &results->rows[index];
  json_t *json = json_pack("{s:I, s:O}", "number", (json_int_t)row->number, "fields",
                           results->grid->trials[index].fields);
  bool is_whole = json != NULL && rest != NULL && json_object_update(json, rest) == 0;
  json_decref(rest);
  if (!is_whole) {
    json_decref(json);
    return fail_memory();
  }
  row->json = json;
  row->state = state;
  bool by_accuracy = results->grid->by_accuracy;
  row->score = th_row_number(row, by_accuracy ? "validation_accuracy" : "validation_loss");
  if (isnan(row->score)) row->score = th_row_number(row, by_accuracy ? "accuracy" : "loss");
  row->rank = isnan(row->score) ? INFINITY : by_accuracy ? -row->score : row->score;
  return TH_OK;
}

th_error th_results_done(th_results *results, uint32_t index, const char *text, size_t bytes,
                         const char *model, const char *card_path) {
  json_t *card = json_loadb(text, bytes, 0, NULL);
  if (!json_is_object(card)) {
    json_decref(card);
    return th_fail(TH_ERR_PROTOCOL, "%s is no JSON object", card_path);
  }
  const th_told told = {.kind = TH_JOB_TRAIN, .out = model, .card = card_path};
  json_t *figures = th_card_train_to_json(&told, card);
  json_decref(card);
  return row_set(results, index, TH_ROW_DONE, figures);
}

th_error th_results_failed(th_results *results, uint32_t index, th_error error) {
  json_t *rest = json_pack("{s:s, s:o}", "error", th_error_name(error), "message",
                           th_output_string(th_error_text()));
  return row_set(results, index, TH_ROW_FAILED, rest);
}

uint32_t th_results_count(const th_results *results, th_row_state state) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < results->grid->count; i++) count += results->rows[i].state == state;
  return count;
}

/* Done before failed before open; then the better score; then the order of the grid. */
static int row_compare(const void *left, const void *right) {
  const th_row *a = *(const th_row *const *)left, *b = *(const th_row *const *)right;
  static const int ranks[] = {[TH_ROW_DONE] = 0, [TH_ROW_FAILED] = 1, [TH_ROW_OPEN] = 2};
  if (a->state != b->state) return ranks[a->state] - ranks[b->state];
  if (a->state == TH_ROW_DONE && a->rank != b->rank) return a->rank < b->rank ? -1 : 1;
  return a->number < b->number ? -1 : 1;
}

const th_row *th_results_best(const th_results *results) {
  const th_row *best = NULL;
  for (uint32_t i = 0; i < results->grid->count; i++) {
    const th_row *row = &results->rows[i];
    if (row->state == TH_ROW_DONE && (best == NULL || row_compare(&row, &best) < 0)) best = row;
  }
  return best;
}

/* The rows that are over, best first. @return NULL without memory; free it. */
static const th_row **rows_sort(const th_results *results, uint32_t *count) {
  const th_row **sorted = calloc(results->grid->count, sizeof *sorted);
  if (sorted == NULL) return NULL;
  *count = results->grid->count - th_results_count(results, TH_ROW_OPEN);
  for (uint32_t i = 0; i < results->grid->count; i++) sorted[i] = &results->rows[i];
  qsort(sorted, results->grid->count, sizeof *sorted, row_compare);
  return sorted;
}

/* ---- telling ---- */

static void line_print(const th_results *results, const th_row *row) {
  const char *label = results->grid->trials[row->number - 1].label;
  uint32_t over = results->grid->count - th_results_count(results, TH_ROW_OPEN);
  fprintf(stderr, "%u/%u  #%u %s: ", over, results->grid->count, row->number, label);
  if (row->state == TH_ROW_FAILED) {
    fprintf(stderr, "%s\n", json_string_value(json_object_get(row->json, "message")));
    return;
  }
  const char *word = results->grid->is_regression ? "R²" : "accuracy";
  fprintf(stderr, "loss %s  %s %s", th_words_score(th_row_number(row, "loss")).text, word,
          th_words_score(th_row_number(row, "accuracy")).text);
  if (!isnan(th_row_number(row, "validation_loss")))
    fprintf(stderr, "  validation loss %s  %s %s",
            th_words_score(th_row_number(row, "validation_loss")).text, word,
            th_words_score(th_row_number(row, "validation_accuracy")).text);
  fprintf(stderr, "  %.1f s\n", th_row_number(row, "seconds"));
}

void th_results_tell_row(const th_results *results, uint32_t index, bool as_line) {
  const th_row *row = &results->rows[index];
  if (as_line) line_print(results, row);
  if (!th_output_is_json() || th_output_is_quiet()) return;
  json_t *json = json_pack("{s:s}", "event", "trial");
  if (json != NULL) (void)json_object_update(json, row->json);
  th_output_json(json);
}

static json_t *table_to_json(const th_results *results) {
  uint32_t count;
  const th_row **sorted = rows_sort(results, &count);
  json_t *table = sorted != NULL ? json_array() : NULL;
  for (uint32_t i = 0; table != NULL && i < count; i++)
    if (json_array_append(table, sorted[i]->json) != 0) {
      json_decref(table);
      table = NULL;
    }
  free(sorted);
  return table;
}

static void failure_print(const th_row *row, const char *label) {
  th_output_text("%6u  %s: %s\n", row->number, label,
                 json_string_value(json_object_get(row->json, "message")));
}

static void figures_print(const th_row *row, const char *label) {
  /* Of the rows that the order goes by: those that were not trained on, if there are any. */
  bool is_validated = !isnan(th_row_number(row, "validation_loss"));
  th_output_text(
      "%6u  %10s  %10s  %8s  %8.1f  %s\n", row->number,
      th_words_score(th_row_number(row, "validation_loss")).text,
      th_words_score(th_row_number(row, "loss")).text,
      th_words_score(th_row_number(row, is_validated ? "validation_accuracy" : "accuracy")).text,
      th_row_number(row, "seconds"), label);
}

/* What has failed is told in any case. */
static th_error rows_print(const th_results *results, bool tells_all) {
  uint32_t count;
  const th_row **sorted = rows_sort(results, &count);
  if (sorted == NULL) return fail_memory();
  if (tells_all)
    th_output_text("%6s  %10s  %10s  %s  %8s  %s\n", "number", "val. loss", "loss",
                   th_results_score_word(results), "seconds", "combination");
  for (uint32_t i = 0; i < count; i++) {
    const char *label = results->grid->trials[sorted[i]->number - 1].label;
    if (sorted[i]->state == TH_ROW_FAILED)
      failure_print(sorted[i], label);
    else if (tells_all)
      figures_print(sorted[i], label);
  }
  free(sorted);
  return TH_OK;
}

th_error th_results_tell(const th_results *results, const char *mode, const char *dir,
                         bool tells_all) {
  if (th_output_is_json()) {
    th_output_json(json_pack(
        "{s:s, s:s, s:s, s:I, s:o, s:o, s:o}", "event", "result", "kind", "sweep", "mode", mode,
        "combinations", (json_int_t)results->grid->count, "out", th_output_string(dir), "settings",
        th_summary_to_json(results), "results", table_to_json(results)));
    return TH_OK;
  }
  bool is_repeated = results->grid->setting_count < results->grid->count;
  th_error error = is_repeated ? th_summary_print(results) : TH_OK;
  if (is_repeated && tells_all) th_output_text("\n");
  if (error == TH_OK) error = rows_print(results, tells_all || !is_repeated);
  if (error != TH_OK) return error;
  th_output_text("written: %s/sweep.csv, %s/sweep.json, and a model and a card for each\n", dir,
                 dir);
  return TH_OK;
}

/* ---- files ---- */

/* Quoted as RFC 4180 has it wherever a reader could take it apart. */
static void cell_put(FILE *file, const json_t *value) {
  char *dumped = NULL;
  const char *text = json_string_value(value);
  if (text == NULL && value != NULL && !json_is_null(value))
    text = dumped = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
  if (text == NULL) text = "";
  if (strpbrk(text, ",\"\n\r") == NULL) {
    fputs(text, file);
  } else {
    fputc('"', file);
    for (const char *at = text; *at != '\0'; at++)
      fputs(*at == '"' ? "\"\"" : (char[]){*at, 0}, file);
    fputc('"', file);
  }
  free(dumped);
}

static const char *const columns[] = {
    "loss",   "accuracy",   "validation_loss", "validation_accuracy",
    "epochs", "best_epoch", "seconds",         "parameters",
    "out",    "card",       "error",           "message"};

enum { COLUMNS = sizeof columns / sizeof columns[0] };

static void csv_put(FILE *file, const th_results *results, const th_row *const *sorted,
                    uint32_t count) {
  const char *name;
  json_t *value;
  fputs("number", file);
  json_object_foreach(results->grid->trials[0].fields, name, value) fprintf(file, ",%s", name);
  for (int i = 0; i < COLUMNS; i++) fprintf(file, ",%s", columns[i]);
  fputc('\n', file);
  for (uint32_t i = 0; i < count; i++) {
    fprintf(file, "%u", sorted[i]->number);
    json_object_foreach(results->grid->trials[sorted[i]->number - 1].fields, name, value) {
      fputc(',', file);
      cell_put(file, value);
    }
    for (int column = 0; column < COLUMNS; column++) {
      fputc(',', file);
      cell_put(file, json_object_get(sorted[i]->json, columns[column]));
    }
    fputc('\n', file);
  }
}

static th_error file_write(const char *dir, const char *name, const char *text, size_t bytes) {
  char *path;
  if (asprintf(&path, "%s/%s", dir, name) < 0) return fail_memory();
  th_error error = th_file_write(path, text, bytes);
  free(path);
  return error;
}

static th_error csv_write(const th_results *results, const char *dir) {
  uint32_t count;
  char *text = NULL;
  size_t bytes = 0;
  const th_row **sorted = rows_sort(results, &count);
  FILE *file = open_memstream(&text, &bytes);
  if (file != NULL && sorted != NULL) csv_put(file, results, sorted, count);
  bool has_failed = file == NULL || ferror(file) != 0;
  has_failed |= file != NULL && fclose(file) != 0;
  has_failed |= sorted == NULL;
  free(sorted);
  th_error error = has_failed ? fail_memory() : file_write(dir, "sweep.csv", text, bytes);
  free(text);
  return error;
}

static th_error json_write(const th_results *results, const char *dir) {
  json_t *whole = json_pack("{s:o, s:o}", "settings", th_summary_to_json(results), "results",
                            table_to_json(results));
  char *text = whole != NULL ? json_dumps(whole, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : NULL;
  json_decref(whole);
  th_error error = text == NULL ? fail_memory() : file_write(dir, "sweep.json", text, strlen(text));
  free(text);
  return error;
}

th_error th_results_write(const th_results *results, const char *dir) {
  th_error error = csv_write(results, dir);
  return error == TH_OK ? json_write(results, dir) : error;
}

#include "cli/card.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/job.h"
#include "cli/output.h"
#include "cli/words.h"

/* A matrix of more columns does not fit a terminal; in JSON it is always there. */
enum { CONFUSION_CLASSES_MAX = 12 };

/* ---- reading a card: what is missing is NaN, 0 or "" ---- */

static double number_at(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  return json_is_number(value) ? json_number_value(value) : NAN;
}

static uint32_t count_at(const json_t *object, const char *key) {
  json_int_t value = json_integer_value(json_object_get(object, key));
  return value > 0 && value <= UINT32_MAX ? (uint32_t)value : 0;
}

static const char *text_at(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text != NULL ? text : "";
}

/* The last entry is always the last epoch trained, however much the history was thinned. */
static uint32_t epochs_trained(const json_t *card) {
  const json_t *epochs = json_object_get(json_object_get(card, "history"), "epochs");
  size_t count = json_array_size(epochs);
  return count == 0 ? 0 : count_at(json_array_get(epochs, count - 1), "epoch");
}

/* ---- for a script ---- */

/* The card's own value, or null. */
static json_t *value_of(const json_t *object, const char *key) {
  json_t *value = json_object_get(object, key);
  return value != NULL ? json_incref(value) : json_null();
}

/* The keys that every result has, first. */
static json_t *head_to_json(const th_told *told) {
  return json_pack("{s:s, s:I, s:s, s:s}", "event", "result", "job", (json_int_t)told->job, "kind",
                   th_job_kind_name(told->kind), "mode", told->mode);
}

/* Flat, so that one jq word finds each. */
json_t *th_card_train_to_json(const th_told *told, const json_t *card) {
  const json_t *metrics = json_object_get(card, "metrics");
  return json_pack("{s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "device",
                   value_of(card, "device"), "epochs", (json_int_t)epochs_trained(card),
                   "best_epoch", value_of(card, "best_epoch"), "stop_reason",
                   value_of(card, "stop_reason"), "loss", value_of(metrics, "loss"), "accuracy",
                   value_of(metrics, "accuracy"), "validation_loss",
                   value_of(metrics, "validation_loss"), "validation_accuracy",
                   value_of(metrics, "validation_accuracy"), "seconds",
                   value_of(card, "training_seconds"), "parameters", value_of(card, "parameters"),
                   "out", th_output_string(told->out), "card", th_output_string(told->card));
}

static bool is_regression(const json_t *card) {
  return count_at(card, "classes") == 0;
}

/* Of each key the card's own value, or null. @return NULL without memory. */
static json_t *values_of(const json_t *card, const char *const *keys) {
  json_t *object = json_object();
  for (; *keys != NULL; keys++) {
    if (json_object_set_new(object, *keys, value_of(card, *keys)) == 0) continue;
    json_decref(object);
    return NULL;
  }
  return object;
}

static json_t *evaluation_to_json(const json_t *card) {
  static const char *const classes[] = {"device",    "rows",     "classes", "loss",     "accuracy",
                                        "confusion", "by_class", "macro",   "weighted", NULL};
  static const char *const outputs[] = {"device", "rows", "classes", "loss",      "accuracy",
                                        "mae",    "rmse", "r2",      "by_output", NULL};
  return values_of(card, is_regression(card) ? outputs : classes);
}

static json_t *prediction_to_json(const th_told *told, const json_t *card) {
  static const char *const keys[] = {"device", "rows", "classes", NULL};
  json_t *object = values_of(card, keys);
  if (json_object_set_new(object, "out", th_output_string(told->out)) == 0) return object;
  json_decref(object);
  return NULL;
}

static json_t *rest_to_json(const th_told *told, const json_t *card) {
  switch (told->kind) {
    case TH_JOB_TRAIN:
      return th_card_train_to_json(told, card);
    case TH_JOB_EVALUATE:
      return evaluation_to_json(card);
    case TH_JOB_PREDICT:
      return prediction_to_json(told, card);
  }
  return NULL;
}

static void json_tell(const th_told *told, const json_t *card) {
  json_t *object = head_to_json(told);
  json_t *rest = rest_to_json(told, card);
  if (object != NULL && (rest == NULL || json_object_update(object, rest) != 0)) {
    json_decref(object);
    object = NULL;
  }
  json_decref(rest);
  th_output_json(object);
}

/* ---- for a person ---- */

static bool is_stopped_early(const json_t *card) {
  return strcmp(text_at(card, "stop_reason"), "early") == 0;
}

static bool has_targets(const json_t *card) {
  return count_at(json_object_get(card, "data"), "targets") > 0;
}

static void early_stop_print(const json_t *card) {
  const json_t *spec = json_object_get(card, "spec");
  bool by_accuracy = strcmp(text_at(spec, "early_stopping_monitor"), "validation_accuracy") == 0;
  th_output_text("stopped early, after epoch %u of %u: no %s for %u epochs\n", epochs_trained(card),
                 count_at(spec, "epochs"),
                 !by_accuracy        ? "lower validation loss"
                 : has_targets(card) ? "higher validation R²"
                                     : "higher validation accuracy",
                 count_at(spec, "early_stopping_patience"));
}

/* Of the epoch whose parameters the model holds, which need not be the last. */
static void metrics_print(const json_t *card) {
  const json_t *metrics = json_object_get(card, "metrics");
  uint32_t epoch = count_at(metrics, "epoch");
  bool is_best = epoch == count_at(card, "best_epoch");
  const char *word = has_targets(card) ? "R²" : "accuracy";
  th_output_text("epoch %u%s: loss %s, %s %s", epoch, is_best ? ", the best" : "",
                 th_words_score(number_at(metrics, "loss")).text, word,
                 th_words_score(number_at(metrics, "accuracy")).text);
  if (!isnan(number_at(metrics, "validation_loss")))
    th_output_text("; validation loss %s, %s %s",
                   th_words_score(number_at(metrics, "validation_loss")).text, word,
                   th_words_score(number_at(metrics, "validation_accuracy")).text);
  th_output_text("\n");
}

static void train_print(const th_told *told, const json_t *card) {
  double seconds = number_at(card, "training_seconds");
  double rows = number_at(json_object_get(card, "data"), "training_rows");
  uint32_t epochs = epochs_trained(card);
  th_output_text("trained %u epoch%s in %.1f s (%s samples/s) on %s\n", epochs,
                 epochs == 1 ? "" : "s", seconds, th_words_rate(rows * epochs / seconds).text,
                 text_at(card, "device"));
  if (is_stopped_early(card)) early_stop_print(card);
  metrics_print(card);
  th_output_text("written: %s, %s\n", told->out, told->card);
}

/* Wide enough for a million rows of each class. */
static void confusion_print(const json_t *card) {
  const json_t *matrix = json_object_get(card, "confusion");
  size_t classes = json_array_size(matrix);
  if (classes < 2 || classes > CONFUSION_CLASSES_MAX) return;
  th_output_text("label \\ predicted\n%5s", "");
  for (size_t said = 0; said < classes; said++) th_output_text(" %6zu", said);
  th_output_text("\n");
  for (size_t label = 0; label < classes; label++) {
    th_output_text("%5zu", label);
    for (size_t said = 0; said < classes; said++)
      th_output_text(" %6" JSON_INTEGER_FORMAT,
                     json_integer_value(json_array_get(json_array_get(matrix, label), said)));
    th_output_text("\n");
  }
}

static void scores_line_print(const char *name, const json_t *scores) {
  th_output_text("%-8s %9.4f %9.4f %9.4f %9" JSON_INTEGER_FORMAT "\n", name,
                 number_at(scores, "precision"), number_at(scores, "recall"),
                 number_at(scores, "f1"), json_integer_value(json_object_get(scores, "support")));
}

static void scores_print(const json_t *card) {
  const json_t *classes = json_object_get(card, "by_class");
  size_t count = json_array_size(classes);
  if (count < 2 || count > CONFUSION_CLASSES_MAX) return;
  th_output_text("%-8s %9s %9s %9s %9s\n", "class", "precision", "recall", "F1", "rows");
  for (size_t c = 0; c < count; c++) {
    char name[16];
    snprintf(name, sizeof name, "%zu", c);
    scores_line_print(name, json_array_get(classes, c));
  }
  scores_line_print("macro", json_object_get(card, "macro"));
  scores_line_print("weighted", json_object_get(card, "weighted"));
}

static void prediction_print(const th_told *told, const json_t *card) {
  th_output_text("predicted %u rows", count_at(card, "rows"));
  if (!is_regression(card)) th_output_text(", %u classes", count_at(card, "classes"));
  th_output_text("\nwritten: %s\n", told->out);
}

static void evaluation_print(const json_t *card) {
  th_output_text("%u rows: loss %s, ", count_at(card, "rows"),
                 th_words_score(number_at(card, "loss")).text);
  if (is_regression(card)) {
    th_output_text("R² %s, mean absolute error %s, root of the mean squared error %s\n",
                   th_words_score(number_at(card, "r2")).text,
                   th_words_score(number_at(card, "mae")).text,
                   th_words_score(number_at(card, "rmse")).text);
    return;
  }
  th_output_text("accuracy %s\n", th_words_score(number_at(card, "accuracy")).text);
  confusion_print(card);
  scores_print(card);
}

static void text_tell(const th_told *told, const json_t *card) {
  switch (told->kind) {
    case TH_JOB_TRAIN:
      train_print(told, card);
      return;
    case TH_JOB_EVALUATE:
      evaluation_print(card);
      return;
    case TH_JOB_PREDICT:
      prediction_print(told, card);
  }
}

/* ---- either ---- */

th_error th_card_tell(const th_told *told, const char *text, size_t bytes) {
  json_t *card = json_loadb(text, bytes, 0, NULL);
  if (!json_is_object(card)) {
    json_decref(card);
    return th_fail(TH_ERR_PROTOCOL, "the card of job %" PRIu64 " is no JSON object", told->job);
  }
  if (th_output_is_json())
    json_tell(told, card);
  else
    text_tell(told, card);
  json_decref(card);
  return TH_OK;
}

uint32_t th_card_classes(const char *text, size_t bytes) {
  json_t *card = json_loadb(text, bytes, 0, NULL);
  uint32_t classes = count_at(card, "classes");
  json_decref(card);
  return classes;
}

void th_card_tell_checkpoint(const th_told *told) {
  if (th_output_is_json()) {
    json_t *object = head_to_json(told);
    json_t *rest = json_pack("{s:b, s:o}", "checkpoint", 1, "out", th_output_string(told->out));
    if (object != NULL && rest != NULL) (void)json_object_update(object, rest);
    json_decref(rest);
    th_output_json(object);
    return;
  }
  th_output_text("written: %s, a checkpoint of job %" PRIu64
                 "\n"
                 "go on from it: trainhost train --resume %s, with the same data and fields\n",
                 told->out, told->job, told->out);
}

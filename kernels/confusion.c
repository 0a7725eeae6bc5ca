#include "kernels/confusion.h"

#include <stdlib.h>

#include "kernels/loss.h"

th_error th_confusion_init(th_confusion *confusion, uint32_t classes) {
  *confusion = (th_confusion){0};
  if (classes > TH_CONFUSION_CLASSES_MAX) return TH_OK;
  confusion->counts = calloc((size_t)classes * classes, sizeof *confusion->counts);
  if (confusion->counts == NULL)
    return th_fail(TH_ERR_SYSTEM, "no memory for a confusion matrix of %u classes", classes);
  confusion->classes = classes;
  return TH_OK;
}

static uint64_t *count_at(const th_confusion *confusion, uint32_t label, uint32_t said) {
  return &confusion->counts[(size_t)label * confusion->classes + said];
}

void th_confusion_add(th_confusion *confusion, uint32_t label, const float *logits) {
  if (confusion->counts == NULL) return;
  ++*count_at(confusion, label, th_loss_argmax(logits, confusion->classes));
}

/* ---- scores ---- */

typedef struct score {
  double precision, recall, f1;
  uint64_t support; /* rows with that label */
} score;

static double ratio(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

static score score_of(const th_confusion *confusion, uint32_t class) {
  uint64_t said = 0;
  score found = {.support = 0};
  for (uint32_t other = 0; other < confusion->classes; other++) {
    said += *count_at(confusion, other, class);
    found.support += *count_at(confusion, class, other);
  }
  double hits = (double)*count_at(confusion, class, class);
  found.precision = ratio(hits, (double)said);
  found.recall = ratio(hits, (double)found.support);
  found.f1 = ratio(2 * hits, (double)(said + found.support));
  return found;
}

static void score_add(score *sum, const score *part, double weight) {
  sum->precision += weight * part->precision;
  sum->recall += weight * part->recall;
  sum->f1 += weight * part->f1;
}

static json_t *score_to_json(const score *found) {
  return json_pack("{s:f, s:f, s:f, s:I}", "precision", found->precision, "recall", found->recall,
                   "f1", found->f1, "support", (json_int_t)found->support);
}

/* ---- JSON; NULL is how jansson reports that memory ran out, and passes through all calls ---- */

static bool object_set(json_t *object, const char *key, json_t *value) {
  return json_object_set_new(object, key, value) == 0;
}

static json_t *row_to_json(const th_confusion *confusion, uint32_t label) {
  json_t *row = json_array();
  for (uint32_t said = 0; said < confusion->classes; said++) {
    json_t *count = json_integer((json_int_t)*count_at(confusion, label, said));
    if (json_array_append_new(row, count) == 0) continue;
    json_decref(row);
    return NULL;
  }
  return row;
}

static json_t *matrix_to_json(const th_confusion *confusion) {
  json_t *matrix = json_array();
  for (uint32_t label = 0; label < confusion->classes; label++) {
    if (json_array_append_new(matrix, row_to_json(confusion, label)) == 0) continue;
    json_decref(matrix);
    return NULL;
  }
  return matrix;
}

static bool nulls_print(json_t *card) {
  return object_set(card, "confusion", json_null()) && object_set(card, "by_class", json_null()) &&
         object_set(card, "macro", json_null()) && object_set(card, "weighted", json_null());
}

bool th_confusion_print(const th_confusion *confusion, json_t *card) {
  if (confusion->counts == NULL) return nulls_print(card);
  uint64_t rows = 0;
  for (uint64_t i = 0; i < (uint64_t)confusion->classes * confusion->classes; i++)
    rows += confusion->counts[i];
  score macro = {.support = rows}, weighted = {.support = rows};
  json_t *classes = json_array();
  bool is_whole = classes != NULL;
  for (uint32_t c = 0; c < confusion->classes && is_whole; c++) {
    score found = score_of(confusion, c);
    score_add(&macro, &found, 1.0 / confusion->classes);
    score_add(&weighted, &found, ratio((double)found.support, (double)rows));
    is_whole = json_array_append_new(classes, score_to_json(&found)) == 0;
  }
  /* Passed on even if not whole: the card takes it over, and with it the duty to free it. */
  is_whole &= object_set(card, "by_class", classes);
  return is_whole && object_set(card, "confusion", matrix_to_json(confusion)) &&
         object_set(card, "macro", score_to_json(&macro)) &&
         object_set(card, "weighted", score_to_json(&weighted));
}

void th_confusion_fini(th_confusion *confusion) {
  free(confusion->counts);
  *confusion = (th_confusion){0};
}

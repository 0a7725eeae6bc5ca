#include "kernels/confusion.h"

#include <criterion/criterion.h>
#include <math.h>

/* Labels, and what was said of them; class 2 is never said and class 3 never asked for. */
static const uint32_t rows[][2] = {{0, 0}, {0, 0}, {0, 1}, {1, 1}, {1, 3}, {2, 0}};

enum { CLASSES = 4, ROWS = sizeof rows / sizeof *rows };

static th_confusion counted(void) {
  th_confusion confusion;
  cr_assert_eq(th_confusion_init(&confusion, CLASSES), TH_OK);
  for (uint32_t r = 0; r < ROWS; r++) {
    float logits[CLASSES] = {-1, -1, -1, -1};
    logits[rows[r][1]] = 2;
    th_confusion_add(&confusion, rows[r][0], logits);
  }
  return confusion;
}

static double score_at(const json_t *scores, const char *key) {
  cr_assert(json_is_number(json_object_get(scores, key)), "%s", key);
  return json_number_value(json_object_get(scores, key));
}

static void expect_scores(const json_t *scores, double precision, double recall, double f1,
                          double support) {
  cr_expect_float_eq(score_at(scores, "precision"), precision, 1e-15);
  cr_expect_float_eq(score_at(scores, "recall"), recall, 1e-15);
  cr_expect_float_eq(score_at(scores, "f1"), f1, 1e-15);
  cr_expect_eq(score_at(scores, "support"), support);
}

/* By hand, and the same that sklearn.metrics.classification_report gives with zero_division=0. */
Test(confusion, scores_each_class_and_both_means) {
  th_confusion confusion = counted();
  json_t *card = json_object();
  cr_assert(th_confusion_print(&confusion, card));
  const json_t *classes = json_object_get(card, "by_class");
  cr_assert_eq(json_array_size(classes), CLASSES);
  expect_scores(json_array_get(classes, 0), 2.0 / 3, 2.0 / 3, 2.0 / 3, 3);
  expect_scores(json_array_get(classes, 1), 0.5, 0.5, 0.5, 2);
  expect_scores(json_array_get(classes, 2), 0, 0, 0, 1);
  expect_scores(json_array_get(classes, 3), 0, 0, 0, 0);
  double mean = (2.0 / 3 + 0.5) / 4;
  expect_scores(json_object_get(card, "macro"), mean, mean, mean, ROWS);
  double weighted = (3 * 2.0 / 3 + 2 * 0.5) / 6;
  expect_scores(json_object_get(card, "weighted"), weighted, weighted, weighted, ROWS);
  const json_t *matrix = json_object_get(card, "confusion");
  cr_expect_eq(json_integer_value(json_array_get(json_array_get(matrix, 1), 3)), 1);
  cr_expect_eq(json_integer_value(json_array_get(json_array_get(matrix, 3), 1)), 0);
  json_decref(card);
  th_confusion_fini(&confusion);
}

Test(confusion, stays_empty_with_more_classes_than_anyone_reads) {
  th_confusion confusion;
  float logits[1] = {0};
  json_t *card = json_object();
  cr_assert_eq(th_confusion_init(&confusion, TH_CONFUSION_CLASSES_MAX + 1), TH_OK);
  th_confusion_add(&confusion, 0, logits);
  cr_assert(th_confusion_print(&confusion, card));
  cr_expect(json_is_null(json_object_get(card, "confusion")));
  cr_expect(json_is_null(json_object_get(card, "macro")));
  json_decref(card);
  th_confusion_fini(&confusion);
}

/* Settings summed up over made-up cards: means, deviations, and which is the best. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/summary.h"

static th_grid grid;
static th_results results;

/* The combinations of a grid, none of them done. */
static void begin(const char *text) {
  char path[] = "/tmp/trainhost-summary-XXXXXX";
  int fd = mkstemp(path);
  cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
  close(fd);
  cr_assert_eq(th_grid_read(path, &grid), TH_OK, "%s", th_error_text());
  unlink(path);
  cr_assert_eq(th_results_init(&results, &grid), TH_OK, "%s", th_error_text());
}

static void end(void) {
  th_results_fini(&results);
  th_grid_fini(&grid);
}

static void done(uint32_t index, const char *metrics) {
  char card[256];
  snprintf(card, sizeof card, "{\"metrics\": {%s}, \"training_seconds\": 2}", metrics);
  cr_assert_eq(th_results_done(&results, index, card, strlen(card), "m.safetensors", "m.json"),
               TH_OK, "%s", th_error_text());
}

static void done_with(uint32_t index, const char *key, double value) {
  char metrics[64];
  snprintf(metrics, sizeof metrics, "\"%s\": %.17g", key, value);
  done(index, metrics);
}

/* The figure of the setting at that place; NaN for null. */
static double figure(json_t *settings, size_t place, const char *key, const char *part) {
  const json_t *spread = json_object_get(json_array_get(settings, place), key);
  const json_t *value = json_object_get(spread, part);
  cr_assert_not_null(value, "%s has no %s", key, part);
  return json_is_null(value) ? NAN : json_number_value(value);
}

static json_int_t epochs_at(json_t *settings, size_t place) {
  const json_t *fields = json_object_get(json_array_get(settings, place), "fields");
  return json_integer_value(json_object_get(fields, "epochs"));
}

static json_t *settings_make(size_t count) {
  json_t *settings = th_summary_to_json(&results);
  cr_assert_eq(json_array_size(settings), count);
  return settings;
}

Test(summary, a_deviation_is_that_of_a_sample) {
  begin("{\"seeds\": 4}");
  for (uint32_t i = 0; i < 4; i++) done_with(i, "validation_loss", i + 1);
  json_t *settings = settings_make(1);
  cr_assert_float_eq(figure(settings, 0, "validation_loss", "mean"), 2.5, 1e-15);
  cr_assert_float_eq(figure(settings, 0, "validation_loss", "deviation"), sqrt(5.0 / 3), 1e-15);
  cr_assert_eq(figure(settings, 0, "seconds", "deviation"), 0);
  json_decref(settings);
  end();
}

Test(summary, one_combination_alone_has_no_deviation_and_none_has_nothing) {
  begin("{\"grid\": {\"epochs\": [1, 2]}}");
  done_with(1, "loss", 0.5);
  json_t *settings = settings_make(2);
  cr_assert_eq(epochs_at(settings, 0), 2);
  cr_assert_eq(figure(settings, 0, "loss", "mean"), 0.5);
  cr_assert(isnan(figure(settings, 0, "loss", "deviation")));
  cr_assert(isnan(figure(settings, 0, "validation_loss", "mean")));
  cr_assert(isnan(figure(settings, 1, "loss", "mean")));
  json_decref(settings);
  end();
}

Test(summary, numbers_that_are_large_and_close_keep_their_deviation) {
  begin("{\"seeds\": 2}");
  done_with(0, "loss", 1e9);
  done_with(1, "loss", 1e9 + 2);
  json_t *settings = settings_make(1);
  cr_assert_float_eq(figure(settings, 0, "loss", "deviation"), sqrt(2), 1e-12);
  json_decref(settings);
  end();
}

/* Folds change slower than epochs here, and seeds faster. */
Test(summary, combinations_that_differ_in_fold_and_seed_are_one_setting) {
  begin(
      "{\"spec\": {\"folds\": 2}, \"grid\": {\"fold\": [1, 2], \"epochs\": [1, 2]}, \"seeds\": 2}");
  for (uint32_t i = 0; i < 8; i++) done_with(i, "validation_loss", i / 2 % 2 == 0 ? 8 : 4);
  json_t *settings = settings_make(2);
  for (size_t i = 0; i < 2; i++) {
    const json_t *setting = json_array_get(settings, i);
    cr_assert_eq(json_integer_value(json_object_get(setting, "combinations")), 4);
    cr_assert_eq(json_object_size(json_object_get(setting, "fields")), 1);
    cr_assert_eq(figure(settings, i, "validation_loss", "deviation"), 0);
  }
  cr_assert_eq(epochs_at(settings, 0), 2);
  cr_assert_eq(figure(settings, 0, "validation_loss", "mean"), 4);
  json_decref(settings);
  end();
}

Test(summary, a_setting_with_a_failed_combination_comes_after_those_that_are_whole) {
  begin("{\"grid\": {\"epochs\": [1, 2, 3]}, \"seeds\": 2}");
  done_with(0, "loss", 0.1);
  (void)th_fail(TH_ERR_DIVERGED, "the loss became NaN");
  cr_assert_eq(th_results_failed(&results, 1, TH_ERR_DIVERGED), TH_OK);
  done_with(2, "loss", 0.3);
  done_with(3, "loss", 0.5);
  done_with(4, "loss", 0.2);
  done_with(5, "loss", 0.4);
  json_t *settings = settings_make(3);
  cr_assert_eq(epochs_at(settings, 0), 3);
  cr_assert_eq(epochs_at(settings, 1), 2);
  cr_assert_eq(epochs_at(settings, 2), 1);
  cr_assert_eq(json_integer_value(json_object_get(json_array_get(settings, 2), "done")), 1);
  json_decref(settings);
  end();
}

#define METRICS(loss, accuracy)    \
  "\"loss\": 1, \"accuracy\": 1, " \
  "\"validation_loss\": " loss ", \"validation_accuracy\": " accuracy

static void assert_best(const char *text, json_int_t epochs) {
  begin(text);
  done(0, METRICS("0.2", "0.8"));
  done(1, METRICS("0.3", "0.9"));
  json_t *settings = settings_make(2);
  cr_assert_eq(epochs_at(settings, 0), epochs, "%s", text);
  cr_assert_eq(th_results_best(&results)->number, epochs, "%s", text);
  json_decref(settings);
  end();
}

Test(summary, the_best_has_the_lowest_loss_or_where_all_monitor_it_the_highest_accuracy) {
  assert_best("{\"grid\": {\"epochs\": [1, 2]}}", 1);
  assert_best(
      "{\"spec\": {\"early_stopping_monitor\": \"validation_accuracy\"}, \"grid\": {\"epochs\": "
      "[1, "
      "2]}}",
      2);
  /* Numbers of two kinds cannot be compared. */
  begin("{\"grid\": {\"early_stopping_monitor\": [\"validation_accuracy\", \"validation_loss\"]}}");
  cr_assert_not(grid.by_accuracy);
  end();
}

Test(summary, a_score_that_is_no_number_is_the_worst) {
  begin("{\"grid\": {\"epochs\": [1, 2]}}");
  done(0, "\"loss\": null");
  done_with(1, "loss", 1e30);
  json_t *settings = settings_make(2);
  cr_assert_eq(epochs_at(settings, 0), 2);
  json_decref(settings);
  end();
}

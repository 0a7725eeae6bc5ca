/* A grid of trainings with the built command, in local mode and with a real daemon. */
#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/cli/process.h"
#include "tests/support/host.h"

static th_test_host host;

static void set_up_local(void) {
  unsetenv("USE_TRAINING_HOST_SERVICE");
  test_enter_directory();
  test_data_write(400);
}

static void set_up_host(void) {
  test_enter_directory();
  test_data_write(400);
  test_host_start(&host, NULL);
  setenv("USE_TRAINING_HOST_SERVICE", "true", 1);
  setenv("TRAINING_HOST_SERVICE_URL", host.url, 1);
}

static void tear_down_host(void) {
  test_host_stop(&host);
  test_leave_directory();
}

TestSuite(sweep, .init = set_up_local, .fini = test_leave_directory, .timeout = 120);
TestSuite(sweep_host, .init = set_up_host, .fini = tear_down_host, .timeout = 120);

#define DATA "--data x.npy --labels y.idx"
#define SWEEP "sweep grid.json " DATA " --out-dir out"
#define GRID                                                                               \
  "{\"spec\": {\"epochs\": 3, \"validation_split\": 0.25}, \"grid\": {\"learning_rate\": " \
  "[0.001, 0.01], \"hidden\": [[8], [8, 4]]}, \"seeds\": 2}"

static void assert_holds(const char *text, const char *part) {
  cr_assert_not_null(strstr(text, part), "no \"%s\" in: %s", part, text);
}

static void assert_fails(test_run run, int exit_status, const char *part) {
  cr_assert_eq(run.exit_status, exit_status, "%d: %s", run.exit_status, run.err);
  assert_holds(run.err, part);
  test_run_free(&run);
}

static json_t *result_of(test_run run) {
  cr_assert_eq(run.exit_status, 0, "%d: %s%s", run.exit_status, run.out, run.err);
  json_t *result = test_last_object(run.out);
  cr_assert_str_eq(json_string_value(json_object_get(result, "event")), "result");
  test_run_free(&run);
  return result;
}

static double number(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  cr_assert(json_is_number(value), "%s is no number", key);
  return json_number_value(value);
}

static const json_t *row_numbered(const json_t *result, int wanted) {
  size_t index;
  const json_t *row;
  json_array_foreach(json_object_get(result, "results"), index,
                     row) if ((int)number(row, "number") == wanted) return row;
  cr_assert_fail("no combination %d", wanted);
  return NULL;
}

/* The table is whole, its best row first, and a model and a card are there for each. */
static void assert_table(const json_t *result, size_t count) {
  const json_t *rows = json_object_get(result, "results");
  double before = -INFINITY;
  cr_assert_eq(json_array_size(rows), count);
  for (size_t i = 0; i < count; i++) {
    const json_t *row = json_array_get(rows, i);
    cr_assert_geq(number(row, "validation_loss"), before);
    before = number(row, "validation_loss");
    cr_assert(test_file_exists(json_string_value(json_object_get(row, "out"))));
    cr_assert(test_file_exists(json_string_value(json_object_get(row, "card"))));
  }
  cr_assert(test_file_exists("out/sweep.csv"));
  cr_assert(test_file_exists("out/sweep.json"));
}

static void sweep_all(void) {
  test_file_write("grid.json", GRID);
  json_t *result = result_of(test_trainhost(SWEEP " --json"));
  assert_table(result, 8);
  const json_t *third = json_object_get(row_numbered(result, 3), "fields");
  cr_assert_eq(number(third, "learning_rate"), 0.001);
  cr_assert_eq(json_array_size(json_object_get(third, "hidden")), 2);
  cr_assert_eq(number(third, "seed"), 0, "the seed changes fastest");
  json_decref(result);
  test_run alone = test_trainhost("train " DATA
                                  " --epochs 3 --validation-split 0.25 --learning-rate 0.001 "
                                  "--hidden 8,4 --seed 0 --quiet --out alone.safetensors "
                                  "--name learning_rate-0.001_hidden-8-4_seed-0");
  cr_assert_eq(alone.exit_status, 0, "%s", alone.err);
  cr_assert_eq(system("cmp alone.safetensors out/003-learning_rate-0.001_hidden-8-4_seed-0"
                      ".safetensors"),
               0, "another model than when trained alone");
  test_run_free(&alone);
}

Test(sweep, every_combination_is_trained_as_if_alone) {
  sweep_all();
}

Test(sweep, has_no_place_for_checkpoints_in_local_mode) {
  test_file_write("grid.json", "{\"grid\": {\"checkpoint_epochs\": [0, 2]}}");
  assert_fails(test_trainhost(SWEEP), 64, "checkpoint_epochs is 2");
}

Test(sweep_host, every_combination_is_trained_as_if_alone_and_nothing_is_left) {
  sweep_all();
  test_run status = test_trainhost("status --json");
  json_t *listed = test_last_object(status.out);
  cr_assert_eq(json_array_size(json_object_get(listed, "jobs")), 0, "%s", status.out);
  json_decref(listed);
  test_run_free(&status);
}

Test(sweep_host, one_at_a_time_shares_the_data_too) {
  test_file_write("grid.json", GRID);
  json_t *result = result_of(test_trainhost(SWEEP " --json --jobs 1"));
  assert_table(result, 8);
  json_decref(result);
}

Test(sweep, without_a_terminal_a_finished_combination_is_a_line) {
  test_file_write("grid.json", GRID);
  test_run run = test_trainhost(SWEEP);
  cr_assert_eq(run.exit_status, 0, "%s", run.err);
  assert_holds(run.err, "\n8/8  #");
  assert_holds(run.err, " learning_rate-0.01_hidden-8-4_seed-1: loss ");
  cr_assert_null(strchr(run.err, '\x1b'));
  assert_holds(run.out, "written: out/sweep.csv, out/sweep.json");
  test_run_free(&run);
}

Test(sweep, quiet_prints_nothing_and_with_json_the_table_alone) {
  test_file_write("grid.json", GRID);
  test_run run = test_trainhost(SWEEP " --quiet");
  cr_assert_eq(run.exit_status, 0, "%s", run.err);
  cr_assert_str_eq(run.out, "");
  cr_assert_str_eq(run.err, "");
  test_run_free(&run);
  run = test_trainhost(SWEEP " --quiet --json");
  cr_assert_eq(strchr(run.out, '\n'), run.out + strlen(run.out) - 1, "more than a line: %s",
               run.out);
  test_run_free(&run);
}

/* ---- settings ---- */

#define FOLDS                                                                    \
  "{\"spec\": {\"epochs\": 2, \"folds\": 3%s}, \"grid\": {\"fold\": [1, 2, 3], " \
  "\"learning_rate\": "                                                          \
  "[0.0001, 0.01]}, \"seeds\": 2}"

static void folds_write(const char *more) {
  char text[512];
  snprintf(text, sizeof text, FOLDS, more);
  test_file_write("grid.json", text);
}

/* By the rows of the table. The mean is taken of all figures, and the deviation by n − 1. */
static void assert_spread(const json_t *result, const json_t *setting, const char *key) {
  double rate = number(json_object_get(setting, "fields"), "learning_rate");
  double sum = 0, squares = 0;
  int count = 0;
  size_t index;
  const json_t *row;
  json_array_foreach(json_object_get(result, "results"), index, row) {
    if (number(json_object_get(row, "fields"), "learning_rate") != rate) continue;
    sum += number(row, key);
    squares += number(row, key) * number(row, key);
    count++;
  }
  cr_assert_eq(count, 6);
  const json_t *spread = json_object_get(setting, key);
  double mean = sum / count, deviation = sqrt((squares - sum * mean) / (count - 1));
  cr_assert_float_eq(number(spread, "mean"), mean, 1e-9, "%s", key);
  cr_assert_float_eq(number(spread, "deviation"), deviation, 1e-6, "%s", key);
}

/* @param sign  1: lower is better; −1: higher is. */
static void assert_settings(const char *monitor, int sign) {
  json_t *result = result_of(test_trainhost(SWEEP " --json"));
  const json_t *settings = json_object_get(result, "settings");
  double before = -INFINITY;
  cr_assert_eq(json_array_size(settings), 2);
  for (size_t i = 0; i < 2; i++) {
    const json_t *setting = json_array_get(settings, i);
    cr_assert_eq(json_object_size(json_object_get(setting, "fields")), 1, "a fold or seed is left");
    cr_assert_eq(number(setting, "combinations"), 6);
    cr_assert_eq(number(setting, "done"), 6);
    assert_spread(result, setting, "validation_loss");
    assert_spread(result, setting, "validation_accuracy");
    assert_spread(result, setting, "loss");
    double mean = number(json_object_get(setting, monitor), "mean");
    cr_assert_geq(sign * mean, before, "the best is not first");
    before = sign * mean;
  }
  before = -INFINITY;
  for (size_t i = 0; i < 12; i++) {
    double score = number(json_array_get(json_object_get(result, "results"), i), monitor);
    cr_assert_geq(sign * score, before, "the best is not first");
    before = sign * score;
  }
  json_t *file = json_load_file("out/sweep.json", 0, NULL);
  cr_assert(json_equal(json_object_get(file, "settings"), settings), "the file has others");
  cr_assert(json_equal(json_object_get(file, "results"), json_object_get(result, "results")));
  json_decref(file);
  json_decref(result);
}

Test(sweep, folds_and_seeds_are_summed_up_and_the_best_setting_is_first) {
  folds_write("");
  assert_settings("validation_loss", 1);
}

Test(sweep, the_best_is_what_the_specification_monitors) {
  folds_write(", \"early_stopping_monitor\": \"validation_accuracy\"");
  assert_settings("validation_accuracy", -1);
}

Test(sweep, text_sums_up_folds_and_lists_combinations_only_when_asked_to) {
  folds_write("");
  test_run run = test_trainhost(SWEEP);
  cr_assert_eq(run.exit_status, 0, "%s", run.err);
  assert_holds(run.out, "mean ± deviation");
  assert_holds(run.out, "6/6");
  assert_holds(run.out, "learning_rate-0.01\n");
  cr_assert_null(strstr(run.out, "fold-"), "%s", run.out);
  test_run_free(&run);
  run = test_trainhost(SWEEP " --all");
  assert_holds(run.out, "mean ± deviation");
  assert_holds(run.out, "  fold-3_learning_rate-0.01_seed-1\n");
  test_run_free(&run);
}

Test(sweep, a_regression_is_told_by_its_r2) {
  test_file_write("grid.json",
                  "{\"spec\": {\"loss\": \"mean_squared_error\", \"epochs\": 2}, \"seeds\": 2}");
  test_run run = test_trainhost("sweep grid.json --data x.npy --targets y.idx --out-dir out --all");
  cr_assert_eq(run.exit_status, 0, "%s", run.err);
  assert_holds(run.out, "R²");
  assert_holds(run.err, "  R² ");
  cr_assert_null(strstr(run.out, "accuracy"), "%s", run.out);
  cr_assert_null(strstr(run.err, "accuracy"), "%s", run.err);
  test_run_free(&run);
}

static ino_t file_number(const char *path) {
  struct stat status;
  cr_assert_eq(stat(path, &status), 0, "%s", path);
  return status.st_ino;
}

Test(sweep, a_second_run_trains_what_is_missing_and_no_more) {
  static const char kept[] = "out/001-learning_rate-0.001_hidden-8_seed-0.json";
  static const char lost[] = "out/002-learning_rate-0.001_hidden-8_seed-1.json";
  test_file_write("grid.json", GRID);
  json_decref(result_of(test_trainhost(SWEEP " --json")));
  ino_t first = file_number(kept);
  cr_assert_eq(remove(lost), 0);
  test_run run = test_trainhost(SWEEP);
  cr_assert_eq(run.exit_status, 0, "%s", run.err);
  assert_holds(run.out, "7 of 8 combinations are done already");
  cr_assert_eq(file_number(kept), first, "trained again");
  cr_assert(test_file_exists(lost));
  test_run_free(&run);
}

Test(sweep, cards_of_other_data_or_fields_count_for_nothing) {
  test_file_write("grid.json", GRID);
  json_decref(result_of(test_trainhost(SWEEP " --json")));
  test_data_write(500);
  test_run run = test_trainhost(SWEEP);
  cr_assert_null(strstr(run.out, "already"), "%s", run.out);
  test_run_free(&run);
  test_file_write("grid.json",
                  "{\"spec\": {\"epochs\": 4}, \"grid\": {\"learning_rate\": [0.001, "
                  "0.01], \"hidden\": [[8], [8, 4]]}, \"seeds\": 2}");
  run = test_trainhost(SWEEP);
  cr_assert_null(strstr(run.out, "already"), "%s", run.out);
  test_run_free(&run);
}

Test(sweep, weights_and_groups_are_sent_once_and_tell_data_apart) {
  test_file_write("grid.json", "{\"grid\": {\"epochs\": [1, 2, 3]}}");
  json_decref(result_of(test_trainhost(SWEEP " --weights y.idx --groups y.idx --json")));
  test_run run = test_trainhost(SWEEP " --weights y.idx --groups y.idx");
  cr_assert_eq(run.exit_status, 0, "%s", run.err);
  assert_holds(run.out, "3 of 3 combinations are done already");
  test_run_free(&run);
  run = test_trainhost(SWEEP " --weights y.idx");
  cr_assert_eq(run.exit_status, 0, "%s", run.err);
  cr_assert_null(strstr(run.out, "done already"), "%s", run.out);
  test_run_free(&run);
}

Test(sweep, a_combination_that_fails_stops_no_other) {
  test_file_write("grid.json",
                  "{\"spec\": {\"optimizer\": \"sgd\", \"validation_split\": 0.25, \"epochs\": 2}, "
                  "\"grid\": {\"learning_rate\": [1e30, 0.01]}}");
  test_run run = test_trainhost(SWEEP);
  cr_assert_eq(run.exit_status, 70, "%d: %s", run.exit_status, run.err);
  assert_holds(run.err, "1 of 2 combinations failed");
  assert_holds(run.out, "learning_rate-1e30: the loss became");
  cr_assert(test_file_exists("out/002-learning_rate-0.01.safetensors"));
  cr_assert_not(test_file_exists("out/001-learning_rate-1e30.safetensors"));
  test_run_free(&run);
}

Test(sweep, a_wrong_grid_is_told_before_anything_is_done) {
  static const struct {
    const char *text, *part;
  } rows[] = {
      {"{\"grid\": {\"learning_rate\": [0.1, -1]}}", "combination 2 (learning_rate-1)"},
      {"{\"grid\": {\"learnin_rate\": [0.1]}}", "learning_rate"},
      {"{\"grid\": {\"hidden\": [8]}}", "hidden"},
      {"{\"grid\": {\"epochs\": []}}", "at least one value"},
      {"{\"grid\": {\"epochs\": 3}}", "at least one value"},
      {"{\"grid\": [1]}", "grid must be"},
      {"{\"spec\": 1}", "spec must be"},
      {"{\"seeds\": 0}", "seeds must be"},
      {"{\"seeds\": [\"a\"]}", "seed"},
      {"{\"seeds\": 3, \"grid\": {\"seed\": [1]}}", "one place"},
      {"{\"grids\": {}}", "grids"},
      {"{\"grid\": ", "line 1"},
      {"[]", "must be an object"},
      {"{\"grid\": {\"epochs\": [1], \"epochs\": [2]}}", "duplicate"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    test_file_write("grid.json", rows[i].text);
    assert_fails(test_trainhost(SWEEP), 64, rows[i].part);
  }
  test_file_write("grid.json", "{\"seeds\": 10000, \"grid\": {\"epochs\": [1, 2]}}");
  assert_fails(test_trainhost(SWEEP), 65, "more than 10000");
  cr_assert_not(test_file_exists("out"));
}

Test(sweep, a_wrong_command_line_is_told) {
  test_file_write("grid.json", "{}");
  assert_fails(test_trainhost("sweep " DATA " --out-dir out"), 64, "SWEEP.json is missing");
  assert_fails(test_trainhost("sweep absent.json " DATA " --out-dir out"), 66, "absent.json");
  assert_fails(test_trainhost("sweep grid.json " DATA), 64, "--out-dir");
  assert_fails(test_trainhost("sweep grid.json --out-dir out"), 64, "--data");
  assert_fails(test_trainhost(SWEEP " more.json"), 64, "one word too many");
  assert_fails(test_trainhost(SWEEP " --jobs 61"), 64, "--jobs");
  test_file_write("out", "a file\n");
  assert_fails(test_trainhost(SWEEP), 74, "out");
}

/* One that is done at once, and one that never is. */
static void interrupt(void) {
  test_file_write("grid.json", "{\"spec\": {\"seed\": 2}, \"grid\": {\"epochs\": [1, 1000000]}}");
  test_process process = test_trainhost_start(SWEEP " --json");
  test_process_await(&process, "\"event\":\"trial\",\"number\":1");
  kill(process.pid, SIGINT);
  test_run run = test_process_end(&process);
  cr_assert_eq(run.exit_status, 130, "%d: %s", run.exit_status, run.err);
  assert_holds(run.out, "canceled with 1 of 2 combinations done");
  cr_assert(test_file_exists("out/001-epochs-1.safetensors"));
  cr_assert(test_file_exists("out/sweep.csv"));
  test_run_free(&run);
}

Test(sweep, an_interrupt_keeps_what_is_finished) {
  interrupt();
}

Test(sweep_host, an_interrupt_keeps_what_is_finished_and_leaves_no_job) {
  interrupt();
  test_run status = test_trainhost("status --json");
  assert_holds(status.out, "\"jobs\":[]");
  test_run_free(&status);
}

Test(sweep_host, a_combination_canceled_by_another_is_told_as_such) {
  test_file_write("grid.json", "{\"grid\": {\"epochs\": [1, 1000000]}}");
  test_process process = test_trainhost_start(SWEEP " --json");
  test_process_await(&process, "\"event\":\"trial\",\"number\":1");
  test_run cancel = test_trainhost("cancel 2");
  cr_assert_eq(cancel.exit_status, 0, "%s", cancel.err);
  test_run_free(&cancel);
  test_run run = test_process_end(&process);
  cr_assert_eq(run.exit_status, 130, "%d: %s", run.exit_status, run.err);
  assert_holds(run.out, "1 of 2 combinations failed");
  test_run_free(&run);
}

Test(sweep, a_model_that_cannot_be_written_ends_it) {
  test_file_write("grid.json", "{\"grid\": {\"epochs\": [1, 1000000]}}");
  cr_assert_eq(system("mkdir -p out/001-epochs-1.safetensors"), 0);
  assert_fails(test_trainhost(SWEEP), 74, "001-epochs-1.safetensors");
}

Test(sweep_host, the_hosts_death_ends_it_and_the_next_run_goes_on) {
  test_file_write("grid.json", "{\"grid\": {\"epochs\": [1, 1000000]}}");
  test_process process = test_trainhost_start(SWEEP " --json");
  test_process_await(&process, "\"event\":\"trial\",\"number\":1");
  test_host_end(&host, SIGKILL);
  test_run run = test_process_end(&process);
  cr_assert_eq(run.exit_status, 69, "%d: %s", run.exit_status, run.err);
  test_run_free(&run);
  test_file_write("grid.json", "{\"grid\": {\"epochs\": [1, 2]}}");
  test_host_restart(&host, NULL);
  run = test_trainhost(SWEEP);
  cr_assert_eq(run.exit_status, 0, "%s", run.err);
  assert_holds(run.out, "1 of 2 combinations are done already");
  test_run_free(&run);
}

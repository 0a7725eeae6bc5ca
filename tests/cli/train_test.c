/* Training, evaluating and predicting with the built command, in local mode. */
#include <criterion/criterion.h>
#include <math.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "formats/file.h"
#include "formats/table.h"
#include "tests/cli/process.h"

static void set_up(void) {
  unsetenv("USE_TRAINING_HOST_SERVICE");
  test_enter_directory();
  test_data_write(400);
}

TestSuite(train, .init = set_up, .fini = test_leave_directory);

#define DATA "--data x.npy --labels y.idx"
#define ENDLESS DATA " --epochs 1000000 --out m.safetensors"

static void assert_holds(const char *text, const char *part) {
  cr_assert_not_null(strstr(text, part), "no \"%s\" in: %s", part, text);
}

/* A run that must succeed. @return what it printed; free it. */
static char *output_of(test_run run) {
  cr_assert_eq(run.exit_status, 0, "%d: %s", run.exit_status, run.err);
  free(run.err);
  return run.out;
}

static json_t *result_of(test_run run) {
  char *out = output_of(run);
  json_t *result = test_last_object(out);
  cr_assert_str_eq(json_string_value(json_object_get(result, "event")), "result");
  free(out);
  return result;
}

static double number(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  cr_assert(json_is_number(value), "%s is no number", key);
  return json_number_value(value);
}

static void model_train(void) {
  free(output_of(test_trainhost("train " DATA " --epochs 12 --hidden 8 --learning-rate 0.01 "
                                "--seed 3 --out m.safetensors --quiet")));
}

Test(train, a_model_and_its_card_are_written_and_told) {
  json_t *result =
      result_of(test_trainhost("train " DATA " --epochs 12 --hidden 8 --learning-rate 0.01 --json "
                               "--out m.safetensors"));
  cr_assert(test_file_exists("m.safetensors"));
  cr_assert(test_file_exists("m.json"));
  cr_assert_str_eq(json_string_value(json_object_get(result, "mode")), "local");
  cr_assert_str_eq(json_string_value(json_object_get(result, "stop_reason")), "epochs");
  cr_assert_str_eq(json_string_value(json_object_get(result, "out")), "m.safetensors");
  cr_assert_str_eq(json_string_value(json_object_get(result, "card")), "m.json");
  cr_assert_eq(number(result, "epochs"), 12);
  cr_assert_gt(number(result, "accuracy"), 0.95);
  cr_assert_gt(number(result, "seconds"), 0);
  json_decref(result);
}

Test(train, every_epoch_and_phase_is_an_object) {
  char *out = output_of(test_trainhost("train " DATA " --epochs 5 --json --out m.safetensors"));
  for (int epoch = 1; epoch <= 5; epoch++) {
    char part[64];
    snprintf(part, sizeof part, "\"epoch\":%d,\"epochs\":5,\"left_out\":0", epoch);
    assert_holds(out, part);
  }
  static const char *const phases[] = {"receiving", "preparing", "training", "saving", "done"};
  const char *at = out;
  for (size_t i = 0; i < sizeof phases / sizeof phases[0]; i++) {
    char part[64];
    snprintf(part, sizeof part, "\"event\":\"phase\",\"phase\":\"%s\"", phases[i]);
    at = strstr(at, part);
    cr_assert_not_null(at, "%s is not told in its turn: %s", phases[i], out);
  }
  free(out);
}

Test(train, without_a_terminal_an_epoch_is_a_line) {
  test_run run = test_trainhost("train " DATA " --epochs 3 --out m.safetensors");
  cr_assert_eq(run.exit_status, 0, "%s", run.err);
  assert_holds(run.err, "\nepoch 1/3  loss ");
  assert_holds(run.err, "\nepoch 3/3  loss ");
  cr_assert_null(strchr(run.err, '\r'), "a line drawn anew, without a terminal");
  cr_assert_null(strchr(run.err, '\x1b'));
  assert_holds(run.out, "trained 3 epochs in ");
  assert_holds(run.out, "written: m.safetensors, m.json\n");
  test_run_free(&run);
}

Test(train, quiet_prints_nothing) {
  test_run run = test_trainhost("train " DATA " --epochs 2 --out m.safetensors --quiet");
  cr_assert_eq(run.exit_status, 0);
  cr_assert_str_eq(run.out, "");
  cr_assert_str_eq(run.err, "");
  test_run_free(&run);
}

Test(train, the_same_seed_gives_the_same_model_from_any_format_and_spelling) {
  model_train();
  test_file_write("spec.json", "{\"hidden\": [8], \"epochs\": 99, \"seed\": 3}");
  free(
      output_of(test_trainhost("train --data xy.csv --label-column class --spec spec.json "
                               "--epochs 12 --learning-rate=0.01 --shuffle=true --quiet "
                               "--out other.safetensors")));
  cr_assert_eq(system("cmp m.safetensors other.safetensors"), 0);
  free(output_of(test_trainhost("train " DATA " --epochs 12 --hidden 8 --learning-rate 0.01 "
                                "--seed 3 --no-shuffle --out third.safetensors --quiet")));
  cr_assert_neq(system("cmp -s m.safetensors third.safetensors"), 0, "--no-shuffle did nothing");
}

Test(train, an_early_stop_says_why) {
  char *out =
      output_of(test_trainhost(
          "train " DATA " --epochs 500 --validation-split 0.3 --early-stopping-patience 2 "
          "--early-stopping-min-delta 0.1 --learning-rate 0.01 --out m.safetensors"));
  assert_holds(out, "stopped early, after epoch ");
  assert_holds(out, "of 500: no lower validation loss for 2 epochs");
  free(out);
}

Test(train, a_model_is_evaluated) {
  model_train();
  json_t *result = result_of(test_trainhost("evaluate --model m.safetensors " DATA " --json"));
  cr_assert_eq(number(result, "rows"), 400);
  cr_assert_eq(number(result, "classes"), 2);
  cr_assert_gt(number(result, "accuracy"), 0.95);
  cr_assert_eq(json_array_size(json_object_get(result, "confusion")), 2);
  json_decref(result);
  char *out = output_of(test_trainhost("evaluate --model m.safetensors " DATA));
  assert_holds(out, "400 rows: loss ");
  assert_holds(out, "label \\ predicted");
  free(out);
}

Test(train, logits_are_predicted_as_npy) {
  model_train();
  free(output_of(test_trainhost("predict --model m.safetensors --data x.npy --out p.npy")));
  th_numbers logits;
  cr_assert_eq(th_features_read("p.npy", &logits), TH_OK, "%s", th_error_text());
  cr_assert_eq(logits.rows, 400);
  cr_assert_eq(logits.width, 2);
  th_numbers_fini(&logits);
}

/* Columns: row, class, probability_0, probability_1. */
Test(train, classes_are_predicted_as_csv) {
  model_train();
  free(output_of(test_trainhost(
      "predict --model m.safetensors --data xy.csv --label-column class --out p.csv")));
  th_numbers table;
  cr_assert_eq(th_features_read("p.csv", &table), TH_OK, "%s", th_error_text());
  cr_assert_eq(table.rows, 400);
  cr_assert_eq(table.width, 4);
  unsigned right = 0;
  for (unsigned row = 0; row < 400; row++) {
    const float *of = table.values + (size_t)row * 4;
    cr_assert_eq(of[0], row + 1);
    cr_assert_float_eq(of[2] + of[3], 1, 1e-5);
    cr_assert_geq(of[2 + (int)of[1]], 0.5f);
    right += of[1] == (float)(row % 2);
  }
  cr_assert_gt(right, 380);
  th_numbers_fini(&table);
}

/* The digest tells what was trained on, so that equal models are of equal arrays. */
Test(train, weights_and_groups_come_from_files_or_columns) {
  FILE *table = fopen("all.csv", "w"), *weights = fopen("w.csv", "w"),
       *groups = fopen("g.csv", "w");
  th_numbers features;
  cr_assert_eq(th_features_read("x.npy", &features), TH_OK, "%s", th_error_text());
  fputs("symbol,weight,class", table);
  for (unsigned i = 0; i < features.width; i++) fprintf(table, ",%u", i);
  for (unsigned row = 0; row < 400; row++) {
    fprintf(weights, "%g\n", row % 4 / 2.0);
    fprintf(groups, "%u\n", row % 5);
    fprintf(table, "\n%u,%g,%u", row % 5, row % 4 / 2.0, row % 2);
    for (unsigned i = 0; i < features.width; i++)
      fprintf(table, ",%.9g", (double)features.values[row * features.width + i]);
  }
  cr_assert_eq(fclose(table) | fclose(weights) | fclose(groups), 0);
  th_numbers_fini(&features);
#define REST " --hidden 4 --epochs 2 --quiet --out "
  free(output_of(
      test_trainhost("train " DATA " --weights w.csv --groups g.csv" REST "files.safetensors")));
  free(
      output_of(test_trainhost("train --data all.csv --label-column class --weight-column weight "
                               "--group-column symbol" REST "columns.safetensors")));
#undef REST
  cr_assert_eq(system("cmp files.safetensors columns.safetensors"), 0);
  cr_assert_eq(system("d=$(grep -o 'blake2b-256:[0-9a-f]*' files.json) && grep -q $d columns.json"),
               0, "other arrays");
  /* The same file predicts. */
  free(
      output_of(test_trainhost("predict --model files.safetensors --data all.csv --label-column "
                               "class --weight-column weight --group-column symbol --out p.csv")));
  cr_assert(test_file_exists("p.csv"));
}

/* Two targets: the sum of all features, and their first. */
static void targets_write(unsigned rows) {
  th_numbers features;
  cr_assert_eq(th_features_read("x.npy", &features), TH_OK, "%s", th_error_text());
  FILE *file = fopen("t.csv", "w");
  for (unsigned row = 0; row < rows; row++) {
    const float *values = features.values + (size_t)row * features.width;
    double sum = 0;
    for (unsigned i = 0; i < features.width; i++) sum += (double)values[i];
    fprintf(file, "%.9g,%.9g\n", sum, (double)values[0]);
  }
  cr_assert_eq(fclose(file), 0);
  th_numbers_fini(&features);
}

Test(train, a_regression_is_trained_evaluated_and_predicts_its_targets) {
  targets_write(400);
  free(output_of(test_trainhost(
      "train --data x.npy --targets t.csv --loss mean_squared_error --hidden 16 --epochs 40 "
      "--learning-rate 0.01 --quiet --out r.safetensors")));
  json_t *result = result_of(
      test_trainhost("evaluate --model r.safetensors --data x.npy --targets t.csv --json"));
  cr_assert_gt(number(result, "r2"), 0.95);
  cr_assert_lt(number(result, "mae"), number(result, "rmse"));
  cr_assert_eq(json_array_size(json_object_get(result, "by_output")), 2);
  cr_assert_null(json_object_get(result, "confusion"));
  json_decref(result);
  char *out =
      output_of(test_trainhost("evaluate --model r.safetensors --data x.npy --targets t.csv"));
  assert_holds(out, "R² 0.9");
  free(out);
  out = output_of(test_trainhost("predict --model r.safetensors --data x.npy --out p.csv"));
  assert_holds(out, "predicted 400 rows\n");
  free(out);
  free(output_of(test_trainhost("predict --model r.safetensors --data x.npy --out p.npy --quiet")));
  th_numbers table, outputs;
  cr_assert_eq(th_numbers_read("p.csv", &table), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_numbers_read("p.npy", &outputs), TH_OK, "%s", th_error_text());
  cr_assert_eq(table.width, 3);
  for (unsigned row = 0; row < 400; row++) {
    cr_assert_eq(table.values[row * 3], row + 1);
    cr_assert_eq(memcmp(&table.values[row * 3 + 1], &outputs.values[row * 2], 2 * sizeof(float)), 0,
                 "row %u", row);
  }
  th_numbers_fini(&table);
  th_numbers_fini(&outputs);
}

Test(train, a_regression_says_r2_and_writes_its_errors_into_the_history) {
  targets_write(400);
  test_run run = test_trainhost(
      "train --data x.npy --targets t.csv --loss huber --hidden 16 --epochs 5 --validation-split "
      "0.2 --history h.csv --out r.safetensors");
  assert_holds(run.err, "validation loss");
  assert_holds(run.err, "R² ");
  cr_assert_null(strstr(run.err, "accuracy"), "%s", run.err);
  char *out = output_of(run);
  assert_holds(out, "R² ");
  cr_assert_null(strstr(out, "accuracy"), "%s", out);
  free(out);
  th_buffer history;
  cr_assert_eq(th_file_read("h.csv", &history), TH_OK, "%s", th_error_text());
  assert_holds(history.data,
               "epoch,loss,accuracy,mae,rmse,validation_loss,validation_accuracy,validation_mae,"
               "validation_rmse,learning_rate,seconds\n1,");
  th_buffer_fini(&history);
}

/* Seven numbers of four bytes for each of the 400 rows. */
Test(train, every_array_counts_among_the_bytes_to_send) {
  char *out = output_of(test_trainhost(
      "train " DATA " --weights y.idx --groups y.idx --epochs 1 --json --out m.safetensors"));
  assert_holds(out, "\"expected_bytes\":11200");
  free(out);
}

Test(train, what_is_wrong_with_a_model_or_data_is_told) {
  model_train();
  test_run run = test_trainhost("evaluate --model xy.csv " DATA);
  cr_assert_eq(run.exit_status, 65, "%s", run.err);
  assert_holds(run.err, "--model xy.csv: ");
  test_run_free(&run);
  run = test_trainhost("evaluate --model m.safetensors --data y.idx --labels y.idx");
  cr_assert_eq(run.exit_status, 65);
  assert_holds(run.err, "columns");
  test_run_free(&run);
  run = test_trainhost("train " DATA " --optimizer sgd --learning-rate 1e30 --out n.safetensors");
  cr_assert_eq(run.exit_status, 70);
  cr_assert_not(test_file_exists("n.safetensors"), "a half-trained model was written");
  test_run_free(&run);
}

Test(train, ctrl_c_cancels_the_job) {
  test_process process = test_trainhost_start("train " ENDLESS " --json");
  test_process_await(&process, "\"event\":\"epoch\"");
  cr_assert_eq(kill(process.pid, SIGINT), 0);
  test_run run = test_process_end(&process);
  cr_assert_eq(run.exit_status, 130, "%d: %s", run.exit_status, run.err);
  json_t *error = test_last_object(run.out);
  cr_assert_str_eq(json_string_value(json_object_get(error, "code")), "TH_ERR_CANCELED");
  json_decref(error);
  cr_assert_not(test_file_exists("m.safetensors"));
  test_run_free(&run);
}

Test(train, sigterm_cancels_the_job) {
  test_process process = test_trainhost_start("train " ENDLESS " --json");
  test_process_await(&process, "\"event\":\"epoch\"");
  cr_assert_eq(kill(process.pid, SIGTERM), 0);
  test_run run = test_process_end(&process);
  cr_assert_eq(run.exit_status, 130);
  test_run_free(&run);
}

Test(train, a_reader_that_goes_away_ends_it_without_a_word) {
  test_run run = test_trainhost("train " ENDLESS " --json | head -n 1");
  cr_assert_eq(strchr(run.out, '\n'), run.out + strlen(run.out) - 1);
  cr_assert_str_eq(run.err, "");
  test_run_free(&run);
}

/* ---- on a terminal ---- */

enum { TERMINAL_WIDTH = 50, TERMINAL_BYTES = 1 << 20 };

static int terminal_run(const char *words, char *text) {
  int terminal;
  struct winsize size = {.ws_row = 24, .ws_col = TERMINAL_WIDTH};
  pid_t pid = forkpty(&terminal, NULL, NULL, &size);
  cr_assert_geq(pid, 0);
  if (pid == 0) {
    setenv("TERM", "xterm", 1);
    execl("/bin/sh", "sh", "-c", words, NULL);
    _exit(127);
  }
  size_t length = 0;
  /* The other end of a terminal reports its end as an error. */
  for (ssize_t got; (got = read(terminal, text + length, TERMINAL_BYTES - 1 - length)) > 0;)
    length += (size_t)got;
  text[length] = '\0';
  close(terminal);
  int status;
  cr_assert_eq(waitpid(pid, &status, 0), pid);
  return status;
}

Test(train, on_a_terminal_one_line_is_drawn_anew_and_taken_away) {
  static char text[TERMINAL_BYTES];
  int status =
      terminal_run("exec " TH_TRAINHOST " train " DATA " --epochs 300 --out m.safetensors", text);
  cr_assert_eq(status, 0, "%s", text);
  unsigned drawn = 0;
  for (const char *at = strstr(text, "\x1b[K"); at != NULL; at = strstr(at + 1, "\x1b[K")) drawn++;
  cr_assert_geq(drawn, 2, "%s", text);
  char *last = strrchr(text, '\x1b');
  cr_assert_eq(strncmp(last - 1, "\r\x1b[Ktrained 300 epochs", 20), 0, "left behind: %s", last - 1);
  *last = '\0';
  cr_assert_null(strchr(text, '\n'), "more than one line");
  for (char *line = strtok(text, "\r"); line != NULL; line = strtok(NULL, "\r"))
    cr_assert_lt(strcspn(line, "\x1b"), TERMINAL_WIDTH, "too wide: %s", line);
}

/* What a training is made of beside the data and the plain fields, with the built command, in local
 * mode. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/file.h"
#include "formats/table.h"
#include "tests/cli/process.h"

static void set_up(void) {
  unsetenv("USE_TRAINING_HOST_SERVICE");
  test_enter_directory();
  test_data_write(400);
}

TestSuite(fields, .init = set_up, .fini = test_leave_directory);

#define DATA "--data x.npy --labels y.idx"
#define SHORT "train " DATA " --hidden 8 --learning-rate 0.01 --quiet --out m.safetensors "

static void run_succeeds(const char *words) {
  test_run run = test_trainhost("%s", words);
  cr_assert_eq(run.exit_status, 0, "%s: %s", words, run.err);
  test_run_free(&run);
}

static void run_fails(const char *words, int status, const char *part) {
  test_run run = test_trainhost("%s", words);
  cr_assert_eq(run.exit_status, status, "%s: %d: %s", words, run.exit_status, run.err);
  cr_assert_not_null(strstr(run.err, part), "no \"%s\" in: %s", part, run.err);
  test_run_free(&run);
}

static json_t *card_read(void) {
  th_buffer text;
  cr_assert_eq(th_file_read("m.json", &text), TH_OK);
  json_t *card = json_loadb(text.data, text.bytes, 0, NULL);
  cr_assert_not_null(card);
  th_buffer_fini(&text);
  return card;
}

static double number(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  cr_assert(json_is_number(value), "%s is no number", key);
  return json_number_value(value);
}

Test(fields, a_history_is_the_epochs_of_the_card) {
  run_succeeds(SHORT "--epochs 4 --schedule exponential --gamma 0.5 --history h.csv");
  th_buffer text;
  cr_assert_eq(th_file_read("h.csv", &text), TH_OK);
  static const char header[] =
      "epoch,loss,accuracy,validation_loss,validation_accuracy,learning_rate,seconds\n1,";
  cr_assert_eq(strncmp(text.data, header, sizeof header - 1), 0, "%s", (char *)text.data);
  cr_assert_not_null(strstr(text.data, ",,,0.0025,"), "no validation, and a quarter of the rate");
  th_buffer_fini(&text);
  run_fails(SHORT "--history nowhere/h.csv", 74, "nowhere");
  run_fails("train " DATA " --detach --history h.csv", 64, "--history");
}

Test(fields, rows_of_their_own_validate) {
  run_succeeds(SHORT
               "--epochs 3 --validation-data x.npy --validation-labels y.idx --profile ktrdr");
  json_t *card = card_read();
  json_t *data = json_object_get(card, "data");
  cr_expect_eq(number(data, "training_rows"), 400);
  cr_expect_eq(number(data, "validation_rows"), 400);
  cr_expect_eq(number(json_object_get(card, "spec"), "validation_rows"), 400);
  cr_expect_eq(number(json_object_get(json_object_get(card, "validation"), "macro"), "support"),
               400);
  json_decref(card);
  run_succeeds(
      "train --data xy.csv --label-column class --validation-data xy.csv --epochs 1 "
      "--out n.safetensors --quiet");
  run_fails(SHORT "--validation-data x.npy", 64, "--validation-labels is missing");
  run_fails(SHORT "--validation-labels y.idx", 64, "--validation-data is missing");
  run_fails(SHORT "--validation-data x.npy --validation-labels y.idx --validation-split 0.1", 64,
            "one place");
  run_fails(SHORT "--validation-data y.idx --validation-labels y.idx", 65, "columns");
}

Test(fields, rows_that_validate_have_the_arrays_that_the_others_have) {
#define VALIDATION "--validation-data x.npy --validation-labels y.idx "
  test_file_write("vector.csv", "9\n");
  run_succeeds(SHORT VALIDATION
               "--weights y.idx --validation-weights y.idx --groups y.idx "
               "--validation-groups y.idx --epochs 1");
  run_fails(SHORT VALIDATION "--weights y.idx", 64, "--validation-weights is missing");
  run_fails(SHORT VALIDATION "--validation-groups y.idx", 64, "--groups is missing");
  run_fails(SHORT "--groups y.idx --validation-groups y.idx", 64, "--validation-data is missing");
  run_fails(SHORT VALIDATION "--weights y.idx --validation-weights vector.csv", 65, "1 weights");
  run_fails(
      "train --data xy.csv --label-column class --validation-data xy.csv --validation-labels y.idx "
      "--out n.safetensors --quiet",
      64, "--validation-labels and --label-column");
#undef VALIDATION
}

Test(fields, a_profile_gives_way_to_every_flag) {
  run_succeeds(SHORT "--profile ktrdr --epochs 2");
  json_t *card = card_read();
  const json_t *spec = json_object_get(card, "spec");
  cr_expect_eq(number(spec, "epochs"), 2);
  cr_expect_eq(number(spec, "dropout"), 0.2);
  cr_expect_eq(number(spec, "learning_rate"), 0.01);
  json_decref(card);
  run_fails(SHORT "--profile ktrd", 64, "ktrdr");
}

Test(fields, a_model_begins_another_training) {
  run_succeeds(SHORT "--epochs 30");
  json_t *card = card_read();
  double before = number(json_object_get(card, "metrics"), "loss");
  json_decref(card);
  run_succeeds(SHORT "--epochs 1 --seed 9 --init m.safetensors");
  card = card_read();
  cr_expect_lt(number(json_object_get(card, "metrics"), "loss"), before);
  json_decref(card);
  run_fails(SHORT "--init m.safetensors --hidden 9", 65, "\"0.weight\" is [8, ");
  run_fails(SHORT "--resume m.safetensors", 64, "--init begins with it");
  run_fails(SHORT "--init xy.csv", 65, "safetensors");
  run_fails(SHORT "--init m.safetensors --resume m.safetensors", 64, "both given");
}

Test(fields, an_evaluation_scores_each_class) {
  run_succeeds(SHORT "--epochs 12");
  test_run run = test_trainhost("evaluate --model m.safetensors " DATA " --json");
  json_t *result = test_last_object(run.out);
  cr_expect_eq(json_array_size(json_object_get(result, "by_class")), 2);
  cr_expect_gt(number(json_object_get(result, "weighted"), "f1"), 0.95);
  json_decref(result);
  test_run_free(&run);
  run = test_trainhost("evaluate --model m.safetensors " DATA);
  cr_expect_not_null(strstr(run.out, "\nweighted "), "%s", run.out);
  test_run_free(&run);
}

/* Usage, help and errors of the built command; nothing is trained here. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "formats/file.h"
#include "kernels/spec.h"
#include "tests/cli/process.h"

static void set_up(void) {
  unsetenv("USE_TRAINING_HOST_SERVICE");
  unsetenv("TRAINING_HOST_SERVICE_URL");
  test_enter_directory();
}

TestSuite(command, .init = set_up, .fini = test_leave_directory);

static void assert_holds(const char *text, const char *part) {
  cr_assert_not_null(strstr(text, part), "no \"%s\" in: %s", part, text);
}

/* A run that fails: with this status, these words, one line, and nothing on standard output. */
static void assert_fails(test_run run, int exit_status, const char *part) {
  cr_assert_eq(run.exit_status, exit_status, "%d: %s", run.exit_status, run.err);
  assert_holds(run.err, part);
  cr_assert_eq(strncmp(run.err, "trainhost: ", 11), 0, "%s", run.err);
  cr_assert_eq(strchr(run.err, '\n'), run.err + strlen(run.err) - 1, "not one line: %s", run.err);
  cr_assert_str_eq(run.out, "");
  test_run_free(&run);
}

Test(command, alone_it_gives_an_overview) {
  test_run bare = test_trainhost("%s", "");
  test_run help = test_trainhost("help");
  cr_assert_eq(bare.exit_status, 0);
  cr_assert_str_eq(bare.out, help.out);
  static const char *const names[] = {"train",  "evaluate", "predict", "ping",
                                      "status", "cancel",   "result",  "forget"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    assert_holds(bare.out, names[i]);
    test_run one = test_trainhost("help %s", names[i]);
    cr_assert_eq(one.exit_status, 0);
    assert_holds(one.out, "Usage: trainhost ");
    assert_holds(one.out, "--json");
    test_run_free(&one);
  }
  test_run_free(&bare);
  test_run_free(&help);
}

Test(command, says_its_version) {
  test_run run = test_trainhost("--version");
  cr_assert_str_eq(run.out, "trainhost " TH_VERSION "\n");
  test_run_free(&run);
  run = test_trainhost("train --version");
  cr_assert_str_eq(run.out, "trainhost " TH_VERSION "\n");
  test_run_free(&run);
}

Test(command, help_tells_every_field_and_its_default) {
  test_run run = test_trainhost("train --help");
  size_t count;
  const th_spec_field *fields = th_spec_fields(&count);
  cr_assert_gt(count, 10);
  for (size_t i = 0; i < count; i++) {
    char flag[80];
    snprintf(flag, sizeof flag, "--%s", fields[i].name);
    for (char *at = flag; *at != '\0'; at++)
      if (*at == '_') *at = '-';
    assert_holds(run.out, flag);
  }
  assert_holds(run.out, "(default 64,32)");
  assert_holds(run.out, "--no-shuffle");
  test_run_free(&run);
}

Test(command, completes_commands_and_flags) {
  test_run run = test_trainhost("complete");
  assert_holds(run.out, "train\n");
  test_run_free(&run);
  run = test_trainhost("complete train");
  assert_holds(run.out, "--learning-rate\n");
  assert_holds(run.out, "--no-restore-best\n");
  test_run_free(&run);
}

/* Each flag, with a star before it as scdoc prints it bold. */
static void assert_explains(const char *manual, char *flags) {
  for (char *flag = strtok(flags, "\n"); flag != NULL; flag = strtok(NULL, "\n")) {
    char bold[80];
    snprintf(bold, sizeof bold, "*%s*", flag);
    assert_holds(manual, bold);
  }
}

Test(command, the_manual_explains_every_flag) {
  th_buffer manual;
  cr_assert_eq(th_file_read(TH_MANUAL, &manual), TH_OK, "%s", th_error_text());
  test_run commands = test_trainhost("complete");
  char *rest = NULL;
  for (char *name = strtok_r(commands.out, "\n", &rest); name != NULL;
       name = strtok_r(NULL, "\n", &rest)) {
    test_run flags = test_trainhost("complete %s", name);
    cr_assert_neq(flags.out[0], '\0');
    assert_explains(manual.data, flags.out);
    test_run_free(&flags);
  }
  test_run_free(&commands);
  th_buffer_fini(&manual);
}

Test(command, an_unknown_word_names_the_nearest_known_one) {
  assert_fails(test_trainhost("trian"), 64, "did you mean \"train\"?");
  assert_fails(test_trainhost("zebracrossing"), 64, "trainhost help");
  assert_fails(test_trainhost("train --learnin-rate 0.1"), 64, "did you mean --learning-rate?");
  assert_fails(test_trainhost("train --epoch 3"), 64, "did you mean --epochs?");
  assert_fails(test_trainhost("train --activation rleu"), 64, "relu");
  assert_fails(test_trainhost("train -x"), 64, "-x");
}

Test(command, a_wrong_command_line_is_told_before_anything_is_done) {
  assert_fails(test_trainhost("train --data absent.npy --epochs 0"), 64, "epochs");
  assert_fails(test_trainhost("train --data absent.npy --epochs"), 64, "--epochs needs a value");
  assert_fails(test_trainhost("train --labels y --out m"), 64, "--data is missing");
  assert_fails(test_trainhost("train --data x --out m"), 64, "--labels is missing");
  assert_fails(test_trainhost("train --data x --labels y"), 64, "--out is missing");
  assert_fails(test_trainhost("train --data x --labels y --label-column z --out m"), 64, "both");
  assert_fails(test_trainhost("train --data x --labels y --targets z --out m"), 64,
               "labels and targets are both given");
  assert_fails(test_trainhost("train --data x --weights y --out m"), 64, "--labels is missing");
  assert_fails(test_trainhost("sweep s --data x --label-column y --groups z --group-column z"), 66,
               "s: ");
  assert_fails(test_trainhost("evaluate --model m --data x --labels y --groups z --group-column z"),
               64, "--groups and --group-column are both given");
  assert_fails(test_trainhost("predict --model m --data x --weights y"), 64, "no flag --weights");
  assert_fails(test_trainhost("train --data x --labels y --out m --detach"), 64, "result JOB");
  assert_fails(test_trainhost("train --data x --labels y --detach"), 64, "--detach needs a host");
  assert_fails(test_trainhost("train a b"), 64, "\"a\" is one word too many");
  assert_fails(test_trainhost("evaluate --data x --labels y"), 64, "--model is missing");
  assert_fails(test_trainhost("predict --model m --data x"), 64, "--out is missing");
  assert_fails(test_trainhost("predict --model m --data x --out p.txt"), 64, ".csv");
  assert_fails(test_trainhost("cancel"), 64, "number is missing");
  assert_fails(test_trainhost("cancel 1 2"), 64, "too many");
  assert_fails(test_trainhost("cancel -- -1"), 64, "\"-1\"");
  assert_fails(test_trainhost("status 99999999999999999999"), 64, "whole number");
  assert_fails(test_trainhost("ping --count 0"), 64, "--count");
}

Test(command, a_specifications_file_is_judged_with_the_flags) {
  test_file_write("broken.json", "{\"epochs\": 3,\n \"hidden\" [4]}");
  assert_fails(test_trainhost("train --spec broken.json"), 64, "broken.json: ");
  test_file_write("list.json", "[1]");
  assert_fails(test_trainhost("train --spec list.json"), 64, "list.json: ");
  test_file_write("unknown.json", "{\"epoch\": 3}");
  assert_fails(test_trainhost("train --spec unknown.json"), 64, "did you mean \"epochs\"?");
  test_file_write("alone.json", "{\"early_stopping_patience\": 3}");
  assert_fails(test_trainhost("train --spec alone.json"), 64, "validation_split");
  /* A flag puts right what the file alone would get wrong. */
  assert_fails(test_trainhost("train --spec alone.json --validation-split 0.2"), 64,
               "--data is missing");
  assert_fails(test_trainhost("train --spec absent.json"), 66, "absent.json");
}

Test(command, files_that_are_not_there_or_cannot_be_written_are_named) {
  test_data_write(8);
  assert_fails(test_trainhost("train --data absent.npy --labels y.idx --out m"), 66, "absent.npy");
  assert_fails(test_trainhost("train --data x.npy --labels absent.idx --out m"), 66, "absent.idx");
  assert_fails(test_trainhost("train --data x.npy --labels y.idx --out no/such/m"), 74,
               "no/such/m");
  assert_fails(test_trainhost("train --data x.npy --labels y.idx --out ."), 74, "directory");
  assert_fails(test_trainhost("evaluate --model absent --data x.npy --labels y.idx"), 66, "absent");
  assert_fails(test_trainhost("train --data xy.csv --label-column klass --out m"), 64, "klass");
}

Test(command, weights_and_groups_that_cannot_be_are_named_with_their_file) {
  test_data_write(8);
  test_file_write("seven.csv", "0\n1\n0\n1\n0\n1\n0\n");
  test_file_write("pairs.csv", "0,1\n1,1\n0,1\n1,1\n0,1\n1,1\n0,1\n1,1\n");
  test_file_write("halves.csv", "0\n1\n0\n1\n0\n1\n0\n0.5\n");
#define TRAIN "train --data x.npy --labels y.idx --out m.safetensors "
  assert_fails(test_trainhost(TRAIN "--weights seven.csv"), 65, "seven.csv has 7 weights");
  assert_fails(test_trainhost(TRAIN "--weights pairs.csv"), 65, "pairs.csv has 2 numbers a row");
  assert_fails(test_trainhost(TRAIN "--groups halves.csv"), 65, "halves.csv: line 8, field 1");
  assert_fails(test_trainhost(TRAIN "--groups pairs.csv"), 65, "pairs.csv has 2 columns");
#undef TRAIN
}

Test(command, mismatched_counts_name_both_files_and_both_numbers) {
  test_data_write(8);
  test_file_write("seven.csv", "0\n1\n0\n1\n0\n1\n0\n");
  test_run run = test_trainhost("train --data x.npy --labels seven.csv --out m.safetensors");
  cr_assert_eq(run.exit_status, 65);
  assert_holds(run.err, "x.npy has 8 rows");
  assert_holds(run.err, "seven.csv has 7 labels");
  cr_assert_not(test_file_exists("m.safetensors"));
  test_run_free(&run);
}

Test(command, an_absent_daemon_is_told_with_its_path) {
  setenv("USE_TRAINING_HOST_SERVICE", "1", 1);
  setenv("TRAINING_HOST_SERVICE_URL", "unix:///nowhere/trainhost.sock", 1);
  assert_fails(test_trainhost("ping"), 69, "/nowhere/trainhost.sock");
  assert_fails(test_trainhost("status"), 69, "/nowhere/trainhost.sock");
  /* Before the data are read, which are not there either. */
  assert_fails(test_trainhost("train --data absent --labels absent --out m.safetensors"), 69,
               "/nowhere/trainhost.sock");
  cr_assert_not(test_file_exists("m.safetensors"));
  setenv("TRAINING_HOST_SERVICE_URL", "http://nowhere", 1);
  assert_fails(test_trainhost("ping"), 64, "TRAINING_HOST_SERVICE_URL");
}

Test(command, with_json_an_error_is_json_too) {
  setenv("USE_TRAINING_HOST_SERVICE", "1", 1);
  setenv("TRAINING_HOST_SERVICE_URL", "unix:///nowhere/trainhost.sock", 1);
  static const struct {
    const char *words, *code;
    int exit_status;
  } rows[] = {
      {"ping --json", "TH_ERR_HOST_ABSENT", 69},
      {"train --nonsense --json", "TH_ERR_USAGE", 64},
      {"cancel x --json", "TH_ERR_USAGE", 64},
      {"train --json --data absent --labels absent --epochs x", "TH_ERR_USAGE", 64},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    test_run run = test_trainhost("%s", rows[i].words);
    cr_assert_eq(run.exit_status, rows[i].exit_status, "%s: %d", rows[i].words, run.exit_status);
    cr_assert_str_eq(run.err, "");
    json_t *error = test_last_object(run.out);
    cr_assert_str_eq(json_string_value(json_object_get(error, "event")), "error");
    cr_assert_str_eq(json_string_value(json_object_get(error, "code")), rows[i].code);
    cr_assert_eq(json_integer_value(json_object_get(error, "exit")), rows[i].exit_status);
    cr_assert_gt(json_string_length(json_object_get(error, "message")), 0);
    json_decref(error);
    test_run_free(&run);
  }
}

Test(command, a_path_that_is_no_utf8_still_gives_json) {
  test_run run =
      test_trainhost("evaluate --json --model \"$(printf 'a\\377b')\" --data x --labels y");
  json_t *error = test_last_object(run.out);
  assert_holds(json_string_value(json_object_get(error, "message")), "a?b");
  json_decref(error);
  test_run_free(&run);
}

Test(command, output_that_cannot_be_written_is_an_error) {
  test_run run = test_trainhost("ping > /dev/full");
  cr_assert_eq(run.exit_status, 74);
  assert_holds(run.err, "standard output");
  test_run_free(&run);
  run = test_trainhost("ping --json > /dev/full");
  cr_assert_eq(run.exit_status, 74);
  test_run_free(&run);
}

Test(command, local_mode_says_that_there_is_no_daemon) {
  test_run run = test_trainhost("ping");
  cr_assert_eq(run.exit_status, 0, "%s", run.err);
  assert_holds(run.out, "no daemon");
  assert_holds(run.out, "USE_TRAINING_HOST_SERVICE=true");
  test_run_free(&run);
  run = test_trainhost("status --json");
  json_t *status = test_last_object(run.out);
  cr_assert_str_eq(json_string_value(json_object_get(status, "mode")), "local");
  json_decref(status);
  test_run_free(&run);
  assert_fails(test_trainhost("cancel 1"), 64, "local mode");
  assert_fails(test_trainhost("status 1"), 66, "local mode");
}

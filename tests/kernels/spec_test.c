#include "kernels/spec.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static th_error parse(const char *text, th_spec *spec) {
  return th_spec_parse(text, strlen(text), spec);
}

static void assert_refused(const char *text, const char *word) {
  th_spec spec = {.epochs = 77};
  cr_assert_eq(parse(text, &spec), TH_ERR_USAGE, "%s", text);
  cr_assert_not_null(strstr(th_error_text(), word), "%s: \"%s\" does not say %s", text,
                     th_error_text(), word);
  cr_assert_eq(spec.epochs, 77, "touched by %s", text);
}

Test(spec, an_empty_text_is_all_defaults) {
  th_spec spec, defaults;
  th_spec_init(&defaults);
  cr_assert_eq(parse("", &spec), TH_OK);
  cr_assert_eq(memcmp(&spec, &defaults, sizeof spec), 0);
  cr_assert_eq(spec.hidden_count, 2);
  cr_assert_eq(spec.hidden[0], 64);
  cr_assert_eq(spec.batch_size, 32);
  cr_assert_eq(spec.learning_rate, 0.001);
  cr_assert_eq(spec.epsilon, 1e-8);
  cr_assert(spec.shuffle && spec.restore_best);
}

Test(spec, every_field_is_read) {
  th_spec spec;
  cr_assert_eq(
      parse(
          "{\"name\": \"n\", \"hidden\": [7], \"classes\": 3, \"activation\": \"leaky_relu\", "
          "\"negative_slope\": 0.2, \"elu_alpha\": 2, \"loss\": \"focal\", "
          "\"class_weights\": [1, 0, 2.5], \"label_smoothing\": 0, \"focal_gamma\": 1.5, "
          "\"dropout\": 0.5, \"epochs\": 4, "
          "\"batch_size\": 5, "
          "\"optimizer\": \"sgd\", \"learning_rate\": 1, \"schedule\": \"one_cycle\", "
          "\"step_size\": 3, \"gamma\": 0.5, \"min_learning_rate\": 0.1, \"plateau_factor\": 0.2, "
          "\"plateau_patience\": 0, \"warmup_steps\": 9, \"warmup_epochs\": 0, "
          "\"momentum\": 0.9, \"nesterov\": true, \"rho\": 0.6, \"clip_norm\": 0, "
          "\"clip_value\": 0.3, \"beta1\": 0.8, "
          "\"beta2\": 0.7, \"epsilon\": 1e-3, \"weight_decay\": 0.01, "
          "\"validation_split\": 0.25, \"split\": \"last\", \"shuffle\": false, "
          "\"early_stopping_patience\": 6, \"early_stopping_min_delta\": 0.1, "
          "\"restore_best\": false, \"checkpoint_epochs\": 12, \"validation_rows\": 0, "
          "\"standardize\": true, "
          "\"early_stopping_monitor\": \"validation_accuracy\", \"seed\": 8}",
          &spec),
      TH_OK, "%s", th_error_text());
  cr_assert_str_eq(spec.name, "n");
  cr_assert_eq(spec.hidden_count, 1);
  cr_assert_eq(th_spec_activation(&spec, 0), TH_ACTIVATION_LEAKY_RELU);
  cr_assert_eq(spec.optimizer, TH_OPTIMIZER_SGD);
  cr_assert_eq(spec.loss, TH_LOSS_FOCAL);
  cr_assert_eq(spec.weighting, TH_WEIGHTING_LISTED);
  cr_assert_eq(spec.class_weight_count, 3);
  cr_assert_eq(spec.class_weights[2], 2.5);
  cr_assert_eq(spec.focal_gamma, 1.5);
  cr_assert(spec.nesterov);
  cr_assert_eq(spec.rho, 0.6);
  cr_assert_eq(spec.clip_value, 0.3);
  cr_assert_eq(spec.split, TH_SPLIT_LAST);
  cr_assert_eq(spec.schedule, TH_SCHEDULE_ONE_CYCLE);
  cr_assert_eq(spec.warmup_steps, 9);
  cr_assert_eq(spec.early_stopping_monitor, TH_MONITOR_ACCURACY);
  cr_assert(spec.standardize);
  cr_assert_eq(spec.learning_rate, 1.0, "an integer is a number");
  cr_assert(!spec.shuffle && !spec.restore_best);
  cr_assert_eq(spec.early_stopping_patience, 6);
  cr_assert_eq(spec.checkpoint_epochs, 12);
  cr_assert_eq(spec.seed, 8);
}

Test(spec, parse_reads_back_what_format_wrote) {
  th_spec written, read;
  th_spec_init(&written);
  written.learning_rate = 0.1 + 0.2;
  written.seed = UINT64_MAX;
  written.hidden_count = 0;
  strcpy(written.name, "\"é\"");
  /* Both start from defaults, so that unused bytes are equal. */
  memset(written.hidden, 0, sizeof written.hidden);
  th_buffer json;
  cr_assert_eq(th_spec_format(&written, &json), TH_OK);
  cr_assert_eq(th_spec_parse(json.data, json.bytes, &read), TH_OK, "%s", th_error_text());
  cr_assert_eq(read.learning_rate, written.learning_rate, "to the last bit");
  cr_assert_eq(read.seed, UINT64_MAX);
  cr_assert_eq(read.hidden_count, 0);
  cr_assert_str_eq(read.name, written.name);
  th_buffer_fini(&json);
}

static uint32_t countdown; /* the allocation that fails */

static void *allocate_or_fail(size_t bytes) {
  return --countdown == 0 ? NULL : malloc(bytes);
}

Test(spec, format_writes_all_or_says_that_there_is_no_memory) {
  th_spec spec;
  th_buffer whole, json;
  th_spec_init(&spec);
  cr_assert_eq(th_spec_format(&spec, &whole), TH_OK);
  json_set_alloc_funcs(allocate_or_fail, free);
  th_error error = TH_ERR_SYSTEM;
  uint32_t nth = 1;
  for (; error != TH_OK && nth < 500; nth++) {
    countdown = nth;
    error = th_spec_format(&spec, &json);
    cr_assert(error == TH_OK || error == TH_ERR_SYSTEM);
  }
  cr_assert(nth > 20 && error == TH_OK, "%u allocations", nth);
  cr_assert_str_eq(json.data, whole.data);
  th_buffer_fini(&json);
  th_buffer_fini(&whole);
}

Test(spec, an_unknown_field_is_named_with_the_nearest) {
  assert_refused("{\"learnin_rate\": 1}", "\"learning_rate\"");
  assert_refused("{\"Epochs\": 1}", "\"epochs\"");
  assert_refused("{\"zebra\": 1}", "--help");
}

Test(spec, a_wrong_value_is_shown_with_what_it_may_be) {
  assert_refused("{\"learning_rate\": \"fast\"}", "\"fast\"");
  assert_refused("{\"learning_rate\": 0}", "above 0");
  assert_refused("{\"learning_rate\": -1e-3}", "above 0");
  assert_refused("{\"dropout\": 1}", "below 1");
  assert_refused("{\"dropout\": 1.0000000001}", "below 1");
  assert_refused("{\"epochs\": 0}", "from 1");
  assert_refused("{\"epochs\": 4294967296}", "4294967295");
  assert_refused("{\"epochs\": 3.5}", "whole number");
  assert_refused("{\"epochs\": -1}", "whole number");
  assert_refused("{\"epochs\": true}", "whole number");
  assert_refused("{\"batch_size\": 99999999999999999999}", "line 1");
  assert_refused("{\"hidden\": 64}", "list");
  assert_refused("{\"hidden\": [64, 0]}", "1 to 65536");
  assert_refused("{\"hidden\": [64, -1]}", "1 to 65536");
  assert_refused("{\"hidden\": [99999999999]}", "1 to 65536");
  assert_refused("{\"hidden\": [[64]]}", "list");
  assert_refused("{\"activation\": \"rleu\"}", "\"relu\"");
  assert_refused("{\"activation\": 3}", "one of relu, leaky_relu");
  assert_refused("{\"activation\": []}", "1 to 64");
  assert_refused("{\"activation\": [\"tanh\", \"rleu\"]}", "\"relu\"");
  assert_refused("{\"activation\": [\"tanh\", 3]}", "one of relu, leaky_relu");
  assert_refused("{\"class_weights\": \"balance\"}", "\"balanced\"");
  assert_refused("{\"class_weights\": []}", "above 0");
  assert_refused("{\"class_weights\": [0, 0]}", "above 0");
  assert_refused("{\"class_weights\": [1, -1]}", "above 0");
  assert_refused("{\"class_weights\": [1, \"2\"]}", "above 0");
  assert_refused("{\"class_weights\": 3}", "above 0");
  assert_refused("{\"optimizer\": \"lion\"}", "sgd, adam, adamw, rmsprop");
  assert_refused("{\"shuffle\": 1}", "true or false");
  assert_refused("{\"seed\": -1}", "18446744073709551615");
  assert_refused("{\"seed\": \"18446744073709551616\"}", "18446744073709551615");
  assert_refused("{\"seed\": \"12x\"}", "12x");
  assert_refused("{\"name\": 5}", "63 bytes");
}

Test(spec, what_is_no_json_object_is_refused_with_its_place) {
  assert_refused("{\"epochs\": 3", "line 1");
  assert_refused("{\n\"epochs\": 3,\n}", "line 3");
  assert_refused("[]", "object");
  assert_refused("3", "line 1");
  assert_refused("{\"epochs\": 3, \"epochs\": 4}", "duplicate");
  assert_refused("{\"learning_rate\": NaN}", "line 1");
  assert_refused("{\"name\": \"a\\u0000b\"}", "line 1");
  char deep[5000];
  memset(deep, '[', sizeof deep - 1);
  deep[sizeof deep - 1] = '\0';
  assert_refused(deep, "line 1");
}

/* The text goes on to terminals and into JSON. */
Test(spec, a_text_is_plain_whatever_was_found) {
  assert_refused("{\"\\u001b[2J, a name too strange to be near any other\": 1}", "\\u001B[2J");
  assert_refused("{\"split\": \"\\u001b[2J\"}", "\\u001B[2J");
  char text[200] = "{\"", *to = text + 2;
  for (int i = 0; i < 60; i++) to += sprintf(to, "\xC3\xA9");
  strcpy(to, "\": 1}");
  assert_refused(text, "\\u00E9\\u00E9");
  for (const char *at = th_error_text(); *at != '\0'; at++) cr_assert(*at >= ' ' && *at <= '~');
}

Test(spec, fields_that_do_not_go_together_are_refused) {
  assert_refused("{\"early_stopping_patience\": 3}", "validation_split");
  assert_refused("{\"warmup_steps\": 3, \"warmup_epochs\": 1}", "one length");
  assert_refused("{\"warmup_epochs\": 10}", "no epoch");
  assert_refused("{\"importance\": true}", "validation_split");
  assert_refused("{\"validation_rows\": 5, \"validation_split\": 0.1}", "by number");
  assert_refused("{\"learning_rate\": 0.1, \"min_learning_rate\": 0.2}", "cannot fall");
  assert_refused("{\"momentum\": 0.9, \"optimizer\": \"adam\"}", "sgd");
  assert_refused("{\"loss\": \"focal\", \"label_smoothing\": 0.1}", "only cross_entropy");
  assert_refused("{\"loss\": \"binary_cross_entropy\", \"classes\": 3}", "two");
  assert_refused("{\"classes\": 3, \"class_weights\": [1, 2]}", "2 weights for 3");
  assert_refused("{\"loss\": \"binary_cross_entropy\", \"class_weights\": [1]}", "for 2");
  assert_refused("{\"nesterov\": true, \"optimizer\": \"sgd\"}", "momentum to 0.9");
  assert_refused("{\"nesterov\": true, \"optimizer\": \"rmsprop\", \"momentum\": 0.9}", "sgd");
  assert_refused("{\"clip_norm\": 1, \"clip_value\": 0.5}", "clip_value 0.5");
  assert_refused("{\"hidden\": [5], \"activation\": [\"relu\", \"tanh\"]}", "one for each");
}

Test(spec, a_profile_is_what_all_other_fields_override) {
  th_spec spec, read;
  th_buffer json;
  cr_assert_eq(parse("{\"epochs\": 7, \"profile\": \"ktrdr\", \"batch_size\": 64}", &spec), TH_OK);
  cr_assert_eq(spec.epochs, 7, "before it");
  cr_assert_eq(spec.batch_size, 64, "after it");
  cr_assert_eq(spec.dropout, 0.2);
  cr_assert_eq(spec.weight_decay, 1e-4);
  cr_assert_eq(spec.split, TH_SPLIT_LAST);
  cr_assert_eq(spec.early_stopping_patience, 10);
  cr_assert_eq(th_spec_format(&spec, &json), TH_OK);
  cr_assert_null(strstr(json.data, "profile"), "its values say it all");
  cr_assert_eq(th_spec_parse(json.data, json.bytes, &read), TH_OK);
  cr_assert_eq(memcmp(&spec, &read, sizeof spec), 0);
  th_buffer_fini(&json);
  assert_refused("{\"profile\": \"ktrd\"}", "ktrdr");
  assert_refused("{\"profile\": 3}", "a profile: ktrdr");
  assert_refused("{\"profile\": \"ktrdr\", \"validation_rows\": 3}", "by number");
}

Test(spec, a_regression_has_no_classes) {
  assert_refused("{\"loss\": \"huber\", \"classes\": 3}", "set classes to 0");
  assert_refused("{\"loss\": \"mean_squared_error\", \"class_weights\": \"balanced\"}",
                 "class_weights");
  assert_refused("{\"loss\": \"mean_squared_error\", \"class_weights\": [1, 2]}", "class_weights");
  assert_refused("{\"loss\": \"huber\", \"split\": \"stratified\", \"validation_split\": 0.2}",
                 "\"random\"");
  assert_refused("{\"loss\": \"huber\", \"label_smoothing\": 0.1}", "label_smoothing");
  assert_refused("{\"loss\": \"huber\", \"huber_delta\": 0}", "above 0");
  assert_refused("{\"loss\": \"hubert\"}", "\"huber\"");
  th_spec spec;
  cr_assert_eq(parse("{\"loss\": \"huber\", \"huber_delta\": 0.5}", &spec), TH_OK, "%s",
               th_error_text());
  cr_assert(th_loss_is_regression(spec.loss));
  cr_assert_eq(spec.huber_delta, 0.5);
}

Test(spec, rows_that_are_drawn_keep_no_order) {
  assert_refused("{\"sampling\": \"weighted\", \"shuffle\": false}", "shuffle");
  assert_refused("{\"sampling\": \"balanced\", \"shuffle\": false}", "\"each\"");
  assert_refused("{\"sampling\": \"weigthed\"}", "\"weighted\"");
  th_spec spec;
  cr_assert_eq(parse("{\"sampling\": \"balanced\"}", &spec), TH_OK, "%s", th_error_text());
  cr_assert_eq(spec.sampling, TH_SAMPLING_BALANCED);
}

Test(spec, folds_are_judged) {
  assert_refused("{\"folds\": 1}", "folds");
  assert_refused("{\"fold\": 2}", "fold");
  assert_refused("{\"folds\": 5, \"fold\": 6}", "no such fold");
  assert_refused("{\"folds\": 5, \"validation_split\": 0.2}", "validation_split");
  th_spec spec;
  cr_assert_eq(parse("{\"folds\": 5, \"fold\": 5, \"early_stopping_patience\": 3}", &spec), TH_OK,
               "%s", th_error_text());
}

Test(spec, normalization_by_batch_needs_batches) {
  assert_refused("{\"normalization\": \"batch\", \"batch_size\": 1}", "set normalization to");
  th_spec spec;
  cr_assert_eq(parse("{\"normalization\": \"layer\", \"batch_size\": 1}", &spec), TH_OK, "%s",
               th_error_text());
}

Test(spec, windows_are_of_recurrent_nets) {
  assert_refused("{\"recurrent\": \"lstm\"}", "window is 1: make it larger");
  assert_refused("{\"window\": 8}", "set recurrent to lstm or gru");
  assert_refused(
      "{\"recurrent\": \"gru\", \"window\": 8, \"importance\": true, "
      "\"validation_split\": 0.2}",
      "set importance to false");
}

Test(spec, set_takes_what_a_flag_would_say) {
  th_spec spec;
  th_spec_init(&spec);
  cr_assert_eq(th_spec_set(&spec, "hidden", "256,128,100"), TH_OK);
  cr_assert_eq(spec.hidden_count, 3);
  cr_assert_eq(spec.hidden[2], 100);
  cr_assert_eq(th_spec_set(&spec, "hidden", ""), TH_OK);
  cr_assert_eq(spec.hidden_count, 0);
  cr_assert_eq(th_spec_set(&spec, "learning_rate", "1e-2"), TH_OK);
  cr_assert_eq(spec.learning_rate, 0.01);
  cr_assert_eq(th_spec_set(&spec, "shuffle", "false"), TH_OK);
  cr_assert(!spec.shuffle);
  cr_assert_eq(th_spec_set(&spec, "seed", "18446744073709551615"), TH_OK);
  cr_assert_eq(spec.seed, UINT64_MAX);
}

Test(spec, activations_are_one_word_or_one_for_each_layer) {
  static const th_activation wanted[] = {TH_ACTIVATION_GELU_TANH, TH_ACTIVATION_SILU};
  th_spec spec, read;
  th_buffer json;
  th_spec_init(&spec);
  cr_assert_eq(th_spec_set(&spec, "activation", "gelu_tanh,silu"), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_spec_format(&spec, &json), TH_OK);
  cr_assert_eq(th_spec_parse(json.data, json.bytes, &read), TH_OK, "%s", th_error_text());
  cr_assert_eq(read.activation_count, 2);
  for (uint32_t l = 0; l < 2; l++) cr_assert_eq(th_spec_activation(&read, l), wanted[l]);
  th_buffer_fini(&json);
  cr_assert_eq(th_spec_set(&spec, "activation", "elu"), TH_OK);
  for (uint32_t l = 0; l < 2; l++)
    cr_assert_eq(th_spec_activation(&spec, l), TH_ACTIVATION_ELU, "a word is for all layers");
  cr_assert_eq(th_spec_format(&spec, &json), TH_OK);
  cr_assert_not_null(strstr(json.data, "\"activation\":\"elu\""), "and is written as one");
  th_buffer_fini(&json);
}

Test(spec, class_weights_are_a_word_or_a_list) {
  th_spec spec, read;
  th_buffer json;
  th_spec_init(&spec);
  cr_assert_eq(th_spec_set(&spec, "class_weights", "balanced"), TH_OK);
  cr_assert_eq(spec.weighting, TH_WEIGHTING_BALANCED);
  cr_assert_eq(th_spec_set(&spec, "class_weights", "1,0.1,2"), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_spec_format(&spec, &json), TH_OK);
  cr_assert_eq(th_spec_parse(json.data, json.bytes, &read), TH_OK, "%s", th_error_text());
  cr_assert_eq(read.class_weight_count, 3);
  for (int c = 0; c < 3; c++) cr_assert_eq(read.class_weights[c], spec.class_weights[c]);
  th_buffer_fini(&json);
  cr_assert_eq(th_spec_set(&spec, "class_weights", "1,,2"), TH_ERR_USAGE);
  cr_assert_eq(th_spec_set(&spec, "class_weights", ""), TH_ERR_USAGE);
  cr_assert_eq(th_spec_set(&spec, "class_weights", "none"), TH_OK);
  cr_assert_eq(spec.weighting, TH_WEIGHTING_NONE);
}

Test(spec, a_list_of_too_many_class_weights_is_refused) {
  char text[2 * TH_CLASS_WEIGHTS_MAX + 3], *to = text;
  th_spec spec;
  th_spec_init(&spec);
  for (int i = 0; i < TH_CLASS_WEIGHTS_MAX; i++) to += sprintf(to, i == 0 ? "1" : ",1");
  cr_assert_eq(th_spec_set(&spec, "class_weights", text), TH_OK, "%s", th_error_text());
  cr_assert_eq(spec.class_weight_count, TH_CLASS_WEIGHTS_MAX);
  strcpy(to, ",1");
  cr_assert_eq(th_spec_set(&spec, "class_weights", text), TH_ERR_USAGE);
}

Test(spec, set_refuses_what_is_no_value) {
  static const char *const rows[][2] = {
      {"hidden", "64,,32"}, {"hidden", "64,"},        {"hidden", "a"},
      {"epochs", "three"},  {"epochs", ""},           {"epochs", "3 4"},
      {"epochs", "[3]"},    {"learning_rate", "nan"}, {"learning_rate", "inf"},
      {"shuffle", "maybe"}, {"activation", "RELU!"},  {"activation", "relu,"},
      {"seed", "-1"},       {"name", "\xff\xfe"},     {"no_such_field", "1"}};
  th_spec spec, before;
  th_spec_init(&spec);
  before = spec;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    cr_assert_eq(th_spec_set(&spec, rows[i][0], rows[i][1]), TH_ERR_USAGE, "%s=%s", rows[i][0],
                 rows[i][1]);
    cr_assert_gt(strlen(th_error_text()), 10);
  }
  cr_assert_eq(spec.epochs, before.epochs);
  cr_assert_eq(spec.learning_rate, before.learning_rate);
}

Test(spec, every_default_in_the_table_is_what_init_sets) {
  size_t count;
  const th_spec_field *fields = th_spec_fields(&count);
  th_spec spec, defaults;
  th_spec_init(&defaults);
  spec = defaults;
  cr_assert_gt(count, 15);
  for (size_t i = 0; i < count; i++) {
    cr_assert_eq(th_spec_set(&spec, fields[i].name, fields[i].fallback), TH_OK, "%s",
                 th_error_text());
    cr_assert_gt(strlen(fields[i].help), 8);
    cr_assert_eq(fields[i].choices != NULL, fields[i].kind == TH_SPEC_CHOICE ||
                                                fields[i].kind == TH_SPEC_CHOICES ||
                                                fields[i].kind == TH_SPEC_WEIGHTS);
  }
  cr_assert_eq(memcmp(&spec, &defaults, sizeof spec), 0);
}

Test(spec, parse_survives_every_truncation_and_every_changed_byte) {
  th_spec spec;
  th_buffer json;
  th_spec_init(&spec);
  cr_assert_eq(th_spec_format(&spec, &json), TH_OK);
  char *text = json.data;
  for (size_t bytes = 1; bytes < json.bytes; bytes++)
    cr_assert_eq(th_spec_parse(text, bytes, &spec), TH_ERR_USAGE, "cut to %zu bytes", bytes);
  for (size_t i = 0; i < json.bytes; i++) {
    char original = text[i];
    for (int flip = 1; flip < 256; flip <<= 1) {
      text[i] = (char)(original ^ flip);
      th_error error = th_spec_parse(text, json.bytes, &spec);
      cr_assert(error == TH_OK || error == TH_ERR_USAGE);
    }
    text[i] = original;
  }
  th_buffer_fini(&json);
}

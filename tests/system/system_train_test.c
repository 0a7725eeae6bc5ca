/* The main job: train through the daemon, see it happen, get the weights, use them. */
#include <criterion/criterion.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/host.h"

static th_test_host host;
static th_test_data data;

static void setup(void) {
  test_host_start(&host, NULL);
  data = test_data_create(3000, 20, 1);
}

static void teardown(void) {
  test_data_free(&data);
  test_host_stop(&host);
}

TestSuite(system_train, .init = setup, .fini = teardown, .timeout = 120);

#define SPEC                                                                                   \
  "{\"hidden\": [32, 16], \"epochs\": 4, \"batch_size\": 64, \"dropout\": 0.1, \"seed\": 42, " \
  "\"validation_split\": 0.2, \"early_stopping_patience\": 3}"

Test(system_train, host_and_local_give_the_same_model_bit_for_bit) {
  th_job_request request = test_train_request(&data, SPEC);
  th_adapter *by_host = test_adapter_open(&host, NULL);
  th_adapter *by_local = test_adapter_open(NULL, NULL);
  th_result from_host = test_job_run(by_host, &request);
  th_result from_local = test_job_run(by_local, &request);
  cr_assert_gt(from_host.output_bytes, 20 * 32 * sizeof(float));
  cr_assert_eq(from_host.output_bytes, from_local.output_bytes);
  cr_assert_eq(memcmp(from_host.output, from_local.output, from_host.output_bytes), 0);
  th_result_fini(&from_host);
  th_result_fini(&from_local);
  th_adapter_close(by_host);
  th_adapter_close(by_local);
}

Test(system_train, a_model_evaluates_and_predicts_through_the_daemon) {
  th_adapter *adapter = test_adapter_open(&host, NULL);
  th_job_request request = test_train_request(&data, SPEC);
  th_result model = test_job_run(adapter, &request);
  th_test_data fresh = test_data_create(500, 20, 99);
  th_job_request evaluate = test_train_request(&fresh, NULL);
  evaluate.kind = TH_JOB_EVALUATE;
  evaluate.model = model.output;
  evaluate.model_bytes = model.output_bytes;
  th_result evaluation = test_job_run(adapter, &evaluate);
  const char *accuracy = strstr(evaluation.card, "\"accuracy\":");
  cr_assert_not_null(accuracy, "%s", evaluation.card);
  cr_assert_gt(strtod(accuracy + strlen("\"accuracy\":"), NULL), 0.95, "%s", evaluation.card);

  th_job_request predict = evaluate;
  predict.kind = TH_JOB_PREDICT;
  predict.labels = NULL;
  th_result logits = test_job_run(adapter, &predict);
  cr_assert_eq(memcmp(logits.output, "\x93NUMPY", 6), 0);
  cr_assert_eq(logits.output_bytes % 64, 500 * 2 * sizeof(float) % 64);
  th_result_fini(&model);
  th_result_fini(&evaluation);
  th_result_fini(&logits);
  test_data_free(&fresh);
  th_adapter_close(adapter);
}

typedef struct story {
  uint32_t epochs, phases;
  th_phase last_phase;
  double last_fraction;
} story;

static bool listen_to(void *user, th_job *job, const th_event *event) {
  story *heard = user;
  th_progress progress;
  if (th_job_progress(job, &progress) == TH_OK) {
    cr_assert_geq(progress.fraction, heard->last_fraction, "progress went backwards");
    heard->last_fraction = progress.fraction;
  }
  if (event->kind == TH_EVENT_EPOCH) {
    cr_assert_eq(event->epoch, heard->epochs + 1, "epochs come in order, none missing");
    cr_assert(isfinite(event->loss) && isfinite(event->validation_loss));
    heard->epochs++;
  }
  if (event->kind == TH_EVENT_PHASE) {
    heard->phases++;
    heard->last_phase = event->phase;
  }
  return true;
}

Test(system_train, every_epoch_is_told_and_the_end_comes_last) {
  th_adapter *adapter = test_adapter_open(&host, NULL);
  th_job_request request = test_train_request(&data, SPEC);
  th_job *job;
  story heard = {0};
  cr_assert_eq(th_job_start(adapter, &request, &job), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_follow(job, listen_to, &heard), TH_OK, "%s", th_error_text());
  th_progress progress;
  cr_assert_eq(th_job_progress(job, &progress), TH_OK);
  cr_assert_eq(heard.epochs, progress.epoch);
  cr_assert_eq(progress.epochs, progress.epoch);
  cr_assert_eq(heard.last_phase, TH_PHASE_DONE);
  cr_assert_eq(progress.phase, TH_PHASE_DONE);
  cr_assert_eq(progress.fraction, 1.0);
  cr_assert_geq(progress.best_epoch, 1);
  th_event event;
  cr_assert_eq(th_job_next(job, &event, 0), TH_ERR_NOT_FOUND, "after the end there is nothing");
  th_job_close(job);
  th_adapter_close(adapter);
}

Test(system_train, an_early_stop_ends_at_100_percent_and_says_why) {
  th_adapter *adapter = test_adapter_open(&host, NULL);
  th_job_request request = test_train_request(
      &data,
      "{\"epochs\": 500, \"validation_split\": 0.3, \"early_stopping_patience\": 1, "
      "\"early_stopping_min_delta\": 0.05, \"learning_rate\": 0.01}");
  th_job *job;
  th_progress progress;
  cr_assert_eq(th_job_start(adapter, &request, &job), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_follow(job, NULL, NULL), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_progress(job, &progress), TH_OK);
  cr_assert_eq(progress.stop_reason, TH_STOP_EARLY);
  cr_assert_lt(progress.epoch, 500);
  cr_assert_eq(progress.epochs, progress.epoch);
  cr_assert_eq(progress.fraction, 1.0);
  th_job_close(job);
  th_adapter_close(adapter);
}

Test(system_train, an_event_loop_follows_a_job_by_its_descriptor) {
  th_adapter *adapter = test_adapter_open(&host, NULL);
  th_job_request request = test_train_request(&data, SPEC);
  th_job *job;
  cr_assert_eq(th_job_start(adapter, &request, &job), TH_OK, "%s", th_error_text());
  struct pollfd descriptor = {.fd = th_adapter_fd(adapter), .events = POLLIN};
  bool is_over = false;
  while (!is_over) {
    if (th_adapter_arm(adapter) == TH_OK)
      cr_assert_eq(poll(&descriptor, 1, 10000), 1, "ten seconds without an event");
    th_event event;
    th_error error;
    while ((error = th_job_next(job, &event, 0)) == TH_OK)
      is_over |= event.kind == TH_EVENT_PHASE && event.phase == TH_PHASE_DONE;
    cr_assert(error == TH_ERR_AGAIN || (is_over && error == TH_ERR_NOT_FOUND), "%s",
              th_error_text());
  }
  th_job_close(job);
  th_adapter_close(adapter);
}

Test(system_train, an_adapter_may_be_closed_before_its_jobs) {
  th_adapter *adapters[] = {test_adapter_open(&host, NULL), test_adapter_open(NULL, NULL)};
  th_job_request request = test_train_request(&data, SPEC);
  for (int i = 0; i < 2; i++) {
    th_job *job;
    cr_assert_eq(th_job_start(adapters[i], &request, &job), TH_OK, "%s", th_error_text());
    th_adapter_close(adapters[i]);
    cr_assert_eq(th_job_follow(job, NULL, NULL), TH_OK, "%s", th_error_text());
    th_job_close(job);
  }
}

Test(system_train, bad_specifications_and_data_fail_visibly_and_name_the_place) {
  static const struct {
    const char *spec;
    th_error error;
    const char *word;
  } rows[] = {
      {"{\"learnin_rate\": 0.1}", TH_ERR_USAGE, "learning_rate"},
      {"{\"activation\": \"rleu\"}", TH_ERR_USAGE, "relu"},
      {"{\"batch_size\": -1}", TH_ERR_USAGE, "batch_size"},
      {"{\"hidden\": [99999999999]}", TH_ERR_USAGE, "hidden"},
      {"{\"epochs\": 3", TH_ERR_USAGE, "line"},
  };
  th_adapter *adapter = test_adapter_open(&host, NULL);
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    th_job_request request = test_train_request(&data, rows[i].spec);
    th_job *job;
    cr_assert_eq(th_job_start(adapter, &request, &job), rows[i].error, "%s", rows[i].spec);
    cr_assert_not_null(strstr(th_error_text(), rows[i].word), "%s", th_error_text());
  }
  data.features[17 * 20 + 3] = NAN;
  th_job_request request = test_train_request(&data, "{}");
  th_job *job;
  cr_assert_eq(th_job_start(adapter, &request, &job), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_follow(job, NULL, NULL), TH_ERR_DATA);
  cr_assert_not_null(strstr(th_error_text(), "17"), "%s", th_error_text());
  th_result result;
  cr_assert_eq(th_job_result(job, &result), TH_ERR_DATA);
  th_job_close(job);

  data.features[17 * 20 + 3] = 0;
  request = test_train_request(&data, "{\"learning_rate\": 1e30, \"optimizer\": \"sgd\"}");
  cr_assert_eq(th_job_start(adapter, &request, &job), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_follow(job, NULL, NULL), TH_ERR_DIVERGED);
  cr_assert_not_null(strstr(th_error_text(), "epoch 1"), "%s", th_error_text());
  th_job_close(job);
  th_adapter_close(adapter);
}

/* ---- weights, groups and targets ---- */

enum { ROWS = 3000 };

static float weights[ROWS];
static int32_t groups[ROWS];

static th_job_request full_request(void) {
  for (int i = 0; i < ROWS; i++) {
    weights[i] = (float)(i % 3);
    groups[i] = i % 7;
  }
  th_job_request request = test_train_request(&data, SPEC);
  request.weights = weights;
  request.groups = groups;
  return request;
}

static void assert_fails(th_adapter *adapter, const th_job_request *request, const char *text) {
  th_job *job;
  cr_assert_eq(th_job_start(adapter, request, &job), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_job_follow(job, NULL, NULL), TH_ERR_DATA, "%s", text);
  cr_assert_not_null(strstr(th_error_text(), text), "\"%s\" is not in \"%s\"", text,
                     th_error_text());
  cr_assert_eq(th_job_forget(job), TH_OK, "%s", th_error_text());
  th_job_close(job);
}

/* The digest in the card is of what arrived. */
static char *digest_of(const th_result *result) {
  const char *digest = strstr(result->card, "blake2b-256:");
  cr_assert_not_null(digest, "%s", result->card);
  return strndup(digest, strcspn(digest, "\""));
}

/* @return the digest of the data, freed by the caller. */
static char *run_and_digest(th_adapter *adapter, const th_job_request *request) {
  th_result result = test_job_run(adapter, request);
  char *digest = digest_of(&result);
  th_result_fini(&result);
  return digest;
}

Test(system_train, weights_and_groups_arrive_in_host_and_local_mode) {
  th_adapter *by_host = test_adapter_open(&host, NULL), *by_local = test_adapter_open(NULL, NULL);
  th_job_request request = full_request(), plain = test_train_request(&data, SPEC);
  char *digests[] = {run_and_digest(by_host, &request), run_and_digest(by_local, &request),
                     run_and_digest(by_host, &plain)};
  cr_assert_str_eq(digests[0], digests[1]);
  cr_assert_str_neq(digests[0], digests[2], "weights and groups are no part of the digest");
  for (int i = 0; i < 3; i++) free(digests[i]);
  th_adapter_close(by_host);
  th_adapter_close(by_local);
}

Test(system_train, a_regression_takes_targets_by_host_and_local_alike) {
  static float targets[2 * ROWS];
  th_adapter *adapters[] = {test_adapter_open(&host, NULL), test_adapter_open(NULL, NULL)};
  th_result models[2];
  for (int i = 0; i < ROWS; i++) {
    targets[2 * i] = data.features[20 * i] - data.features[20 * i + 1];
    targets[2 * i + 1] = data.features[20 * i + 2];
  }
  th_job_request request = test_train_request(
      &data, "{\"loss\": \"mean_squared_error\", \"learning_rate\": 0.01, \"epochs\": 5}");
  request.labels = NULL;
  request.targets = targets;
  request.target_width = 2;
  for (int i = 0; i < 2; i++) models[i] = test_job_run(adapters[i], &request);
  cr_assert_eq(models[0].output_bytes, models[1].output_bytes);
  cr_assert_eq(memcmp(models[0].output, models[1].output, models[0].output_bytes), 0);
  request.kind = TH_JOB_EVALUATE;
  request.spec = NULL;
  request.model = models[0].output;
  request.model_bytes = models[0].output_bytes;
  th_result evaluation = test_job_run(adapters[0], &request);
  const char *r2 = strstr(evaluation.card, "\"r2\":");
  cr_assert_not_null(r2, "%s", evaluation.card);
  cr_assert_gt(strtod(r2 + strlen("\"r2\":"), NULL), 0.9, "%s", evaluation.card);
  targets[2 * 41 + 1] = NAN;
  assert_fails(adapters[0], &request, "targets: row 41, column 1 (from 0) is NaN");
  th_result_fini(&evaluation);
  for (int i = 0; i < 2; i++) {
    th_result_fini(&models[i]);
    th_adapter_close(adapters[i]);
  }
}

/* What the net learns depends on the groups twice: where windows end, and by the embedding. */
Test(system_train, windows_and_an_embedding_take_groups_by_host_and_local_alike) {
  th_adapter *adapters[] = {test_adapter_open(&host, NULL), test_adapter_open(NULL, NULL)};
  th_result models[3];
  th_job_request request = test_train_request(
      &data,
      "{\"recurrent\": \"gru\", \"recurrent_width\": 12, \"window\": 6, \"embedding\": 2, "
      "\"hidden\": [], \"learning_rate\": 0.01, \"epochs\": 2}");
  for (int i = 0; i < ROWS; i++) groups[i] = i / 50;
  request.groups = groups;
  for (int i = 0; i < 2; i++) models[i] = test_job_run(adapters[i], &request);
  cr_assert_eq(models[0].output_bytes, models[1].output_bytes);
  cr_assert_eq(memcmp(models[0].output, models[1].output, models[0].output_bytes), 0);
  groups[1025] = groups[1024] - 1;
  models[2] = test_job_run(adapters[0], &request);
  cr_assert_neq(memcmp(models[0].output, models[2].output, models[0].output_bytes), 0);
  request.kind = TH_JOB_EVALUATE;
  request.spec = NULL;
  request.model = models[0].output;
  request.model_bytes = models[0].output_bytes;
  th_result evaluation = test_job_run(adapters[0], &request);
  const char *accuracy = strstr(evaluation.card, "\"accuracy\":");
  cr_assert_not_null(accuracy, "%s", evaluation.card);
  cr_assert_gt(strtod(accuracy + strlen("\"accuracy\":"), NULL), 0.8, "%s", evaluation.card);
  groups[2999] = 60;
  assert_fails(adapters[0], &request, "groups: row 2999 (from 0) is 60");
  th_result_fini(&evaluation);
  for (int i = 0; i < 3; i++) th_result_fini(&models[i]);
  for (int i = 0; i < 2; i++) th_adapter_close(adapters[i]);
}

Test(system_train, weights_and_groups_are_judged) {
  th_adapter *adapter = test_adapter_open(&host, NULL);
  th_job_request request = full_request();
  weights[2999] = -1;
  assert_fails(adapter, &request, "weights: row 2999 (from 0) is -1");
  weights[2999] = NAN;
  assert_fails(adapter, &request, "weights: row 2999, column 0 (from 0) is NaN");
  weights[2999] = 0;
  groups[1] = -1;
  assert_fails(adapter, &request, "groups: row 1 (from 0) is -1");
  memset(weights, 0, sizeof weights);
  assert_fails(adapter, &request, "weights: all are 0");
  th_adapter_close(adapter);
}

Test(system_train, a_model_takes_weights_to_evaluate_and_groups_to_predict) {
  th_adapter *adapter = test_adapter_open(&host, NULL);
  th_job_request request = test_train_request(&data, SPEC);
  th_result model = test_job_run(adapter, &request);
  request = full_request();
  request.spec = NULL;
  request.kind = TH_JOB_EVALUATE;
  request.model = model.output;
  request.model_bytes = model.output_bytes;
  free(run_and_digest(adapter, &request));
  weights[5] = -1;
  assert_fails(adapter, &request, "weights: row 5");
  request.kind = TH_JOB_PREDICT;
  request.labels = NULL;
  request.weights = NULL;
  free(run_and_digest(adapter, &request));
  groups[5] = -1;
  assert_fails(adapter, &request, "groups: row 5");
  th_result_fini(&model);
  th_adapter_close(adapter);
}

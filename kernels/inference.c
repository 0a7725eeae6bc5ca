#include "kernels/inference.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "formats/table.h"
#include "kernels/backend.h"
#include "kernels/card.h"
#include "kernels/data.h"
#include "kernels/model.h"
#include "kernels/pace.h"
#include "kernels/scores.h"
#include "kernels/standard.h"
#include "kernels/weighting.h"

struct th_inference {
  th_spec spec;
  th_data data;
  th_device device;
  th_model model;
  th_data_facts facts;
  th_standard standard; /* empty if the model takes features as they are */
  th_engine *engine;
  th_trainer_observer *observer;
  void *user;
  th_sums sums; /* over the rows done, which sums.rows counts */
  float *predicted; /* predict: of all rows; evaluate: of the rows under way */
  th_scores scores; /* empty unless evaluated */
  th_pace pace;
  int64_t created_ns;
  int64_t told_ns; /* when time was last added up; 0 before the first advance */
};

static bool is_evaluation(const th_inference *inference) {
  return inference->data.labels != NULL || inference->data.targets != NULL;
}

static bool is_over(const th_inference *inference) {
  return inference->sums.rows == inference->data.rows;
}

static double mean(double sum, double weight) {
  return weight == 0 ? NAN : sum / weight;
}

static double accuracy(const th_inference *inference) {
  return th_scores_accuracy(&inference->scores.regression, &inference->sums);
}

static void observer_tell(const th_inference *inference, th_phase phase) {
  if (inference->observer == NULL) return;
  const th_sums *sums = &inference->sums;
  bool labeled = is_evaluation(inference);
  double left = (double)(inference->data.rows - sums->rows);
  th_progress progress = {
      .phase = phase,
      .history_stride = 1,
      .fraction = (double)sums->rows / (double)inference->data.rows,
      .loss = NAN,
      .accuracy = NAN,
      .validation_loss = labeled ? mean(sums->loss, sums->weight) : NAN,
      .validation_accuracy = labeled ? accuracy(inference) : NAN,
      .samples_per_second = th_pace_rate(&inference->pace),
      .elapsed_seconds = (double)(th_clock_now_ns() - inference->created_ns) / TH_NS_PER_S,
      .eta_seconds = is_over(inference) ? 0 : th_pace_eta(&inference->pace, left),
  };
  inference->observer(inference->user, &progress);
}

static void survey_tell(void *user) {
  observer_tell(user, TH_PHASE_PREPARING);
}

static th_error engine_create(th_inference *inference, float *parameters) {
  th_engine_plan plan = {
      .spec = &inference->spec,
      .model = &inference->model,
      .data = &inference->data,
      .device = &inference->device,
      .split = th_permutation_identity((uint32_t)inference->data.rows),
      .shift = inference->standard.mean,
      .scale = inference->standard.scale,
      .validation_shares = inference->scores.regression.shares,
  };
  const th_backend *backend = inference->device.backend;
  th_error error = th_weighting_settle(&plan, &inference->spec);
  if (error == TH_ERR_USAGE) return th_fail(TH_ERR_DATA, "the model: %s", th_error_text());
  if (error == TH_OK) error = backend->create(&plan, &inference->engine);
  if (error != TH_OK) return error;
  th_engine_state state = {.parameters = parameters};
  return backend->write(inference->engine, &state);
}

static th_error results_allocate(th_inference *inference) {
  uint32_t rows = (uint32_t)inference->data.rows;
  uint32_t columns = th_model_columns(&inference->model);
  if (is_evaluation(inference)) {
    th_split split = {.order = th_permutation_identity(rows)};
    th_error error =
        th_scores_init(&inference->scores, &inference->model, &inference->data, &split, 0, rows);
    if (error != TH_OK) return error;
    rows = inference->device.backend->rows_at_once;
  }
  size_t bytes;
  if (!__builtin_mul_overflow(rows, columns * sizeof(float), &bytes))
    inference->predicted = malloc(bytes);
  if (inference->predicted == NULL)
    return th_fail(TH_ERR_SYSTEM, "no memory to predict %u numbers for each of %u rows", columns,
                   rows);
  return TH_OK;
}

/* Groups that the model has numbers for. */
static th_error groups_judge(const th_inference *inference) {
  uint32_t known = inference->model.groups;
  const int32_t *groups = inference->data.groups;
  if (known == 0) return TH_OK;
  if (groups == NULL)
    return th_fail(TH_ERR_DATA,
                   "the rows have no groups, and the model has an embedding of %u of them: give "
                   "each row's group, as to the training",
                   known);
  if (inference->facts.groups <= known) return TH_OK;
  uint64_t row = 0;
  while ((uint32_t)groups[row] < known) row++;
  return th_fail(TH_ERR_DATA,
                 "groups: row %" PRIu64
                 " (from 0) is %d, and the model's embedding knows groups "
                 "below %u; leave such rows out, or train with them",
                 row, groups[row], known);
}

/* Targets of another width could not be compared with the outputs. */
static th_error answers_judge(const th_inference *inference) {
  const th_data *data = &inference->data;
  const th_model *model = &inference->model;
  if (!is_evaluation(inference)) return TH_OK;
  th_error error = th_scores_judge(inference->spec.loss, data);
  if (error != TH_OK || data->targets == NULL || data->target_width == model->outputs) return error;
  return th_fail(TH_ERR_DATA, "targets: %u columns, but the model gives %u", data->target_width,
                 model->outputs);
}

static th_error inference_prepare(th_inference *inference, const void *file, size_t bytes) {
  float *parameters = NULL;
  th_error error = th_model_decode(file, bytes, &inference->model, &inference->spec, &parameters,
                                   &inference->standard);
  if (error == TH_OK && inference->data.width != inference->model.width)
    error = th_fail(TH_ERR_DATA, "features: %u columns, but the model takes %u",
                    inference->data.width, inference->model.width);
  if (error == TH_OK) error = answers_judge(inference);
  if (error == TH_OK)
    error = th_data_survey(&inference->data, inference->model.classes, survey_tell, inference,
                           &inference->facts);
  if (error == TH_OK) error = groups_judge(inference);
  if (error == TH_OK) error = results_allocate(inference);
  if (error == TH_OK) error = engine_create(inference, parameters);
  free(parameters);
  return error;
}

th_error th_inference_create(const void *model, size_t model_bytes, const th_data *data,
                             const th_device *device, th_trainer_observer *observer, void *user,
                             th_inference **inference) {
  th_inference *made = calloc(1, sizeof *made);
  if (made == NULL) return th_fail(TH_ERR_SYSTEM, "no memory to apply a model");
  made->data = *data;
  made->device = *device;
  made->observer = observer;
  made->user = user;
  made->created_ns = th_clock_now_ns();
  th_error error = inference_prepare(made, model, model_bytes);
  if (error == TH_OK)
    *inference = made;
  else
    th_inference_destroy(made);
  return error;
}

static void scores_add(th_inference *inference, uint32_t first, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    th_scores_add(&inference->scores, &inference->data, first + i,
                  inference->predicted + (size_t)i * th_model_columns(&inference->model));
}

static th_error rows_apply(th_inference *inference, th_team *team) {
  const th_backend *backend = inference->device.backend;
  uint32_t first = (uint32_t)inference->sums.rows;
  uint32_t left = (uint32_t)inference->data.rows - first;
  uint32_t count = left < backend->rows_at_once ? left : backend->rows_at_once;
  size_t place = is_evaluation(inference) ? 0 : (size_t)first * th_model_columns(&inference->model);
  th_error error = backend->evaluate(inference->engine, team, first, count, &inference->sums,
                                     inference->predicted + place);
  if (error != TH_OK) return error;
  if (is_evaluation(inference)) scores_add(inference, first, count);
  int64_t now_ns = th_clock_now_ns();
  th_pace_add(&inference->pace, count, (double)(now_ns - inference->told_ns) / TH_NS_PER_S);
  inference->told_ns = now_ns;
  return TH_OK;
}

th_error th_inference_advance(th_inference *inference, th_team *team, int64_t until_ns) {
  if (inference->told_ns == 0) inference->told_ns = th_clock_now_ns();
  while (!is_over(inference)) {
    th_error error = rows_apply(inference, team);
    if (error != TH_OK) return error;
    observer_tell(inference, TH_PHASE_VALIDATING);
    if (!is_over(inference) && inference->told_ns >= until_ns) return TH_ERR_AGAIN;
  }
  return TH_OK;
}

static th_error card_print(const th_inference *inference, th_buffer *card) {
  const th_sums *sums = &inference->sums;
  json_t *json = json_pack(
      "{s:s, s:I, s:I, s:I, s:s, s:s, s:s}", "format", "trainhost-card-1", "rows",
      (json_int_t)inference->data.rows, "classes", (json_int_t)inference->model.classes, "columns",
      (json_int_t)th_model_columns(&inference->model), "device", inference->device.name, "engine",
      inference->device.backend->name, "digest", inference->facts.digest);
  if (json != NULL && is_evaluation(inference) &&
      (json_object_set_new(json, "loss", th_card_number(mean(sums->loss, sums->weight))) != 0 ||
       json_object_set_new(json, "accuracy", th_card_number(accuracy(inference))) != 0 ||
       !th_scores_print(&inference->scores, json))) {
    json_decref(json);
    json = NULL;
  }
  return th_card_print(json, card);
}

th_error th_inference_result(const th_inference *inference, th_buffer *output, th_buffer *card) {
  th_buffer predicted = {0};
  th_error error = TH_OK;
  if (!is_evaluation(inference))
    error = th_npy_encode(inference->predicted, inference->data.rows,
                          th_model_columns(&inference->model), &predicted);
  if (error == TH_OK) error = card_print(inference, card);
  if (error == TH_OK)
    *output = predicted;
  else
    th_buffer_fini(&predicted);
  return error;
}

void th_inference_destroy(th_inference *inference) {
  if (inference == NULL) return;
  if (inference->engine != NULL) inference->device.backend->destroy(inference->engine);
  th_standard_fini(&inference->standard);
  th_scores_fini(&inference->scores);
  free(inference->predicted);
  free(inference);
}

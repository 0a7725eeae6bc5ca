#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "kernels/card.h"
#include "kernels/trainer_state.h"

/* A regression's epochs have errors beside the score. */
static json_t *errors_add(json_t *object, const th_epoch *epoch) {
  json_t *errors = json_pack("{s:o, s:o, s:o, s:o}", "mae", th_card_number(epoch->mae), "rmse",
                             th_card_number(epoch->rmse), "validation_mae",
                             th_card_number(epoch->validation_mae), "validation_rmse",
                             th_card_number(epoch->validation_rmse));
  bool is_whole = errors != NULL && json_object_update(object, errors) == 0;
  json_decref(errors);
  if (is_whole) return object;
  json_decref(object);
  return NULL;
}

static json_t *epoch_to_json(const th_epoch *epoch) {
  json_t *object =
      json_pack("{s:i, s:o, s:o, s:o, s:o, s:o, s:o}", "epoch", (int)epoch->epoch, "loss",
                th_card_number(epoch->loss), "accuracy", th_card_number(epoch->accuracy),
                "validation_loss", th_card_number(epoch->validation_loss), "validation_accuracy",
                th_card_number(epoch->validation_accuracy), "learning_rate",
                th_card_number(epoch->learning_rate), "seconds", th_card_number(epoch->seconds));
  return isnan(epoch->mae) ? object : errors_add(object, epoch);
}

static json_t *history_to_json(const th_history *history) {
  json_t *epochs = json_array();
  for (uint32_t i = 0; i < history->count; i++)
    if (json_array_append_new(epochs, epoch_to_json(&history->epochs[i])) != 0) {
      json_decref(epochs);
      return NULL;
    }
  return json_pack("{s:i, s:o}", "stride", (int)history->stride, "epochs", epochs);
}

static th_error module_append(void *user, const char *text) {
  json_t *modules = user;
  if (json_array_append_new(modules, json_string(text)) == 0) return TH_OK;
  return th_fail(TH_ERR_SYSTEM, "no memory for the model card");
}

/* The modules as PyTorch prints them, and the Python that builds them. */
static json_t *architecture_to_json(const th_trainer *trainer) {
  json_t *modules = json_array();
  th_buffer constructor = {0};
  json_t *architecture = NULL;
  if (th_model_modules(&trainer->model, &trainer->spec, module_append, modules) == TH_OK &&
      th_model_constructor(&trainer->model, &trainer->spec, &constructor) == TH_OK)
    architecture = json_pack("{s:s, s:O}", "constructor", constructor.data, "modules", modules);
  th_buffer_fini(&constructor);
  json_decref(modules);
  return architecture;
}

static json_t *spec_to_json(const th_spec *spec) {
  th_buffer text = {0};
  if (th_spec_format(spec, &text) != TH_OK) return NULL;
  json_t *json = json_loadb(text.data, text.bytes, 0, NULL);
  th_buffer_fini(&text);
  return json;
}

static json_t *data_to_json(const th_trainer *trainer) {
  return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "rows", (json_int_t)trainer->data.rows,
                   "width", (json_int_t)trainer->data.width, "classes",
                   (json_int_t)trainer->model.classes, "targets",
                   (json_int_t)trainer->data.target_width, "training_rows",
                   (json_int_t)trainer->split.training_rows, "validation_rows",
                   (json_int_t)trainer->split.validation_rows, "digest", trainer->facts.digest);
}

static const char *stop_reason_name(uint32_t reason) {
  switch ((th_stop_reason)reason) {
    case TH_STOP_NONE:
      return "none";
    case TH_STOP_EPOCHS:
      return "epochs";
    case TH_STOP_EARLY:
      return "early";
  }
  return "none";
}

/* Of the epoch whose parameters the model holds. */
static json_t *metrics_to_json(const th_trainer *trainer) {
  const th_history *history = &trainer->history;
  if (history->count == 0) return json_null();
  return epoch_to_json(trainer->spec.restore_best ? &trainer->place.best
                                                  : &history->epochs[history->count - 1]);
}

/* Of the validation rows; null without any. */
static json_t *validation_to_json(const th_trainer *trainer) {
  if (trainer->split.validation_rows == 0) return json_null();
  static const th_scores none = {0};
  bool is_counted = trainer->scored_rows == trainer->split.validation_rows;
  json_t *validation = json_pack("{s:I}", "rows", (json_int_t)trainer->split.validation_rows);
  if (th_scores_print(is_counted ? &trainer->scores : &none, validation)) return validation;
  json_decref(validation);
  return NULL;
}

/* A number for each feature; null if it was not asked for. */
static json_t *importance_to_json(const th_trainer *trainer) {
  bool is_there = trainer->importance != NULL && th_importance_is_done(trainer->importance);
  return is_there ? th_importance_to_json(trainer->importance) : json_null();
}

static th_error card_print(const th_trainer *trainer, th_buffer *card) {
  const th_place *place = &trainer->place;
  json_t *spec = spec_to_json(&trainer->spec);
  /* Taken from there because a large seed is written as a text. */
  json_t *seed = json_incref(json_object_get(spec, "seed"));
  json_t *json = json_pack(
      "{s:s, s:o, s:I, s:o, s:o, s:o, s:s, s:s, s:s, s:i, s:o, s:o, s:o, s:o, s:o}", "format",
      "trainhost-card-1", "architecture", architecture_to_json(trainer), "parameters",
      (json_int_t)trainer->model.parameters, "spec", spec, "seed", seed, "data",
      data_to_json(trainer), "device", trainer->device.name, "engine",
      trainer->device.backend->name, "stop_reason", stop_reason_name(place->stop_reason),
      "best_epoch", (int)place->best.epoch, "metrics", metrics_to_json(trainer), "validation",
      validation_to_json(trainer), "importance", importance_to_json(trainer), "history",
      history_to_json(&trainer->history), "training_seconds", th_card_number(place->seconds));
  return th_card_print(json, card);
}

th_error th_trainer_result(const th_trainer *trainer, th_buffer *model, th_buffer *card) {
  uint64_t count = trainer->model.parameters;
  float *parameters = malloc(count * sizeof *parameters);
  if (parameters == NULL)
    return th_fail(TH_ERR_SYSTEM, "no memory for %" PRIu64 " parameters", count);
  th_buffer file = {0};
  th_engine_state state = {.parameters = parameters};
  th_error error = trainer->device.backend->read(trainer->engine, &state);
  if (error == TH_OK)
    error = th_model_encode(&trainer->model, &trainer->spec, parameters, &trainer->standard, &file);
  free(parameters);
  if (error == TH_OK) error = card_print(trainer, card);
  if (error == TH_OK)
    *model = file;
  else
    th_buffer_fini(&file);
  return error;
}

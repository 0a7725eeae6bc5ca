#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "kernels/trainer_state.h"
#include "kernels/weighting.h"

/* Work is counted in passes of one row through the net: forward alone is one, and backward costs
 * about two more. */
#define WORK_PER_TRAINED_ROW 3.0
#define WORK_PER_VALIDATED_ROW 1.0

static double epoch_work(const th_trainer *trainer) {
  return WORK_PER_TRAINED_ROW * trainer->split.training_rows +
         WORK_PER_VALIDATED_ROW * trainer->split.validation_rows;
}

static double work_planned(const th_trainer *trainer) {
  return epoch_work(trainer) * trainer->spec.epochs;
}

static double work_done(const th_trainer *trainer) {
  const th_place *place = &trainer->place;
  if (place->epoch == 0) return 0;
  return epoch_work(trainer) * (place->epoch - 1) +
         WORK_PER_TRAINED_ROW * (double)place->training.rows +
         WORK_PER_VALIDATED_ROW * (double)place->validation.rows;
}

static double mean(double sum, double weight) {
  return weight == 0 ? NAN : sum / weight;
}

static bool is_over(const th_trainer *trainer) {
  return trainer->place.stop_reason != TH_STOP_NONE;
}

void th_trainer_progress(const th_trainer *trainer, th_progress *progress) {
  const th_place *place = &trainer->place;
  bool over = is_over(trainer);
  double planned = work_planned(trainer);
  double done = work_done(trainer);
  *progress = (th_progress){
      .phase = place->phase,
      .stop_reason = place->stop_reason,
      .epoch = place->epoch,
      .epochs = over ? place->epoch : trainer->spec.epochs,
      .step = place->epoch == 0 ? 0 : place->step,
      .steps = trainer->steps,
      .best_epoch = place->best.epoch,
      .history_stride = trainer->history.stride,
      .fraction = over ? 1.0 : done / planned,
      .loss = mean(place->training.loss, place->training.weight),
      .accuracy = th_scores_accuracy(&trainer->training_targets, &place->training),
      .validation_loss = place->validation_loss,
      .validation_accuracy = place->validation_accuracy,
      .samples_per_second = th_pace_rate(&trainer->rows_pace),
      .elapsed_seconds = (double)(th_clock_now_ns() - trainer->created_ns) / TH_NS_PER_S,
      .eta_seconds = over ? 0 : th_pace_eta(&trainer->work_pace, planned - done),
  };
}

static void observer_tell(const th_trainer *trainer) {
  if (trainer->observer == NULL) return;
  th_progress progress;
  th_trainer_progress(trainer, &progress);
  trainer->observer(trainer->user, &progress);
}

/* How the survey of the data sounds to the observer: nothing is known yet but that it goes on. */
static void survey_tell(void *user) {
  const th_trainer *trainer = user;
  if (trainer->observer == NULL) return;
  th_progress progress = {
      .phase = TH_PHASE_PREPARING,
      .epochs = trainer->spec.epochs,
      .history_stride = 1,
      .loss = NAN,
      .accuracy = NAN,
      .validation_loss = NAN,
      .validation_accuracy = NAN,
      .elapsed_seconds = (double)(th_clock_now_ns() - trainer->created_ns) / TH_NS_PER_S,
      .eta_seconds = NAN,
  };
  trainer->observer(trainer->user, &progress);
}

static th_error rows_split(th_trainer *trainer) {
  th_error error =
      th_split_init(&trainer->split, &trainer->spec, &trainer->data, trainer->model.classes);
  if (error != TH_OK) return error;
  trainer->steps = th_spec_steps(&trainer->spec, trainer->split.training_rows);
  trainer->schedule = th_schedule_begin(&trainer->spec, trainer->steps);
  return th_weighting_judge(&trainer->spec, &trainer->data, &trainer->split);
}

static th_error inputs_fit(th_trainer *trainer) {
  if (!trainer->spec.standardize) return TH_OK;
  th_error error = th_standard_init(&trainer->standard, trainer->data.width);
  if (error != TH_OK) return error;
  return th_standard_fit(&trainer->standard, &trainer->data, &trainer->split);
}

static th_error engine_create(th_trainer *trainer) {
  th_engine_plan plan = {
      .spec = &trainer->spec,
      .model = &trainer->model,
      .data = &trainer->data,
      .device = &trainer->device,
      .split = trainer->split.order,
      .rows = trainer->split.rows,
      .shift = trainer->standard.mean,
      .scale = trainer->standard.scale,
      .training_rows = trainer->split.training_rows,
      .schedule = &trainer->schedule,
      .sampling = trainer->sampling,
      .training_shares = trainer->training_targets.shares,
      .validation_shares = trainer->scores.regression.shares,
  };
  th_error error = th_weighting_settle(&plan, &trainer->spec);
  if (error != TH_OK) return error;
  return trainer->device.backend->create(&plan, &trainer->engine);
}

/* Taken now, so that no training fails for want of it at its end. */
static th_error scores_reserve(th_trainer *trainer) {
  const th_split *split = &trainer->split;
  th_error error = TH_OK;
  if (th_loss_is_regression(trainer->spec.loss))
    error = th_regression_init(&trainer->training_targets, &trainer->data, split, 0,
                               split->training_rows);
  if (error != TH_OK || split->validation_rows == 0) return error;
  error = th_scores_init(&trainer->scores, &trainer->model, &trainer->data, split,
                         split->training_rows, split->validation_rows);
  if (error != TH_OK || th_scores_are_empty(&trainer->scores)) return error;
  uint32_t columns = th_model_columns(&trainer->model);
  trainer->predicted =
      calloc(trainer->device.backend->rows_at_once, (size_t)columns * sizeof(th_real));
  if (trainer->predicted != NULL) return TH_OK;
  return th_fail(TH_ERR_SYSTEM, "no memory for predictions of %u numbers", columns);
}

static th_error parameters_draw(th_trainer *trainer) {
  float *parameters = malloc(trainer->model.parameters * sizeof *parameters);
  if (parameters == NULL)
    return th_fail(TH_ERR_SYSTEM, "no memory for %" PRIu64 " parameters",
                   trainer->model.parameters);
  th_model_draw(&trainer->model, &trainer->spec, trainer->spec.seed, parameters);
  th_engine_state state = {.parameters = parameters};
  th_error error = trainer->device.backend->write(trainer->engine, &state);
  free(parameters);
  return error;
}

/* Labels must lie below; 0: whatever they are. */
static uint32_t labels_bound(const th_spec *spec) {
  return spec->loss == TH_LOSS_BINARY_CROSS_ENTROPY ? 2 : spec->classes;
}

static th_error trainer_prepare(th_trainer *trainer) {
  const th_spec *spec = &trainer->spec;
  th_error error = th_scores_judge(spec->loss, &trainer->data);
  if (error != TH_OK) return error;
  survey_tell(trainer);
  error = th_data_survey(&trainer->data, labels_bound(spec), survey_tell, trainer, &trainer->facts);
  if (error != TH_OK) return error;
  th_model_sizes sizes = {.width = trainer->data.width,
                          .classes = spec->classes == 0 ? trainer->facts.classes : spec->classes,
                          .targets = trainer->data.target_width,
                          .groups = trainer->facts.groups};
  error = th_model_init(&trainer->model, spec, &sizes);
  if (error == TH_OK) error = rows_split(trainer);
  if (error == TH_OK) error = th_history_init(&trainer->history, spec->epochs);
  if (error == TH_OK)
    error = th_sampling_init(&trainer->sampling, spec, &trainer->data, &trainer->split);
  if (error == TH_OK) error = inputs_fit(trainer);
  if (error == TH_OK) error = scores_reserve(trainer);
  if (error == TH_OK) error = engine_create(trainer);
  if (error == TH_OK) error = parameters_draw(trainer);
  /* No epoch is under way, as if one had just ended. */
  trainer->place.step = trainer->steps;
  return error;
}

th_error th_trainer_create(const th_spec *spec, const th_data *data, const th_device *device,
                           th_trainer_observer *observer, void *user, th_trainer **trainer) {
  /* The specification's parser promises these. */
  th_check(spec->epochs > 0 && spec->batch_size > 0);
  th_trainer *made = calloc(1, sizeof *made);
  if (made == NULL) return th_fail(TH_ERR_SYSTEM, "no memory for a training");
  made->spec = *spec;
  made->data = *data;
  made->device = *device;
  made->observer = observer;
  made->user = user;
  made->created_ns = th_clock_now_ns();
  made->place = (th_place){.phase = TH_PHASE_TRAINING,
                           .validation_loss = NAN,
                           .validation_accuracy = NAN,
                           .stop_score = INFINITY};
  th_error error = trainer_prepare(made);
  if (error == TH_OK)
    *trainer = made;
  else
    th_trainer_destroy(made);
  return error;
}

static th_error loss_check(const th_trainer *trainer, double loss) {
  if (isfinite(loss)) return TH_OK;
  return th_fail(TH_ERR_DIVERGED,
                 "the %sloss became %s in epoch %u, step %u of %u; a learning_rate below %g, or "
                 "scaled features, may help",
                 trainer->place.phase == TH_PHASE_VALIDATING ? "validation " : "",
                 isnan(loss) ? "NaN" : "infinite", trainer->place.epoch, trainer->place.step,
                 trainer->steps, trainer->spec.learning_rate);
}

/* The last step's update is seen by no loss any more, so its parameters are looked at. */
static th_error parameters_check(const th_trainer *trainer) {
  uint64_t count = trainer->model.parameters;
  float *parameters = malloc(count * sizeof *parameters);
  if (parameters == NULL)
    return th_fail(TH_ERR_SYSTEM, "no memory for %" PRIu64 " parameters", count);
  th_engine_state state = {.parameters = parameters};
  th_error error = trainer->device.backend->read(trainer->engine, &state);
  for (uint64_t i = 0; i < count && error == TH_OK; i++)
    if (!isfinite(parameters[i]))
      error = th_fail(TH_ERR_DIVERGED,
                      "a parameter became %s in epoch %u, step %u, the last; a learning_rate below "
                      "%g, or scaled features, may help",
                      isnan(parameters[i]) ? "NaN" : "infinite", trainer->place.epoch,
                      trainer->place.step, trainer->spec.learning_rate);
  free(parameters);
  return error;
}

static th_error training_end(th_trainer *trainer, th_stop_reason reason) {
  th_error error = TH_OK;
  if (trainer->spec.restore_best) error = trainer->device.backend->restore_best(trainer->engine);
  if (error == TH_OK) error = parameters_check(trainer);
  if (error == TH_OK) trainer->place.stop_reason = reason;
  return error;
}

/* Of the epoch's last step. */
static double epoch_rate(const th_trainer *trainer) {
  return th_schedule_rate(&trainer->schedule, (uint64_t)trainer->place.epoch * trainer->steps - 1);
}

static th_epoch epoch_result(const th_trainer *trainer) {
  const th_place *place = &trainer->place;
  const th_regression *trained = &trainer->training_targets;
  const th_regression *validated = &trainer->scores.regression;
  /* Without validation rows these are still NaN, as they were at the start. */
  return (th_epoch){
      .epoch = place->epoch,
      .loss = mean(place->training.loss, place->training.weight),
      .accuracy = th_scores_accuracy(trained, &place->training),
      .mae = th_scores_mae(trained, &place->training),
      .rmse = th_scores_rmse(trained, &place->training),
      .validation_loss = place->validation_loss,
      .validation_accuracy = place->validation_accuracy,
      .validation_mae = th_scores_mae(validated, &place->validation),
      .validation_rmse = th_scores_rmse(validated, &place->validation),
      .learning_rate = epoch_rate(trainer),
      .seconds = place->epoch_seconds,
  };
}

/* What is the lower, the better the epoch was. */
static double epoch_score(const th_trainer *trainer, const th_epoch *result) {
  bool validated = trainer->split.validation_rows > 0;
  switch (trainer->spec.early_stopping_monitor) {
    case TH_MONITOR_LOSS:
      return validated ? result->validation_loss : result->loss;
    case TH_MONITOR_ACCURACY:
      return validated ? -result->validation_accuracy : -result->accuracy;
  }
  __builtin_unreachable();
}

/* The best epoch is the one of the lowest score; patience asks for more, a score lower by min_delta
 * than the one that last satisfied it. */
static th_error epoch_judge(th_trainer *trainer, const th_epoch *result) {
  th_place *place = &trainer->place;
  bool validated = trainer->split.validation_rows > 0;
  double score = epoch_score(trainer, result);
  if (place->best.epoch == 0 || score < epoch_score(trainer, &place->best)) {
    place->best = *result;
    th_error error = TH_OK;
    if (trainer->spec.restore_best) error = trainer->device.backend->keep_best(trainer->engine);
    if (error != TH_OK) return error;
  }
  place->waited++;
  if (score < place->stop_score - trainer->spec.early_stopping_min_delta) {
    place->stop_score = score;
    place->waited = 0;
  }
  th_schedule_judge(&trainer->schedule, place->epoch,
                    validated ? result->validation_loss : result->loss);
  return TH_OK;
}

static th_error epoch_end(th_trainer *trainer) {
  th_place *place = &trainer->place;
  uint32_t patience = trainer->spec.early_stopping_patience;
  th_epoch result = epoch_result(trainer);
  place->phase = TH_PHASE_TRAINING;
  th_history_append(&trainer->history, &result);
  th_error error = epoch_judge(trainer, &result);
  if (error != TH_OK) return error;
  if (place->epoch == trainer->spec.epochs) return training_end(trainer, TH_STOP_EPOCHS);
  if (patience > 0 && place->waited >= patience) return training_end(trainer, TH_STOP_EARLY);
  return TH_OK;
}

static void epoch_begin(th_place *place) {
  place->epoch++;
  place->step = 0;
  place->training = (th_sums){0};
  place->validation = (th_sums){0};
  place->epoch_seconds = 0;
}

/* Add the time since the last call to what took it. */
static void time_add(th_trainer *trainer, double training_rows, double work) {
  int64_t now_ns = th_clock_now_ns();
  double seconds = (double)(now_ns - trainer->told_ns) / TH_NS_PER_S;
  trainer->told_ns = now_ns;
  trainer->place.epoch_seconds += seconds;
  trainer->place.seconds += seconds;
  if (training_rows > 0) th_pace_add(&trainer->rows_pace, training_rows, seconds);
  th_pace_add(&trainer->work_pace, work, seconds);
}

static th_error steps_train(th_trainer *trainer, th_team *team) {
  th_place *place = &trainer->place;
  const th_backend *backend = trainer->device.backend;
  if (place->step == trainer->steps) epoch_begin(place);
  uint32_t left = trainer->steps - place->step;
  uint32_t count = left < backend->steps_at_once ? left : backend->steps_at_once;
  uint64_t rows_before = place->training.rows;
  th_error error =
      backend->train(trainer->engine, team, place->epoch, place->step, count, &place->training);
  if (error != TH_OK) return error;
  place->step += count;
  double rows = (double)(place->training.rows - rows_before);
  time_add(trainer, rows, rows * WORK_PER_TRAINED_ROW);
  error = loss_check(trainer, place->training.loss);
  if (error != TH_OK || place->step < trainer->steps) return error;
  if (trainer->split.validation_rows == 0) return epoch_end(trainer);
  place->phase = TH_PHASE_VALIDATING;
  return TH_OK;
}

static th_error rows_validate(th_trainer *trainer, th_team *team) {
  th_place *place = &trainer->place;
  const th_backend *backend = trainer->device.backend;
  uint32_t done = (uint32_t)place->validation.rows;
  uint32_t left = trainer->split.validation_rows - done;
  uint32_t count = left < backend->rows_at_once ? left : backend->rows_at_once;
  th_error error = backend->evaluate(trainer->engine, team, trainer->split.training_rows + done,
                                     count, &place->validation, NULL);
  if (error != TH_OK) return error;
  time_add(trainer, 0, count * WORK_PER_VALIDATED_ROW);
  error = loss_check(trainer, place->validation.loss);
  if (error != TH_OK || place->validation.rows < trainer->split.validation_rows) return error;
  place->validation_loss = mean(place->validation.loss, place->validation.weight);
  place->validation_accuracy = th_scores_accuracy(&trainer->scores.regression, &place->validation);
  return epoch_end(trainer);
}

/* Once more through the validation rows, when the result's model is decided. Not part of a
 * checkpoint: one of the end is cheaply counted again. */
static th_error rows_score(th_trainer *trainer, th_team *team) {
  const th_backend *backend = trainer->device.backend;
  uint32_t left = trainer->split.validation_rows - trainer->scored_rows;
  uint32_t count = left < backend->rows_at_once ? left : backend->rows_at_once;
  uint32_t first = trainer->split.training_rows + trainer->scored_rows;
  th_sums unused = {0};
  th_error error =
      backend->evaluate(trainer->engine, team, first, count, &unused, trainer->predicted);
  if (error != TH_OK) return error;
  for (uint32_t i = 0; i < count; i++)
    th_scores_add(&trainer->scores, &trainer->data, th_split_row(&trainer->split, first + i),
                  trainer->predicted + (size_t)i * th_model_columns(&trainer->model));
  trainer->scored_rows += count;
  trainer->told_ns = th_clock_now_ns();
  return TH_OK;
}

static bool is_scored(const th_trainer *trainer) {
  return th_scores_are_empty(&trainer->scores) ||
         trainer->scored_rows == trainer->split.validation_rows;
}

/* Made at the end, of the parameters that the result will have. */
static th_error importance_create(th_trainer *trainer) {
  uint64_t count = trainer->model.parameters;
  float *parameters = malloc(count * sizeof *parameters);
  if (parameters == NULL)
    return th_fail(TH_ERR_SYSTEM, "no memory for %" PRIu64 " parameters", count);
  th_engine_state state = {.parameters = parameters};
  th_importance_plan plan = {.device = &trainer->device,
                             .spec = &trainer->spec,
                             .model = &trainer->model,
                             .data = &trainer->data,
                             .split = &trainer->split,
                             .standard = &trainer->standard,
                             .targets = &trainer->scores.regression,
                             .parameters = parameters};
  th_error error = trainer->device.backend->read(trainer->engine, &state);
  if (error == TH_OK) error = th_importance_create(&plan, &trainer->importance);
  free(parameters);
  return error;
}

static th_error features_weigh(th_trainer *trainer, th_team *team) {
  th_error error = trainer->importance == NULL ? importance_create(trainer) : TH_OK;
  if (error == TH_OK) error = th_importance_advance(trainer->importance, team);
  trainer->told_ns = th_clock_now_ns();
  return error;
}

static bool is_weighed(const th_trainer *trainer) {
  return !trainer->spec.importance ||
         (trainer->importance != NULL && th_importance_is_done(trainer->importance));
}

/* Nothing is left to train and nothing to be said of the result. */
static bool is_done(const th_trainer *trainer) {
  return is_over(trainer) && is_scored(trainer) && is_weighed(trainer);
}

static th_error result_judge(th_trainer *trainer, th_team *team) {
  return is_scored(trainer) ? features_weigh(trainer, team) : rows_score(trainer, team);
}

th_error th_trainer_advance(th_trainer *trainer, th_team *team, int64_t until_ns) {
  if (trainer->told_ns == 0) trainer->told_ns = th_clock_now_ns();
  while (!is_over(trainer)) {
    th_error error = trainer->place.phase == TH_PHASE_VALIDATING ? rows_validate(trainer, team)
                                                                 : steps_train(trainer, team);
    if (error != TH_OK) return error;
    if (th_trainer_wants_checkpoint(trainer)) return TH_ERR_AGAIN;
    observer_tell(trainer);
    if (trainer->told_ns >= until_ns && !is_done(trainer)) return TH_ERR_AGAIN;
  }
  while (!is_done(trainer)) {
    th_error error = result_judge(trainer, team);
    if (error != TH_OK) return error;
    if (trainer->told_ns >= until_ns && !is_done(trainer)) return TH_ERR_AGAIN;
  }
  return TH_OK;
}

/* Between two epochs. After the last there is a model instead. */
bool th_trainer_wants_checkpoint(const th_trainer *trainer) {
  const th_place *place = &trainer->place;
  uint32_t every = trainer->spec.checkpoint_epochs;
  bool is_between = place->phase == TH_PHASE_TRAINING && place->step == trainer->steps;
  return every > 0 && place->epoch > 0 && place->epoch % every == 0 && is_between &&
         !is_over(trainer);
}

const th_history *th_trainer_history(const th_trainer *trainer) {
  return &trainer->history;
}

void th_trainer_destroy(th_trainer *trainer) {
  if (trainer == NULL) return;
  if (trainer->engine != NULL) trainer->device.backend->destroy(trainer->engine);
  th_importance_destroy(trainer->importance);
  th_history_fini(&trainer->history);
  th_regression_fini(&trainer->training_targets);
  th_scores_fini(&trainer->scores);
  free(trainer->predicted);
  th_standard_fini(&trainer->standard);
  th_sampling_fini(&trainer->sampling);
  th_split_fini(&trainer->split);
  free(trainer);
}

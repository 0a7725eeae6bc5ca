/* Fields of a specification that do not go together. Each alone is judged where it is read. */
#include "kernels/spec.h"

static th_error layers_judge(const th_spec *spec) {
  if (spec->activation_count > 1 && spec->activation_count != spec->hidden_count)
    return th_fail(TH_ERR_USAGE,
                   "activation lists %u and hidden %u layers: name one activation for all layers, "
                   "or one for each",
                   spec->activation_count, spec->hidden_count);
  if (spec->normalization == TH_NORMALIZATION_BATCH && spec->batch_size == 1)
    return th_fail(
        TH_ERR_USAGE,
        "normalization is \"batch\" and batch_size 1: a row alone has no deviation; make "
        "batch_size larger, or set normalization to \"layer\"");
  return TH_OK;
}

/* A regression has no classes that anything could be said of. */
static th_error regression_judge(const th_spec *spec) {
  const char *loss = th_loss_name(spec->loss);
  if (!th_loss_is_regression(spec->loss)) return TH_OK;
  if (spec->classes != 0)
    return th_fail(TH_ERR_USAGE,
                   "loss is \"%s\" and classes %u: a regression has none; set classes to 0", loss,
                   spec->classes);
  if (spec->weighting != TH_WEIGHTING_NONE)
    return th_fail(TH_ERR_USAGE,
                   "loss is \"%s\" and class_weights are given: a regression has no classes; set "
                   "class_weights to \"none\"",
                   loss);
  if (spec->split == TH_SPLIT_STRATIFIED)
    return th_fail(TH_ERR_USAGE,
                   "loss is \"%s\" and split \"stratified\": a regression has no classes to take a "
                   "share of; set split to \"random\"",
                   loss);
  return TH_OK;
}

static th_error loss_judge(const th_spec *spec) {
  bool is_binary = spec->loss == TH_LOSS_BINARY_CROSS_ENTROPY;
  uint32_t classes = is_binary ? 2 : spec->classes;
  if (is_binary && spec->classes != 0 && spec->classes != 2)
    return th_fail(TH_ERR_USAGE,
                   "loss is \"binary_cross_entropy\" and classes %u: it tells two apart; set "
                   "loss to \"cross_entropy\"",
                   spec->classes);
  if (spec->label_smoothing > 0 && spec->loss != TH_LOSS_CROSS_ENTROPY)
    return th_fail(TH_ERR_USAGE,
                   "label_smoothing is %g and loss \"%s\": only cross_entropy smooths labels",
                   spec->label_smoothing, th_loss_name(spec->loss));
  if (spec->weighting == TH_WEIGHTING_LISTED && classes != 0 && classes != spec->class_weight_count)
    return th_fail(TH_ERR_USAGE, "class_weights lists %u weights for %u classes",
                   spec->class_weight_count, classes);
  return TH_OK;
}

static th_error optimizer_judge(const th_spec *spec) {
  bool is_sgd = spec->optimizer == TH_OPTIMIZER_SGD;
  if (spec->momentum > 0 && !is_sgd && spec->optimizer != TH_OPTIMIZER_RMSPROP)
    return th_fail(TH_ERR_USAGE,
                   "momentum is %g and optimizer is \"%s\": only sgd and rmsprop have momentum",
                   spec->momentum, th_optimizer_name(spec->optimizer));
  if (spec->nesterov && (!is_sgd || spec->momentum == 0))
    return th_fail(TH_ERR_USAGE,
                   "nesterov is true, optimizer \"%s\" and momentum %g: it is a way of sgd to use "
                   "its momentum; set both, momentum to 0.9 say",
                   th_optimizer_name(spec->optimizer), spec->momentum);
  if (spec->clip_norm > 0 && spec->clip_value > 0)
    return th_fail(TH_ERR_USAGE, "clip_norm is %g and clip_value %g: set one of them to 0",
                   spec->clip_norm, spec->clip_value);
  return TH_OK;
}

static th_error rate_judge(const th_spec *spec) {
  if (spec->warmup_steps > 0 && spec->warmup_epochs > 0)
    return th_fail(TH_ERR_USAGE,
                   "warmup_steps is %u and warmup_epochs %u: a warm-up has one length; set one of "
                   "them to 0",
                   spec->warmup_steps, spec->warmup_epochs);
  if (spec->warmup_epochs >= spec->epochs)
    return th_fail(TH_ERR_USAGE,
                   "warmup_epochs is %u and epochs %u: no epoch would be trained after the warm-up",
                   spec->warmup_epochs, spec->epochs);
  if (spec->min_learning_rate > spec->learning_rate)
    return th_fail(TH_ERR_USAGE,
                   "min_learning_rate is %g and learning_rate %g: the rate cannot fall to more "
                   "than it begins with",
                   spec->min_learning_rate, spec->learning_rate);
  return TH_OK;
}

static th_error sampling_judge(const th_spec *spec) {
  if (spec->sampling == TH_SAMPLING_EACH || spec->shuffle) return TH_OK;
  return th_fail(TH_ERR_USAGE,
                 "shuffle is false and sampling \"%s\": rows that are drawn keep no order; set "
                 "shuffle to true, or sampling to \"each\"",
                 spec->sampling == TH_SAMPLING_WEIGHTED ? "weighted" : "balanced");
}

static th_error folds_judge(const th_spec *spec) {
  if (spec->folds == 1)
    return th_fail(TH_ERR_USAGE,
                   "folds is 1: at least 2 are needed to train on one and validate on another");
  if (spec->fold > 1 && spec->fold > spec->folds)
    return th_fail(TH_ERR_USAGE, "fold is %u and folds %u: there is no such fold", spec->fold,
                   spec->folds);
  if (spec->folds > 0 && (spec->validation_split > 0 || spec->validation_rows > 0))
    return th_fail(TH_ERR_USAGE,
                   "folds is %u, validation_split %g and validation_rows %u: rows are kept for "
                   "validation in one way; set the others to 0",
                   spec->folds, spec->validation_split, spec->validation_rows);
  return TH_OK;
}

static th_error validation_judge(const th_spec *spec) {
  bool is_validated = spec->validation_split > 0 || spec->validation_rows > 0 || spec->folds > 0;
  if (spec->early_stopping_patience > 0 && !is_validated)
    return th_fail(
        TH_ERR_USAGE,
        "early_stopping_patience is %u and validation_split is 0: without validation rows "
        "nothing could stop the training; set validation_split, to 0.2 say",
        spec->early_stopping_patience);
  if (spec->importance && !is_validated)
    return th_fail(TH_ERR_USAGE,
                   "importance is true and validation_split is 0: a feature's importance is what "
                   "validation loses without it; set validation_split, to 0.2 say");
  if (spec->validation_split > 0 && spec->validation_rows > 0)
    return th_fail(TH_ERR_USAGE,
                   "validation_split is %g and validation_rows %u: rows are kept for validation by "
                   "fraction or by number; set one of them to 0",
                   spec->validation_split, spec->validation_rows);
  return folds_judge(spec);
}

static th_error recurrent_judge(const th_spec *spec) {
  bool is_recurrent = spec->recurrent != TH_RECURRENT_NONE;
  if (is_recurrent && spec->window == 1)
    return th_fail(TH_ERR_USAGE,
                   "recurrent layers see a window of rows and window is 1: make it larger, 32 say");
  if (!is_recurrent && spec->window > 1)
    return th_fail(TH_ERR_USAGE,
                   "window is %u and recurrent none: only recurrent layers see a window; set "
                   "recurrent to lstm or gru",
                   spec->window);
  if (is_recurrent && spec->importance)
    return th_fail(TH_ERR_USAGE,
                   "importance is true and the net recurrent: a value exchanged in one row would "
                   "stand in the windows of others; set importance to false, or recurrent to none");
  return TH_OK;
}

th_error th_spec_judge(const th_spec *spec) {
  static th_error (*const judges[])(const th_spec *) = {
      layers_judge,    recurrent_judge, regression_judge, loss_judge,
      optimizer_judge, rate_judge,      sampling_judge,   validation_judge};
  th_error error = TH_OK;
  for (size_t i = 0; i < sizeof judges / sizeof *judges && error == TH_OK; i++)
    error = judges[i](spec);
  return error;
}

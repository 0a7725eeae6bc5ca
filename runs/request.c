/* Whether what a run is asked to do can be done with what it is given. */
#include <inttypes.h>

#include "runs/run_state.h"

static th_error shape_judge(const th_run_request *request) {
  if (request->rows == 0)
    return th_fail(TH_ERR_DATA, "the data have no rows; at least one is needed");
  if (request->width == 0)
    return th_fail(TH_ERR_DATA, "the rows have no features; a width of at least 1 is needed");
  return TH_OK;
}

/* An array of `columns` four-byte elements a row must have exactly that size: from here on rows and
 * width are all that anyone asks about it. */
static th_error array_judge(const th_run_request *request, th_array array, uint64_t columns) {
  uint64_t wanted;
  if (__builtin_mul_overflow(request->rows, columns * 4, &wanted))
    return th_fail(TH_ERR_DATA,
                   "%s of %" PRIu64 " rows and %" PRIu64
                   " columns are more bytes than can be counted",
                   th_array_name(array), request->rows, columns);
  uint64_t given = request->array_bytes[array];
  if (given == wanted) return TH_OK;
  if (given == 0)
    return th_fail(TH_ERR_DATA,
                   "the %s are missing: send %" PRIu64 " bytes, or ask for another kind of job",
                   th_array_name(array), wanted);
  return th_fail(TH_ERR_DATA,
                 "the %s have %" PRIu64 " bytes, but %" PRIu64 " rows of %" PRIu64
                 " four-byte elements are %" PRIu64,
                 th_array_name(array), given, request->rows, columns, wanted);
}

/* What would be ignored is a misunderstanding worth an error. */
static th_error prediction_judge(const th_run_request *request) {
  for (th_array array = TH_ARRAY_LABELS; array <= TH_ARRAY_WEIGHTS; array++)
    if (request->array_bytes[array] > 0)
      return th_fail(TH_ERR_DATA, "a prediction takes no %s; evaluate, or leave them out",
                     th_array_name(array));
  return TH_OK;
}

/* What the rows are to come out as. Which of the two a loss wants is the trainer's to say. */
static th_error answers_judge(const th_run_request *request) {
  bool has_labels = request->array_bytes[TH_ARRAY_LABELS] > 0;
  bool has_targets = request->array_bytes[TH_ARRAY_TARGETS] > 0;
  if (has_labels && has_targets)
    return th_fail(TH_ERR_DATA,
                   "labels and targets are both sent: a row has a class or numbers to come near "
                   "to; leave one of them out");
  if (!has_labels && !has_targets)
    return th_fail(TH_ERR_DATA,
                   "labels and targets are both missing: to train or evaluate, send one of them");
  return has_targets ? array_judge(request, TH_ARRAY_TARGETS, request->target_width)
                     : array_judge(request, TH_ARRAY_LABELS, 1);
}

static th_error target_width_judge(const th_run_request *request) {
  bool has_targets = request->array_bytes[TH_ARRAY_TARGETS] > 0;
  if (has_targets == (request->target_width > 0)) return TH_OK;
  return th_fail(TH_ERR_DATA, "target_width is %u, and targets are %s: it is 0 without them alone",
                 request->target_width, has_targets ? "sent" : "not sent");
}

/* Without weights all rows count the same, and without groups they belong together. */
static th_error optional_judge(const th_run_request *request, th_array array) {
  return request->array_bytes[array] == 0 ? TH_OK : array_judge(request, array, 1);
}

static th_error data_judge(const th_run_request *request) {
  th_error error = shape_judge(request);
  if (error == TH_OK) error = target_width_judge(request);
  if (error == TH_OK) error = array_judge(request, TH_ARRAY_FEATURES, request->width);
  if (error == TH_OK)
    error = request->kind == TH_JOB_PREDICT ? prediction_judge(request) : answers_judge(request);
  if (error == TH_OK) error = optional_judge(request, TH_ARRAY_WEIGHTS);
  return error == TH_OK ? optional_judge(request, TH_ARRAY_GROUPS) : error;
}

/* A training may begin anew, with a model, or go on from a checkpoint; the others have nothing to
 * do without. */
static th_error model_judge(const th_run_request *request) {
  if (request->kind == TH_JOB_TRAIN || request->array_bytes[TH_ARRAY_MODEL] > 0) return TH_OK;
  return th_fail(TH_ERR_DATA, "the model is missing: send the safetensors file to %s with",
                 request->kind == TH_JOB_EVALUATE ? "evaluate" : "predict");
}

th_error th_run_request_judge(const th_run_request *request) {
  if (request->kind != TH_JOB_TRAIN && request->kind != TH_JOB_EVALUATE &&
      request->kind != TH_JOB_PREDICT)
    return th_fail(TH_ERR_USAGE, "there is no job kind %d; train is %d, evaluate %d, predict %d",
                   (int)request->kind, TH_JOB_TRAIN, TH_JOB_EVALUATE, TH_JOB_PREDICT);
  /* Data to share are judged when they are held. */
  if (request->data_of != NULL) return model_judge(request);
  th_error error = data_judge(request);
  return error == TH_OK ? model_judge(request) : error;
}

th_error th_run_request_judge_shared(const th_run_request *request, const th_run_data *data) {
  for (int i = 0; i < TH_ARRAY_DATA_COUNT; i++)
    if (request->array_bytes[i] > 0)
      return th_fail(TH_ERR_DATA, "%s are sent with a job that shares another's; leave them out",
                     th_array_name((th_array)i));
  bool fits = (request->rows == 0 || request->rows == data->rows) &&
              (request->width == 0 || request->width == data->width) &&
              (request->target_width == 0 || request->target_width == data->target_width);
  if (!fits)
    return th_fail(TH_ERR_DATA,
                   "%" PRIu64
                   " rows of %u and %u targets are asked for, but the data to share are "
                   "%" PRIu64 " rows of %u and %u; 0 takes them as they are",
                   request->rows, request->width, request->target_width, data->rows, data->width,
                   data->target_width);
  bool has_answers =
      data->arrays[TH_ARRAY_LABELS].bytes > 0 || data->arrays[TH_ARRAY_TARGETS].bytes > 0;
  if (request->kind != TH_JOB_PREDICT && !has_answers)
    return th_fail(TH_ERR_DATA,
                   "the data to share have no labels and no targets, without which none can train "
                   "or evaluate");
  return TH_OK;
}

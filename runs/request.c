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

/* Labels that would be ignored are a misunderstanding worth an error. */
static th_error labels_judge(const th_run_request *request) {
  if (request->kind != TH_JOB_PREDICT) return array_judge(request, TH_ARRAY_LABELS, 1);
  if (request->array_bytes[TH_ARRAY_LABELS] == 0) return TH_OK;
  return th_fail(TH_ERR_DATA, "a prediction takes no labels; evaluate, or leave them out");
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
  th_error error = shape_judge(request);
  if (error == TH_OK) error = array_judge(request, TH_ARRAY_FEATURES, request->width);
  if (error == TH_OK) error = labels_judge(request);
  if (error == TH_OK) error = model_judge(request);
  return error;
}

th_error th_run_request_judge_shared(const th_run_request *request, const th_run_data *data) {
  if (request->array_bytes[TH_ARRAY_FEATURES] > 0 || request->array_bytes[TH_ARRAY_LABELS] > 0)
    return th_fail(TH_ERR_DATA,
                   "features or labels are sent with a job that shares another's; leave them out");
  bool fits = (request->rows == 0 || request->rows == data->rows) &&
              (request->width == 0 || request->width == data->width);
  if (!fits)
    return th_fail(TH_ERR_DATA,
                   "%" PRIu64 " rows of %u are asked for, but the data to share are %" PRIu64
                   " rows of %u; 0 takes them as they are",
                   request->rows, request->width, data->rows, data->width);
  if (request->kind != TH_JOB_PREDICT && data->arrays[TH_ARRAY_LABELS].bytes == 0)
    return th_fail(TH_ERR_DATA,
                   "the data to share have no labels, without which none can train or evaluate");
  return TH_OK;
}

#include "shim/request.h"

#include <inttypes.h>

#include "base/error.h"
#include "shim/cargo.h"

/* What would be ignored is a misunderstanding worth an error. */
static th_error prediction_judge(const th_job_request *request) {
  const th_cargo cargo = th_cargo_of(request);
  for (th_array array = TH_ARRAY_LABELS; array <= TH_ARRAY_WEIGHTS; array++)
    if (cargo.data[array] != NULL)
      return th_fail(TH_ERR_USAGE, "%s are given to predict, which takes none: pass NULL",
                     th_array_name(array));
  return TH_OK;
}

/* What the rows are to come out as. Which of the two a loss wants is known where it is parsed. */
static th_error answers_judge(const th_job_request *request) {
  if (request->labels == NULL && request->targets == NULL)
    return th_fail(TH_ERR_USAGE,
                   "labels and targets are both NULL: training and evaluation need labels, one a "
                   "row, or for regression targets");
  if (request->labels != NULL && request->targets != NULL)
    return th_fail(TH_ERR_USAGE,
                   "labels and targets are both given: pass labels for classes, or targets for "
                   "regression, and NULL for the other");
  return TH_OK;
}

static th_error target_width_judge(const th_job_request *request) {
  if (request->targets != NULL || request->target_width == 0) return TH_OK;
  return th_fail(TH_ERR_USAGE,
                 "target_width is %" PRIu32 " and targets is NULL: give both or neither",
                 request->target_width);
}

static th_error model_judge(const th_job_request *request) {
  if ((request->model == NULL) != (request->model_bytes == 0))
    return th_fail(TH_ERR_USAGE, "model %s NULL and model_bytes is %zu: give both or neither",
                   request->model == NULL ? "is" : "is not", request->model_bytes);
  if (request->kind != TH_JOB_TRAIN && request->model == NULL)
    return th_fail(TH_ERR_USAGE,
                   "model is NULL: to evaluate or predict, pass the bytes of a safetensors file");
  return TH_OK;
}

/* Divisions, because the products are what could overflow. */
static th_error shape_judge(const th_job_request *request) {
  if (request->rows == 0) return th_fail(TH_ERR_DATA, "rows is 0: there is nothing to work on");
  if (request->width == 0) return th_fail(TH_ERR_DATA, "width is 0: the rows have no features");
  uint64_t bytes_max = PTRDIFF_MAX - request->model_bytes;
  /* Labels, weights and groups are one a row each, and so are targets if nothing is said. */
  uint64_t row_bytes = ((uint64_t)request->width + request->target_width + 4) * sizeof(float);
  if (request->model_bytes > PTRDIFF_MAX || request->rows > bytes_max / row_bytes)
    return th_fail(TH_ERR_DATA,
                   "%" PRIu64 " rows of %" PRIu32 " features and %" PRIu32
                   " targets overflow the address space",
                   request->rows, request->width, request->target_width);
  return TH_OK;
}

/* Whether the shared data fit is known where they are. */
static th_error shared_judge(const th_job_request *request) {
  const th_cargo cargo = th_cargo_of(request);
  for (int i = 0; i < TH_ARRAY_DATA_COUNT; i++)
    if (cargo.data[i] != NULL)
      return th_fail(TH_ERR_USAGE, "data_of shares the data of another job, so %s must be NULL",
                     th_array_name((th_array)i));
  return model_judge(request);
}

th_error th_request_judge(const th_job_request *request) {
  if (request->kind < TH_JOB_TRAIN || request->kind > TH_JOB_PREDICT)
    return th_fail(TH_ERR_USAGE,
                   "kind is %d: it must be TH_JOB_TRAIN, TH_JOB_EVALUATE or "
                   "TH_JOB_PREDICT",
                   (int)request->kind);
  if (request->data_of != NULL) return shared_judge(request);
  if (request->features == NULL)
    return th_fail(TH_ERR_USAGE, "features is NULL: pass float32 [rows, width]");
  th_error error =
      request->kind == TH_JOB_PREDICT ? prediction_judge(request) : answers_judge(request);
  if (error == TH_OK) error = target_width_judge(request);
  if (error == TH_OK) error = model_judge(request);
  return error == TH_OK ? shape_judge(request) : error;
}

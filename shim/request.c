#include "shim/request.h"

#include <inttypes.h>

#include "base/error.h"

static th_error labels_judge(const th_job_request *request) {
  bool wants_labels = request->kind != TH_JOB_PREDICT;
  if (wants_labels && request->labels == NULL)
    return th_fail(TH_ERR_USAGE, "labels is NULL: training and evaluation need one a row");
  if (!wants_labels && request->labels != NULL)
    return th_fail(TH_ERR_USAGE, "labels are given to predict, which takes none: pass NULL");
  return TH_OK;
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
  uint64_t row_bytes = ((uint64_t)request->width + 1) * sizeof(float);
  if (request->model_bytes > PTRDIFF_MAX || request->rows > bytes_max / row_bytes)
    return th_fail(TH_ERR_DATA,
                   "%" PRIu64 " rows of %" PRIu32 " features overflow the address space",
                   request->rows, request->width);
  return TH_OK;
}

/* Whether the shared data fit is known where they are. */
static th_error shared_judge(const th_job_request *request) {
  if (request->features != NULL || request->labels != NULL)
    return th_fail(TH_ERR_USAGE,
                   "data_of shares the data of another job, so features and labels must be NULL");
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
  th_error error = labels_judge(request);
  if (error == TH_OK) error = model_judge(request);
  return error == TH_OK ? shape_judge(request) : error;
}

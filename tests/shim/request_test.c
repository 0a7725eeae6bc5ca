#include "shim/request.h"

#include <criterion/criterion.h>
#include <string.h>

static const float features[4] = {0};
static const int32_t labels[2] = {0};
static const float targets[2] = {0};
static const float weights[2] = {1, 1};
static const int32_t groups[2] = {0};

static th_job_request good(th_job_kind kind) {
  return (th_job_request){.kind = kind,
                          .rows = 2,
                          .width = 2,
                          .features = features,
                          .labels = kind == TH_JOB_PREDICT ? NULL : labels,
                          .model = kind == TH_JOB_TRAIN ? NULL : "model",
                          .model_bytes = kind == TH_JOB_TRAIN ? 0 : 5};
}

static void assert_refused(th_job_request request, th_error error, const char *names) {
  cr_assert_eq(th_request_judge(&request), error, "%s", names);
  cr_assert_not_null(strstr(th_error_text(), names), "\"%s\" does not name %s", th_error_text(),
                     names);
}

Test(request, takes_a_good_one_of_each_kind) {
  for (th_job_kind kind = TH_JOB_TRAIN; kind <= TH_JOB_PREDICT; kind++) {
    th_job_request request = good(kind);
    cr_assert_eq(th_request_judge(&request), TH_OK, "%s", th_error_text());
  }
}

Test(request, takes_a_checkpoint_to_train_on_from) {
  th_job_request request = good(TH_JOB_TRAIN);
  request.model = "checkpoint";
  request.model_bytes = 10;
  cr_assert_eq(th_request_judge(&request), TH_OK, "%s", th_error_text());
}

Test(request, takes_targets_for_labels_and_weights_and_groups) {
  for (th_job_kind kind = TH_JOB_TRAIN; kind <= TH_JOB_EVALUATE; kind++) {
    th_job_request request = good(kind);
    request.weights = weights;
    request.groups = groups;
    cr_assert_eq(th_request_judge(&request), TH_OK, "%s", th_error_text());
    request.labels = NULL;
    request.targets = targets;
    cr_assert_eq(th_request_judge(&request), TH_OK, "%s", th_error_text());
    request.target_width = 1;
    cr_assert_eq(th_request_judge(&request), TH_OK, "%s", th_error_text());
  }
  th_job_request request = good(TH_JOB_PREDICT);
  request.groups = groups;
  cr_assert_eq(th_request_judge(&request), TH_OK, "%s", th_error_text());
}

#define ASSERT_REFUSED_WITH(kind, field, value, error, names) \
  do {                                                        \
    th_job_request request = good(kind);                      \
    request.field = value;                                    \
    assert_refused(request, error, names);                    \
  } while (0)

Test(request, names_what_is_missing_or_too_much) {
  ASSERT_REFUSED_WITH(TH_JOB_TRAIN, kind, (th_job_kind)0, TH_ERR_USAGE, "kind");
  ASSERT_REFUSED_WITH(TH_JOB_TRAIN, kind, (th_job_kind)4, TH_ERR_USAGE, "kind");
  ASSERT_REFUSED_WITH(TH_JOB_TRAIN, features, NULL, TH_ERR_USAGE, "features");
  ASSERT_REFUSED_WITH(TH_JOB_TRAIN, labels, NULL, TH_ERR_USAGE, "labels");
  ASSERT_REFUSED_WITH(TH_JOB_EVALUATE, labels, NULL, TH_ERR_USAGE, "labels");
  ASSERT_REFUSED_WITH(TH_JOB_TRAIN, targets, targets, TH_ERR_USAGE, "labels and targets are both");
  ASSERT_REFUSED_WITH(TH_JOB_TRAIN, target_width, 1, TH_ERR_USAGE, "target_width is 1");
  ASSERT_REFUSED_WITH(TH_JOB_PREDICT, labels, labels, TH_ERR_USAGE, "labels");
  ASSERT_REFUSED_WITH(TH_JOB_PREDICT, targets, targets, TH_ERR_USAGE, "targets");
  ASSERT_REFUSED_WITH(TH_JOB_PREDICT, weights, weights, TH_ERR_USAGE, "weights");
  ASSERT_REFUSED_WITH(TH_JOB_PREDICT, target_width, 1, TH_ERR_USAGE, "target_width is 1");
  ASSERT_REFUSED_WITH(TH_JOB_EVALUATE, model, NULL, TH_ERR_USAGE, "model");
  ASSERT_REFUSED_WITH(TH_JOB_EVALUATE, model_bytes, 0, TH_ERR_USAGE, "model");
  ASSERT_REFUSED_WITH(TH_JOB_TRAIN, model_bytes, 1, TH_ERR_USAGE, "model");
  ASSERT_REFUSED_WITH(TH_JOB_TRAIN, rows, 0, TH_ERR_DATA, "rows");
  ASSERT_REFUSED_WITH(TH_JOB_TRAIN, width, 0, TH_ERR_DATA, "width");
}

/* Only its address counts. */
static const char *const some_job = "job";

Test(request, takes_no_arrays_with_the_data_of_another_job) {
  th_job_request request = {.kind = TH_JOB_TRAIN, .data_of = (const th_job *)some_job};
  cr_assert_eq(th_request_judge(&request), TH_OK, "%s", th_error_text());
  request.labels = labels;
  assert_refused(request, TH_ERR_USAGE, "labels");
  request.labels = NULL;
  request.features = features;
  assert_refused(request, TH_ERR_USAGE, "features");
  request.features = NULL;
  request.targets = targets;
  assert_refused(request, TH_ERR_USAGE, "targets");
  request.targets = NULL;
  request.weights = weights;
  assert_refused(request, TH_ERR_USAGE, "weights");
  request.weights = NULL;
  request.groups = groups;
  assert_refused(request, TH_ERR_USAGE, "groups");
  request.groups = NULL;
  request.kind = TH_JOB_EVALUATE;
  assert_refused(request, TH_ERR_USAGE, "model");
}

Test(request, names_a_model_that_predicting_lacks) {
  th_job_request request = good(TH_JOB_PREDICT);
  request.model = NULL;
  request.model_bytes = 0;
  assert_refused(request, TH_ERR_USAGE, "model");
}

Test(request, refuses_sizes_that_overflow) {
  ASSERT_REFUSED_WITH(TH_JOB_TRAIN, rows, UINT64_MAX, TH_ERR_DATA, "rows");
  ASSERT_REFUSED_WITH(TH_JOB_TRAIN, rows, UINT64_MAX / 8, TH_ERR_DATA, "rows");
  ASSERT_REFUSED_WITH(TH_JOB_TRAIN, rows, UINT64_C(1) << 62, TH_ERR_DATA, "rows");
  ASSERT_REFUSED_WITH(TH_JOB_PREDICT, model_bytes, SIZE_MAX, TH_ERR_DATA, "rows");
  th_job_request request = good(TH_JOB_TRAIN);
  request.labels = NULL;
  request.targets = targets;
  request.target_width = UINT32_MAX;
  request.rows = UINT64_C(1) << 29;
  assert_refused(request, TH_ERR_DATA, "4294967295 targets");
  request = good(TH_JOB_TRAIN);
  request.width = UINT32_MAX;
  request.rows = UINT64_C(1) << 32;
  assert_refused(request, TH_ERR_DATA, "4294967295");
}

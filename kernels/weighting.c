#include "kernels/weighting.h"

#include <stdlib.h>

static uint32_t row_at(const th_engine_plan *plan, uint32_t position) {
  return plan->rows != NULL ? plan->rows[position] : th_permutation_at(&plan->split, position);
}

static void labels_count(const th_engine_plan *plan, uint64_t *counts) {
  uint32_t rows = plan->training_rows > 0 ? plan->training_rows : (uint32_t)plan->data->rows;
  for (uint32_t i = 0; i < rows; i++) counts[plan->data->labels[row_at(plan, i)]]++;
}

static void weights_balance(const uint64_t *counts, uint32_t classes, double *weights) {
  double sum = 0;
  uint32_t present = 0;
  for (uint32_t c = 0; c < classes; c++) {
    weights[c] = counts[c] == 0 ? 0 : 1 / (double)counts[c];
    sum += weights[c];
    present += counts[c] > 0;
  }
  for (uint32_t c = 0; c < classes; c++) weights[c] *= present / sum;
}

static th_error balance(const th_engine_plan *plan, th_spec *spec) {
  uint32_t classes = plan->model->classes;
  if (classes > TH_CLASS_WEIGHTS_MAX)
    return th_fail(TH_ERR_USAGE,
                   "class_weights is \"balanced\" and there are %u classes: %u can be weighed",
                   classes, TH_CLASS_WEIGHTS_MAX);
  uint64_t *counts = calloc(classes, sizeof *counts);
  if (counts == NULL) return th_fail(TH_ERR_SYSTEM, "no memory to count %u classes", classes);
  labels_count(plan, counts);
  weights_balance(counts, classes, spec->class_weights);
  free(counts);
  spec->class_weight_count = classes;
  spec->weighting = TH_WEIGHTING_LISTED;
  return TH_OK;
}

th_error th_weighting_settle(const th_engine_plan *plan, th_spec *spec) {
  switch (spec->weighting) {
    case TH_WEIGHTING_NONE:
      return TH_OK;
    case TH_WEIGHTING_BALANCED:
      return plan->data->labels == NULL ? TH_OK : balance(plan, spec);
    case TH_WEIGHTING_LISTED:
      break;
  }
  if (spec->class_weight_count == plan->model->classes) return TH_OK;
  return th_fail(TH_ERR_USAGE, "class_weights lists %u weights for %u classes",
                 spec->class_weight_count, plan->model->classes);
}

/* Of the rows from the first position to before the end. */
static bool any_weighs(const th_data *data, const th_split *split, uint32_t first, uint32_t end) {
  while (first < end && data->weights[th_split_row(split, first)] == 0) first++;
  return first < end;
}

th_error th_weighting_judge(const th_spec *spec, const th_data *data, const th_split *split) {
  uint32_t trained = split->training_rows;
  /* Weights that rows are drawn by are in no loss. */
  uint32_t validated = spec->sampling == TH_SAMPLING_WEIGHTED ? 0 : split->validation_rows;
  if (data->weights == NULL) return TH_OK;
  if (!any_weighs(data, split, 0, trained))
    return th_fail(TH_ERR_DATA, "weights: all %u rows to be trained on weigh 0", trained);
  if (validated == 0 || any_weighs(data, split, trained, trained + validated)) return TH_OK;
  return th_fail(TH_ERR_DATA,
                 "weights: all %u rows kept for validation weigh 0, and have no mean loss; keep "
                 "others",
                 validated);
}

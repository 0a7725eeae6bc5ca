#include "kernels/scores.h"

#include <math.h>

th_error th_scores_judge(th_loss_kind loss, const th_data *data) {
  bool is_regression = th_loss_is_regression(loss);
  bool fits = is_regression ? data->targets != NULL && data->labels == NULL
                            : data->labels != NULL && data->targets == NULL;
  if (fits) return TH_OK;
  const char *wanted = is_regression ? "targets" : "labels";
  const char *other = is_regression ? "labels" : "targets";
  return th_fail(
      TH_ERR_DATA,
      "%s: loss \"%s\" is measured by them alone; give %s and no %s, or train with a loss "
      "of %s, \"%s\" say",
      wanted, th_loss_name(loss), wanted, other, other,
      th_loss_name(is_regression ? TH_LOSS_CROSS_ENTROPY : TH_LOSS_MEAN_SQUARED_ERROR));
}

th_error th_scores_init(th_scores *scores, const th_model *model, const th_data *data,
                        const th_split *split, uint32_t first, uint32_t count) {
  *scores = (th_scores){0};
  if (model->classes > 0) return th_confusion_init(&scores->confusion, model->classes);
  return th_regression_init(&scores->regression, data, split, first, count);
}

bool th_scores_are_empty(const th_scores *scores) {
  return scores->confusion.counts == NULL && scores->regression.outputs == 0;
}

void th_scores_add(th_scores *scores, const th_data *data, uint32_t row, const float *predicted) {
  if (scores->regression.outputs > 0)
    th_regression_add(&scores->regression, data->targets + (size_t)row * data->target_width,
                      predicted);
  else
    th_confusion_add(&scores->confusion, (uint32_t)data->labels[row], predicted);
}

double th_scores_accuracy(const th_regression *regression, const th_sums *sums) {
  if (sums->rows == 0) return NAN;
  if (regression->outputs > 0) return th_regression_r2(regression, sums);
  return (double)sums->correct / (double)sums->rows;
}

double th_scores_mae(const th_regression *regression, const th_sums *sums) {
  return regression->outputs == 0 ? NAN : sums->absolute / (double)sums->rows;
}

double th_scores_rmse(const th_regression *regression, const th_sums *sums) {
  return regression->outputs == 0 ? NAN : sqrt(sums->squares / (double)sums->rows);
}

bool th_scores_print(const th_scores *scores, json_t *card) {
  return scores->regression.outputs > 0 ? th_regression_print(&scores->regression, card)
                                        : th_confusion_print(&scores->confusion, card);
}

void th_scores_fini(th_scores *scores) {
  th_confusion_fini(&scores->confusion);
  th_regression_fini(&scores->regression);
}

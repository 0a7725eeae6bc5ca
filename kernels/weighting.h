/** The weights of rows and of classes in the loss. */
#ifndef TH_KERNELS_WEIGHTING_H
#define TH_KERNELS_WEIGHTING_H

#include "base/check.h"
#include "kernels/backend.h"
#include "kernels/split.h"

/**
 * Check listed weights against the classes there are; replace balanced ones by numbers, so that a
 * model keeps the weights that it was trained with.
 *
 * A class of n rows among those to be trained on (all of them if there are none) weighs 1/n, scaled
 * so that the classes which have rows weigh 1 on average. A class without rows weighs 0.
 *
 * @param plan  its data are read if they have labels, which must lie below the model's classes.
 * @param spec  [in,out] class_weights.
 * @return TH_OK; TH_ERR_USAGE if there are not as many weights as classes, or too many classes to
 *         balance; TH_ERR_SYSTEM without memory.
 */
th_error th_weighting_settle(const th_engine_plan *plan, th_spec *spec);

/** Whether classes have weights; they matter to data with labels only. */
static inline bool th_weighting_is_settled(const th_engine_plan *plan) {
  return plan->spec->weighting != TH_WEIGHTING_NONE && plan->data->labels != NULL;
}

/**
 * The loss of a specification whose weights th_weighting_settle has made numbers.
 *
 * @param weights  [out] [classes], which the rule borrows; NULL unless th_weighting_is_settled.
 */
static inline th_loss_rule th_weighting_rule(const th_engine_plan *plan, th_real *weights) {
  const th_spec *spec = plan->spec;
  uint32_t classes = plan->model->classes;
  th_loss_rule rule = {.kind = spec->loss,
                       .weights = weights,
                       .weight_sum = (th_real)classes,
                       .smoothing = (th_real)spec->label_smoothing,
                       .gamma = (th_real)spec->focal_gamma,
                       .delta = (th_real)spec->huber_delta};
  if (weights == NULL) return rule;
  th_check(spec->weighting == TH_WEIGHTING_LISTED && spec->class_weight_count == classes);
  double sum = 0;
  for (uint32_t c = 0; c < classes; c++) {
    weights[c] = (th_real)spec->class_weights[c];
    sum += spec->class_weights[c];
  }
  rule.weight_sum = (th_real)sum;
  return rule;
}

/** What each row's loss is multiplied by, or NULL: weights that rows are drawn by are in no loss.
 */
static inline const float *th_weighting_rows(const th_engine_plan *plan) {
  return plan->spec->sampling == TH_SAMPLING_WEIGHTED ? NULL : plan->data->weights;
}

/**
 * Check that neither the rows trained on nor those that validate all weigh 0: there would be
 * nothing to take a mean of.
 *
 * @return TH_OK, too, if rows have no weights; TH_ERR_DATA.
 */
th_error th_weighting_judge(const th_spec *spec, const th_data *data, const th_split *split);

#endif

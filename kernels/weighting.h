/** The weights of rows and of classes in the loss. */
#ifndef TH_KERNELS_WEIGHTING_H
#define TH_KERNELS_WEIGHTING_H

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

/**
 * Check that neither the rows trained on nor those that validate all weigh 0: there would be
 * nothing to take a mean of.
 *
 * @return TH_OK, too, if rows have no weights; TH_ERR_DATA.
 */
th_error th_weighting_judge(const th_spec *spec, const th_data *data, const th_split *split);

#endif

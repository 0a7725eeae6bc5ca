/** How a model does on rows whose labels or targets are known, whichever its loss is for. */
#ifndef TH_KERNELS_SCORES_H
#define TH_KERNELS_SCORES_H

#include "kernels/confusion.h"
#include "kernels/model.h"
#include "kernels/regression.h"

/** One of the two; both are empty where there is nothing to count. */
typedef struct th_scores {
  th_confusion confusion;
  th_regression regression;
} th_scores;

/**
 * Check that the data have what a loss is measured by, labels or targets, and not both.
 *
 * @return TH_OK; TH_ERR_DATA naming the array.
 */
th_error th_scores_judge(th_loss_kind loss, const th_data *data);

/**
 * Begin to count the rows at positions first … first + count − 1.
 *
 * @return TH_OK; TH_ERR_SYSTEM without memory.
 */
th_error th_scores_init(th_scores *scores, const th_model *model, const th_data *data,
                        const th_split *split, uint32_t first, uint32_t count);

/** Whether no row need be counted: there are too many classes for a matrix of them. */
bool th_scores_are_empty(const th_scores *scores);

/** Count a row of the data. @param predicted  [th_model_columns] */
void th_scores_add(th_scores *scores, const th_data *data, uint32_t row, const float *predicted);

/** What is called accuracy everywhere: the share of the rows told right or, of a regression, R²
 * (th_regression_r2). NaN of no rows. */
double th_scores_accuracy(const th_regression *regression, const th_sums *sums);

/** The mean over rows and outputs of |error|, and the root of that of error²; NaN of classes. */
double th_scores_mae(const th_regression *regression, const th_sums *sums);
double th_scores_rmse(const th_regression *regression, const th_sums *sums);

/** Add what was counted to a card, an object: th_confusion_print's keys or th_regression_print's.
 *  @return false without memory. */
bool th_scores_print(const th_scores *scores, json_t *card);

/** Takes an empty one. */
void th_scores_fini(th_scores *scores);

#endif

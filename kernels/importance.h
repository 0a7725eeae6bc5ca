/**
 * What each feature is worth to a trained model: how much of its validation accuracy
 * (th_scores_accuracy) is lost when
 * the feature's values are exchanged among the validation rows (Breiman 2001, section 10).
 */
#ifndef TH_KERNELS_IMPORTANCE_H
#define TH_KERNELS_IMPORTANCE_H

#include <jansson.h>
#include <stdbool.h>

#include "kernels/backend.h"
#include "kernels/scores.h"
#include "kernels/standard.h"

typedef struct th_importance th_importance;

/** What it is measured with. All but what these point to is copied; they must outlive it. */
typedef struct th_importance_plan {
  const th_device *device;
  const th_spec *spec;
  const th_model *model;
  const th_data *data;
  const th_split *split; /**< has validation rows */
  const th_standard *standard;
  const th_regression *targets; /**< of the validation rows; empty unless a regression */
  const float *parameters; /**< [model->parameters]; used during the call only */
} th_importance_plan;

/**
 * Copy the validation rows, so that their columns can be changed, and make an engine for them.
 *
 * @return TH_OK; TH_ERR_SYSTEM; TH_ERR_DEVICE.
 */
th_error th_importance_create(const th_importance_plan *plan, th_importance **importance);

/** Apply the model to as many rows as a backend takes at once. @return TH_OK; TH_ERR_DEVICE. */
th_error th_importance_advance(th_importance *importance, th_team *team);

bool th_importance_is_done(const th_importance *importance);

/** The loss of accuracy by feature, as an array; below 0 where chance helped. NULL without memory.
 */
json_t *th_importance_to_json(const th_importance *importance);

/** Takes NULL. */
void th_importance_destroy(th_importance *importance);

#endif

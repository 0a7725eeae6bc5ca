/**
 * What a device must be able to do. The table stands at the level of an engine (a net, its data
 * and everything that training changes, kept where the device wants them), not of single matrix
 * operations, so that a device can run many steps without its host.
 *
 * Semantics are the same beneath every table: the same orders and dropout masks from
 * kernels/random.h, the same element-wise arithmetic, and sums over fixed slices, so that a result
 * depends on the device's rounding at most, never on its number of threads.
 */
#ifndef TH_KERNELS_BACKEND_H
#define TH_KERNELS_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "kernels/device.h"
#include "kernels/loss.h"
#include "kernels/model.h"
#include "kernels/random.h"
#include "kernels/real.h"
#include "kernels/sampling.h"
#include "kernels/schedule.h"
#include "kernels/spec.h"
#include "kernels/team.h"
#include "kernels/trainer.h"

/** What an engine is made for. Everything is borrowed until it is destroyed. */
typedef struct th_engine_plan {
  const th_spec *spec;
  const th_model *model;
  const th_data *data;
  const th_device *device;
  th_permutation split; /**< position → row; the first positions are trained on */
  const uint32_t *rows; /**< [data->rows] the same as a list, instead of it; may be NULL */
  /** [width] A feature enters as (x − shift) · scale. NULL: as it is. */
  const float *shift, *scale;
  /** [outputs] What makes an error² a share of the unexplained, of rows trained on and of the
   * others (kernels/regression.h). NULL: not wanted. */
  const double *training_shares, *validation_shares;
  bool features_change; /**< between calls; else they stay as they are */
  const th_schedule *schedule; /**< may change between calls; NULL: spec->learning_rate always */
  th_sampling sampling; /**< of the rows trained on */
  uint32_t training_rows; /**< 0: no step will be asked for */
} th_engine_plan;

/** Copies of what training changes, each [model->parameters]. A NULL is left out. */
typedef struct th_engine_state {
  th_real *parameters;
  th_real *moment1;
  th_real *moment2;
  th_real *best;
} th_engine_state;

typedef struct th_engine th_engine;

/** The table. All functions return TH_OK, TH_ERR_DEVICE or, where they make something,
 * TH_ERR_SYSTEM. */
typedef struct th_backend {
  const char *name; /**< "cpu" */
  uint32_t steps_at_once; /**< how many steps a call of `train` should ask for */
  uint32_t rows_at_once; /**< how many rows a call of `evaluate` may ask for */

  /** Make an engine with all parameters and moments zero. */
  th_error (*create)(const th_engine_plan *plan, th_engine **engine);

  /**
   * Train `count` steps from step `first` (from 0) of an epoch (from 1).
   *
   * @param sums  [in,out] the loss and hits of the rows, before each step's update, are added.
   */
  th_error (*train)(th_engine *engine, th_team *team, uint32_t epoch, uint32_t first,
                    uint32_t count, th_sums *sums);

  /**
   * Apply the net, without dropout, to the rows at positions first … first + count − 1.
   *
   * @param sums    [in,out] losses and hits are added if the data have labels or targets.
   * @param logits  [out] [count, th_model_columns] in the host's memory; NULL if not wanted. The
   *                single logit of two classes is 0 and itself: the softmax of both is its sigmoid.
   */
  th_error (*evaluate)(th_engine *engine, th_team *team, uint32_t first, uint32_t count,
                       th_sums *sums, th_real *logits);

  /** Copy the state out, and in. What the optimizer does not use is zero. */
  th_error (*read)(const th_engine *engine, const th_engine_state *state);
  th_error (*write)(th_engine *engine, const th_engine_state *state);

  /** Copy the present parameters aside; copy them back. */
  th_error (*keep_best)(th_engine *engine);
  th_error (*restore_best)(th_engine *engine);

  /** Takes NULL. */
  void (*destroy)(th_engine *engine);
} th_backend;

#endif

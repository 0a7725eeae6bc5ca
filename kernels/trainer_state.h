/** What the files of the trainer share. */
#ifndef TH_KERNELS_TRAINER_STATE_H
#define TH_KERNELS_TRAINER_STATE_H

#include "kernels/backend.h"
#include "kernels/data.h"
#include "kernels/history.h"
#include "kernels/importance.h"
#include "kernels/model.h"
#include "kernels/pace.h"
#include "kernels/schedule.h"
#include "kernels/scores.h"
#include "kernels/split.h"
#include "kernels/standard.h"
#include "kernels/trainer.h"

/** Where a training is: with the engine's arrays and the history, all that a checkpoint holds. */
typedef struct th_place {
  uint32_t epoch; /**< under way or last trained, from 1; 0 before the first */
  uint32_t step; /**< steps done in it; in TH_PHASE_TRAINING all of them: the epoch is over */
  uint32_t phase; /**< TH_PHASE_TRAINING or TH_PHASE_VALIDATING */
  uint32_t stop_reason; /**< th_stop_reason */
  th_sums training; /**< of this epoch */
  th_sums validation; /**< of this epoch */
  double validation_loss, validation_accuracy; /**< newest; NaN before the first */
  th_epoch best; /**< by the monitor; epoch 0: none yet */
  double stop_score; /**< early stopping: the score to come below (epoch_score) */
  uint32_t waited; /**< early stopping: epochs since one did */
  double epoch_seconds;
  double seconds; /**< of training so far */
} th_place;

struct th_trainer {
  th_spec spec;
  th_data data;
  th_device device;
  th_model model;
  th_data_facts facts;
  th_schedule schedule; /**< its plateau is part of a checkpoint, too */
  th_engine *engine;
  th_trainer_observer *observer;
  void *user;
  th_split split;
  th_sampling sampling;
  th_standard standard; /**< empty unless the specification says standardize */
  uint32_t steps; /**< batches in an epoch */
  th_place place;
  th_regression training_targets; /**< of the rows trained on; empty unless a regression */
  th_scores scores; /**< of the validation rows, by the result's model; empty without any */
  uint32_t scored_rows; /**< counted in it so far */
  th_importance *importance; /**< NULL before the end, or if not asked for */
  th_real *predicted; /**< [rows_at_once, th_model_columns] for that count */
  th_history history;
  th_pace rows_pace; /**< training rows */
  th_pace work_pace; /**< units of work, for the time that is left */
  int64_t created_ns;
  int64_t told_ns; /**< when time was last added up; 0 before the first advance */
};

#endif

#include "kernels/importance.h"

#include <stdlib.h>
#include <string.h>

struct th_importance {
  th_importance_plan plan;
  th_data rows; /* those that validate, in the order of their positions */
  float *features; /* [rows, width] of rows, to be changed */
  int32_t *labels;
  int32_t *groups;
  float *targets;
  th_engine *engine;
  uint32_t pass; /* 0: nothing exchanged; f + 1: feature f; width + 1: done */
  th_sums sums; /* of this pass */
  double *accuracy; /* [width + 1] by pass */
};

static uint32_t row_at(const th_importance *importance, uint32_t index) {
  const th_split *split = importance->plan.split;
  return th_split_row(split, split->training_rows + index);
}

/* What a column holds at an order of the rows. */
static void column_write(th_importance *importance, uint32_t column, const th_permutation *order) {
  uint32_t width = importance->rows.width;
  for (uint32_t i = 0; i < importance->rows.rows; i++) {
    size_t from = row_at(importance, th_permutation_at(order, i));
    importance->features[(size_t)i * width + column] =
        importance->plan.data->features[from * width + column];
  }
}

/* An array's rows that validate; NULL of no array. False without memory. */
static bool rows_pick(const th_importance *importance, const void *array, size_t row_bytes,
                      void *picked) {
  uint32_t rows = importance->plan.split->validation_rows;
  char *copy = array == NULL ? NULL : calloc(rows, row_bytes);
  for (uint32_t i = 0; i < rows && copy != NULL; i++)
    memcpy(copy + i * row_bytes, (const char *)array + row_at(importance, i) * row_bytes,
           row_bytes);
  memcpy(picked, &copy, sizeof copy);
  return array == NULL || copy != NULL;
}

static th_error rows_copy(th_importance *importance) {
  const th_data *data = importance->plan.data;
  uint32_t rows = importance->plan.split->validation_rows;
  importance->accuracy = calloc(data->width + (size_t)1, sizeof *importance->accuracy);
  if (importance->accuracy == NULL ||
      !rows_pick(importance, data->features, data->width * sizeof(float), &importance->features) ||
      !rows_pick(importance, data->labels, sizeof(int32_t), &importance->labels) ||
      !rows_pick(importance, data->groups, sizeof(int32_t), &importance->groups) ||
      !rows_pick(importance, data->targets, data->target_width * sizeof(float),
                 &importance->targets))
    return th_fail(TH_ERR_SYSTEM, "no memory to copy the %u validation rows for their importance",
                   rows);
  importance->rows = (th_data){.features = importance->features,
                               .labels = importance->labels,
                               .targets = importance->targets,
                               .groups = importance->groups,
                               .rows = rows,
                               .width = data->width,
                               .target_width = data->target_width};
  return TH_OK;
}

static th_error engine_create(th_importance *importance) {
  const th_importance_plan *plan = &importance->plan;
  th_engine_plan engine_plan = {
      .spec = plan->spec,
      .model = plan->model,
      .data = &importance->rows,
      .device = plan->device,
      .features_change = true,
      .split = th_permutation_identity((uint32_t)importance->rows.rows),
      .shift = plan->standard->mean,
      .scale = plan->standard->scale,
      .validation_shares = plan->targets->shares,
  };
  th_error error = plan->device->backend->create(&engine_plan, &importance->engine);
  if (error != TH_OK) return error;
  /* Only read, though a state's arrays are written elsewhere. */
  th_engine_state state = {.parameters = (th_real *)(uintptr_t)plan->parameters};
  return plan->device->backend->write(importance->engine, &state);
}

th_error th_importance_create(const th_importance_plan *plan, th_importance **importance) {
  th_importance *made = calloc(1, sizeof *made);
  if (made == NULL) return th_fail(TH_ERR_SYSTEM, "no memory to measure the features' importance");
  made->plan = *plan;
  th_error error = rows_copy(made);
  if (error == TH_OK) error = engine_create(made);
  made->plan.parameters = NULL;
  if (error == TH_OK)
    *importance = made;
  else
    th_importance_destroy(made);
  return error;
}

/* The exchange is drawn on the seed, another one for each feature. */
static void pass_end(th_importance *importance) {
  uint32_t rows = (uint32_t)importance->rows.rows;
  importance->accuracy[importance->pass] =
      th_scores_accuracy(importance->plan.targets, &importance->sums);
  importance->sums = (th_sums){0};
  if (importance->pass > 0) {
    th_permutation as_it_was = th_permutation_identity(rows);
    column_write(importance, importance->pass - 1, &as_it_was);
  }
  uint32_t next = importance->pass++;
  if (next == importance->rows.width) return;
  th_permutation exchanged =
      th_permutation_draw(rows, importance->plan.spec->seed, TH_RANDOM_IMPORTANCE, next);
  column_write(importance, next, &exchanged);
}

th_error th_importance_advance(th_importance *importance, th_team *team) {
  const th_backend *backend = importance->plan.device->backend;
  uint32_t first = (uint32_t)importance->sums.rows;
  uint32_t left = (uint32_t)importance->rows.rows - first;
  uint32_t count = left < backend->rows_at_once ? left : backend->rows_at_once;
  th_error error =
      backend->evaluate(importance->engine, team, first, count, &importance->sums, NULL);
  if (error == TH_OK && count == left) pass_end(importance);
  return error;
}

bool th_importance_is_done(const th_importance *importance) {
  return importance->pass > importance->rows.width;
}

json_t *th_importance_to_json(const th_importance *importance) {
  json_t *drops = json_array();
  for (uint32_t f = 0; f < importance->rows.width; f++) {
    double lost = importance->accuracy[0] - importance->accuracy[f + 1];
    if (json_array_append_new(drops, json_real(lost)) == 0) continue;
    json_decref(drops);
    return NULL;
  }
  return drops;
}

void th_importance_destroy(th_importance *importance) {
  if (importance == NULL) return;
  if (importance->engine != NULL) importance->plan.device->backend->destroy(importance->engine);
  free(importance->features);
  free(importance->labels);
  free(importance->groups);
  free(importance->targets);
  free(importance->accuracy);
  free(importance);
}

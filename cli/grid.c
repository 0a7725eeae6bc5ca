#include "cli/grid.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "formats/file.h"
#include "kernels/spec.h"

/* More dimensions than a specification has fields are refused as unknown fields anyway. */
enum { AXES_MAX = 64 };

/* A field and the values that it takes. */
typedef struct grid_axis {
  const char *name;
  json_t *values; /* borrowed from the file's object */
  bool is_repetition; /* of the same with another fold or seed */
} grid_axis;

typedef struct grid_plan {
  const char *path;
  json_t *base; /* borrowed; NULL: all defaults */
  json_t *seeds; /* owned: the list that a number stands for */
  grid_axis axes[AXES_MAX];
  size_t axis_count;
} grid_plan;

static th_error fail_memory(void) {
  return th_fail(TH_ERR_SYSTEM, "no memory for the combinations of a sweep");
}

/* ---- reading the file ---- */

static th_error file_load(const char *path, json_t **object) {
  th_buffer file;
  json_error_t why;
  th_error error = th_file_read(path, &file);
  if (error != TH_OK) return error;
  *object = json_loadb(file.data, file.bytes, JSON_REJECT_DUPLICATES, &why);
  th_buffer_fini(&file);
  if (*object == NULL)
    return th_fail(TH_ERR_USAGE, "%s is no JSON: line %d, column %d: %s", path, why.line,
                   why.column, why.text);
  if (json_is_object(*object)) return TH_OK;
  return th_fail(TH_ERR_USAGE,
                 "%s must be an object: {\"spec\": {...}, \"grid\": {\"FIELD\": [VALUE, ...]}, "
                 "\"seeds\": N}",
                 path);
}

static th_error axis_add(grid_plan *plan, const char *name, json_t *values) {
  if (!json_is_array(values) || json_array_size(values) == 0)
    return th_fail(TH_ERR_USAGE, "%s: %s must have a list of at least one value", plan->path, name);
  if (plan->axis_count == AXES_MAX)
    return th_fail(TH_ERR_USAGE, "%s: the grid has more than %d fields", plan->path, AXES_MAX);
  bool is_repetition = strcmp(name, "seed") == 0 || strcmp(name, "fold") == 0;
  plan->axes[plan->axis_count++] = (grid_axis){name, values, is_repetition};
  return TH_OK;
}

/* A number stands for the seeds from 0 on. */
static th_error seeds_add(grid_plan *plan, json_t *seeds) {
  json_int_t count = json_integer_value(seeds);
  if (json_is_array(seeds)) {
    plan->seeds = json_incref(seeds);
  } else if (count >= 1 && count <= TH_GRID_TRIALS_MAX) {
    plan->seeds = json_array();
    for (json_int_t seed = 0; seed < count; seed++)
      if (json_array_append_new(plan->seeds, json_integer(seed)) != 0) return fail_memory();
  } else {
    return th_fail(TH_ERR_USAGE, "%s: seeds must be a number from 1 to %d, or a list of seeds",
                   plan->path, TH_GRID_TRIALS_MAX);
  }
  return axis_add(plan, "seed", plan->seeds);
}

static th_error grid_add(grid_plan *plan, json_t *grid, bool has_seeds) {
  const char *name;
  json_t *values;
  if (!json_is_object(grid))
    return th_fail(TH_ERR_USAGE, "%s: grid must be an object of lists, one for each field",
                   plan->path);
  if (has_seeds && json_object_get(grid, "seed") != NULL)
    return th_fail(TH_ERR_USAGE, "%s: seeds come from one place: \"seeds\", or \"seed\" in grid",
                   plan->path);
  json_object_foreach(grid, name, values) {
    th_error error = axis_add(plan, name, values);
    if (error != TH_OK) return error;
  }
  return TH_OK;
}

static th_error plan_make(grid_plan *plan, json_t *object) {
  json_t *part, *grid = json_object_get(object, "grid"), *seeds = json_object_get(object, "seeds");
  const char *name;
  json_object_foreach(object, name, part) {
    bool is_known =
        strcmp(name, "spec") == 0 || strcmp(name, "grid") == 0 || strcmp(name, "seeds") == 0;
    if (!is_known)
      return th_fail(TH_ERR_USAGE, "%s: there is no \"%.60s\"; it may have spec, grid and seeds",
                     plan->path, name);
  }
  plan->base = json_object_get(object, "spec");
  if (plan->base != NULL && !json_is_object(plan->base))
    return th_fail(TH_ERR_USAGE, "%s: spec must be an object of fields", plan->path);
  th_error error = grid != NULL ? grid_add(plan, grid, seeds != NULL) : TH_OK;
  return error == TH_OK && seeds != NULL ? seeds_add(plan, seeds) : error;
}

/* ---- labels ---- */

static bool is_plain(char letter) {
  return isalnum((unsigned char)letter) || letter == '.' || letter == '_';
}

/* Nothing that a shell or a file system takes amiss: everything else becomes one dash. */
static void label_append(char label[TH_GRID_LABEL_BYTES], const char *text) {
  size_t length = strlen(label);
  for (; *text != '\0' && length + 1 < TH_GRID_LABEL_BYTES; text++) {
    bool is_dash = !is_plain(*text);
    if (is_dash && (length == 0 || label[length - 1] == '-' || label[length - 1] == '_')) continue;
    label[length++] = is_dash ? '-' : *text;
  }
  while (length > 0 && label[length - 1] == '-') length--;
  label[length] = '\0';
}

/* Digits enough to tell any two decimal numbers apart that a person writes. */
static th_error label_make(json_t *fields, char label[TH_GRID_LABEL_BYTES]) {
  const char *name;
  json_t *value;
  json_object_foreach(fields, name, value) {
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
    if (text == NULL) return fail_memory();
    if (label[0] != '\0') label_append(label, "_");
    label_append(label, name);
    size_t length = strlen(label);
    if (length + 1 < TH_GRID_LABEL_BYTES) memcpy(label + length, "-", 2);
    label_append(label, text);
    free(text);
  }
  if (label[0] == '\0') label_append(label, "base");
  return TH_OK;
}

/* ---- combinations ---- */

/* Number `index` of them, read as a number whose last digit is the last axis. Without the digits of
 * folds and seeds it is the number of its setting. */
static th_error fields_choose(const grid_plan *plan, size_t index, th_trial *trial) {
  size_t choices[AXES_MAX];
  for (size_t i = plan->axis_count; i-- > 0;) {
    size_t values = json_array_size(plan->axes[i].values);
    choices[i] = index % values;
    index /= values;
  }
  trial->fields = json_object();
  for (size_t i = 0; i < plan->axis_count; i++) {
    const grid_axis *axis = &plan->axes[i];
    size_t values = json_array_size(axis->values);
    if (!axis->is_repetition) trial->setting = (uint32_t)(trial->setting * values + choices[i]);
    if (json_object_set(trial->fields, axis->name, json_array_get(axis->values, choices[i])) != 0)
      return fail_memory();
  }
  return trial->fields != NULL ? TH_OK : fail_memory();
}

/* The label is the job's name in the host's lists, unless the file has a name for all. */
static json_t *whole_make(const grid_plan *plan, const th_trial *trial) {
  json_t *whole = plan->base != NULL ? json_copy(plan->base) : json_object();
  bool failed = json_object_update(whole, trial->fields) != 0;
  if (!failed && json_object_get(whole, "name") == NULL)
    failed = json_object_set_new(whole, "name", json_string(trial->label)) != 0;
  if (!failed) return whole;
  json_decref(whole);
  return NULL;
}

static th_error spec_make(const grid_plan *plan, th_trial *trial, th_grid *grid) {
  json_t *whole = whole_make(plan, trial);
  char *text = whole != NULL ? json_dumps(whole, JSON_COMPACT) : NULL;
  json_decref(whole);
  if (text == NULL) return fail_memory();
  th_spec spec;
  th_buffer formatted = {0};
  th_error error = th_spec_parse(text, strlen(text), &spec);
  free(text);
  if (error != TH_OK) return error;
  grid->by_accuracy &= spec.early_stopping_monitor == TH_MONITOR_ACCURACY;
  grid->is_regression &= th_loss_is_regression(spec.loss);
  error = th_spec_format(&spec, &formatted);
  trial->spec = formatted.data;
  return error;
}

static th_error trial_make(const grid_plan *plan, size_t index, th_grid *grid) {
  th_trial *trial = &grid->trials[index];
  th_error error = fields_choose(plan, index, trial);
  if (error == TH_OK) error = label_make(trial->fields, trial->label);
  if (error != TH_OK) return error;
  error = spec_make(plan, trial, grid);
  if (error != TH_ERR_USAGE) return error;
  return th_fail(error, "%s: combination %zu (%s): %s", plan->path, index + 1, trial->label,
                 th_error_text());
}

static th_error trials_count(const grid_plan *plan, uint32_t *count) {
  size_t product = 1;
  for (size_t i = 0; i < plan->axis_count; i++) {
    product *= json_array_size(plan->axes[i].values);
    /* Looked at after each factor, so that it cannot overflow: a file has fewer values than 2^32.
     */
    if (product > TH_GRID_TRIALS_MAX)
      return th_fail(TH_ERR_LIMIT, "%s has more than %d combinations; split it", plan->path,
                     TH_GRID_TRIALS_MAX);
  }
  *count = (uint32_t)product;
  return TH_OK;
}

static th_error trials_make(const grid_plan *plan, th_grid *grid) {
  uint32_t count;
  th_error error = trials_count(plan, &count);
  if (error != TH_OK) return error;
  grid->trials = calloc(count, sizeof *grid->trials);
  if (grid->trials == NULL) return fail_memory();
  grid->by_accuracy = grid->is_regression = true;
  while (grid->count < count && error == TH_OK) error = trial_make(plan, grid->count++, grid);
  return error;
}

/* ---- settings ---- */

static th_error setting_make(const th_trial *first, th_setting *setting) {
  setting->fields = json_copy(first->fields);
  if (setting->fields == NULL) return fail_memory();
  (void)json_object_del(setting->fields, "fold");
  (void)json_object_del(setting->fields, "seed");
  return label_make(setting->fields, setting->label);
}

/* There are as many as the last combination's number says. */
static th_error settings_make(th_grid *grid) {
  th_error error = TH_OK;
  grid->setting_count = grid->trials[grid->count - 1].setting + 1;
  grid->settings = calloc(grid->setting_count, sizeof *grid->settings);
  if (grid->settings == NULL) return fail_memory();
  for (uint32_t i = 0; i < grid->count && error == TH_OK; i++) {
    th_setting *setting = &grid->settings[grid->trials[i].setting];
    if (setting->trials++ == 0) error = setting_make(&grid->trials[i], setting);
  }
  return error;
}

th_error th_grid_read(const char *path, th_grid *grid) {
  json_t *object = NULL;
  grid_plan plan = {.path = path};
  *grid = (th_grid){0};
  th_error error = file_load(path, &object);
  if (error == TH_OK) error = plan_make(&plan, object);
  if (error == TH_OK) error = trials_make(&plan, grid);
  if (error == TH_OK) error = settings_make(grid);
  json_decref(plan.seeds);
  json_decref(object);
  if (error != TH_OK) th_grid_fini(grid);
  return error;
}

void th_grid_fini(th_grid *grid) {
  for (uint32_t i = 0; i < grid->count; i++) {
    json_decref(grid->trials[i].fields);
    free(grid->trials[i].spec);
  }
  for (uint32_t i = 0; grid->settings != NULL && i < grid->setting_count; i++)
    json_decref(grid->settings[i].fields);
  free(grid->settings);
  free(grid->trials);
  *grid = (th_grid){0};
}

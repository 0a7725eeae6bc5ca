/** golden.txt and its like, and the engine of either width run over them. */
#ifndef TH_TESTS_KERNELS_GOLDEN_H
#define TH_TESTS_KERNELS_GOLDEN_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

enum {
  GOLDEN_WIDTH = 5,
  GOLDEN_CLASSES = 3,
  GOLDEN_GROUPS = 3,
  GOLDEN_ROWS = 22,
  GOLDEN_BATCH = 8,
  GOLDEN_STEPS_IN_EPOCH = 3,
  GOLDEN_PARAMETERS_MAX = 1024,
  GOLDEN_ENDS_MAX = 3,
  GOLDEN_NUMBERS_MAX = 6,
  GOLDEN_LINE_BYTES = 256,
};

/* What a training came to: the loss of its last step, Σ cos(i) · parameter i, and the loss of all
 * rows when the net is applied to them. */
typedef struct golden_end {
  double loss;
  double mark;
  double applied; /* 0 if the file does not tell */
  double loss_gap, mark_gap; /* PyTorch's own in float; 0 if the file does not tell */
} golden_end;

typedef struct golden_case {
  char loss[GOLDEN_LINE_BYTES]; /* fields, as "name=value name=value" */
  char optimizer[GOLDEN_LINE_BYTES];
  char layers[GOLDEN_LINE_BYTES];
  th_spec spec; /* of all these fields */
  golden_end after[GOLDEN_ENDS_MAX]; /* 1, 100 and, of some, 1,000 steps */
  uint32_t ends;
} golden_case;

static float golden_features[GOLDEN_ROWS * GOLDEN_WIDTH];
static int32_t golden_labels[GOLDEN_ROWS];
static float golden_targets[GOLDEN_ROWS * GOLDEN_CLASSES]; /* as many of a row as classes */
static float golden_weights[GOLDEN_ROWS];
static double golden_start[GOLDEN_PARAMETERS_MAX];
static uint32_t golden_parameters;

static inline void golden_expect(FILE *file, const char *word) {
  char found[32] = "";
  cr_assert_eq(fscanf(file, "%31s", found), 1);
  cr_assert_str_eq(found, word);
}

static inline double golden_number(FILE *file) {
  double number;
  cr_assert_eq(fscanf(file, "%lf", &number), 1);
  return number;
}

/* What losses beyond cross-entropy need, if the file has it. */
static inline void golden_read_targets(FILE *file) {
  long before = ftell(file);
  char found[32] = "";
  if (fscanf(file, "%31s", found) != 1 || strcmp(found, "targets") != 0) {
    cr_assert_eq(fseek(file, before, SEEK_SET), 0);
    return;
  }
  for (int i = 0; i < GOLDEN_ROWS * GOLDEN_CLASSES; i++)
    golden_targets[i] = (float)golden_number(file);
  golden_expect(file, "weights");
  for (int i = 0; i < GOLDEN_ROWS; i++) golden_weights[i] = (float)golden_number(file);
}

static inline FILE *golden_open(void) {
  FILE *file = fopen(GOLDEN_FILE, "re");
  cr_assert_not_null(file, "cannot open %s", GOLDEN_FILE);
  golden_expect(file, "features");
  for (int i = 0; i < GOLDEN_ROWS * GOLDEN_WIDTH; i++)
    golden_features[i] = (float)golden_number(file);
  golden_expect(file, "labels");
  for (int i = 0; i < GOLDEN_ROWS; i++) golden_labels[i] = (int32_t)golden_number(file);
  golden_expect(file, "start");
  while (golden_parameters < GOLDEN_PARAMETERS_MAX &&
         fscanf(file, "%lf", &golden_start[golden_parameters]) == 1)
    golden_parameters++;
  golden_read_targets(file);
  return file;
}

static inline void golden_set(th_spec *spec, const char *fields) {
  char text[GOLDEN_LINE_BYTES];
  strcpy(text, fields);
  for (char *rest = text, *field; (field = strtok_r(rest, " ", &rest)) != NULL;) {
    char *value = strchr(field, '=');
    *value++ = '\0';
    cr_assert_eq(th_spec_set(spec, field, value), TH_OK, "%s", th_error_text());
  }
}

static inline void golden_specify(golden_case *golden) {
  th_spec *spec = &golden->spec;
  th_spec_init(spec);
  spec->hidden[0] = 6;
  spec->hidden[1] = 4;
  spec->batch_size = GOLDEN_BATCH;
  spec->shuffle = false;
  golden_set(spec, golden->loss);
  golden_set(spec, golden->optimizer);
  golden_set(spec, golden->layers);
  cr_assert_eq(th_spec_judge(spec), TH_OK, "%s", th_error_text());
}

/* Fields, and what they led to. */
static inline void golden_read(char *line, uint32_t numbers_each, golden_case *golden) {
  double numbers[GOLDEN_NUMBERS_MAX], gaps[GOLDEN_NUMBERS_MAX] = {0};
  uint32_t count = 0;
  golden->layers[0] = '\0';
  for (char *rest = line, *word; (word = strtok_r(rest, " ", &rest)) != NULL;) {
    if (strchr(word, '=') != NULL) {
      strcat(strcat(golden->layers, " "), word);
      continue;
    }
    cr_assert_lt(count, GOLDEN_NUMBERS_MAX);
    char *gap;
    numbers[count] = strtod(word, &gap);
    if (*gap == '~') gaps[count] = strtod(gap + 1, NULL);
    count++;
  }
  cr_assert(count > 0 && count % numbers_each == 0, "%s: %u numbers", golden->layers, count);
  golden->ends = count / numbers_each;
  for (uint32_t i = 0; i < golden->ends; i++) {
    const double *end = numbers + (size_t)i * numbers_each;
    golden->after[i] = (golden_end){.loss = end[0],
                                    .mark = end[1],
                                    .applied = numbers_each > 2 ? end[2] : 0,
                                    .loss_gap = gaps[i * numbers_each],
                                    .mark_gap = gaps[i * numbers_each + 1]};
  }
}

/* A line is a loss, an optimizer, or an activation and what it led to together with the newest of
 * both. False at the end of the file. */
static inline bool golden_next(FILE *file, uint32_t numbers_each, golden_case *golden) {
  char line[GOLDEN_LINE_BYTES];
  while (fscanf(file, " %255[^\n]", line) == 1) {
    if (strncmp(line, "loss=", strlen("loss=")) == 0) strcpy(golden->loss, line);
    if (strncmp(line, "optimizer=", strlen("optimizer=")) == 0) strcpy(golden->optimizer, line);
    if (strncmp(line, "activation=", strlen("activation=")) != 0) continue;
    golden_read(line, numbers_each, golden);
    golden_specify(golden);
    return true;
  }
  return false;
}

/* The mean loss of all rows, no more of them at once than a batch has. */
static inline double golden_apply(th_engine *engine, th_team *team) {
  th_sums sums = {0};
  for (uint32_t first = 0; first < GOLDEN_ROWS; first += GOLDEN_BATCH) {
    uint32_t left = GOLDEN_ROWS - first;
    th_cpu_backend.evaluate(engine, team, first, left < GOLDEN_BATCH ? left : GOLDEN_BATCH, &sums,
                            NULL);
  }
  return sums.loss / sums.weight;
}

/* Train from the golden start. */
static inline golden_end golden_train(const th_spec *spec, uint32_t steps) {
  static int32_t labels[GOLDEN_ROWS];
  bool is_binary = spec->loss == TH_LOSS_BINARY_CROSS_ENTROPY;
  bool is_regression = th_loss_is_regression(spec->loss);
  static int32_t groups[GOLDEN_ROWS];
  for (int i = 0; i < GOLDEN_ROWS; i++) {
    labels[i] = golden_labels[i] % (is_binary ? 2 : 3);
    groups[i] = i / 6 % GOLDEN_GROUPS;
  }
  th_data data = {.features = golden_features,
                  .labels = is_regression ? NULL : labels,
                  .targets = is_regression ? golden_targets : NULL,
                  .weights = strcmp(spec->name, "weighed") == 0 ? golden_weights : NULL,
                  .groups = groups,
                  .rows = GOLDEN_ROWS,
                  .width = GOLDEN_WIDTH,
                  .target_width = is_regression ? GOLDEN_CLASSES : 0};
  th_model model;
  th_engine *engine;
  th_team *team;
  th_real parameters[GOLDEN_PARAMETERS_MAX];
  th_model_sizes sizes = {.width = GOLDEN_WIDTH,
                          .classes = is_regression ? 0 : GOLDEN_CLASSES,
                          .targets = data.target_width,
                          .groups = GOLDEN_GROUPS};
  cr_assert_eq(th_model_init(&model, spec, &sizes), TH_OK);
  cr_assert_leq(model.parameters, golden_parameters);
  th_engine_plan plan = {.spec = spec,
                         .model = &model,
                         .data = &data,
                         .split = th_permutation_identity(GOLDEN_ROWS),
                         .training_rows = GOLDEN_ROWS};
  cr_assert_eq(th_team_create(1, &team), TH_OK);
  cr_assert_eq(th_cpu_backend.create(&plan, &engine), TH_OK);
  for (uint32_t i = 0; i < golden_parameters; i++) parameters[i] = (th_real)golden_start[i];
  th_engine_state state = {.parameters = parameters};
  cr_assert_eq(th_cpu_backend.write(engine, &state), TH_OK);
  th_sums sums;
  for (uint32_t s = 0; s < steps; s++) {
    sums = (th_sums){0};
    th_cpu_backend.train(engine, team, 1 + s / GOLDEN_STEPS_IN_EPOCH, s % GOLDEN_STEPS_IN_EPOCH, 1,
                         &sums);
  }
  cr_assert_eq(th_cpu_backend.read(engine, &state), TH_OK);
  golden_end end = {.loss = sums.loss / sums.weight, .applied = golden_apply(engine, team)};
  for (uint64_t i = 0; i < model.parameters; i++)
    end.mark += cos((double)i) * (double)parameters[i];
  th_cpu_backend.destroy(engine);
  th_team_destroy(team);
  return end;
}

/* How far the ends after 1, 100 and 1,000 steps may be from PyTorch's. */
typedef struct golden_bounds {
  double loss[GOLDEN_ENDS_MAX];
  double mark[GOLDEN_ENDS_MAX];
  double applied[GOLDEN_ENDS_MAX]; /* 0: the file does not tell */
  double relative; /* that much more of each number's size */
  double gaps; /* or so many times what PyTorch's own float is off by */
} golden_bounds;

static inline bool golden_is_near(double found, double expected, double bound, double relative) {
  return fabs(found - expected) <= bound + relative * fabs(expected);
}

/* Every case against PyTorch, at so many of its ends. */
static inline void golden_check(const golden_bounds *bounds, uint32_t ends, int expected_cases) {
  static const uint32_t steps[GOLDEN_ENDS_MAX] = {1, 100, 1000};
  FILE *file = golden_open();
  golden_case golden = {0};
  bool is_applied = bounds->applied[0] > 0;
  int cases = 0;
  for (; golden_next(file, is_applied ? 3 : 2, &golden); cases++)
    for (uint32_t i = 0; i < golden.ends && i < ends; i++) {
      golden_end end = golden_train(&golden.spec, steps[i]);
      const golden_end *torch = &golden.after[i];
      bool is_near =
          golden_is_near(end.loss, torch->loss,
                         fmax(bounds->loss[i], bounds->gaps * torch->loss_gap), bounds->relative) &&
          golden_is_near(end.mark, torch->mark,
                         fmax(bounds->mark[i], bounds->gaps * torch->mark_gap), bounds->relative) &&
          (!is_applied ||
           golden_is_near(end.applied, torch->applied, bounds->applied[i], bounds->relative));
      cr_expect(is_near,
                "%s, %s,%s: %u steps end at loss %.17g, mark %.17g, applied %.17g, PyTorch's at "
                "%.17g, %.17g, %.17g",
                golden.loss, golden.optimizer, golden.layers, steps[i], end.loss, end.mark,
                end.applied, torch->loss, torch->mark, torch->applied);
    }
  cr_assert_eq(cases, expected_cases);
  fclose(file);
}

#endif

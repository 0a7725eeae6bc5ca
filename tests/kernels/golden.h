/** golden.txt, and the engine of either width run over it. */
#ifndef TH_TESTS_KERNELS_GOLDEN_H
#define TH_TESTS_KERNELS_GOLDEN_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

/* How many the file gives; the largest net has so many. */
#ifndef GOLDEN_PARAMETERS
#define GOLDEN_PARAMETERS 79
#endif

enum {
  GOLDEN_WIDTH = 5,
  GOLDEN_CLASSES = 3,
  GOLDEN_GROUPS = 3,
  GOLDEN_ROWS = 22,
  GOLDEN_BATCH = 8,
  GOLDEN_STEPS_IN_EPOCH = 3,
  GOLDEN_ENDS_MAX = 3,
  GOLDEN_LINE_BYTES = 256,
};

/* What a training came to: the loss of its last step, and Σ cos(i) · parameter i. */
typedef struct golden_end {
  double loss;
  double mark;
} golden_end;

typedef struct golden_case {
  char loss[GOLDEN_LINE_BYTES]; /* fields, as "name=value name=value" */
  char optimizer[GOLDEN_LINE_BYTES];
  char activation[GOLDEN_LINE_BYTES];
  th_spec spec; /* of all these fields */
  golden_end after[GOLDEN_ENDS_MAX]; /* 1, 100 and, of some, 1,000 steps */
  uint32_t ends;
} golden_case;

static float golden_features[GOLDEN_ROWS * GOLDEN_WIDTH];
static int32_t golden_labels[GOLDEN_ROWS];
static double golden_start[GOLDEN_PARAMETERS];

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

static inline FILE *golden_open(void) {
  FILE *file = fopen(GOLDEN_FILE, "re");
  cr_assert_not_null(file, "cannot open %s", GOLDEN_FILE);
  golden_expect(file, "features");
  for (int i = 0; i < GOLDEN_ROWS * GOLDEN_WIDTH; i++)
    golden_features[i] = (float)golden_number(file);
  golden_expect(file, "labels");
  for (int i = 0; i < GOLDEN_ROWS; i++) golden_labels[i] = (int32_t)golden_number(file);
  golden_expect(file, "start");
  for (int i = 0; i < GOLDEN_PARAMETERS; i++) golden_start[i] = golden_number(file);
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
  golden_set(spec, golden->activation);
  cr_assert_eq(th_spec_judge(spec), TH_OK, "%s", th_error_text());
}

/* A line is a loss, an optimizer, or an activation and what it led to together with the newest of
 * both. False at the end of the file. */
static inline bool golden_next(FILE *file, golden_case *golden) {
  char line[GOLDEN_LINE_BYTES];
  while (fscanf(file, " %255[^\n]", line) == 1) {
    if (strncmp(line, "loss=", strlen("loss=")) == 0) strcpy(golden->loss, line);
    if (strncmp(line, "optimizer=", strlen("optimizer=")) == 0) strcpy(golden->optimizer, line);
    if (strncmp(line, "activation=", strlen("activation=")) != 0) continue;
    golden_end *after = golden->after;
    int found =
        sscanf(line, "%255s %lf %lf %lf %lf %lf %lf", golden->activation, &after[0].loss,
               &after[0].mark, &after[1].loss, &after[1].mark, &after[2].loss, &after[2].mark);
    cr_assert(found == 5 || found == 7, "%s", line);
    golden->ends = (uint32_t)found / 2;
    golden_specify(golden);
    return true;
  }
  return false;
}

/* Train from the golden start. */
static inline golden_end golden_train(const th_spec *spec, uint32_t steps) {
  static int32_t labels[GOLDEN_ROWS];
  bool is_binary = spec->loss == TH_LOSS_BINARY_CROSS_ENTROPY;
  static int32_t groups[GOLDEN_ROWS];
  for (int i = 0; i < GOLDEN_ROWS; i++) {
    labels[i] = golden_labels[i] % (is_binary ? 2 : 3);
    groups[i] = i / 6 % GOLDEN_GROUPS;
  }
  th_data data = {.features = golden_features,
                  .labels = labels,
                  .groups = groups,
                  .rows = GOLDEN_ROWS,
                  .width = GOLDEN_WIDTH};
  th_model model;
  th_engine *engine;
  th_team *team;
  th_real parameters[GOLDEN_PARAMETERS];
  th_model_sizes sizes = {
      .width = GOLDEN_WIDTH, .classes = GOLDEN_CLASSES, .groups = GOLDEN_GROUPS};
  cr_assert_eq(th_model_init(&model, spec, &sizes), TH_OK);
  cr_assert_leq(model.parameters, GOLDEN_PARAMETERS);
  th_engine_plan plan = {.spec = spec,
                         .model = &model,
                         .data = &data,
                         .split = th_permutation_identity(GOLDEN_ROWS),
                         .training_rows = GOLDEN_ROWS};
  cr_assert_eq(th_team_create(1, &team), TH_OK);
  cr_assert_eq(th_cpu_backend.create(&plan, &engine), TH_OK);
  for (int i = 0; i < GOLDEN_PARAMETERS; i++) parameters[i] = (th_real)golden_start[i];
  th_engine_state state = {.parameters = parameters};
  cr_assert_eq(th_cpu_backend.write(engine, &state), TH_OK);
  th_sums sums;
  for (uint32_t s = 0; s < steps; s++) {
    sums = (th_sums){0};
    th_cpu_backend.train(engine, team, 1 + s / GOLDEN_STEPS_IN_EPOCH, s % GOLDEN_STEPS_IN_EPOCH, 1,
                         &sums);
  }
  cr_assert_eq(th_cpu_backend.read(engine, &state), TH_OK);
  golden_end end = {.loss = sums.loss / sums.weight};
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
  double relative; /* that much more of each number's size */
} golden_bounds;

/* Every case against PyTorch, at so many of its ends. */
static inline void golden_check(const golden_bounds *bounds, uint32_t ends, int expected_cases) {
  static const uint32_t steps[GOLDEN_ENDS_MAX] = {1, 100, 1000};
  FILE *file = golden_open();
  golden_case golden = {0};
  int cases = 0;
  for (; golden_next(file, &golden); cases++)
    for (uint32_t i = 0; i < golden.ends && i < ends; i++) {
      golden_end end = golden_train(&golden.spec, steps[i]);
      const golden_end *torch = &golden.after[i];
      double loss_gap = fabs(end.loss - torch->loss) - bounds->relative * fabs(torch->loss);
      double mark_gap = fabs(end.mark - torch->mark) - bounds->relative * fabs(torch->mark);
      cr_expect(loss_gap <= bounds->loss[i] && mark_gap <= bounds->mark[i],
                "%s, %s, %s: %u steps end at loss %.17g, mark %.17g, PyTorch's at %.17g, %.17g",
                golden.loss, golden.optimizer, golden.activation, steps[i], end.loss, end.mark,
                torch->loss, torch->mark);
    }
  cr_assert_eq(cases, expected_cases);
  fclose(file);
}

#endif

/** golden.txt, and the engine of either width run over it. */
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
  GOLDEN_ROWS = 22,
  GOLDEN_BATCH = 8,
  GOLDEN_STEPS_IN_EPOCH = 3,
  GOLDEN_PARAMETERS = 79,
};

typedef struct golden_case {
  th_spec spec;
  double loss[2]; /* of the last step, after 1 and 100 steps */
  double after[2][GOLDEN_PARAMETERS];
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

static inline th_optimizer_kind golden_optimizer(const char *name) {
  if (strcmp(name, "adam") == 0) return TH_OPTIMIZER_ADAM;
  return strcmp(name, "adamw") == 0 ? TH_OPTIMIZER_ADAMW : TH_OPTIMIZER_SGD;
}

static inline th_activation golden_activation(const char *name) {
  th_activation kind = TH_ACTIVATION_RELU;
  while (strcmp(th_activation_name(kind), name) != 0) kind++;
  return kind;
}

/* False at the end of the file. */
static inline bool golden_next(FILE *file, golden_case *golden) {
  char activation[32];
  char optimizer[32];
  if (fscanf(file, " case %31s %31s", activation, optimizer) != 2) return false;
  th_spec *spec = &golden->spec;
  *spec = (th_spec){.hidden = {6, 4},
                    .hidden_count = 2,
                    .batch_size = GOLDEN_BATCH,
                    .activation = {golden_activation(activation)},
                    .negative_slope = 0.01,
                    .optimizer = golden_optimizer(optimizer),
                    .beta1 = 0.9,
                    .beta2 = 0.999,
                    .epsilon = 1e-8};
  spec->learning_rate = golden_number(file);
  spec->momentum = golden_number(file);
  spec->weight_decay = golden_number(file);
  for (int i = 0; i < 2; i++) {
    golden_expect(file, "loss");
    golden->loss[i] = golden_number(file);
    golden_expect(file, "after");
    for (int p = 0; p < GOLDEN_PARAMETERS; p++) golden->after[i][p] = golden_number(file);
  }
  return true;
}

/* Train from the golden start. @return the mean loss of the last step. */
static inline double golden_train(const th_spec *spec, uint32_t steps, th_real *parameters) {
  th_data data = {golden_features, golden_labels, GOLDEN_ROWS, GOLDEN_WIDTH};
  th_model model;
  th_engine *engine;
  th_team *team;
  cr_assert_eq(th_model_init(&model, spec, GOLDEN_WIDTH, GOLDEN_CLASSES), TH_OK);
  cr_assert_eq(model.parameters, GOLDEN_PARAMETERS);
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
  th_cpu_backend.destroy(engine);
  th_team_destroy(team);
  return sums.loss / (double)sums.rows;
}

/* Every case against PyTorch: |difference| ≤ absolute[i] + relative · |parameter|. */
static inline void golden_check(const double absolute[2], double relative) {
  static const uint32_t steps[2] = {1, 100};
  FILE *file = golden_open();
  golden_case golden;
  int cases = 0;
  for (; golden_next(file, &golden); cases++)
    for (int i = 0; i < 2; i++) {
      th_real parameters[GOLDEN_PARAMETERS];
      double loss = golden_train(&golden.spec, steps[i], parameters);
      cr_expect_float_eq(loss, golden.loss[i], absolute[i] + relative * golden.loss[i],
                         "case %d, %u steps: loss %.17g, PyTorch's is %.17g", cases, steps[i], loss,
                         golden.loss[i]);
      double worst = 0;
      for (int p = 0; p < GOLDEN_PARAMETERS; p++) {
        double gap =
            fabs((double)parameters[p] - golden.after[i][p]) - relative * fabs(golden.after[i][p]);
        if (!(gap <= worst)) worst = gap;
      }
      cr_expect(worst <= absolute[i], "case %d, %u steps: a parameter is %.3g off, beyond %.3g",
                cases, steps[i], worst, absolute[i]);
    }
  cr_assert_eq(cases, 16, "four activations and four optimizers");
  fclose(file);
}

#endif

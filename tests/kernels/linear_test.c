/* A layer by the BLAS and by our own products: one semantics. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/linear.h"

enum { INPUTS = 37, OUTPUTS = 21, INPUT_STRIDE = 48, OUTPUT_STRIDE = 32, ROWS = 19, FIRST = 5 };

static float parameters[(INPUTS + 1) * OUTPUT_STRIDE];
static float transposed[OUTPUTS * INPUT_STRIDE];
static float values[ROWS * INPUT_STRIDE];
static float deltas[ROWS * OUTPUT_STRIDE];

static float random_unit(uint32_t i, uint32_t purpose) {
  return 2 * th_random_unit(th_philox_at(7, i, purpose, 0, 0).word[0]) - 1;
}

static const th_layer layer = {
    .inputs = INPUTS, .outputs = OUTPUTS, .weights = 0, .biases = INPUTS * OUTPUTS};

/* Padding of values is poison, since nothing may look at it; that of deltas is zero, as the engine
 * keeps it. */
static th_linear linear_set(void) {
  th_linear linear = th_linear_init(&layer, 0);
  cr_assert_eq(linear.input_stride, INPUT_STRIDE);
  cr_assert_eq(linear.output_stride, OUTPUT_STRIDE);
  cr_assert_not(linear.is_wide);
  float model[(INPUTS + 1) * OUTPUTS];
  for (uint32_t i = 0; i < (INPUTS + 1) * OUTPUTS; i++) model[i] = random_unit(i, 1);
  th_linear_write(&linear, &layer, model, parameters);
  th_linear_transpose(&linear, th_loops_choose(), 0, INPUTS, parameters, transposed);
  for (uint32_t i = 0; i < ROWS * INPUT_STRIDE; i++)
    values[i] = i % INPUT_STRIDE < INPUTS ? random_unit(i, 2) : NAN;
  for (uint32_t i = 0; i < ROWS * OUTPUT_STRIDE; i++)
    deltas[i] = i % OUTPUT_STRIDE < OUTPUTS ? random_unit(i, 3) : 0;
  return linear;
}

static void expect_same(const float *own, const float *blas, uint32_t count, const char *what) {
  for (uint32_t i = 0; i < count; i++)
    cr_assert_float_eq(own[i], blas[i], 1e-5, "%s, number %u: %g and %g", what, i, (double)own[i],
                       (double)blas[i]);
}

Test(linear, keeps_a_model_through_write_and_read) {
  th_linear linear = linear_set();
  float model[(INPUTS + 1) * OUTPUTS];
  th_linear_read(&linear, &layer, parameters, model);
  for (uint32_t i = 0; i < (INPUTS + 1) * OUTPUTS; i++) cr_assert_eq(model[i], random_unit(i, 1));
}

Test(linear, forward_is_the_same_either_way) {
  th_linear linear = linear_set();
  float own[ROWS * OUTPUT_STRIDE];
  float blas[ROWS * OUTPUT_STRIDE];
  th_linear_forward(&linear, th_loops_choose(), ROWS, values, parameters, own);
  linear.is_wide = true;
  th_linear_forward(&linear, th_loops_choose(), ROWS, values, parameters, blas);
  expect_same(own, blas, ROWS * OUTPUT_STRIDE, "forward");
  double expected = 0;
  for (uint32_t i = 0; i < INPUTS; i++)
    expected += (double)values[3 * INPUT_STRIDE + i] * (double)random_unit(2 * INPUTS + i, 1);
  cr_assert_float_eq(own[3 * OUTPUT_STRIDE + 2], expected, 1e-5, "row 3, output 2");
}

Test(linear, backward_is_the_same_either_way) {
  th_linear linear = linear_set();
  float own[ROWS * INPUT_STRIDE];
  float blas[ROWS * INPUT_STRIDE] = {0};
  th_linear_backward(&linear, th_loops_choose(), ROWS, deltas, parameters, transposed, own);
  linear.is_wide = true;
  th_linear_backward(&linear, th_loops_choose(), ROWS, deltas, parameters, NULL, blas);
  expect_same(own, blas, ROWS * INPUT_STRIDE, "backward");
}

Test(linear, gradient_is_the_same_either_way) {
  th_linear linear = linear_set();
  float own[(INPUTS - FIRST) * OUTPUT_STRIDE];
  float blas[(INPUTS - FIRST) * OUTPUT_STRIDE];
  th_linear_gradient(&linear, th_loops_choose(), ROWS, FIRST, INPUTS - FIRST, values, deltas, own);
  linear.is_wide = true;
  th_linear_gradient(&linear, th_loops_choose(), ROWS, FIRST, INPUTS - FIRST, values, deltas, blas);
  expect_same(own, blas, (INPUTS - FIRST) * OUTPUT_STRIDE, "gradient");
}

enum { WIDE = 768, WIDE_ROWS = 300, WIDE_CLASSES = 3 };

/* One step over three slices of a net that the BLAS takes part in. */
static void wide_train(const th_data *data, uint32_t threads, float *after) {
  th_spec spec;
  th_model model;
  th_engine *engine;
  th_team *team;
  th_spec_init(&spec);
  spec.hidden_count = 1;
  spec.hidden[0] = WIDE;
  spec.batch_size = WIDE_ROWS;
  cr_assert_eq(
      th_model_init(&model, &spec, &(th_model_sizes){.width = WIDE, .classes = WIDE_CLASSES}),
      TH_OK);
  cr_assert(th_linear_init(&model.layers[0], 0).is_wide);
  th_engine_plan plan = {.spec = &spec,
                         .model = &model,
                         .data = data,
                         .split = th_permutation_identity(WIDE_ROWS),
                         .training_rows = WIDE_ROWS};
  th_sums sums = {0};
  cr_assert_eq(th_cpu_backend.create(&plan, &engine), TH_OK);
  cr_assert_eq(th_team_create(threads, &team), TH_OK);
  th_model_draw(&model, &spec, 5, after);
  th_engine_state state = {.parameters = after};
  cr_assert_eq(th_cpu_backend.write(engine, &state), TH_OK);
  cr_assert_eq(th_cpu_backend.train(engine, team, 1, 0, 1, &sums), TH_OK);
  cr_assert_eq(th_cpu_backend.read(engine, &state), TH_OK);
  cr_assert(isfinite(sums.loss));
  th_cpu_backend.destroy(engine);
  th_team_destroy(team);
}

Test(linear, wide_net_does_not_depend_on_threads) {
  enum { COUNT = WIDE * (WIDE + 1) + WIDE_CLASSES * (WIDE + 1) };
  float *features = malloc(WIDE_ROWS * WIDE * sizeof *features);
  float *alone = malloc(COUNT * sizeof *alone);
  float *together = malloc(COUNT * sizeof *together);
  int32_t labels[WIDE_ROWS];
  for (uint32_t i = 0; i < WIDE_ROWS * WIDE; i++) features[i] = random_unit(i, 4);
  for (uint32_t i = 0; i < WIDE_ROWS; i++) labels[i] = (int32_t)(i % WIDE_CLASSES);
  th_data data = {.features = features, .labels = labels, .rows = WIDE_ROWS, .width = WIDE};
  wide_train(&data, 1, alone);
  for (uint32_t threads = 2; threads <= 4; threads++) {
    wide_train(&data, threads, together);
    cr_assert_arr_eq(alone, together, COUNT * sizeof *alone, "%u threads", threads);
  }
  free(together);
  free(alone);
  free(features);
}

/* A step of plain gradient descent at a learning rate of one is the clipped gradient itself. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "fixture.h"
#include "kernels/model.h"

/* One step over all rows; layers narrow and wide, whose products come from different code. */
static th_spec step_spec(void) {
  th_spec spec = fixture_spec();
  spec.hidden[0] = 400;
  spec.hidden[1] = 300;
  spec.optimizer = TH_OPTIMIZER_SGD;
  spec.learning_rate = 1;
  spec.epochs = 1;
  spec.batch_size = FIXTURE_ROWS;
  spec.restore_best = false;
  return spec;
}

/* How long the step is, and its largest number. */
static double step_length(const th_spec *spec, double *largest) {
  th_data data = fixture_data();
  th_model model;
  uint64_t count;
  cr_assert_eq(th_model_init(&model, spec,
                             &(th_model_sizes){.width = FIXTURE_WIDTH, .classes = FIXTURE_CLASSES}),
               TH_OK);
  float *before = malloc(model.parameters * sizeof *before);
  th_model_draw(&model, spec, spec->seed, before);
  th_trainer *trainer = fixture_trainer(spec, &data);
  fixture_finish(trainer);
  float *after = fixture_parameters(trainer, &count);
  double squares = 0;
  *largest = 0;
  for (uint64_t i = 0; i < count; i++) {
    double moved = (double)after[i] - (double)before[i];
    squares += moved * moved;
    *largest = fmax(*largest, fabs(moved));
  }
  th_trainer_destroy(trainer);
  free(before);
  free(after);
  return sqrt(squares);
}

Test(clip, norm_is_the_length_of_a_longer_gradient) {
  static const double bounds[] = {0.1, 0.001};
  th_spec spec = step_spec();
  double largest;
  double whole = step_length(&spec, &largest);
  cr_assert_gt(whole, 0.1, "the gradient is %g long", whole);
  for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
    spec.clip_norm = bounds[i];
    /* A parameter near 1 moves in steps of 6e-8, and there are a hundred thousand. */
    cr_expect_float_eq(step_length(&spec, &largest), bounds[i], 1e-5 + 1e-4 * bounds[i]);
  }
}

Test(clip, norm_leaves_a_shorter_gradient_to_the_last_bit) {
  th_spec spec = step_spec();
  th_data data = fixture_data();
  th_trainer *free_one = fixture_trainer(&spec, &data);
  spec.clip_norm = 1e6;
  th_trainer *clipped = fixture_trainer(&spec, &data);
  fixture_finish(free_one);
  fixture_finish(clipped);
  cr_assert(fixture_is_same_model(free_one, clipped));
  th_trainer_destroy(free_one);
  th_trainer_destroy(clipped);
}

Test(clip, value_bounds_every_number) {
  th_spec spec = step_spec();
  double largest;
  step_length(&spec, &largest);
  cr_assert_gt(largest, 0.01, "the gradient's largest number is %g", largest);
  spec.clip_value = 0.001;
  step_length(&spec, &largest);
  cr_assert_float_eq(largest, 0.001, 1e-7);
}

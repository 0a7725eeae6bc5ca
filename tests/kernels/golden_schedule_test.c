/* Every schedule with every optimizer through whole trainings, against PyTorch
 * (golden_schedule.py). */
#include "fixture.h"
#include "golden.h"

enum { SCHEDULES = 5, OPTIMIZERS = 9, EPOCHS = 34, CASES = SCHEDULES * OPTIMIZERS };

/* Parameters enter a training as a model does that it begins with. */
static void begin(th_trainer *trainer, const th_spec *spec) {
  float parameters[GOLDEN_PARAMETERS_MAX];
  th_model model;
  th_buffer file;
  th_standard none = {0};
  th_model_sizes sizes = {.width = GOLDEN_WIDTH, .classes = GOLDEN_CLASSES};
  cr_assert_eq(th_model_init(&model, spec, &sizes), TH_OK);
  cr_assert_eq(model.parameters, golden_parameters);
  for (uint32_t i = 0; i < golden_parameters; i++) parameters[i] = (float)golden_start[i];
  cr_assert_eq(th_model_encode(&model, spec, parameters, &none, &file), TH_OK);
  cr_assert_eq(th_trainer_begin_with(trainer, file.data, file.bytes), TH_OK, "%s", th_error_text());
  th_buffer_fini(&file);
}

static golden_end train(const th_spec *spec) {
  th_data data = {.features = golden_features,
                  .labels = golden_labels,
                  .rows = GOLDEN_ROWS,
                  .width = GOLDEN_WIDTH};
  th_trainer *trainer = fixture_trainer(spec, &data);
  begin(trainer, spec);
  fixture_finish(trainer);
  golden_end end = {.loss = th_trainer_history(trainer)->epochs[EPOCHS - 1].loss};
  uint64_t count;
  float *parameters = fixture_parameters(trainer, &count);
  for (uint64_t i = 0; i < count; i++) end.mark += cos((double)i) * (double)parameters[i];
  free(parameters);
  th_trainer_destroy(trainer);
  return end;
}

/* As golden_test.c has it for 100 steps; these are 102. */
Test(golden_schedule, trainings_in_float_end_close_to_pytorch_in_double) {
  FILE *file = golden_open();
  golden_case golden = {0};
  int cases = 0;
  for (; golden_next(file, 2, &golden); cases++) {
    golden.spec.epochs = EPOCHS;
    golden.spec.restore_best = false;
    golden_end end = train(&golden.spec);
    const golden_end *torch = &golden.after[0];
    cr_expect(golden_is_near(end.loss, torch->loss, 1e-6, 1e-6) &&
                  golden_is_near(end.mark, torch->mark, 9e-6, 1e-6),
              "%s, %s: ends at loss %.17g, mark %.17g, PyTorch's at %.17g, %.17g", golden.loss,
              golden.optimizer, end.loss, end.mark, torch->loss, torch->mark);
  }
  cr_assert_eq(cases, CASES);
  fclose(file);
}

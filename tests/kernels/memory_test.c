/* Every allocation of the room fails once, in turn: each call must then say so, leave nothing
 * behind (the address sanitizer looks) and work again with memory. The linker sends the room's
 * allocations here (tests/kernels/CMakeLists.txt). */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "kernels/inference.h"
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

enum { ALLOCATIONS_MAX = 2000 };

static uint32_t countdown; /* the allocation that fails; 0: none */

static bool fails_now(void) {
  return countdown > 0 && --countdown == 0;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);

void *__wrap_malloc(size_t bytes) {
  return fails_now() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes) {
  return fails_now() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes) {
  return fails_now() ? NULL : __real_aligned_alloc(alignment, bytes);
}

static th_data data;
static th_spec spec;
static th_device device;
static th_trainer *trainer;
static th_buffer model;
static th_buffer checkpoint;

static void setup(void) {
  data = fixture_data();
  spec = fixture_spec();
  spec.dropout = 0.1;
  spec.activation[0] = TH_ACTIVATION_GELU;
  spec.normalization = TH_NORMALIZATION_BATCH;
  spec.residual = true;
  spec.hidden[1] = spec.hidden[0];
  spec.weighting = TH_WEIGHTING_BALANCED;
  spec.clip_norm = 1;
  spec.validation_split = 0.25;
  spec.split = TH_SPLIT_STRATIFIED;
  spec.standardize = true;
  spec.importance = true;
  cr_assert_eq(th_device_open("cpu", &device), TH_OK);
  trainer = fixture_trainer(&spec, &data);
  fixture_finish(trainer);
  th_buffer card;
  cr_assert_eq(th_trainer_result(trainer, &model, &card), TH_OK);
  cr_assert_eq(th_trainer_checkpoint(trainer, &checkpoint), TH_OK);
  th_buffer_fini(&card);
}

static void teardown(void) {
  th_trainer_destroy(trainer);
  th_buffer_fini(&model);
  th_buffer_fini(&checkpoint);
}

TestSuite(memory, .init = setup, .fini = teardown);

/* Fail the first allocation, then the second, … until the call needs no more. */
static void fail_each(th_error (*call)(void)) {
  uint32_t nth = 1;
  for (; nth < ALLOCATIONS_MAX; nth++) {
    countdown = nth;
    th_error error = call();
    bool all_succeeded = countdown > 0;
    countdown = 0;
    if (all_succeeded) {
      cr_assert_eq(error, TH_OK, "%s", th_error_text());
      break;
    }
    cr_assert_eq(error, TH_ERR_SYSTEM, "allocation %u: %s", nth, th_error_name(error));
    cr_assert_neq(th_error_text()[0], '\0');
  }
  cr_assert(nth > 1 && nth < ALLOCATIONS_MAX, "%u allocations", nth);
#ifdef __SANITIZE_ADDRESS__
  /* Asked here because Criterion looks neither at the status with which a test's process ends nor
   * at assertions in what runs after the test. */
  cr_assert_eq(__lsan_do_recoverable_leak_check(), 0, "memory is left");
#endif
}

static th_error create_trainer(void) {
  th_trainer *made;
  th_error error = th_trainer_create(&spec, &data, &device, NULL, NULL, &made);
  if (error == TH_OK) th_trainer_destroy(made);
  return error;
}

Test(memory, creating_a_trainer_survives_each_failure) {
  fail_each(create_trainer);
}

Test(memory, creating_a_recurrent_trainer_survives_each_failure) {
  data = fixture_grouped_data();
  spec.importance = false;
  spec.embedding = 3;
  spec.recurrent_layers = 2;
  spec.window = 4;
  for (spec.recurrent = TH_RECURRENT_LSTM; spec.recurrent <= TH_RECURRENT_GRU; spec.recurrent++)
    fail_each(create_trainer);
}

static th_error take_result(void) {
  th_buffer file;
  th_buffer card;
  th_error error = th_trainer_result(trainer, &file, &card);
  if (error != TH_OK) return error;
  th_buffer_fini(&file);
  th_buffer_fini(&card);
  return TH_OK;
}

Test(memory, taking_the_result_survives_each_failure) {
  fail_each(take_result);
}

static th_error begin_with_model(void) {
  return th_trainer_continue(trainer, model.data, model.bytes);
}

Test(memory, beginning_with_a_model_survives_each_failure) {
  fail_each(begin_with_model);
}

static th_error take_checkpoint(void) {
  th_buffer file;
  th_error error = th_trainer_checkpoint(trainer, &file);
  if (error == TH_OK) th_buffer_fini(&file);
  return error;
}

Test(memory, taking_a_checkpoint_survives_each_failure) {
  fail_each(take_checkpoint);
}

static th_error restore(void) {
  return th_trainer_restore(trainer, checkpoint.data, checkpoint.bytes);
}

Test(memory, restoring_survives_each_failure) {
  fail_each(restore);
}

static th_error train(void) {
  th_team *team;
  th_trainer *made;
  th_error error = th_team_create(2, &team);
  if (error != TH_OK) return error;
  error = th_trainer_create(&spec, &data, &device, NULL, NULL, &made);
  if (error == TH_OK) {
    error = th_trainer_advance(made, team, INT64_MAX);
    th_trainer_destroy(made);
  }
  th_team_destroy(team);
  return error;
}

Test(memory, training_survives_each_failure) {
  spec.epochs = 1;
  fail_each(train);
}

static th_error evaluate(void) {
  th_inference *inference;
  th_buffer output;
  th_buffer card;
  th_error error =
      th_inference_create(model.data, model.bytes, &data, &device, NULL, NULL, &inference);
  if (error != TH_OK) return error;
  error = th_inference_result(inference, &output, &card);
  if (error == TH_OK) {
    th_buffer_fini(&output);
    th_buffer_fini(&card);
  }
  th_inference_destroy(inference);
  return error;
}

Test(memory, evaluating_survives_each_failure) {
  fail_each(evaluate);
}

Test(memory, predicting_survives_each_failure) {
  data.labels = NULL;
  fail_each(evaluate);
}

Test(memory, a_regression_survives_each_failure) {
  static float targets[FIXTURE_ROWS];
  for (uint32_t i = 0; i < FIXTURE_ROWS; i++) targets[i] = (float)data.labels[i];
  data.labels = NULL;
  data.targets = targets;
  data.target_width = 1;
  spec.loss = TH_LOSS_HUBER;
  spec.weighting = TH_WEIGHTING_NONE;
  spec.split = TH_SPLIT_RANDOM;
  spec.epochs = 1;
  fail_each(train);
  th_buffer_fini(&model);
  th_trainer *regression = fixture_trainer(&spec, &data);
  th_buffer card;
  fixture_finish(regression);
  cr_assert_eq(th_trainer_result(regression, &model, &card), TH_OK);
  th_buffer_fini(&card);
  th_trainer_destroy(regression);
  fail_each(evaluate);
}

Test(memory, sampling_survives_each_failure) {
  static float weights[FIXTURE_ROWS];
  for (uint32_t i = 0; i < FIXTURE_ROWS; i++) weights[i] = 1;
  data.weights = weights;
  data.groups = data.labels;
  spec.sampling = TH_SAMPLING_WEIGHTED;
  fail_each(create_trainer);
  spec.sampling = TH_SAMPLING_BALANCED;
  fail_each(create_trainer);
}

#include "cli/line.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static th_progress training(void) {
  return (th_progress){
      .job = 7,
      .phase = TH_PHASE_TRAINING,
      .epoch = 7,
      .epochs = 15,
      .step = 312,
      .steps = 469,
      .fraction = 0.443,
      .loss = 0.25412,
      .accuracy = 0.90714,
      .validation_loss = NAN,
      .validation_accuracy = NAN,
      .samples_per_second = 41234,
      .eta_seconds = 13,
  };
}

static void assert_fits(const th_line *line, uint32_t width) {
  size_t length = strlen(line->text);
  cr_assert_leq(length, width, "%zu columns of %u: %s", length, width, line->text);
  for (size_t i = 0; i < length; i++)
    cr_assert(line->text[i] >= ' ' && line->text[i] <= '~', "byte %d in: %s", line->text[i],
              line->text);
}

/* Whatever a host that is newer, broken or hostile may put into its cells. */
static th_progress hostile(uint32_t i) {
  static const double numbers[] = {NAN, INFINITY, -INFINITY, -1, 0, 1e308, 1e-308, 0.5};
  double number = numbers[i % 8];
  return (th_progress){
      .phase = i % 12,
      .queue_position = UINT32_MAX,
      .epoch = UINT32_MAX,
      .epochs = UINT32_MAX - i,
      .step = UINT32_MAX,
      .steps = UINT32_MAX,
      .received_bytes = UINT64_MAX,
      .expected_bytes = i % 2 == 0 ? UINT64_MAX : 0,
      .fraction = number,
      .loss = numbers[(i / 8) % 8],
      .accuracy = number,
      .validation_loss = number,
      .validation_accuracy = number,
      .samples_per_second = number,
      .eta_seconds = number,
  };
}

Test(line, is_never_longer_than_the_terminal_is_wide) {
  th_progress progress = training();
  for (uint32_t width = 0; width <= 220; width++) {
    th_line line = th_line_format(TH_JOB_TRAIN, "acc", &progress, width);
    assert_fits(&line, width);
  }
}

Test(line, is_printable_and_fits_whatever_the_host_says) {
  for (uint32_t i = 0; i < 12 * 64; i++) {
    th_progress progress = hostile(i);
    for (uint32_t width = 0; width <= 220; width += 5)
      for (int kind = TH_JOB_TRAIN; kind <= TH_JOB_PREDICT; kind++) {
        th_line line = th_line_format((th_job_kind)kind, "R2", &progress, width);
        assert_fits(&line, width);
      }
  }
}

Test(line, says_it_all_where_there_is_room) {
  th_progress progress = training();
  th_line line = th_line_format(TH_JOB_TRAIN, "acc", &progress, 120);
  cr_assert_str_eq(
      line.text,
      "training   epoch  7/15 step 312/469 [################.....................]  44% "
      "loss 0.2541 acc 0.9071 41.2k/s ETA 0:13");
}

Test(line, keeps_all_but_the_phase_at_80_columns) {
  th_progress progress = training();
  th_line line = th_line_format(TH_JOB_TRAIN, "acc", &progress, 79);
  cr_assert_str_eq(
      line.text, "epoch  7/15 step 312/469 [###....]  44% loss 0.2541 acc 0.9071 41.2k/s ETA 0:13");
}

Test(line, keeps_epoch_and_percent_to_the_last) {
  th_progress progress = training();
  th_line line = th_line_format(TH_JOB_TRAIN, "acc", &progress, 20);
  cr_assert_str_eq(line.text, "epoch  7/15  44%");
}

Test(line, does_not_jump_between_training_and_validating) {
  th_progress progress = training();
  size_t length = strlen(th_line_format(TH_JOB_TRAIN, "acc", &progress, 100).text);
  progress.phase = TH_PHASE_VALIDATING;
  progress.epoch = 12;
  cr_assert_eq(strlen(th_line_format(TH_JOB_TRAIN, "acc", &progress, 100).text), length);
}

Test(line, shows_what_each_phase_waits_for) {
  th_progress progress = {
      .phase = TH_PHASE_RECEIVING, .received_bytes = 3 << 20, .expected_bytes = 6 << 20};
  th_line line = th_line_format(TH_JOB_TRAIN, "acc", &progress, 79);
  cr_assert_not_null(strstr(line.text, " 50% 3.0 MiB of 6.0 MiB"), "%s", line.text);
  progress = (th_progress){.phase = TH_PHASE_QUEUED, .queue_position = 3};
  cr_assert_str_eq(th_line_format(TH_JOB_TRAIN, "acc", &progress, 79).text, "queued position 3");
  progress = (th_progress){.phase = TH_PHASE_SAVING};
  cr_assert_str_eq(th_line_format(TH_JOB_TRAIN, "acc", &progress, 79).text, "saving");
}

Test(line, names_what_an_inference_does) {
  th_progress progress = {.phase = TH_PHASE_VALIDATING,
                          .fraction = 1,
                          .loss = NAN,
                          .accuracy = NAN,
                          .validation_loss = 0.5,
                          .validation_accuracy = 0.75,
                          .eta_seconds = 0};
  th_line line = th_line_format(TH_JOB_EVALUATE, "acc", &progress, 79);
  cr_assert_eq(strncmp(line.text, "evaluating", 10), 0, "%s", line.text);
  cr_assert_not_null(strstr(line.text, "100% loss 0.5000 acc 0.7500"), "%s", line.text);
  line = th_line_format(TH_JOB_EVALUATE, "R2", &progress, 79);
  cr_assert_not_null(strstr(line.text, "loss 0.5000 R2 0.7500"), "%s", line.text);
  line = th_line_format(TH_JOB_PREDICT, "acc", &progress, 79);
  cr_assert_eq(strncmp(line.text, "predicting", 10), 0, "%s", line.text);
}

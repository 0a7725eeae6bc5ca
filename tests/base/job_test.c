#include "base/job.h"

#include <criterion/criterion.h>

Test(job, every_phase_and_kind_has_its_own_name) {
  for (uint32_t phase = TH_PHASE_RECEIVING; phase <= TH_PHASE_CANCELED; phase++) {
    cr_assert_str_neq(th_phase_name(phase), "unknown");
    for (uint32_t other = phase + 1; other <= TH_PHASE_CANCELED; other++)
      cr_assert_str_neq(th_phase_name(phase), th_phase_name(other));
  }
  cr_assert_str_eq(th_job_kind_name(TH_JOB_TRAIN), "train");
  cr_assert_str_eq(th_job_kind_name(TH_JOB_EVALUATE), "evaluate");
  cr_assert_str_eq(th_job_kind_name(TH_JOB_PREDICT), "predict");
}

Test(job, another_programs_number_is_unknown_and_ends_nothing) {
  static const uint32_t numbers[] = {0, TH_PHASE_CANCELED + 1, 99, UINT32_MAX};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    cr_assert_str_eq(th_phase_name(numbers[i]), "unknown");
    cr_assert_str_eq(th_job_kind_name(numbers[i]), "unknown");
    cr_assert_not(th_phase_is_last(numbers[i]));
  }
}

Test(job, the_last_phases_are_three) {
  for (uint32_t phase = TH_PHASE_RECEIVING; phase < TH_PHASE_DONE; phase++)
    cr_assert_not(th_phase_is_last(phase), "%s", th_phase_name(phase));
  for (uint32_t phase = TH_PHASE_DONE; phase <= TH_PHASE_CANCELED; phase++)
    cr_assert(th_phase_is_last(phase), "%s", th_phase_name(phase));
}

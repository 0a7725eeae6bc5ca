#include "kernels/schedule.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What schedule.py tells ReduceLROnPlateau. */
static const double losses[] = {1.0, 0.9, 0.89999, 0.95, 0.91, 0.9, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6};

enum { EPOCHS = sizeof losses / sizeof *losses };

static void check_case(const char *json, const char *rates) {
  th_spec spec;
  cr_assert_eq(th_spec_parse(json, strlen(json), &spec), TH_OK, "%s", th_error_text());
  cr_assert_eq(spec.epochs, EPOCHS);
  char *at;
  uint32_t steps = (uint32_t)strtoul(rates, &at, 10);
  cr_assert_gt(steps, 1);
  th_schedule schedule = th_schedule_begin(&spec, steps);
  for (uint32_t step = 0; step < EPOCHS * steps; step++) {
    double wanted = strtod(at, &at);
    double given = th_schedule_rate(&schedule, step);
    cr_assert_gt(wanted, 0, "%s: step %u is missing", json, step);
    cr_assert_leq(fabs(given - wanted), 1e-12 * spec.learning_rate, "%s: step %u: %.17g, not %.17g",
                  json, step, given, wanted);
    if ((step + 1) % steps == 0)
      th_schedule_judge(&schedule, (step + 1) / steps, losses[step / steps]);
  }
}

Test(schedule, gives_the_rates_of_pytorch) {
  FILE *file = fopen(SCHEDULE_FILE, "r");
  cr_assert_not_null(file);
  char *json = NULL, *rates = NULL;
  size_t json_bytes = 0, rates_bytes = 0;
  uint32_t count = 0;
  for (; getline(&json, &json_bytes, file) > 0; count++) {
    cr_assert_gt(getline(&rates, &rates_bytes, file), 0);
    check_case(json, rates);
  }
  cr_assert_geq(count, 11);
  free(json);
  free(rates);
  fclose(file);
}

static th_spec spec_of(th_schedule_kind kind) {
  th_spec spec;
  th_spec_init(&spec);
  spec.schedule = kind;
  return spec;
}

Test(schedule, is_a_rate_at_the_smallest_and_largest_sizes) {
  static const uint32_t sizes[] = {1, 2, 3, UINT32_MAX};
  for (th_schedule_kind kind = TH_SCHEDULE_CONSTANT; kind <= TH_SCHEDULE_PLATEAU; kind++)
    for (int e = 0; e < 4; e++)
      for (int s = 0; s < 4; s++)
        for (int w = 0; w < 4; w++) {
          th_spec spec = spec_of(kind);
          spec.epochs = sizes[e];
          spec.warmup_steps = sizes[w] - 1;
          th_schedule schedule = th_schedule_begin(&spec, sizes[s]);
          uint64_t last = (uint64_t)sizes[e] * sizes[s] - 1;
          for (int i = 0; i < 3; i++) {
            double rate = th_schedule_rate(&schedule, i == 0 ? 0 : i == 1 ? last / 2 : last);
            cr_assert(rate >= 0 && rate <= spec.learning_rate * (1 + 1e-12), "%d: %g", kind, rate);
          }
        }
}

Test(schedule, warms_up_to_where_the_schedule_begins) {
  for (th_schedule_kind kind = TH_SCHEDULE_CONSTANT; kind <= TH_SCHEDULE_PLATEAU; kind++) {
    th_spec spec = spec_of(kind);
    spec.epochs = 10;
    spec.warmup_steps = 8;
    th_schedule schedule = th_schedule_begin(&spec, 5);
    double first = th_schedule_rate(&schedule, 8);
    for (uint32_t step = 0; step < 8; step++)
      cr_assert_float_eq(th_schedule_rate(&schedule, step), first * (step + 1) / 8, 1e-15);
  }
}

Test(schedule, plateau_never_falls_below_its_least) {
  th_spec spec = spec_of(TH_SCHEDULE_PLATEAU);
  spec.plateau_patience = 0;
  spec.plateau_factor = 0;
  spec.min_learning_rate = 0.0004;
  th_schedule schedule = th_schedule_begin(&spec, 1);
  for (uint32_t epoch = 1; epoch <= 10; epoch++) th_schedule_judge(&schedule, epoch, 1);
  cr_assert_eq(th_schedule_rate(&schedule, 9), 0.0004);
}

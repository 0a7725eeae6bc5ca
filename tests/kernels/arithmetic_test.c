/* The arithmetic of kernels/real.h, activation.h and loss.h at its edges. */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>

#include "kernels/activation.h"
#include "kernels/loss.h"
#include "kernels/pace.h"

static double relative_error(double found, double expected) {
  return fabs(found - expected) / fmax(fabs(expected), (double)FLT_MIN);
}

Test(arithmetic, exp_is_within_2_ulp_over_its_range) {
  double worst = 0;
  for (float x = -87; x <= 88; x += 0.00097F)
    worst = fmax(worst, relative_error((double)th_real_exp(x), exp((double)x)));
  cr_assert_lt(worst, 2 * (double)FLT_EPSILON, "relative error %g", worst);
}

Test(arithmetic, exp_saturates_and_keeps_nan) {
  cr_assert(isfinite(th_real_exp(INFINITY)));
  cr_assert_gt(th_real_exp(INFINITY), 1e38F);
  cr_assert_lt(th_real_exp(-INFINITY), 1e-37F);
  cr_assert_geq(th_real_exp(-INFINITY), 0);
  cr_assert_eq(th_real_exp(0), 1);
  cr_assert(isnan(th_real_exp(NAN)));
}

Test(arithmetic, tanh_is_within_3_ulp_over_its_range) {
  double worst = 0;
  for (float x = -12; x <= 12; x += 0.00031F)
    worst = fmax(worst, relative_error((double)th_real_tanh(x), tanh((double)x)));
  cr_assert_lt(worst, 3 * (double)FLT_EPSILON, "relative error %g", worst);
  cr_assert_eq(th_real_tanh(0), 0);
  cr_assert_eq(th_real_tanh(INFINITY), 1);
  cr_assert_eq(th_real_tanh(-INFINITY), -1);
  cr_assert(isnan(th_real_tanh(NAN)));
}

Test(arithmetic, erf_is_within_3_ulp_over_its_range) {
  double worst = 0;
  for (float x = -6; x <= 6; x += 0.00017F)
    worst = fmax(worst, relative_error((double)th_real_erf(x), erf((double)x)));
  cr_assert_lt(worst, 3 * (double)FLT_EPSILON, "relative error %g", worst);
  cr_assert_eq(th_real_erf(0), 0);
  cr_assert_eq(th_real_erf(INFINITY), 1);
  cr_assert_eq(th_real_erf(-INFINITY), -1);
  cr_assert(isnan(th_real_erf(NAN)));
}

/* A NaN that an activation turned into a zero would let a broken net look well. */
Test(arithmetic, nan_passes_through_every_activation) {
  for (th_activation a = TH_ACTIVATION_RELU; a <= TH_ACTIVATION_SILU; a++)
    cr_assert(isnan(th_activation_value(a, 0.1F, NAN)), "%s", th_activation_name(a));
}

Test(arithmetic, slopes_are_those_of_the_values) {
  for (th_activation a = TH_ACTIVATION_RELU; a <= TH_ACTIVATION_SILU; a++)
    for (float x = -3; x <= 3; x += 0.37F) {
      const float h = 1e-2F;
      float above = th_activation_value(a, 0.1F, x + h);
      float below = th_activation_value(a, 0.1F, x - h);
      float slope;
      if (th_activation_tells_slope(a))
        slope = th_activation_slope(a, 0.1F, th_activation_value(a, 0.1F, x));
      else
        cr_assert_eq(th_activation_value_slope(a, x, &slope), th_activation_value(a, 0.1F, x));
      cr_assert_float_eq(slope, (above - below) / (2 * h), 1e-3, "%s at %g", th_activation_name(a),
                         (double)x);
    }
}

Test(arithmetic, cross_entropy_is_stable_for_huge_logits) {
  th_real logits[] = {1e30F, -1e30F, 0};
  th_real sum;
  th_real loss = th_loss_cross_entropy(logits, 3, 0, &sum);
  cr_assert_float_eq(loss, 0, 1e-6);
  th_real far[] = {1000, 0};
  loss = th_loss_cross_entropy(far, 2, 1, &sum);
  cr_assert_float_eq(loss, 1000, 1e-3);
}

Test(arithmetic, cross_entropy_of_equal_logits_is_the_log_of_their_number) {
  th_real logits[4] = {7, 7, 7, 7};
  th_real sum;
  th_real loss = th_loss_cross_entropy(logits, 4, 2, &sum);
  cr_assert_float_eq(loss, logf(4), 1e-6);
  th_loss_cross_entropy_gradient(logits, 4, 2, sum, 0.5F);
  for (int c = 0; c < 4; c++) cr_assert_float_eq(logits[c], c == 2 ? -0.375 : 0.125, 1e-7);
}

Test(arithmetic, cross_entropy_of_infinite_logits_is_no_number) {
  th_real sum;
  cr_assert_not(isfinite(th_loss_cross_entropy((th_real[]){INFINITY, 0}, 2, 0, &sum)));
  cr_assert_not(isfinite(th_loss_cross_entropy((th_real[]){NAN, 0}, 2, 1, &sum)));
}

Test(arithmetic, losses_are_stable_for_huge_logits) {
  static const float weights[] = {2, 3};
  float certain[] = {1000, 0}, sure[] = {1000, 0}, wrong[] = {1000, 0}, low = -1000;
  th_loss_rule rule = {.weights = weights, .weight_sum = 5, .smoothing = 0.5F};
  float loss = th_loss_row(&rule, certain, 2, 0, 1);
  cr_assert_float_eq(loss, 0.25 * 3 * 1000, 1e-2);
  rule = (th_loss_rule){.kind = TH_LOSS_FOCAL, .gamma = 0.5F};
  loss = th_loss_row(&rule, sure, 2, 0, 1);
  cr_assert(loss < 1e-9F && sure[1] < 1e-9F, "nothing is left to learn");
  loss = th_loss_row(&rule, wrong, 2, 1, 1);
  cr_assert_float_eq(loss, 1000, 1e-2);
  cr_assert_float_eq(wrong[1], -1, 1e-6);
  rule.kind = TH_LOSS_BINARY_CROSS_ENTROPY;
  loss = th_loss_row(&rule, &low, 1, 1, 1);
  cr_assert_float_eq(loss, 1000, 1e-2);
  cr_assert_float_eq(low, -1, 1e-6);
}

Test(arithmetic, losses_of_nan_are_nan) {
  for (th_loss_kind kind = TH_LOSS_CROSS_ENTROPY; kind <= TH_LOSS_BINARY_CROSS_ENTROPY; kind++) {
    th_loss_rule rule = {.kind = kind, .gamma = 2};
    float logits[] = {NAN, 0};
    cr_assert(isnan(th_loss_row(&rule, logits, 2, 1, 1)), "%s", th_loss_name(kind));
  }
}

/* What each of them is a case of. */
Test(arithmetic, losses_without_their_numbers_are_cross_entropy) {
  th_loss_rule rules[] = {{.kind = TH_LOSS_CROSS_ENTROPY, .weight_sum = 3},
                          {.kind = TH_LOSS_FOCAL, .gamma = 0}};
  for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
    float plain[] = {1, -2, 0.5F}, found[] = {1, -2, 0.5F}, sum;
    float loss = th_loss_cross_entropy(plain, 3, 2, &sum);
    th_loss_cross_entropy_gradient(plain, 3, 2, sum, 0.25F);
    float found_loss = th_loss_row(&rules[i], found, 3, 2, 0.25F);
    cr_assert_float_eq(found_loss, loss, 1e-6);
    for (int c = 0; c < 3; c++) cr_assert_float_eq(found[c], plain[c], 1e-7);
  }
}

Test(arithmetic, argmax_takes_the_first_of_equals) {
  cr_assert_eq(th_loss_argmax((th_real[]){1, 3, 3, 2}, 4), 1);
  cr_assert_eq(th_loss_argmax((th_real[]){5}, 1), 0);
}

Test(arithmetic, pace_is_that_of_the_recent_while) {
  th_pace pace = {0};
  cr_assert_eq(th_pace_rate(&pace), 0);
  cr_assert(isnan(th_pace_eta(&pace, 10)));
  th_pace_add(&pace, 10, 0.1);
  cr_assert_float_eq(th_pace_rate(&pace), 100, 1e-9, "known before a whole while has passed");
  th_pace_add(&pace, 90, 0.9);
  th_pace_add(&pace, 1000, 0.1);
  cr_assert_float_eq(th_pace_rate(&pace), 100, 1e-9, "of the last whole while");
  cr_assert_float_eq(th_pace_eta(&pace, 50), 0.5, 1e-9);
}

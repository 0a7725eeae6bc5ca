#include "golden.h"

/* Built once for each width (tests/kernels/CMakeLists.txt). */
enum { OPTIMIZERS = 9, ACTIVATIONS = 3, KINDS = 5, CASES = OPTIMIZERS * ACTIVATIONS * KINDS };

#ifdef TH_REAL_DOUBLE

/* Both sides compute in double; what differs is the order of sums. */
Test(golden_layers, steps_in_double_are_those_of_pytorch) {
  golden_check(
      &(golden_bounds){.loss = {1e-12, 1e-11}, .mark = {1e-12, 1e-11}, .applied = {1e-12, 1e-11}},
      2, CASES);
}

#else

/* As in golden_test.c; but normalization over a few numbers of little variance magnifies what
 * rounding changed, in some cases a hundredfold over 100 steps. */
Test(golden_layers, steps_in_float_stay_close_to_pytorch_in_double) {
  golden_check(
      &(golden_bounds){
          .loss = {5e-7, 5e-5}, .mark = {5e-7, 9e-4}, .applied = {5e-7, 5e-5}, .relative = 1e-6},
      2, CASES);
}

#endif

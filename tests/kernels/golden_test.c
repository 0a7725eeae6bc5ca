#include "golden.h"

/* Built once for each width (tests/kernels/CMakeLists.txt). */
enum { LOSSES = 11, OPTIMIZERS = 9, ACTIVATIONS = 8, CASES = LOSSES * OPTIMIZERS * ACTIVATIONS };

#ifdef TH_REAL_DOUBLE

/* Both sides compute in double; what differs is the order of sums. */
Test(golden, steps_in_double_are_those_of_pytorch) {
  golden_check(&(golden_bounds){.loss = {1e-12, 1e-11, 1e-10}, .mark = {1e-12, 1e-11, 1e-10}},
               GOLDEN_ENDS_MAX, CASES);
}

#else

/* A parameter near 1 has steps of 6e-8 in float, and a step rounds a few times. A mark adds up 79
 * parameters, whose errors, 1e-6 each after 100 steps, grow as the root of their number. After
 * 1,000 steps the net knows its 22 rows by heart, and what rounding changed has been magnified, in
 * PyTorch's float as in this one. */
Test(golden, steps_in_float_stay_close_to_pytorch_in_double) {
  golden_check(
      &(golden_bounds){
          .loss = {5e-7, 1e-6, 5e-6}, .mark = {5e-7, 9e-6, 4.5e-5}, .relative = 1e-6, .gaps = 3},
      GOLDEN_ENDS_MAX, CASES);
}

#endif

#include "golden.h"

/* Built once for each width (tests/kernels/CMakeLists.txt). */
#ifdef TH_REAL_DOUBLE

/* Both sides compute in double; what differs is the order of sums. */
Test(golden, steps_in_double_are_those_of_pytorch) {
  golden_check((const double[]){1e-12, 1e-11}, 0);
}

#else

/* A parameter near 1 has steps of 6e-8 in float, and a step rounds a few times. */
Test(golden, steps_in_float_stay_close_to_pytorch_in_double) {
  golden_check((const double[]){5e-7, 1e-6}, 1e-6);
}

#endif

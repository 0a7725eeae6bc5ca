/* Embeddings and recurrent layers against PyTorch (golden_recurrent.py). */
#include "golden.h"

/* Built once for each width (tests/kernels/CMakeLists.txt). */
enum { NETS = 5, OPTIMIZERS = 9, CASES = NETS * OPTIMIZERS };

#ifdef TH_REAL_DOUBLE

Test(golden_recurrent, steps_in_double_are_those_of_pytorch) {
  golden_check(&(golden_bounds){.loss = {1e-12, 1e-11}, .mark = {1e-12, 1e-11}}, 2, CASES);
}

#else

/* As golden_test.c explains; a mark adds up ten times as many parameters. */
Test(golden_recurrent, steps_in_float_stay_close_to_pytorch_in_double) {
  golden_check(&(golden_bounds){.loss = {5e-7, 1e-6}, .mark = {2e-6, 3e-5}, .relative = 1e-6}, 2,
               CASES);
}

#endif

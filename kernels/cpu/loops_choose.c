#include "kernels/cpu/loops.h"

/* Those that the build has made of loops.c (kernels/CMakeLists.txt). */
#define th_loops_portable TH_REAL_SYMBOL(th_loops_portable)
extern const th_loops th_loops_portable;

/* The reference build in double has no use for speed. */
#if defined(__x86_64__) && !defined(TH_REAL_DOUBLE)
#define HAS_X86_LOOPS
extern const th_loops th_loops_avx512;
extern const th_loops th_loops_avx2;
#endif

#define LOOPS_MAX 3

const th_loops *th_loops_at(uint32_t index) {
  const th_loops *found[LOOPS_MAX];
  uint32_t count = 0;
#ifdef HAS_X86_LOOPS
  bool has_fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (has_fma && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    found[count++] = &th_loops_avx512;
  if (has_fma) found[count++] = &th_loops_avx2;
#endif
  found[count++] = &th_loops_portable;
  return index < count ? found[index] : NULL;
}

const th_loops *th_loops_choose(void) {
  return th_loops_at(0);
}

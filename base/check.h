/** Our own bugs stop the process; nothing else does. */
#ifndef TH_BASE_CHECK_H
#define TH_BASE_CHECK_H

#include <stdio.h>
#include <stdlib.h>

/** Stop at once unless condition holds. For invariants only, never for input. */
#define th_check(condition)                                                             \
  do {                                                                                  \
    if (__builtin_expect(!(condition), 0)) {                                            \
      fprintf(stderr, "%s:%d: invariant broken: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                                          \
    }                                                                                   \
  } while (0)

#endif

#include "base/array.h"

const char *th_array_name(th_array array) {
  static const char *const names[TH_ARRAY_COUNT] = {
      [TH_ARRAY_FEATURES] = "features", [TH_ARRAY_LABELS] = "labels",
      [TH_ARRAY_TARGETS] = "targets",   [TH_ARRAY_WEIGHTS] = "weights",
      [TH_ARRAY_GROUPS] = "groups",     [TH_ARRAY_MODEL] = "model",
  };
  return names[array];
}

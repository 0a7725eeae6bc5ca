/** The modules of a net as PyTorch names them, for kernels/model_text.c and kernels/model_file.c.
 */
#ifndef TH_KERNELS_MODEL_NAMES_H
#define TH_KERNELS_MODEL_NAMES_H

#include <stdio.h>

#include "kernels/model.h"

/** Whether nn.Sequential says the whole net. */
static inline bool th_model_is_sequential(const th_spec *spec) {
  return !spec->residual && spec->embedding == 0 && spec->recurrent == TH_RECURRENT_NONE;
}

/** What a hidden layer is made of: its linear part, and what follows. */
static inline uint32_t th_model_modules_each(const th_spec *spec) {
  return 2 + (spec->normalization != TH_NORMALIZATION_NONE) + (spec->dropout > 0);
}

enum { TH_MODULE_NAME_BYTES_MAX = 32 };

/** The `part`th module of a layer: "3" in nn.Sequential, "hidden.1.0" or "output" in a class. */
static inline void th_model_module_name(const th_spec *spec, uint32_t layer, uint32_t part,
                                        char name[TH_MODULE_NAME_BYTES_MAX]) {
  if (th_model_is_sequential(spec))
    snprintf(name, TH_MODULE_NAME_BYTES_MAX, "%u", layer * th_model_modules_each(spec) + part);
  else if (layer < spec->hidden_count)
    snprintf(name, TH_MODULE_NAME_BYTES_MAX, "hidden.%u.%u", layer, part);
  else
    snprintf(name, TH_MODULE_NAME_BYTES_MAX, "output");
}

#endif

/* What a training begins with, other than parameters drawn on the seed. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "formats/safetensors.h"
#include "kernels/trainer_state.h"

th_error th_trainer_begin_with(th_trainer *trainer, const void *model, size_t bytes) {
  uint64_t count = trainer->model.parameters;
  float *parameters = malloc(count * sizeof *parameters);
  if (parameters == NULL)
    return th_fail(TH_ERR_SYSTEM, "no memory for %" PRIu64 " parameters", count);
  th_error error = th_model_read(&trainer->model, &trainer->spec, model, bytes, parameters);
  th_engine_state state = {.parameters = parameters};
  if (error == TH_OK) error = trainer->device.backend->write(trainer->engine, &state);
  free(parameters);
  return error;
}

/* A checkpoint says that it is one; a model may come from anywhere. */
th_error th_trainer_continue(th_trainer *trainer, const void *file, size_t bytes) {
  th_safetensors decoded;
  th_error error = th_safetensors_decode(file, bytes, &decoded);
  if (error != TH_OK) return error;
  const char *format = th_safetensors_metadata(&decoded, "format");
  bool is_checkpoint = format != NULL && strcmp(format, TH_CHECKPOINT_FORMAT) == 0;
  th_safetensors_fini(&decoded);
  return is_checkpoint ? th_trainer_restore(trainer, file, bytes)
                       : th_trainer_begin_with(trainer, file, bytes);
}

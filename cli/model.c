#include "cli/model.h"

#include <string.h>

#include "formats/file.h"
#include "formats/safetensors.h"
#include "kernels/spec.h"

/* A host goes by what the file says that it is, and would take one for the other. */
static th_error kind_judge(const char *flag, const char *path, bool wants_checkpoint,
                           const th_buffer *file) {
  th_safetensors decoded;
  th_error error = th_safetensors_decode(file->data, file->bytes, &decoded);
  if (error != TH_OK) return th_fail(error, "%s %.80s: %s", flag, path, th_error_text());
  const char *format = th_safetensors_metadata(&decoded, "format");
  bool is_checkpoint = format != NULL && strcmp(format, TH_CHECKPOINT_FORMAT) == 0;
  th_safetensors_fini(&decoded);
  if (is_checkpoint == wants_checkpoint) return TH_OK;
  return is_checkpoint
             ? th_fail(TH_ERR_USAGE,
                       "%s %.80s is a checkpoint: trainhost train --resume goes on from it", flag,
                       path)
             : th_fail(TH_ERR_USAGE, "%s %.80s is a model: --init begins with it", flag, path);
}

th_error th_model_file_read(const char *flag, const char *path, bool wants_checkpoint,
                            th_buffer *contents) {
  th_buffer file;
  th_error error = th_file_read(path, &file);
  if (error != TH_OK) return error;
  error = kind_judge(flag, path, wants_checkpoint, &file);
  if (error == TH_OK)
    *contents = file;
  else
    th_buffer_fini(&file);
  return error;
}

/** The file of --model, --init or --resume. */
#ifndef TH_CLI_MODEL_H
#define TH_CLI_MODEL_H

#include <stdbool.h>

#include "base/buffer.h"
#include "base/error.h"

/**
 * Read a model or a checkpoint, and see that it is the one of the two that the flag takes. Whether
 * it fits the data is the host's to judge.
 *
 * @param flag      for the text: "--model".
 * @param contents  [out] owned by the caller.
 * @return as th_file_read and th_safetensors_decode; TH_ERR_USAGE for the other one. All name the
 *         file.
 */
th_error th_model_file_read(const char *flag, const char *path, bool wants_checkpoint,
                            th_buffer *contents);

#endif

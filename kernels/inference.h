/** A trained model applied to rows: evaluation and prediction. */
#ifndef TH_KERNELS_INFERENCE_H
#define TH_KERNELS_INFERENCE_H

#include "base/buffer.h"
#include "base/error.h"
#include "kernels/device.h"
#include "kernels/team.h"
#include "kernels/trainer.h"

typedef struct th_inference th_inference;

/**
 * Read a model and check it against the data.
 *
 * @param model  a safetensors file that th_trainer_result wrote; borrowed until
 * th_inference_destroy.
 * @param data   borrowed likewise. With labels, or targets for a regression: evaluate. Without:
 * predict.
 * @return TH_OK; TH_ERR_DATA naming tensor, row or column; TH_ERR_SYSTEM; TH_ERR_DEVICE.
 */
th_error th_inference_create(const void *model, size_t model_bytes, const th_data *data,
                             const th_device *device, th_trainer_observer *observer, void *user,
                             th_inference **inference);

/** Go on until the moment passes. @return TH_OK when done; TH_ERR_AGAIN; TH_ERR_DEVICE. */
th_error th_inference_advance(th_inference *inference, th_team *team, int64_t until_ns);

/**
 * What came out, owned by the caller.
 *
 * @param output  [out] predict: the logits, float32 [rows, classes], or a regression's outputs,
 *                float32 [rows, outputs], as .npy; evaluate: empty.
 * @param card    [out] JSON: rows, classes, columns of the output, device, digest; evaluate: loss,
 *                accuracy and what th_scores_print adds, too.
 */
th_error th_inference_result(const th_inference *inference, th_buffer *output, th_buffer *card);

/** Takes NULL. */
void th_inference_destroy(th_inference *inference);

#endif

/** Losses, one row at a time. */
#ifndef TH_KERNELS_LOSS_H
#define TH_KERNELS_LOSS_H

#include "kernels/real.h"

/** The class of the largest logit, the first of equals. */
TH_HOST_DEVICE uint32_t th_loss_argmax(const th_real *logits, uint32_t classes) {
  uint32_t best = 0;
  for (uint32_t c = 1; c < classes; c++)
    if (logits[c] > logits[best]) best = c;
  return best;
}

/**
 * Softmax cross-entropy of a row: log Σ exp(z) − z[label].
 *
 * The largest logit is subtracted first, so that no exponential overflows.
 *
 * @param logits  [classes] [in,out] on return exp(z − max).
 * @param sum     [out] of these exponentials: they divided by it are the softmax.
 */
TH_HOST_DEVICE th_real th_loss_cross_entropy(th_real *logits, uint32_t classes, uint32_t label,
                                             th_real *sum) {
  th_real largest = logits[th_loss_argmax(logits, classes)];
  th_real at_label = logits[label] - largest;
  th_real total = 0;
  for (uint32_t c = 0; c < classes; c++) {
    logits[c] = th_real_exp(logits[c] - largest);
    total += logits[c];
  }
  *sum = total;
  return th_real_log(total) - at_label;
}

/**
 * The gradient at the logits: (softmax − one-hot) · scale.
 *
 * @param exponentials  [classes] [in,out] what th_loss_cross_entropy left; on return the gradient.
 * @param scale         1 / rows of the batch, for the mean over it.
 */
TH_HOST_DEVICE void th_loss_cross_entropy_gradient(th_real *exponentials, uint32_t classes,
                                                   uint32_t label, th_real sum, th_real scale) {
  th_real factor = scale / sum;
  for (uint32_t c = 0; c < classes; c++) exponentials[c] *= factor;
  exponentials[label] -= scale;
}

#endif

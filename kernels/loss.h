/** Losses, one row at a time. */
#ifndef TH_KERNELS_LOSS_H
#define TH_KERNELS_LOSS_H

#include "kernels/real.h"
#include "kernels/spec.h"

/** Which loss, and its numbers. `{0}` is plain cross-entropy. */
typedef struct th_loss_rule {
  th_loss_kind kind;
  const th_real *weights; /**< [classes]; NULL: 1 for each */
  th_real weight_sum; /**< of all classes */
  th_real smoothing; /**< of cross-entropy's labels */
  th_real gamma; /**< of focal */
  th_real delta; /**< of Huber */
} th_loss_rule;

/** Sums over rows. The mean loss is loss / weight. */
typedef struct th_sums {
  double loss;
  double weight; /**< rows, or their weights (th_loss_share) */
  uint64_t rows;
  uint64_t correct; /**< rows whose class was told right */
  /** Of a regression, each the mean over a row's outputs: |error|, error², and error² in units of
   * the output's variance (kernels/regression.h). */
  double absolute, squares, unexplained;
} th_sums;

TH_HOST_DEVICE void th_sums_add(th_sums *sums, const th_sums *part) {
  sums->loss += part->loss;
  sums->weight += part->weight;
  sums->rows += part->rows;
  sums->correct += part->correct;
  sums->absolute += part->absolute;
  sums->squares += part->squares;
  sums->unexplained += part->unexplained;
}

/** The class of the largest logit, the first of equals. */
TH_HOST_DEVICE uint32_t th_loss_argmax(const th_real *logits, uint32_t classes) {
  uint32_t best = 0;
  for (uint32_t c = 1; c < classes; c++)
    if (logits[c] > logits[best]) best = c;
  return best;
}

/** The class that logits say: a single one is the logit of class 1 against class 0. */
TH_HOST_DEVICE uint32_t th_loss_said(th_loss_kind kind, const th_real *logits, uint32_t outputs) {
  return kind == TH_LOSS_BINARY_CROSS_ENTROPY ? logits[0] > 0 : th_loss_argmax(logits, outputs);
}

/** What the loss of a row of that class is multiplied by, beside the row's own weight. */
TH_HOST_DEVICE th_real th_loss_weight(const th_loss_rule *rule, uint32_t label) {
  return rule->weights == NULL ? 1 : rule->weights[label];
}

/**
 * What a row of that class adds to the number that a sum of losses is divided by for their mean:
 * its weight for torch.nn.CrossEntropyLoss, one row for the others.
 */
TH_HOST_DEVICE th_real th_loss_share(const th_loss_rule *rule, uint32_t label) {
  return rule->kind == TH_LOSS_CROSS_ENTROPY ? th_loss_weight(rule, label) : 1;
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

/**
 * Cross-entropy with weights w and smoothing ε of C classes, as torch.nn.CrossEntropyLoss has it:
 * (1 − ε)·w[label]·(−log p[label]) + ε/C·Σ w[c]·(−log p[c]), whose gradient at a logit is
 * ((1 − ε)·w[label] + ε/C·Σ w)·p[c] less the share of the target at c.
 *
 * @param logits  [classes] [in,out] on return the gradient times `scale`.
 */
TH_HOST_DEVICE th_real th_loss_smoothed(const th_loss_rule *rule, th_real *logits, uint32_t classes,
                                        uint32_t label, th_real scale) {
  th_real hard = (1 - rule->smoothing) * th_loss_weight(rule, label);
  th_real soft = rule->smoothing / (th_real)classes;
  /* −log p[c] is −log p[label] + z[label] − z[c]. */
  th_real spread = 0;
  for (uint32_t c = 0; c < classes; c++)
    spread += th_loss_weight(rule, c) * (logits[label] - logits[c]);
  th_real sum;
  th_real loss = th_loss_cross_entropy(logits, classes, label, &sum);
  th_real all = hard + soft * rule->weight_sum;
  for (uint32_t c = 0; c < classes; c++)
    logits[c] = scale * (all / sum * logits[c] - soft * th_loss_weight(rule, c));
  logits[label] -= scale * hard;
  return all * loss + soft * spread;
}

/**
 * Focal loss: −w[label]·(1 − p)^γ·log p with p the probability of the label (Lin et al. 2017,
 * equation 5).
 *
 * Its gradient is cross-entropy's times w·((1 − p)^γ + γ·p·(1 − p)^(γ−1)·(−log p)).
 *
 * @param logits  [classes] [in,out] on return the gradient times `scale`.
 */
TH_HOST_DEVICE th_real th_loss_focal(const th_loss_rule *rule, th_real *logits, uint32_t classes,
                                     uint32_t label, th_real scale) {
  th_real sum;
  th_real loss = th_loss_cross_entropy(logits, classes, label, &sum);
  /* Added up, because 1 − p would lose what is left of it when the net is sure. */
  th_real others = 0;
  for (uint32_t c = 0; c < classes; c++) others += c == label ? 0 : logits[c];
  th_real rest = others / sum;
  th_real focus = th_loss_weight(rule, label) * th_real_pow(rest, rule->gamma);
  /* −log p / (1 − p) goes to 1 where both go to 0. */
  th_real steepness = rest > 0 ? loss / rest : 1;
  th_real factor = 1 + rule->gamma * (logits[label] / sum) * steepness;
  th_loss_cross_entropy_gradient(logits, classes, label, sum, scale * focus * factor);
  return focus * loss;
}

/**
 * Binary cross-entropy of one logit, as torch.nn.BCEWithLogitsLoss has it:
 * w[label]·(max(z, 0) − z·label + log(1 + e^(−|z|))), with the gradient w·(σ(z) − label).
 *
 * @param logit  [in,out] on return the gradient times `scale`.
 */
TH_HOST_DEVICE th_real th_loss_binary(const th_loss_rule *rule, th_real *logit, uint32_t label,
                                      th_real scale) {
  th_real weight = th_loss_weight(rule, label);
  th_real z = *logit;
  th_real size = z < 0 ? -z : z;
  th_real above = (z > 0 ? z : 0) - (label == 1 ? z : 0);
  *logit = scale * weight * (1 / (1 + th_real_exp(-z)) - (th_real)label);
  return weight * (above + th_real_log(1 + th_real_exp(-size)));
}

/**
 * The loss of one output of a regression, as torch.nn.MSELoss and torch.nn.HuberLoss have it:
 * e², and ½e² up to delta and delta·(|e| − ½delta) beyond (Huber 1964).
 *
 * @param error  [in,out] output less target; on return the gradient times `scale`.
 */
TH_HOST_DEVICE th_real th_loss_error(const th_loss_rule *rule, th_real *error, th_real scale) {
  th_real e = *error;
  th_real size = e < 0 ? -e : e;
  th_real delta = rule->delta;
  if (rule->kind == TH_LOSS_MEAN_SQUARED_ERROR) {
    *error = 2 * scale * e;
    return e * e;
  }
  /* A NaN is not beyond delta, and stays one. */
  bool is_far = size > delta;
  *error = scale * (is_far ? (e < 0 ? -delta : delta) : e);
  return is_far ? delta * (size - delta / 2) : e * e / 2;
}

/** The loss of a row with a label. @param logits  [outputs] [in,out] on return the gradient times
 * `scale`. */
TH_HOST_DEVICE th_real th_loss_row(const th_loss_rule *rule, th_real *logits, uint32_t outputs,
                                   uint32_t label, th_real scale) {
  switch (rule->kind) {
    case TH_LOSS_CROSS_ENTROPY:
      return th_loss_smoothed(rule, logits, outputs, label, scale);
    case TH_LOSS_FOCAL:
      return th_loss_focal(rule, logits, outputs, label, scale);
    case TH_LOSS_BINARY_CROSS_ENTROPY:
      return th_loss_binary(rule, logits, label, scale);
    case TH_LOSS_MEAN_SQUARED_ERROR:
    case TH_LOSS_HUBER:
      break; /* rows with targets go through th_loss_error */
  }
  __builtin_unreachable();
}

#endif

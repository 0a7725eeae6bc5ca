/** Optimizer steps, one parameter at a time, exactly as torch.optim documents them. */
#ifndef TH_KERNELS_OPTIMIZER_H
#define TH_KERNELS_OPTIMIZER_H

#include "kernels/real.h"
#include "kernels/spec.h"

/** The numbers of one step, the same for every parameter. Computed in double, once a step. */
typedef struct th_optimizer {
  th_optimizer_kind kind;
  th_real learning_rate;
  th_real weight_decay;
  th_real momentum;
  th_real rest1, rest2; /**< 1 − beta */
  th_real epsilon;
  th_real decay; /**< AdamW: learning rate · weight decay */
  th_real step_size; /**< Adam: learning rate / (1 − beta1^t) */
  th_real root_scale; /**< Adam: 1 / √(1 − beta2^t) */
} th_optimizer;

/** @param step  t, from 1 over the whole training. */
static inline th_optimizer th_optimizer_at(const th_spec *spec, uint64_t step) {
  double t = (double)step;
  return (th_optimizer){
      .kind = spec->optimizer,
      .learning_rate = (th_real)spec->learning_rate,
      .weight_decay = (th_real)spec->weight_decay,
      .momentum = (th_real)spec->momentum,
      .rest1 = (th_real)(1.0 - spec->beta1),
      .rest2 = (th_real)(1.0 - spec->beta2),
      .epsilon = (th_real)spec->epsilon,
      .decay = (th_real)(spec->learning_rate * spec->weight_decay),
      .step_size = (th_real)(spec->learning_rate / (1.0 - pow(spec->beta1, t))),
      .root_scale = (th_real)(1.0 / sqrt(1.0 - pow(spec->beta2, t))),
  };
}

/** How many numbers beside the parameter a kind carries from step to step. */
static inline uint32_t th_optimizer_moments(const th_spec *spec) {
  if (spec->optimizer == TH_OPTIMIZER_SGD) return spec->momentum != 0 ? 1 : 0;
  return 2;
}

/** Stochastic gradient descent; weight decay is coupled: it is added to the gradient. */
TH_HOST_DEVICE void th_optimizer_sgd(const th_optimizer *o, th_real gradient, th_real *parameter) {
  *parameter -= o->learning_rate * (gradient + o->weight_decay * *parameter);
}

/** As above with momentum, no dampening, no Nesterov. */
TH_HOST_DEVICE void th_optimizer_sgd_momentum(const th_optimizer *o, th_real gradient,
                                              th_real *parameter, th_real *moment1) {
  th_real decayed = gradient + o->weight_decay * *parameter;
  *moment1 = o->momentum * *moment1 + decayed;
  *parameter -= o->learning_rate * *moment1;
}

/**
 * What Adam and AdamW share: the moments, and the step that they give.
 *
 * Moments move by a share of what they lack, which is beta · moment + (1 − beta) · gradient,
 * without the error that 0.999 has as a float and that would add up from step to step.
 */
TH_HOST_DEVICE void th_optimizer_adaptive(const th_optimizer *o, th_real gradient,
                                          th_real *parameter, th_real *moment1, th_real *moment2) {
  *moment1 += o->rest1 * (gradient - *moment1);
  *moment2 += o->rest2 * (gradient * gradient - *moment2);
  th_real root = th_real_sqrt(*moment2) * o->root_scale + o->epsilon;
  *parameter -= o->step_size * (*moment1 / root);
}

/** Adam (Kingma and Ba 2015, algorithm 1) with coupled weight decay. */
TH_HOST_DEVICE void th_optimizer_adam(const th_optimizer *o, th_real gradient, th_real *parameter,
                                      th_real *moment1, th_real *moment2) {
  th_real decayed = gradient + o->weight_decay * *parameter;
  th_optimizer_adaptive(o, decayed, parameter, moment1, moment2);
}

/** AdamW (Loshchilov and Hutter 2019, algorithm 2): the decay is apart from the gradient. */
TH_HOST_DEVICE void th_optimizer_adamw(const th_optimizer *o, th_real gradient, th_real *parameter,
                                       th_real *moment1, th_real *moment2) {
  *parameter -= o->decay * *parameter;
  th_optimizer_adaptive(o, gradient, parameter, moment1, moment2);
}

#endif

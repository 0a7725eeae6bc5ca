/** Optimizer steps, one parameter at a time, exactly as torch.optim documents them. */
#ifndef TH_KERNELS_OPTIMIZER_H
#define TH_KERNELS_OPTIMIZER_H

#include <stdbool.h>

#include "kernels/real.h"
#include "kernels/spec.h"

/** The numbers of one step, the same for every parameter. Computed in double, once a step. */
typedef struct th_optimizer {
  th_optimizer_kind kind;
  th_real learning_rate;
  th_real weight_decay;
  th_real momentum;
  bool is_nesterov;
  th_real rest1, rest2; /**< 1 − beta; RMSprop: rest2 is 1 − rho */
  th_real epsilon;
  th_real decay; /**< AdamW: learning rate · weight decay */
  th_real step_size; /**< Adam: learning rate / (1 − beta1^t) */
  th_real root_scale; /**< Adam: 1 / √(1 − beta2^t) */
} th_optimizer;

/** @param learning_rate  of this step. @param step  t, from 1 over the whole training. */
static inline th_optimizer th_optimizer_at(const th_spec *spec, double learning_rate,
                                           uint64_t step) {
  double t = (double)step;
  return (th_optimizer){
      .kind = spec->optimizer,
      .learning_rate = (th_real)learning_rate,
      .weight_decay = (th_real)spec->weight_decay,
      .momentum = (th_real)spec->momentum,
      .is_nesterov = spec->nesterov,
      .rest1 = (th_real)(1.0 - spec->beta1),
      .rest2 = (th_real)(1.0 - (spec->optimizer == TH_OPTIMIZER_RMSPROP ? spec->rho : spec->beta2)),
      .epsilon = (th_real)spec->epsilon,
      .decay = (th_real)(learning_rate * spec->weight_decay),
      .step_size = (th_real)(learning_rate / (1.0 - pow(spec->beta1, t))),
      .root_scale = (th_real)(1.0 / sqrt(1.0 - pow(spec->beta2, t))),
  };
}

/** How many numbers beside the parameter a kind carries from step to step. */
static inline uint32_t th_optimizer_moments(const th_spec *spec) {
  uint32_t momentum = spec->momentum != 0 ? 1 : 0;
  switch (spec->optimizer) {
    case TH_OPTIMIZER_SGD:
      return momentum;
    case TH_OPTIMIZER_RMSPROP:
      return 1 + momentum;
    case TH_OPTIMIZER_ADAM:
    case TH_OPTIMIZER_ADAMW:
      return 2;
  }
  __builtin_unreachable();
}

/**
 * What a gradient is multiplied by so that it is at most clip_norm long, as
 * torch.nn.utils.clip_grad_norm_ has it: clip_norm / (length + 1e-6), at most 1.
 *
 * @param squares  the sum of the squares of the whole gradient. If that is no number, nor is this.
 */
TH_HOST_DEVICE th_real th_optimizer_clip(double clip_norm, double squares) {
  double factor = clip_norm / (sqrt(squares) + 1e-6);
  return (th_real)(factor > 1 ? 1 : factor);
}

/** Stochastic gradient descent; weight decay is coupled: it is added to the gradient. */
TH_HOST_DEVICE void th_optimizer_sgd(const th_optimizer *o, th_real gradient, th_real *parameter) {
  *parameter -= o->learning_rate * (gradient + o->weight_decay * *parameter);
}

/** As above with momentum, no dampening; Nesterov's as Sutskever et al. 2013 rewrote it. */
TH_HOST_DEVICE void th_optimizer_sgd_momentum(const th_optimizer *o, th_real gradient,
                                              th_real *parameter, th_real *moment1) {
  th_real decayed = gradient + o->weight_decay * *parameter;
  *moment1 = o->momentum * *moment1 + decayed;
  th_real ahead = decayed + o->momentum * *moment1;
  *parameter -= o->learning_rate * (o->is_nesterov ? ahead : *moment1);
}

/**
 * RMSprop (Hinton 2012, lecture 6e), as torch.optim has it: coupled weight decay, epsilon outside
 * the root, not centered. The mean of squares is moment1.
 */
TH_HOST_DEVICE th_real th_optimizer_rmsprop_direction(const th_optimizer *o, th_real gradient,
                                                      th_real parameter, th_real *moment1) {
  th_real decayed = gradient + o->weight_decay * parameter;
  *moment1 += o->rest2 * (decayed * decayed - *moment1);
  return decayed / (th_real_sqrt(*moment1) + o->epsilon);
}

TH_HOST_DEVICE void th_optimizer_rmsprop(const th_optimizer *o, th_real gradient,
                                         th_real *parameter, th_real *moment1) {
  *parameter -= o->learning_rate * th_optimizer_rmsprop_direction(o, gradient, *parameter, moment1);
}

/** As above with momentum, which is moment2. */
TH_HOST_DEVICE void th_optimizer_rmsprop_momentum(const th_optimizer *o, th_real gradient,
                                                  th_real *parameter, th_real *moment1,
                                                  th_real *moment2) {
  th_real direction = th_optimizer_rmsprop_direction(o, gradient, *parameter, moment1);
  *moment2 = o->momentum * *moment2 + direction;
  *parameter -= o->learning_rate * *moment2;
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

/**
 * The step of one parameter, whatever the kind.
 *
 * @param moments  th_optimizer_moments: a moment beyond them may be NULL.
 */
TH_HOST_DEVICE void th_optimizer_step(const th_optimizer *o, uint32_t moments, th_real gradient,
                                      th_real *parameter, th_real *moment1, th_real *moment2) {
  switch (o->kind) {
    case TH_OPTIMIZER_SGD:
      if (moments == 0)
        th_optimizer_sgd(o, gradient, parameter);
      else
        th_optimizer_sgd_momentum(o, gradient, parameter, moment1);
      return;
    case TH_OPTIMIZER_ADAM:
      th_optimizer_adam(o, gradient, parameter, moment1, moment2);
      return;
    case TH_OPTIMIZER_ADAMW:
      th_optimizer_adamw(o, gradient, parameter, moment1, moment2);
      return;
    case TH_OPTIMIZER_RMSPROP:
      if (moments == 1)
        th_optimizer_rmsprop(o, gradient, parameter, moment1);
      else
        th_optimizer_rmsprop_momentum(o, gradient, parameter, moment1, moment2);
      return;
  }
}

#endif

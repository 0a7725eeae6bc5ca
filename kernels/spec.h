/**
 * The specification of a job: what to train and how. One parser for the daemon, for local
 * mode and for the command line, so that a field means the same everywhere.
 *
 * A specification is one flat JSON object. Every field has a default; a field that is unknown, of
 * the wrong type or out of range is an error that names it, and the nearest known one. Its key
 * "profile" names values to start from instead of the defaults.
 */
#ifndef TH_KERNELS_SPEC_H
#define TH_KERNELS_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

#define TH_HIDDEN_LAYERS_MAX 64
#define TH_HIDDEN_WIDTH_MAX 65536
#define TH_RECURRENT_LAYERS_MAX 8
#define TH_RECURRENT_WIDTH_MAX 16384
#define TH_WINDOW_MAX 4096
#define TH_EMBEDDING_MAX 4096
#define TH_SPEC_NAME_BYTES_MAX 64

/** What a checkpoint's metadata have as "format"; a model's are other than that. */
#define TH_CHECKPOINT_FORMAT "trainhost-checkpoint-1"
#define TH_CLASS_WEIGHTS_MAX 1024

typedef enum th_activation {
  TH_ACTIVATION_RELU,
  TH_ACTIVATION_LEAKY_RELU,
  TH_ACTIVATION_TANH,
  TH_ACTIVATION_SIGMOID,
  TH_ACTIVATION_ELU,
  TH_ACTIVATION_GELU, /**< exact, by the error function */
  TH_ACTIVATION_GELU_TANH, /**< its approximation by tanh */
  TH_ACTIVATION_SILU,
} th_activation;

/** What a hidden layer's products are normalized over, before its activation. */
typedef enum th_normalization {
  TH_NORMALIZATION_NONE,
  TH_NORMALIZATION_LAYER, /**< the layer's outputs, row by row */
  TH_NORMALIZATION_BATCH, /**< the rows of the batch, output by output */
} th_normalization;

typedef enum th_recurrent_kind {
  TH_RECURRENT_NONE,
  TH_RECURRENT_LSTM,
  TH_RECURRENT_GRU,
} th_recurrent_kind;

typedef enum th_loss_kind {
  TH_LOSS_CROSS_ENTROPY,
  TH_LOSS_FOCAL,
  TH_LOSS_BINARY_CROSS_ENTROPY, /**< of two classes, told by the sign of one logit */
  TH_LOSS_MEAN_SQUARED_ERROR,
  TH_LOSS_HUBER, /**< squared near the target, linear far from it */
} th_loss_kind;

/** Whether a loss measures how near outputs come to targets, and not how well they tell labels. */
static inline bool th_loss_is_regression(th_loss_kind loss) {
  return loss == TH_LOSS_MEAN_SQUARED_ERROR || loss == TH_LOSS_HUBER;
}

/** How much a class weighs in the loss. */
typedef enum th_weighting {
  TH_WEIGHTING_NONE, /**< all the same */
  TH_WEIGHTING_BALANCED, /**< by its rarity; a training makes numbers of it (kernels/weighting.h) */
  TH_WEIGHTING_LISTED, /**< as class_weights says */
} th_weighting;

typedef enum th_optimizer_kind {
  TH_OPTIMIZER_SGD,
  TH_OPTIMIZER_ADAM,
  TH_OPTIMIZER_ADAMW,
  TH_OPTIMIZER_RMSPROP,
} th_optimizer_kind;

/** How the learning rate changes; kernels/schedule.h says it exactly. */
typedef enum th_schedule_kind {
  TH_SCHEDULE_CONSTANT,
  TH_SCHEDULE_STEP,
  TH_SCHEDULE_EXPONENTIAL,
  TH_SCHEDULE_COSINE,
  TH_SCHEDULE_ONE_CYCLE,
  TH_SCHEDULE_PLATEAU,
} th_schedule_kind;

typedef enum th_split_kind {
  TH_SPLIT_RANDOM, /**< rows drawn on the seed */
  TH_SPLIT_LAST, /**< the last rows, for data in time order */
  TH_SPLIT_STRATIFIED, /**< drawn on the seed, of each class its share */
} th_split_kind;

/** Which rows an epoch has; kernels/sampling.h says it exactly. */
typedef enum th_sampling_kind {
  TH_SAMPLING_EACH, /**< every row once */
  TH_SAMPLING_WEIGHTED, /**< drawn with replacement, in proportion to their weights */
  TH_SAMPLING_BALANCED, /**< of every group as many */
} th_sampling_kind;

/** What tells the best epoch, and when to stop. Without validation rows: of the training rows. */
typedef enum th_monitor {
  TH_MONITOR_LOSS, /**< lower is better */
  TH_MONITOR_ACCURACY, /**< higher is better */
} th_monitor;

/** The fields of a specification, in the order in which they are listed to a person. */
typedef struct th_spec {
  char name[TH_SPEC_NAME_BYTES_MAX]; /**< a label for people; may be empty */
  uint32_t hidden[TH_HIDDEN_LAYERS_MAX];
  uint32_t hidden_count;
  uint32_t classes; /**< 0: one more than the largest label, or none for a regression */
  th_activation activation[TH_HIDDEN_LAYERS_MAX]; /**< see th_spec_activation */
  uint32_t activation_count; /**< 1: the same for all hidden layers; else one for each */
  double negative_slope; /**< of leaky ReLU */
  double elu_alpha; /**< minus the limit of ELU at −∞ */
  th_normalization normalization; /**< of the hidden layers */
  bool residual; /**< hidden layers as wide as their inputs add them to their outputs */
  double dropout; /**< probability, after each hidden activation */
  uint32_t embedding; /**< numbers learnt for each group; 0: groups do not enter the net */
  th_recurrent_kind recurrent; /**< layers before the hidden ones, over the rows of a window */
  uint32_t recurrent_width;
  uint32_t recurrent_layers;
  uint32_t window; /**< rows: one and those before it in its group */
  th_loss_kind loss;
  th_weighting weighting;
  double class_weights[TH_CLASS_WEIGHTS_MAX]; /**< if listed: one for each class */
  uint32_t class_weight_count;
  double label_smoothing; /**< of cross-entropy */
  double focal_gamma;
  double huber_delta; /**< the error from which on Huber's loss is linear */
  uint32_t epochs;
  uint32_t batch_size;
  th_optimizer_kind optimizer;
  double learning_rate; /**< of one_cycle the highest */
  th_schedule_kind schedule;
  uint32_t step_size; /**< epochs */
  double gamma;
  double min_learning_rate;
  double plateau_factor;
  uint32_t plateau_patience; /**< epochs */
  uint32_t warmup_steps, warmup_epochs; /**< one of them at most is above 0 */
  double momentum; /**< of SGD and RMSprop */
  bool nesterov;
  double rho; /**< of RMSprop */
  double beta1, beta2, epsilon;
  double weight_decay;
  double clip_norm; /**< the largest length of a step's whole gradient; 0: any */
  double clip_value; /**< the largest size of each of its numbers; 0: any */
  double validation_split; /**< fraction of the rows, in [0, 1) */
  th_split_kind split;
  uint32_t validation_rows; /**< the last ones, instead of a fraction; 0: by validation_split */
  uint32_t folds; /**< parts for cross-validation, instead of a fraction; 0: none */
  uint32_t fold; /**< which of them validates, from 1 */
  bool standardize; /**< inputs, by the training rows' mean and deviation */
  bool shuffle;
  th_sampling_kind sampling;
  th_monitor early_stopping_monitor;
  uint32_t early_stopping_patience; /**< epochs without a better one; 0: never stop */
  double early_stopping_min_delta;
  bool importance; /**< of each feature, by the validation rows */
  bool restore_best; /**< the result is the best epoch's model, not the last's */
  uint32_t checkpoint_epochs; /**< from one checkpoint of a running training to the next; 0: none */
  uint64_t seed;
} th_spec;

typedef enum th_spec_field_kind {
  TH_SPEC_TEXT,
  TH_SPEC_BOOL,
  TH_SPEC_COUNT, /**< uint32_t */
  TH_SPEC_SEED, /**< uint64_t */
  TH_SPEC_NUMBER, /**< double */
  TH_SPEC_CHOICE, /**< one of `choices` */
  TH_SPEC_CHOICES, /**< one of `choices`, or a list of them, one for each hidden layer */
  TH_SPEC_COUNTS, /**< a list of uint32_t */
  TH_SPEC_WEIGHTS, /**< one of `choices`, or a list of double, one for each class */
} th_spec_field_kind;

/** What a person needs to know about one field; the command line makes its flags of these. */
typedef struct th_spec_field {
  const char *name; /**< as in JSON; a flag is the same with '-' for '_' */
  th_spec_field_kind kind;
  const char *fallback; /**< the default, as text */
  const char *help; /**< one sentence, no full stop */
  const char *const *choices; /**< NULL-terminated, of a kind that has some, else NULL */
} th_spec_field;

/** All fields, in order. @param count [out] how many. Static; never freed. */
const th_spec_field *th_spec_fields(size_t *count);

/** Every field at its default. */
void th_spec_init(th_spec *spec);

/**
 * Read a specification.
 *
 * @param text   JSON, need not be NUL-terminated; an empty text is an empty object.
 * @param spec   [out] untouched unless TH_OK.
 * @return TH_OK; TH_ERR_USAGE naming the line of a syntax error, or the field and what it may be.
 */
th_error th_spec_parse(const char *text, size_t bytes, th_spec *spec);

/**
 * Set one field from a flag's text, by the same rules as th_spec_parse: "256,128,100", "0.001",
 * "adam", "true".
 *
 * @return TH_OK; TH_ERR_USAGE.
 */
th_error th_spec_set(th_spec *spec, const char *name, const char *text);

/**
 * Judge the fields against each other, as th_spec_parse does at its end.
 *
 * @return TH_OK; TH_ERR_USAGE naming the two that do not go together.
 */
th_error th_spec_judge(const th_spec *spec);

/**
 * Write a specification, every field in order, as JSON.
 *
 * @param json  [out] owned by the caller. th_spec_parse reads it back to an equal specification.
 * @return TH_OK; TH_ERR_SYSTEM without memory.
 */
th_error th_spec_format(const th_spec *spec, th_buffer *json);

/**
 * Whether two specifications are the same, field by field.
 *
 * @return TH_OK; TH_ERR_DATA naming the first field that differs, and both values; TH_ERR_SYSTEM.
 */
th_error th_spec_judge_same(const th_spec *other, const th_spec *spec);

/** The activation of a hidden layer, counted from 0. */
static inline th_activation th_spec_activation(const th_spec *spec, uint32_t layer) {
  return spec->activation[spec->activation_count > 1 ? layer : 0];
}

/** Batches in an epoch; the last may be smaller. */
static inline uint32_t th_spec_steps(const th_spec *spec, uint32_t training_rows) {
  return (uint32_t)(((uint64_t)training_rows + spec->batch_size - 1) / spec->batch_size);
}

/** The word for a value of an enumerated field: "relu", "adam", … */
const char *th_activation_name(th_activation activation);
const char *th_optimizer_name(th_optimizer_kind optimizer);
const char *th_loss_name(th_loss_kind loss);

#endif

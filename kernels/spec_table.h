/**
 * The table of a specification's fields, for kernels/spec.c alone: parse, set, format, defaults and
 * help are all made of it.
 */
#ifndef TH_KERNELS_SPEC_TABLE_H
#define TH_KERNELS_SPEC_TABLE_H

#include <float.h>
#include <stdint.h>

#include "kernels/spec.h"

static const char *const activation_words[] = {"relu", "leaky_relu", "tanh", "sigmoid", "elu",
                                               "gelu", "gelu_tanh",  "silu", NULL};
static const char *const normalization_words[] = {"none", "layer", "batch", NULL};
static const char *const recurrent_words[] = {"none", "lstm", "gru", NULL};
static const char *const loss_words[] = {"cross_entropy",      "focal", "binary_cross_entropy",
                                         "mean_squared_error", "huber", NULL};
static const char *const weighting_words[] = {"none", "balanced", NULL};
static const char *const optimizer_words[] = {"sgd", "adam", "adamw", "rmsprop", NULL};
static const char *const split_words[] = {"random", "last", "stratified", NULL};
static const char *const sampling_words[] = {"each", "weighted", "balanced", NULL};
static const char *const monitor_words[] = {"validation_loss", "validation_accuracy", NULL};
static const char *const schedule_words[] = {"constant",  "step",    "exponential", "cosine",
                                             "one_cycle", "plateau", NULL};

/* What a field's number may be. An open end is written as the nearest double inside. */
typedef struct field_range {
  double least, most;
  const char *words; /* for people */
} field_range;

#define ANY \
  { 0, 0, NULL }
#define POSITIVE \
  { DBL_TRUE_MIN, DBL_MAX, "a number above 0" }
#define NOT_NEGATIVE \
  { 0, DBL_MAX, "a number, 0 or above" }
#define FRACTION \
  { 0, 1 - DBL_EPSILON / 2, "a number from 0 to below 1" }
#define FROM_ONE \
  { 1, UINT32_MAX, "a whole number from 1 to 4294967295" }
#define WORDS(number) #number
#define UP_TO(least, most) \
  { least, most, "a whole number from " WORDS(least) " to " WORDS(most) }
#define FROM_ZERO \
  { 0, UINT32_MAX, "a whole number from 0 to 4294967295" }

/* X(field, kind, default, choices, range, help), in the order in which they are listed to a person.
 */
#define FIELDS(X)                                                                                  \
  X(name, TH_SPEC_TEXT, "", NULL, ANY, "A label for lists and cards")                              \
  X(hidden, TH_SPEC_COUNTS, "64,32", NULL, ANY, "Widths of the hidden layers")                     \
  X(classes, TH_SPEC_COUNT, "0", NULL, FROM_ZERO,                                                  \
    "Classes to tell apart; 0: one more than the largest label")                                   \
  X(activation, TH_SPEC_CHOICES, "relu", activation_words, ANY,                                    \
    "Activation of the hidden layers, or a list with one for each")                                \
  X(negative_slope, TH_SPEC_NUMBER, "0.01", NULL, NOT_NEGATIVE, "Slope of leaky_relu below 0")     \
  X(elu_alpha, TH_SPEC_NUMBER, "1", NULL, NOT_NEGATIVE, "How far below 0 elu comes")               \
  X(normalization, TH_SPEC_CHOICE, "none", normalization_words, ANY,                               \
    "What the hidden layers' products are normalized over before the activation: nothing, the "    \
    "layer, or the batch")                                                                         \
  X(residual, TH_SPEC_BOOL, "false", NULL, ANY,                                                    \
    "Let hidden layers that are as wide as their inputs add these to their outputs")               \
  X(dropout, TH_SPEC_NUMBER, "0", NULL, FRACTION,                                                  \
    "Probability with which a hidden unit is left out of a step")                                  \
  X(embedding, TH_SPEC_COUNT, "0", NULL, UP_TO(0, TH_EMBEDDING_MAX),                               \
    "Numbers learnt for each group and put beside its rows' features; 0: groups do not enter")     \
  X(recurrent, TH_SPEC_CHOICE, "none", recurrent_words, ANY,                                       \
    "Recurrent layers before the hidden ones, over the rows of a window")                          \
  X(recurrent_width, TH_SPEC_COUNT, "64", NULL, UP_TO(1, TH_RECURRENT_WIDTH_MAX),                  \
    "Width of the recurrent layers")                                                               \
  X(recurrent_layers, TH_SPEC_COUNT, "1", NULL, UP_TO(1, TH_RECURRENT_LAYERS_MAX),                 \
    "How many recurrent layers there are, one on top of the other")                                \
  X(window, TH_SPEC_COUNT, "1", NULL, UP_TO(1, TH_WINDOW_MAX),                                     \
    "Rows that recurrent layers see: each row and those before it in its group")                   \
  X(loss, TH_SPEC_CHOICE, "cross_entropy", loss_words, ANY, "What training makes small")           \
  X(class_weights, TH_SPEC_WEIGHTS, "none", weighting_words, ANY,                                  \
    "What each class weighs in the loss: none, balanced by its rarity, or a list")                 \
  X(label_smoothing, TH_SPEC_NUMBER, "0", NULL, FRACTION,                                          \
    "Share of cross_entropy's labels spread over all classes")                                     \
  X(focal_gamma, TH_SPEC_NUMBER, "2", NULL, NOT_NEGATIVE,                                          \
    "How little focal cares for rows already told well")                                           \
  X(huber_delta, TH_SPEC_NUMBER, "1", NULL, POSITIVE,                                              \
    "Error up to which huber is squared and beyond which linear")                                  \
  X(epochs, TH_SPEC_COUNT, "10", NULL, FROM_ONE, "Passes over the training rows")                  \
  X(batch_size, TH_SPEC_COUNT, "32", NULL, FROM_ONE, "Rows in a step")                             \
  X(optimizer, TH_SPEC_CHOICE, "adam", optimizer_words, ANY, "Rule of the steps")                  \
  X(learning_rate, TH_SPEC_NUMBER, "0.001", NULL, POSITIVE, "Size of the steps")                   \
  X(schedule, TH_SPEC_CHOICE, "constant", schedule_words, ANY,                                     \
    "How the learning rate changes over the training")                                             \
  X(step_size, TH_SPEC_COUNT, "10", NULL, FROM_ONE,                                                \
    "Epochs from one cut of schedule step to the next")                                            \
  X(gamma, TH_SPEC_NUMBER, "0.1", NULL, POSITIVE,                                                  \
    "Factor of schedule step at each cut, of exponential after each epoch")                        \
  X(min_learning_rate, TH_SPEC_NUMBER, "0", NULL, NOT_NEGATIVE,                                    \
    "Where schedule cosine ends, and what plateau never goes below")                               \
  X(plateau_factor, TH_SPEC_NUMBER, "0.1", NULL, FRACTION,                                         \
    "Factor by which schedule plateau cuts the rate")                                              \
  X(plateau_patience, TH_SPEC_COUNT, "10", NULL, FROM_ZERO,                                        \
    "Epochs without a loss lower by 0.01 % that schedule plateau lets pass")                       \
  X(warmup_steps, TH_SPEC_COUNT, "0", NULL, FROM_ZERO,                                             \
    "Steps over which the learning rate rises before the schedule begins")                         \
  X(warmup_epochs, TH_SPEC_COUNT, "0", NULL, FROM_ZERO, "The same in epochs")                      \
  X(momentum, TH_SPEC_NUMBER, "0", NULL, FRACTION, "Momentum of sgd and rmsprop")                  \
  X(nesterov, TH_SPEC_BOOL, "false", NULL, ANY, "Let the momentum of sgd look a step ahead")       \
  X(rho, TH_SPEC_NUMBER, "0.99", NULL, FRACTION, "Decay of rmsprop's mean of squares")             \
  X(beta1, TH_SPEC_NUMBER, "0.9", NULL, FRACTION, "Decay of adam's first moment")                  \
  X(beta2, TH_SPEC_NUMBER, "0.999", NULL, FRACTION, "Decay of adam's second moment")               \
  X(epsilon, TH_SPEC_NUMBER, "1e-08", NULL, POSITIVE, "Keeps adam and rmsprop from dividing by 0") \
  X(weight_decay, TH_SPEC_NUMBER, "0", NULL, NOT_NEGATIVE,                                         \
    "L2 penalty; of adamw decoupled from the gradient")                                            \
  X(clip_norm, TH_SPEC_NUMBER, "0", NULL, NOT_NEGATIVE,                                            \
    "Shorten a gradient that is longer than this; 0: never")                                       \
  X(clip_value, TH_SPEC_NUMBER, "0", NULL, NOT_NEGATIVE,                                           \
    "Bound each number of the gradient to ± this; 0: never")                                       \
  X(validation_split, TH_SPEC_NUMBER, "0", NULL, FRACTION,                                         \
    "Fraction of the rows kept for validation")                                                    \
  X(split, TH_SPEC_CHOICE, "random", split_words, ANY,                                             \
    "Which rows validate: random, drawn on the seed; stratified, the same but of each class "      \
    "its share; or the last, for data in time order")                                              \
  X(validation_rows, TH_SPEC_COUNT, "0", NULL, FROM_ZERO,                                          \
    "Rows kept for validation, the last ones, instead of a fraction")                              \
  X(folds, TH_SPEC_COUNT, "0", NULL, FROM_ZERO,                                                    \
    "Cut the rows into so many parts, of which one validates, instead of a fraction; with the "    \
    "split last, each fold is trained on all that came before it")                                 \
  X(fold, TH_SPEC_COUNT, "1", NULL, FROM_ONE, "Which of the folds validates")                      \
  X(standardize, TH_SPEC_BOOL, "false", NULL, ANY,                                                 \
    "Give each feature mean 0 and deviation 1, as the training rows have them")                    \
  X(shuffle, TH_SPEC_BOOL, "true", NULL, ANY, "Order the rows anew in each epoch")                 \
  X(sampling, TH_SPEC_CHOICE, "each", sampling_words, ANY,                                         \
    "Which rows an epoch has: each once; weighted, drawn in proportion to their weights; or "      \
    "balanced, as many of every group")                                                            \
  X(early_stopping_monitor, TH_SPEC_CHOICE, "validation_loss", monitor_words, ANY,                 \
    "What tells the best epoch, and when to stop")                                                 \
  X(early_stopping_patience, TH_SPEC_COUNT, "0", NULL, FROM_ZERO,                                  \
    "Stop after so many epochs without a better one; 0: never")                                    \
  X(early_stopping_min_delta, TH_SPEC_NUMBER, "0", NULL, NOT_NEGATIVE,                             \
    "How much better counts as better")                                                            \
  X(restore_best, TH_SPEC_BOOL, "true", NULL, ANY,                                                 \
    "Give back the best epoch's model and not the last's")                                         \
  X(checkpoint_epochs, TH_SPEC_COUNT, "0", NULL, FROM_ZERO,                                        \
    "Epochs after which a running training is saved, again and again; 0: never")                   \
  X(importance, TH_SPEC_BOOL, "false", NULL, ANY,                                                  \
    "At the end, say how much validation accuracy depends on each feature")                        \
  X(seed, TH_SPEC_SEED, "0", NULL, ANY,                                                            \
    "Decides parameters, split, order and dropout; from 0 to 18446744073709551615")

/* Values to start from, by name; as in any specification, what is not named keeps its default. */
static const struct {
  const char *name;
  const char *fields; /* JSON */
} profiles[] = {
    /* A table of indicators in time order, to be told apart as buy, hold or sell. */
    {"ktrdr",
     "{\"hidden\": [64, 32], \"dropout\": 0.2, \"optimizer\": \"adam\", \"learning_rate\": 0.001, "
     "\"batch_size\": 32, \"epochs\": 100, \"weight_decay\": 0.0001, \"validation_split\": 0.2, "
     "\"split\": \"last\", \"early_stopping_monitor\": \"validation_loss\", "
     "\"early_stopping_patience\": 10}"},
};

#endif

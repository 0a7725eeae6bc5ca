/* Gradients of the production engine, built in double, against central differences. The engine
 * shows its gradient by a step of plain gradient descent at a learning rate of one. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "kernels/cpu/cpu.h"

#define H 1e-5
#define SMOOTH_ERROR_MAX 1e-7
#define KINKED_ERROR_MAX 1e-6

enum { ROWS = 150, WIDTH = 4, GROUPS = 6 };

typedef struct th_rig {
  th_spec spec;
  th_model model;
  th_data data;
  th_engine *engine;
  th_team *team;
  th_real *start; /* [model.parameters] */
  uint32_t step;
} th_rig;

enum { TARGETS_MAX = 5 };

static float features[ROWS * WIDTH];
static int32_t labels[ROWS];
static int32_t groups[ROWS];
static float targets[ROWS * TARGETS_MAX];
static float weights[ROWS];

/* The weights of rows in what follows; NULL: none. */
static const float *row_weights;

static th_spec spec_of(th_activation activation, double dropout, uint32_t batch_size) {
  return (th_spec){.hidden = {7, 9},
                   .hidden_count = 2,
                   .activation = {activation},
                   .negative_slope = 0.1,
                   .elu_alpha = 0.7,
                   .dropout = dropout,
                   .batch_size = batch_size,
                   .optimizer = TH_OPTIMIZER_SGD,
                   .learning_rate = 1,
                   .shuffle = true,
                   .seed = 11};
}

/* Away from 1 and 0, which would hide a scale or a shift that is left out. */
static void norms_stir(th_rig *rig) {
  const th_spec *spec = &rig->spec;
  for (uint32_t l = 0; l < spec->hidden_count; l++)
    for (uint32_t o = 0; o < spec->hidden[l]; o++) {
      th_philox bits = th_philox_at(3, l, o, 0, 0);
      rig->start[rig->model.norms[l].scale + o] += (double)th_random_unit(bits.word[0]) - 0.5;
      rig->start[rig->model.norms[l].shift + o] += (double)th_random_unit(bits.word[1]) - 0.5;
    }
}

static float random_near_zero(uint32_t i, uint32_t purpose) {
  return 2 * th_random_unit(th_philox_at(purpose, i, 0, 0, 0).word[0]) - 1;
}

static void data_make(th_data *data, const th_spec *spec, uint32_t outputs) {
  bool is_regression = th_loss_is_regression(spec->loss);
  uint32_t label_bound = spec->loss == TH_LOSS_BINARY_CROSS_ENTROPY ? 2 : outputs;
  for (uint32_t i = 0; i < ROWS * WIDTH; i++) features[i] = random_near_zero(i, 1);
  for (uint32_t i = 0; i < ROWS; i++)
    labels[i] = (int32_t)(th_philox_at(2, i, 0, 0, 0).word[0] % label_bound);
  for (uint32_t i = 0; i < ROWS * TARGETS_MAX; i++) targets[i] = 3 * random_near_zero(i, 3);
  for (uint32_t i = 0; i < ROWS; i++) weights[i] = i % 5 == 0 ? 0 : 2 + random_near_zero(i, 4);
  /* In runs of four rows on average. The last group has none. */
  for (uint32_t i = 1; i < ROWS; i++) {
    bool begins = th_philox_at(5, i, 0, 0, 0).word[0] % 4 == 0;
    groups[i] = (groups[i - 1] + begins) % (GROUPS - 1);
  }
  *data = (th_data){.features = features,
                    .labels = is_regression ? NULL : labels,
                    .targets = is_regression ? targets : NULL,
                    .weights = row_weights,
                    .groups = groups,
                    .rows = ROWS,
                    .width = WIDTH,
                    .target_width = is_regression ? outputs : 0};
}

static void *array_of(uint64_t count, size_t element_bytes) {
  void *array = calloc(count, element_bytes);
  cr_assert_not_null(array);
  return array;
}

static void rig_open(th_rig *rig, const th_spec *spec, uint32_t outputs, uint32_t step) {
  rig->spec = *spec;
  rig->step = step;
  data_make(&rig->data, spec, outputs);
  bool is_regression = th_loss_is_regression(spec->loss);
  th_model_sizes sizes = {.width = WIDTH,
                          .classes = is_regression ? 0 : outputs,
                          .targets = is_regression ? outputs : 0,
                          .groups = GROUPS};
  cr_assert_eq(th_model_init(&rig->model, spec, &sizes), TH_OK);
  th_engine_plan plan = {.spec = &rig->spec,
                         .model = &rig->model,
                         .data = &rig->data,
                         .split = th_permutation_identity(ROWS),
                         .training_rows = ROWS};
  cr_assert_eq(th_cpu_backend.create(&plan, &rig->engine), TH_OK);
  cr_assert_eq(th_team_create(1, &rig->team), TH_OK);
  float *drawn = array_of(rig->model.parameters, sizeof *drawn);
  rig->start = array_of(rig->model.parameters, sizeof *rig->start);
  th_model_draw(&rig->model, spec, 5, drawn);
  for (uint64_t i = 0; i < rig->model.parameters; i++) rig->start[i] = (th_real)drawn[i];
  free(drawn);
  if (spec->normalization != TH_NORMALIZATION_NONE) norms_stir(rig);
}

static void rig_close(th_rig *rig) {
  th_cpu_backend.destroy(rig->engine);
  th_team_destroy(rig->team);
  free(rig->start);
}

/* The mean loss at these parameters. @param after  [out] the parameters one step on, or NULL. */
static double rig_loss(th_rig *rig, th_real *parameters, th_real *after) {
  th_engine_state in = {.parameters = parameters};
  th_engine_state out = {.parameters = after};
  th_sums sums = {0};
  th_cpu_backend.write(rig->engine, &in);
  th_cpu_backend.train(rig->engine, rig->team, 1, rig->step, 1, &sums);
  th_cpu_backend.read(rig->engine, &out);
  return sums.loss / sums.weight;
}

/* Running statistics move and are not learnt. */
static bool is_learnt(const th_rig *rig, uint64_t parameter) {
  bool is_running = false;
  if (rig->spec.normalization == TH_NORMALIZATION_BATCH)
    for (uint32_t l = 0; l < rig->spec.hidden_count; l++)
      is_running |= parameter >= rig->model.norms[l].mean &&
                    parameter < rig->model.norms[l].variance + rig->spec.hidden[l];
  return !is_running;
}

/* Of all parameters together, relative to the gradient's length. */
static double gradient_error(th_rig *rig) {
  th_real *after = array_of(rig->model.parameters, sizeof *after);
  rig_loss(rig, rig->start, after);
  double error = 0;
  double length = 0;
  for (uint64_t i = 0; i < rig->model.parameters; i++) {
    if (!is_learnt(rig, i)) continue;
    th_real kept = rig->start[i];
    double gradient = kept - after[i];
    rig->start[i] = kept + H;
    double above = rig_loss(rig, rig->start, NULL);
    rig->start[i] = kept - H;
    double below = rig_loss(rig, rig->start, NULL);
    rig->start[i] = kept;
    error += pow(gradient - (above - below) / (2 * H), 2);
    length += gradient * gradient;
  }
  free(after);
  return length == 0 ? sqrt(error) : sqrt(error / length);
}

/* Of a net with too many parameters to try each: along the gradient, the loss must rise by its
 * length. A wrong one would not be the steepest way, or not as steep as it is long. */
static double slope_error(th_rig *rig) {
  uint64_t count = rig->model.parameters;
  th_real *ahead = array_of(count, sizeof *ahead);
  th_real *gradient = array_of(count, sizeof *gradient);
  double losses[2];
  double squares = 0;
  rig_loss(rig, rig->start, gradient);
  for (uint64_t i = 0; i < count; i++) {
    gradient[i] = rig->start[i] - gradient[i];
    squares += gradient[i] * gradient[i];
  }
  double length = sqrt(squares);
  for (int side = 0; side < 2; side++) {
    double step = (side == 0 ? -H : H) / length;
    for (uint64_t i = 0; i < count; i++) ahead[i] = rig->start[i] + step * gradient[i];
    losses[side] = rig_loss(rig, ahead, NULL);
  }
  free(ahead);
  free(gradient);
  return fabs((losses[1] - losses[0]) / (2 * H) / length - 1);
}

static void check_gradient(const th_spec *spec, uint32_t classes, uint32_t step, const char *what) {
  th_rig rig;
  /* An ELU whose alpha is not 1 has a kink at 0. */
  bool smooth = true;
  for (uint32_t l = 0; l < spec->hidden_count; l++) {
    th_activation kind = th_spec_activation(spec, l);
    smooth &=
        kind != TH_ACTIVATION_RELU && kind != TH_ACTIVATION_LEAKY_RELU && kind != TH_ACTIVATION_ELU;
  }
  rig_open(&rig, spec, classes, step);
  double error = gradient_error(&rig);
  cr_expect(error <= (smooth ? SMOOTH_ERROR_MAX : KINKED_ERROR_MAX),
            "%s, %s, dropout %g, batch %u, %u classes: relative error %g", what,
            th_activation_name(spec->activation[0]), spec->dropout, spec->batch_size, classes,
            error);
  rig_close(&rig);
}

Test(gradient, is_that_of_central_differences_for_every_activation) {
  for (th_activation a = TH_ACTIVATION_RELU; a <= TH_ACTIVATION_SILU; a++) {
    th_spec spec = spec_of(a, 0, 16);
    check_gradient(&spec, 3, 0, "first batch");
  }
}

Test(gradient, is_right_where_layers_differ) {
  for (uint32_t step = 0; step < 2; step++) {
    th_spec spec = spec_of(TH_ACTIVATION_GELU, step == 0 ? 0 : 0.3, 16);
    spec.activation_count = 4;
    spec.activation[1] = TH_ACTIVATION_TANH;
    spec.activation[2] = TH_ACTIVATION_SILU;
    spec.activation[3] = TH_ACTIVATION_LEAKY_RELU;
    spec.hidden_count = 4;
    for (uint32_t l = 0; l < 4; l++) spec.hidden[l] = 5 + l;
    check_gradient(&spec, 3, step, "four activations");
  }
}

Test(gradient, is_right_with_dropout) {
  for (th_activation a = TH_ACTIVATION_RELU; a <= TH_ACTIVATION_SILU; a++) {
    th_spec spec = spec_of(a, 0.3, 16);
    check_gradient(&spec, 3, 2, "third batch");
  }
}

Test(gradient, is_right_for_any_number_of_classes) {
  static const uint32_t classes[] = {1, 2, 5, 10, 32};
  for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
    th_spec spec = spec_of(TH_ACTIVATION_TANH, 0, 16);
    check_gradient(&spec, classes[i], 0, "first batch");
  }
}

Test(gradient, is_right_for_a_ragged_batch_and_for_several_slices) {
  th_spec ragged = spec_of(TH_ACTIVATION_SIGMOID, 0.2, 16);
  check_gradient(&ragged, 3, ROWS / 16, "last batch, of 6 rows");
  th_spec single = spec_of(TH_ACTIVATION_TANH, 0, 1);
  check_gradient(&single, 3, 7, "a row alone");
  th_spec sliced = spec_of(TH_ACTIVATION_TANH, 0.2, ROWS);
  check_gradient(&sliced, 3, 0, "all rows, in three slices");
}

Test(gradient, is_right_at_any_depth) {
  for (uint32_t depth = 0; depth <= 5; depth++) {
    th_spec spec = spec_of(TH_ACTIVATION_TANH, 0, 16);
    spec.hidden_count = depth;
    for (uint32_t l = 0; l < depth; l++) spec.hidden[l] = 3 + l;
    check_gradient(&spec, 3, 0, "another depth");
  }
}

/* The blocks of the parameters phase are 64 outputs wide. */
Test(gradient, is_right_across_blocks_of_outputs) {
  th_spec spec = spec_of(TH_ACTIVATION_TANH, 0, 16);
  spec.hidden_count = 1;
  spec.hidden[0] = 70;
  check_gradient(&spec, 3, 0, "70 outputs");
}

/* Each class weighs something else, and every fourth nothing. */
static void weigh(th_spec *spec, uint32_t classes) {
  spec->weighting = TH_WEIGHTING_LISTED;
  spec->class_weight_count = classes;
  for (uint32_t c = 0; c < classes; c++) spec->class_weights[c] = c % 4 == 3 ? 0 : 0.5 + c % 3;
}

static void check_losses(const th_spec *plain, uint32_t classes, uint32_t step, const char *what) {
  th_spec spec = *plain;
  check_gradient(&spec, classes, step, what);
  spec.label_smoothing = 0.15;
  check_gradient(&spec, classes, step, what);
  weigh(&spec, classes);
  check_gradient(&spec, classes, step, what);
  spec.label_smoothing = 0;
  check_gradient(&spec, classes, step, what);
  spec.loss = TH_LOSS_FOCAL;
  static const double gammas[] = {0, 0.5, 1, 2, 5};
  for (size_t i = 0; i < sizeof gammas / sizeof *gammas; i++) {
    spec.focal_gamma = gammas[i];
    check_gradient(&spec, classes, step, what);
  }
}

Test(gradient, is_right_for_every_loss_and_number_of_classes) {
  static const uint32_t classes[] = {2, 3, 5, 32};
  for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
    th_spec spec = spec_of(TH_ACTIVATION_TANH, 0, 16);
    check_losses(&spec, classes[i], 0, "a loss");
    check_losses(&spec, classes[i], ROWS / 16, "a loss, last batch, of 6 rows");
  }
}

Test(gradient, is_right_for_losses_over_several_slices) {
  th_spec spec = spec_of(TH_ACTIVATION_TANH, 0.2, ROWS);
  check_losses(&spec, 4, 0, "a loss, all rows, in three slices");
}

Test(gradient, is_right_for_one_logit) {
  th_spec spec = spec_of(TH_ACTIVATION_SILU, 0, 16);
  spec.loss = TH_LOSS_BINARY_CROSS_ENTROPY;
  check_gradient(&spec, 2, 0, "binary");
  weigh(&spec, 2);
  check_gradient(&spec, 2, ROWS / 16, "binary, weighted, last batch");
}

Test(gradient, is_right_of_an_embedding) {
  for (uint32_t depth = 0; depth <= 2; depth++) {
    th_spec spec = spec_of(TH_ACTIVATION_TANH, depth == 2 ? 0.3 : 0, 16);
    spec.hidden_count = depth;
    for (spec.embedding = 1; spec.embedding <= 17; spec.embedding += 8) {
      check_gradient(&spec, 3, 0, "an embedding");
      check_gradient(&spec, 3, ROWS / 16, "an embedding, last batch, of 6 rows");
    }
  }
}

Test(gradient, is_right_of_an_embedding_over_several_slices) {
  th_spec spec = spec_of(TH_ACTIVATION_GELU, 0, ROWS);
  spec.embedding = 3;
  check_gradient(&spec, 3, 0, "an embedding, all rows, in three slices");
}

/* Errors lie on both sides of a delta of 1, and none at it. */
Test(gradient, is_right_for_every_number_of_outputs) {
  for (uint32_t outputs = 1; outputs <= TARGETS_MAX; outputs++)
    for (th_loss_kind loss = TH_LOSS_MEAN_SQUARED_ERROR; loss <= TH_LOSS_HUBER; loss++) {
      th_spec spec = spec_of(TH_ACTIVATION_TANH, 0.2, 16);
      spec.loss = loss;
      spec.huber_delta = 1;
      check_gradient(&spec, outputs, 0, "a regression");
      check_gradient(&spec, outputs, ROWS / 16, "a regression, last batch, of 6 rows");
      spec.batch_size = ROWS;
      check_gradient(&spec, outputs, 0, "a regression, all rows, in three slices");
    }
}

Test(gradient, is_right_for_rows_that_weigh) {
  row_weights = weights;
  th_spec spec = spec_of(TH_ACTIVATION_TANH, 0, 16);
  check_losses(&spec, 3, 0, "rows that weigh");
  check_losses(&spec, 3, ROWS / 16, "rows that weigh, last batch");
  spec.batch_size = ROWS;
  check_losses(&spec, 5, 0, "rows that weigh, in three slices");
  spec.loss = TH_LOSS_BINARY_CROSS_ENTROPY;
  check_gradient(&spec, 2, 0, "rows that weigh, binary");
  spec.loss = TH_LOSS_MEAN_SQUARED_ERROR;
  check_gradient(&spec, 3, 0, "rows that weigh, a regression");
}

/* Three layers of which the second and, where the first is as wide as the features, the first are
 * residual. */
static void check_layers(th_normalization normalization) {
  for (th_activation a = TH_ACTIVATION_RELU; a <= TH_ACTIVATION_SILU; a++) {
    th_spec spec = spec_of(a, 0, 16);
    spec.normalization = normalization;
    spec.residual = true;
    spec.hidden_count = 3;
    spec.hidden[0] = spec.hidden[1] = a % 2 == 0 ? WIDTH : 7;
    spec.hidden[2] = 5;
    check_gradient(&spec, 3, 1, "second batch");
    spec.dropout = 0.2;
    check_gradient(&spec, 3, ROWS / 16, "last batch, of 6 rows");
  }
}

Test(gradient, is_right_through_residual_layers) {
  check_layers(TH_NORMALIZATION_NONE);
}

Test(gradient, is_right_through_normalization_by_layer) {
  check_layers(TH_NORMALIZATION_LAYER);
}

Test(gradient, is_right_through_normalization_by_batch) {
  check_layers(TH_NORMALIZATION_BATCH);
}

/* The first layer's inputs learn, too: they are states of a recurrent layer, or an embedding beside
 * the features. */
Test(gradient, is_right_below_normalized_residual_layers) {
  for (th_normalization n = TH_NORMALIZATION_NONE; n <= TH_NORMALIZATION_BATCH; n++) {
    th_spec spec = spec_of(TH_ACTIVATION_TANH, 0.2, 16);
    spec.normalization = n;
    spec.residual = true;
    spec.embedding = 3;
    spec.hidden[0] = WIDTH + 3;
    check_gradient(&spec, 3, 1, "an embedding below");
    spec.embedding = 0;
    spec.recurrent = TH_RECURRENT_GRU;
    spec.recurrent_layers = 1;
    spec.window = 3;
    spec.hidden[0] = spec.recurrent_width = 5;
    check_gradient(&spec, 3, ROWS / 16, "a recurrent layer below");
  }
}

Test(gradient, is_right_through_normalization_over_several_slices) {
  for (th_normalization n = TH_NORMALIZATION_LAYER; n <= TH_NORMALIZATION_BATCH; n++) {
    th_spec spec = spec_of(TH_ACTIVATION_TANH, 0.2, ROWS);
    spec.normalization = n;
    spec.residual = true;
    spec.hidden[0] = WIDTH;
    check_gradient(&spec, 3, 0, "all rows, in three slices");
  }
}

/* Wider than a panel, so that padding stands between numbers that count. */
Test(gradient, is_right_through_wide_normalization) {
  for (th_normalization n = TH_NORMALIZATION_LAYER; n <= TH_NORMALIZATION_BATCH; n++) {
    th_spec spec = spec_of(TH_ACTIVATION_SIGMOID, 0, 16);
    spec.normalization = n;
    spec.hidden[0] = spec.hidden[1] = 18;
    check_gradient(&spec, 3, 0, "18 outputs");
  }
}

Test(gradient, is_right_through_normalization_of_a_row_alone) {
  th_spec spec = spec_of(TH_ACTIVATION_TANH, 0, 1);
  spec.normalization = TH_NORMALIZATION_LAYER;
  check_gradient(&spec, 3, 7, "a row alone");
  spec.normalization = TH_NORMALIZATION_BATCH;
  check_gradient(&spec, 3, 7, "a row alone");
}

static th_spec recurrent_spec(th_recurrent_kind kind, uint32_t layers, uint32_t window) {
  th_spec spec = spec_of(TH_ACTIVATION_TANH, 0, 16);
  spec.hidden_count = 1;
  spec.recurrent = kind;
  spec.recurrent_width = 5;
  spec.recurrent_layers = layers;
  spec.window = window;
  return spec;
}

/* Windows of 5 and 7 rows are cut short where groups begin. */
Test(gradient, is_right_of_recurrent_layers) {
  for (th_recurrent_kind kind = TH_RECURRENT_LSTM; kind <= TH_RECURRENT_GRU; kind++)
    for (uint32_t layers = 1; layers <= 3; layers++)
      for (uint32_t window = 2; window <= 7; window += layers == 1 ? 1 : 5) {
        th_spec spec = recurrent_spec(kind, layers, window);
        check_gradient(&spec, 3, layers, kind == TH_RECURRENT_LSTM ? "lstm" : "gru");
      }
}

Test(gradient, is_right_of_recurrent_layers_with_dropout_and_an_embedding) {
  for (th_recurrent_kind kind = TH_RECURRENT_LSTM; kind <= TH_RECURRENT_GRU; kind++)
    for (uint32_t layers = 1; layers <= 2; layers++) {
      th_spec spec = recurrent_spec(kind, layers, 4);
      spec.dropout = 0.3;
      check_gradient(&spec, 3, ROWS / 16, "recurrent, dropout, last batch, of 6 rows");
      spec.embedding = 3;
      check_gradient(&spec, 3, 1, "recurrent, dropout, embedding");
      spec.dropout = 0;
      spec.hidden_count = 0;
      check_gradient(&spec, 3, 0, "recurrent, embedding, no hidden layer");
    }
}

Test(gradient, is_right_of_recurrent_layers_over_several_slices) {
  for (th_recurrent_kind kind = TH_RECURRENT_LSTM; kind <= TH_RECURRENT_GRU; kind++) {
    th_spec spec = recurrent_spec(kind, 2, 3);
    spec.batch_size = 50;
    spec.embedding = 2;
    check_gradient(&spec, 3, 2, "recurrent, 50 rows");
  }
}

/* Both products of a second layer are the BLAS's. */
Test(gradient, is_right_of_wide_recurrent_layers) {
  for (th_recurrent_kind kind = TH_RECURRENT_LSTM; kind <= TH_RECURRENT_GRU; kind++) {
    th_rig rig;
    th_spec spec = recurrent_spec(kind, kind == TH_RECURRENT_GRU ? 2 : 1, 3);
    spec.recurrent_width = 770;
    spec.dropout = 0.2;
    spec.batch_size = 20;
    rig_open(&rig, &spec, 3, 0);
    double error = slope_error(&rig);
    cr_expect_leq(error, SMOOTH_ERROR_MAX, "kind %d: relative error %g", (int)kind, error);
    rig_close(&rig);
  }
}

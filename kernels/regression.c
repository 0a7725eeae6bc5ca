#include "kernels/regression.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/card.h"

static const float *targets_at(const th_data *data, const th_split *split, uint32_t position) {
  return data->targets + (size_t)th_split_row(split, position) * data->target_width;
}

/* In two passes, and less the first row's, because the squares of targets far from 0 would leave
 * nothing of a small variance, and equal ones a variance that is none. Until errors are counted,
 * their memory holds means and sums of squares. */
static void targets_survey(th_regression *regression, const th_data *data, const th_split *split,
                           uint32_t first, uint32_t count) {
  double *means = regression->absolute, *squares = regression->squares;
  const float *origin = targets_at(data, split, first);
  for (uint32_t i = 0; i < count; i++) {
    const float *targets = targets_at(data, split, first + i);
    for (uint32_t o = 0; o < regression->outputs; o++)
      means[o] += ((double)targets[o] - (double)origin[o]) / count;
  }
  for (uint32_t i = 0; i < count; i++) {
    const float *targets = targets_at(data, split, first + i);
    for (uint32_t o = 0; o < regression->outputs; o++) {
      double off = (double)targets[o] - (double)origin[o] - means[o];
      squares[o] += off * off;
    }
  }
}

th_error th_regression_init(th_regression *regression, const th_data *data, const th_split *split,
                            uint32_t first, uint32_t count) {
  uint32_t outputs = data->target_width;
  *regression = (th_regression){.outputs = outputs};
  regression->shares = calloc(outputs, 3 * sizeof *regression->shares);
  if (regression->shares == NULL)
    return th_fail(TH_ERR_SYSTEM, "no memory for the errors of %u outputs", outputs);
  regression->absolute = regression->shares + outputs;
  regression->squares = regression->absolute + outputs;
  targets_survey(regression, data, split, first, count);
  for (uint32_t o = 0; o < outputs; o++) {
    double variance = regression->squares[o] / count;
    if (variance > 0) {
      regression->shares[o] = 1 / (variance * outputs);
      regression->variable += 1.0 / outputs;
    }
    regression->absolute[o] = regression->squares[o] = 0;
  }
  return TH_OK;
}

void th_regression_add(th_regression *regression, const float *targets, const float *outputs) {
  for (uint32_t o = 0; o < regression->outputs; o++) {
    double error = (double)outputs[o] - (double)targets[o];
    regression->absolute[o] += fabs(error);
    regression->squares[o] += error * error;
  }
  regression->rows++;
}

double th_regression_r2(const th_regression *regression, const th_sums *sums) {
  return regression->variable - sums->unexplained / (double)sums->rows;
}

/* ---- JSON; NULL is how jansson reports that memory ran out, and passes through all calls ---- */

static json_t *errors_to_json(double absolute, double squares, double r2) {
  return json_pack("{s:o, s:o, s:o}", "mae", th_card_number(absolute), "rmse",
                   th_card_number(sqrt(squares)), "r2", th_card_number(r2));
}

bool th_regression_print(const th_regression *regression, json_t *card) {
  double rows = (double)regression->rows, outputs = regression->outputs;
  double absolute = 0, squares = 0, r2 = 0;
  json_t *by_output = json_array();
  bool is_whole = by_output != NULL;
  for (uint32_t o = 0; o < regression->outputs && is_whole; o++) {
    double square = regression->squares[o] / rows;
    double explained = regression->shares[o] > 0 ? 1 - square * regression->shares[o] * outputs : 0;
    absolute += regression->absolute[o] / rows / outputs;
    squares += square / outputs;
    r2 += explained / outputs;
    is_whole = json_array_append_new(by_output, errors_to_json(regression->absolute[o] / rows,
                                                               square, explained)) == 0;
  }
  json_t *means = errors_to_json(absolute, squares, r2);
  is_whole &= means != NULL && json_object_update(card, means) == 0;
  json_decref(means);
  /* Taken over by the card even if not whole, and with it the duty to free it. */
  return json_object_set_new(card, "by_output", by_output) == 0 && is_whole;
}

void th_regression_fini(th_regression *regression) {
  free(regression->shares);
  *regression = (th_regression){0};
}

#include "cli/predictions.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "formats/table.h"

static uint32_t likeliest(const float *logits, uint32_t classes) {
  uint32_t best = 0;
  for (uint32_t i = 1; i < classes; i++)
    if (logits[i] > logits[best]) best = i;
  return best;
}

/* Softmax, with the largest logit taken off first so that no exponential overflows. */
static void classes_print(FILE *file, const float *logits, uint32_t classes) {
  uint32_t best = likeliest(logits, classes);
  /* In double: six digits are printed, and thousands of classes may be added up. */
  double sum = 0;
  for (uint32_t i = 0; i < classes; i++) sum += exp((double)logits[i] - logits[best]);
  fprintf(file, ",%u", best);
  for (uint32_t i = 0; i < classes; i++)
    fprintf(file, ",%.6g", exp((double)logits[i] - logits[best]) / sum);
}

/* With all the digits that tell one float32 from the next. */
static void outputs_print(FILE *file, const float *outputs, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) fprintf(file, ",%.9g", (double)outputs[i]);
}

static void table_print(FILE *file, const th_numbers *predictions, bool are_logits) {
  fputs(are_logits ? "row,class" : "row", file);
  const char *name = are_logits ? "probability" : "target";
  for (uint32_t i = 0; i < predictions->width; i++) fprintf(file, ",%s_%u", name, i);
  fputc('\n', file);
  for (uint64_t row = 0; row < predictions->rows; row++) {
    const float *values = predictions->values + row * predictions->width;
    fprintf(file, "%" PRIu64, row + 1);
    (are_logits ? classes_print : outputs_print)(file, values, predictions->width);
    fputc('\n', file);
  }
}

th_error th_predictions_to_csv(th_buffer *npy, bool are_logits, th_buffer *csv) {
  th_numbers predictions;
  th_error error = th_numbers_decode("the predictions", npy, &predictions);
  if (error != TH_OK) return error;
  char *text = NULL;
  size_t length = 0;
  FILE *file = open_memstream(&text, &length);
  if (file != NULL) table_print(file, &predictions, are_logits);
  bool is_whole = file != NULL && !ferror(file);
  if (file != NULL && fclose(file) != 0) is_whole = false;
  th_numbers_fini(&predictions);
  if (!is_whole) {
    free(text);
    return th_fail(TH_ERR_SYSTEM, "no memory for a table of predictions");
  }
  *csv = (th_buffer){.data = text, .bytes = length};
  return TH_OK;
}

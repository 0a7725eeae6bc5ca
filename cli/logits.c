#include "cli/logits.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>

#include "formats/table.h"

static uint32_t likeliest(const float *logits, uint32_t classes) {
  uint32_t best = 0;
  for (uint32_t i = 1; i < classes; i++)
    if (logits[i] > logits[best]) best = i;
  return best;
}

/* Softmax, with the largest logit taken off first so that no exponential overflows. */
static void row_print(FILE *file, uint64_t row, const float *logits, uint32_t classes) {
  uint32_t best = likeliest(logits, classes);
  /* In double: six digits are printed, and thousands of classes may be added up. */
  double sum = 0;
  for (uint32_t i = 0; i < classes; i++) sum += exp((double)logits[i] - logits[best]);
  fprintf(file, "%" PRIu64 ",%u", row + 1, best);
  for (uint32_t i = 0; i < classes; i++)
    fprintf(file, ",%.6g", exp((double)logits[i] - logits[best]) / sum);
  fputc('\n', file);
}

th_error th_logits_to_csv(th_buffer *npy, th_buffer *csv) {
  th_numbers logits;
  th_error error = th_numbers_decode("the logits", npy, &logits);
  if (error != TH_OK) return error;
  char *text = NULL;
  size_t length = 0;
  FILE *file = open_memstream(&text, &length);
  if (file != NULL) {
    fputs("row,class", file);
    for (uint32_t i = 0; i < logits.width; i++) fprintf(file, ",probability_%u", i);
    fputc('\n', file);
    for (uint64_t row = 0; row < logits.rows; row++)
      row_print(file, row, logits.values + row * logits.width, logits.width);
  }
  bool is_whole = file != NULL && !ferror(file);
  if (file != NULL && fclose(file) != 0) is_whole = false;
  th_numbers_fini(&logits);
  if (!is_whole) {
    free(text);
    return th_fail(TH_ERR_SYSTEM, "no memory for a table of predictions");
  }
  *csv = (th_buffer){.data = text, .bytes = length};
  return TH_OK;
}

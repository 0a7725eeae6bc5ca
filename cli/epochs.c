#include "cli/epochs.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "formats/file.h"

/* Those that the epochs have: errors are a regression's. */
static const char *const columns[] = {"epoch",
                                      "loss",
                                      "accuracy",
                                      "mae",
                                      "rmse",
                                      "validation_loss",
                                      "validation_accuracy",
                                      "validation_mae",
                                      "validation_rmse",
                                      "learning_rate",
                                      "seconds"};

enum { COLUMN_COUNT = sizeof columns / sizeof *columns };

/* The card's own digits: nothing is rounded twice. */
static void cell_print(FILE *stream, const json_t *value) {
  if (json_is_integer(value))
    fprintf(stream, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
  else if (json_is_real(value))
    fprintf(stream, "%.15g", json_real_value(value));
}

static void table_print(FILE *stream, const json_t *epochs) {
  const json_t *first = json_array_get(epochs, 0);
  const char *used[COLUMN_COUNT];
  size_t count = 0;
  for (size_t c = 0; c < COLUMN_COUNT; c++)
    if (json_object_get(first, columns[c]) != NULL) used[count++] = columns[c];
  for (size_t c = 0; c < count; c++) fprintf(stream, "%s%s", used[c], c + 1 < count ? "," : "\n");
  for (size_t i = 0; i < json_array_size(epochs); i++)
    for (size_t c = 0; c < count; c++) {
      cell_print(stream, json_object_get(json_array_get(epochs, i), used[c]));
      fputs(c + 1 < count ? "," : "\n", stream);
    }
}

static th_error table_make(const json_t *epochs, th_buffer *table) {
  char *text = NULL;
  FILE *stream = open_memstream(&text, &table->bytes);
  if (stream == NULL) return th_fail(TH_ERR_SYSTEM, "no memory for a history");
  table_print(stream, epochs);
  bool is_whole = ferror(stream) == 0;
  is_whole &= fclose(stream) == 0;
  table->data = text;
  return is_whole ? TH_OK : th_fail(TH_ERR_SYSTEM, "no memory for a history");
}

th_error th_epochs_write(const char *card, size_t bytes, const char *path) {
  json_t *object = json_loadb(card, bytes, 0, NULL);
  const json_t *epochs = json_object_get(json_object_get(object, "history"), "epochs");
  th_buffer table = {0};
  th_error error = json_is_array(epochs)
                       ? table_make(epochs, &table)
                       : th_fail(TH_ERR_PROTOCOL, "the card of the training has no history");
  if (error == TH_OK) error = th_file_write(path, table.data, table.bytes);
  th_buffer_fini(&table);
  json_decref(object);
  return error;
}

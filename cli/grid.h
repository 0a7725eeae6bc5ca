/** The combinations that a sweep trains: a grid over the fields of a specification. */
#ifndef TH_CLI_GRID_H
#define TH_CLI_GRID_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/** More than anybody waits for; a larger grid is a slip of the pen. */
#define TH_GRID_TRIALS_MAX 10000

/** Bytes of a label, with its NUL: it is a part of a file's name. */
#define TH_GRID_LABEL_BYTES 64

/** One combination. */
typedef struct th_trial {
  json_t *fields; /**< what it has of its own: the fields of the grid, and the seed */
  char *spec; /**< whole, as th_spec_format writes it */
  char label[TH_GRID_LABEL_BYTES]; /**< of its fields: "hidden-64-32_seed-1" */
  uint32_t setting;
} th_trial;

/** What combinations have in common that differ in nothing but their fold and their seed. */
typedef struct th_setting {
  json_t *fields; /**< those of its combinations, without the two */
  char label[TH_GRID_LABEL_BYTES]; /**< of these fields */
  uint32_t trials;
} th_setting;

typedef struct th_grid {
  th_trial *trials; /**< the last field of the file changes fastest, and the seed faster still */
  uint32_t count;
  th_setting *settings; /**< in the order of their first combinations */
  uint32_t setting_count;
  bool by_accuracy; /**< all combinations say that the best epoch is told by accuracy */
  bool is_regression; /**< all combinations are, and what is called accuracy is R² */
} th_grid;

/**
 * Read {"spec": {…}, "grid": {"FIELD": [VALUE, …], …}, "seeds": N or [SEED, …]}.
 *
 * Each part may be left out. Every combination is judged as a whole specification.
 *
 * @param grid  [out] free with th_grid_fini.
 * @return TH_OK; TH_ERR_USAGE naming the file and what is wrong with which combination;
 * TH_ERR_LIMIT; as th_file_read.
 */
th_error th_grid_read(const char *path, th_grid *grid);

/** Takes an empty one. */
void th_grid_fini(th_grid *grid);

#endif

/** The history of a training as a table. */
#ifndef TH_CLI_EPOCHS_H
#define TH_CLI_EPOCHS_H

#include <stddef.h>

#include "base/error.h"

/**
 * Write the epochs of a card as CSV, one a line below a header; an empty cell is a number that
 * there is none of, as a validation loss without validation rows.
 *
 * @param card  JSON, as a training's result has it.
 * @return TH_OK; TH_ERR_PROTOCOL if it is no card of a training; TH_ERR_IO; TH_ERR_SYSTEM.
 */
th_error th_epochs_write(const char *card, size_t bytes, const char *path);

#endif

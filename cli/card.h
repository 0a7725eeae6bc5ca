/** A card, which is JSON, told to a person or to a script. */
#ifndef TH_CLI_CARD_H
#define TH_CLI_CARD_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/trainhost_types.h"

/** What is known of a result beside its card. */
typedef struct th_told {
  const char *mode; /**< "host" or "local" */
  uint64_t job;
  th_job_kind kind;
  const char *out; /**< NULL: nothing was written */
  const char *card; /**< the card's own file; NULL: none */
} th_told;

/** Tell the result. @return TH_OK; TH_ERR_PROTOCOL if the card is not the JSON that it should be.
 */
th_error th_card_tell(const th_told *told, const char *card, size_t bytes);

/** How many classes the model tells apart; 0: it is a regression, or the card is none. */
uint32_t th_card_classes(const char *card, size_t bytes);

/** What a script needs of a training without opening its card, owned by the caller. @return NULL
 * without memory. */
json_t *th_card_train_to_json(const th_told *told, const json_t *card);

/** Tell that it is a checkpoint. */
void th_card_tell_checkpoint(const th_told *told);

#endif

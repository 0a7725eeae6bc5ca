#include "kernels/card.h"

#include <math.h>
#include <string.h>

/* 15 digits are the most that bring every decimal number a person writes back as it was written. */
#define CARD_FLAGS (JSON_INDENT(2) | JSON_REAL_PRECISION(15))

json_t *th_card_number(double number) {
  return isfinite(number) ? json_real(number) : json_null();
}

th_error th_card_print(json_t *card, th_buffer *text) {
  char *printed = card == NULL ? NULL : json_dumps(card, CARD_FLAGS);
  json_decref(card);
  if (printed == NULL) return th_fail(TH_ERR_SYSTEM, "no memory for the model card");
  *text = (th_buffer){.data = printed, .bytes = strlen(printed)};
  return TH_OK;
}

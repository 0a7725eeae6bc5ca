/** The parts of a model card that training and inference have in common. */
#ifndef TH_KERNELS_CARD_H
#define TH_KERNELS_CARD_H

#include <jansson.h>

#include "base/buffer.h"
#include "base/error.h"

/** A number, or null if it is none: JSON knows neither NaN nor infinity. */
json_t *th_card_number(double number);

/**
 * Print a card.
 *
 * @param card  taken over; NULL, which is how jansson reports that memory ran out, is a failure.
 * @param text  [out] owned by the caller, NUL-terminated.
 * @return TH_OK; TH_ERR_SYSTEM without memory.
 */
th_error th_card_print(json_t *card, th_buffer *text);

#endif

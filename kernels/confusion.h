/** Which classes are taken for which, and the scores that follow from it. */
#ifndef TH_KERNELS_CONFUSION_H
#define TH_KERNELS_CONFUSION_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/** A larger matrix helps nobody and would take gigabytes. */
#define TH_CONFUSION_CLASSES_MAX 1000

/** Empty, {0}: nothing is counted, and its JSON is null. */
typedef struct th_confusion {
  uint32_t classes;
  uint64_t *counts; /**< [classes, classes], the row is the label, the column what was said */
} th_confusion;

/** Begin to count; stays empty with more than TH_CONFUSION_CLASSES_MAX classes.
 *  @return TH_OK; TH_ERR_SYSTEM. */
th_error th_confusion_init(th_confusion *confusion, uint32_t classes);

/** Count a row. @param logits  [classes]; the largest is what was said, the first of equals. */
void th_confusion_add(th_confusion *confusion, uint32_t label, const float *logits);

/**
 * Add the matrix and the scores to a card, as sklearn's classification_report has them: of each
 * class, their plain mean ("macro") and their mean weighted by the classes' rows ("weighted"). A
 * score that would divide by 0 is 0.
 *
 * @param card  [in,out] an object; "confusion", "by_class", "macro" and "weighted" are set, to null
 *              without a matrix.
 * @return false without memory.
 */
bool th_confusion_print(const th_confusion *confusion, json_t *card);

/** Takes an empty one. */
void th_confusion_fini(th_confusion *confusion);

#endif

/** "Did you mean …?" */
#ifndef TH_BASE_NEAREST_H
#define TH_BASE_NEAREST_H

#include <stddef.h>

/**
 * Find the candidate that is the fewest edits away from word (Levenshtein 1966).
 *
 * @return its index; count if none is within a third of the word's length plus one.
 */
size_t th_nearest(const char *word, const char *const *candidates, size_t count);

#endif

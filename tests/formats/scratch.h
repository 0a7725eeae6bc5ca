/** Files for one test, in a directory of its own. Whatever fails here fails the test. */
#ifndef TH_TESTS_FORMATS_SCRATCH_H
#define TH_TESTS_FORMATS_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/** Make the directory; the working directory is in it from then on. */
void scratch_open(void);

/** Delete it, and fail if a descriptor was left open since scratch_open. */
void scratch_close(void);

/** Write a file as it is, or through gzip. */
void scratch_write(const char *name, const void *data, size_t bytes);
void scratch_write_gzip(const char *name, const void *data, size_t bytes);

/** How many entries the directory has. */
uint32_t scratch_count(void);

/** Run Python with NumPy as `np`. @return false if this machine has none; fails if the script does.
 */
bool scratch_numpy(const char *script);

/** Fail unless the call failed so, with a text that holds these words. */
void assert_failed(th_error error, th_error expected, const char *words);

/**
 * Give a reader the file cut at every length, and with every byte replaced by every other value.
 *
 * @param read  reads the file `name`, and frees what it got.
 *
 * Each time it must succeed, or fail with TH_ERR_DATA and a text; out of bounds, the sanitizers see
 * it.
 */
void scratch_corrupt(const char *name, const void *data, size_t bytes,
                     th_error (*read)(const char *name));

#endif

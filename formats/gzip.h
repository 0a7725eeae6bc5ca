/** Unpacking gzip. Private to this room. */
#ifndef TH_FORMATS_GZIP_H
#define TH_FORMATS_GZIP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

/** At least so much of a file is seen by a th_gzip_announcement, or all of a shorter one. */
#define TH_GZIP_HEAD_BYTES (UINT64_C(1) << 20)

/**
 * Tell from the beginning of a file how long it says that it is.
 *
 * @param bytes_max  [out] no more than so many bytes belong to the file; UINT64_MAX if it does not
 *                   say.
 * @return TH_OK; TH_ERR_DATA if its header is broken.
 */
typedef th_error th_gzip_announcement(const char *path, const void *head, size_t head_bytes,
                                      uint64_t *bytes_max);

/** Whether the contents begin as gzip does. */
bool th_gzip_is(const th_buffer *contents);

/**
 * Replace gzip's bytes by what they unpack to; a NUL follows the last byte.
 *
 * @param announcement  bounds what is unpacked; NULL: whatever the file holds.
 * @return TH_OK; TH_ERR_DATA if it is broken, or longer than announced; TH_ERR_SYSTEM without
 *         memory. On failure the contents stay as they were.
 */
th_error th_gzip_unpack(const char *path, th_gzip_announcement *announcement, th_buffer *contents);

#endif

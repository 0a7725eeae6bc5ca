/** Unpacking gzip. Private to this room. */
#ifndef TH_FORMATS_GZIP_H
#define TH_FORMATS_GZIP_H

#include <stdbool.h>

#include "formats/file.h"

/** Whether the contents begin as gzip does. */
bool th_gzip_is(const th_buffer *contents);

/**
 * Replace gzip's bytes by what they unpack to; a NUL follows the last byte.
 *
 * @param announcement  bounds what is unpacked; NULL: whatever the file holds.
 * @return TH_OK; TH_ERR_DATA if it is broken, or longer than announced; TH_ERR_SYSTEM without
 *         memory. On failure the contents stay as they were.
 */
th_error th_gzip_unpack(const char *path, th_file_announcement *announcement, th_buffer *contents);

#endif

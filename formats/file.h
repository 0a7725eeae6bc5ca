/** Whole files: read at once, written all or not at all. */
#ifndef TH_FORMATS_FILE_H
#define TH_FORMATS_FILE_H

#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

/**
 * Read a whole file, gunzipping it if it begins as gzip does.
 *
 * @param contents  [out] owned by the caller; a NUL follows its last byte.
 * @return TH_OK; TH_ERR_NOT_FOUND; TH_ERR_IO; TH_ERR_DATA for a broken gzip stream; TH_ERR_SYSTEM
 *         without memory. The text names the path.
 */
th_error th_file_read(const char *path, th_buffer *contents);

/** At least so much of a file is seen by a th_file_announcement, or all of a shorter one. */
#define TH_FILE_HEAD_BYTES (UINT64_C(1) << 20)

/**
 * Tell from the beginning of a file how long it says that it is.
 *
 * @param bytes_max  [out] no more than so many bytes belong to the file; UINT64_MAX if it does not
 *                   say.
 * @return TH_OK; TH_ERR_DATA if its header is broken.
 */
typedef th_error th_file_announcement(const char *path, const void *head, size_t head_bytes,
                                      uint64_t *bytes_max);

/** As th_file_read, but TH_ERR_DATA rather than to gunzip more than the file itself announces. */
th_error th_file_read_announced(const char *path, th_file_announcement *announcement,
                                th_buffer *contents);

/** As th_file_read, from a descriptor that stays open; from offset 0, position untouched. No
 * gunzip.
 *  @param name what the text calls it. */
th_error th_file_read_fd(int fd, const char *name, th_buffer *contents);

/**
 * Write a file so that a reader, or a crash, sees the old one or the whole new one.
 *
 * Writes beside it, fsyncs, renames over it and fsyncs the directory. Nothing is left behind on
 * failure.
 *
 * @return TH_OK; TH_ERR_IO naming the path and the reason (no space, not permitted, no directory).
 */
th_error th_file_write(const char *path, const void *data, size_t bytes);

/**
 * Make a name that was made, moved or taken away in a directory outlive a crash, which could lose
 * it as it could a file's own bytes.
 *
 * @param path  the name, whose directory is written; nothing need be there any more.
 * @return TH_OK; TH_ERR_IO naming the path.
 */
th_error th_file_sync_name(const char *path);

/** Whether th_file_write could write here: TH_OK, or what it would fail with. Leaves nothing. */
th_error th_file_check_writable(const char *path);

#endif

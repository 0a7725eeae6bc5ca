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

/**
 * Open a file for reading.
 *
 * @param fd  [out] close() it. Of a regular file.
 * @param bytes  [out] how long the file is.
 * @return TH_OK; TH_ERR_NOT_FOUND; TH_ERR_IO, also for what is no regular file.
 */
th_error th_file_open(const char *path, int *fd, uint64_t *bytes);

/** Read so many bytes at an offset, all of them. @return TH_OK; TH_ERR_IO, also if the file has
 * become shorter. @param name  what the text calls it. */
th_error th_file_read_at(int fd, const char *name, uint64_t offset, void *bytes, size_t count);

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

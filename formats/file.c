#include "formats/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* ---- reading ---- */

static th_error open_for_reading(const char *path, int *fd) {
  *fd = open(path, O_RDONLY | O_CLOEXEC);
  if (*fd >= 0) return TH_OK;
  th_error error = errno == ENOENT || errno == ENOTDIR ? TH_ERR_NOT_FOUND : TH_ERR_IO;
  return th_fail_errno(error, "cannot open %s", path);
}

static th_error buffer_reserve(const char *name, uint64_t bytes, th_buffer *buffer) {
  void *data = bytes >= SIZE_MAX ? NULL : realloc(buffer->data, (size_t)bytes + 1);
  if (data == NULL)
    return th_fail(TH_ERR_SYSTEM, "no memory for the %llu bytes of %s", (unsigned long long)bytes,
                   name);
  buffer->data = data;
  return TH_OK;
}

th_error th_file_read_fd(int fd, const char *name, th_buffer *contents) {
  struct stat status;
  if (fstat(fd, &status) != 0) return th_fail_errno(TH_ERR_IO, "cannot read %s", name);
  if (!S_ISREG(status.st_mode)) return th_fail(TH_ERR_IO, "cannot read %s: no regular file", name);
  th_buffer buffer = {0};
  th_error error = buffer_reserve(name, (uint64_t)status.st_size, &buffer);
  if (error != TH_OK) return error;
  while (buffer.bytes < (size_t)status.st_size) {
    ssize_t got = pread(fd, (char *)buffer.data + buffer.bytes,
                        (size_t)status.st_size - buffer.bytes, (off_t)buffer.bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      error = th_fail_errno(TH_ERR_IO, "cannot read %s", name);
      th_buffer_fini(&buffer);
      return error;
    }
    if (got == 0) break; /* it became shorter meanwhile */
    buffer.bytes += (size_t)got;
  }
  ((char *)buffer.data)[buffer.bytes] = '\0';
  *contents = buffer;
  return TH_OK;
}

/* ---- gzip ---- */

static bool is_gzip(const th_buffer *contents) {
  const unsigned char *bytes = contents->data;
  return contents->bytes >= 2 && bytes[0] == 0x1F && bytes[1] == 0x8B;
}

/* deflate shrinks by 1032 : 1 at most (zlib, technical details), which bounds what a file can ask
 * for. */
enum { GROWTH_BYTES = 1 << 20 };

typedef struct th_inflation {
  const char *path;
  z_stream stream;
  th_buffer out;
  uint64_t capacity;
} th_inflation;

static th_error inflation_grow(th_inflation *inflation) {
  uint64_t capacity = inflation->capacity + inflation->capacity / 2 + GROWTH_BYTES;
  th_error error = buffer_reserve(inflation->path, capacity, &inflation->out);
  if (error == TH_OK) inflation->capacity = capacity;
  return error;
}

/* zlib counts in 32 bits; larger files go through it in pieces. */
static uInt piece(uint64_t bytes) {
  return bytes > UINT_MAX / 2 ? UINT_MAX / 2 : (uInt)bytes;
}

static th_error inflation_run(th_inflation *inflation, const th_buffer *packed) {
  z_stream *stream = &inflation->stream;
  stream->next_in = packed->data;
  uint64_t left_in = packed->bytes;
  int state = Z_OK;
  while (state != Z_STREAM_END || left_in > 0) {
    if (inflation->out.bytes == inflation->capacity) {
      th_error error = inflation_grow(inflation);
      if (error != TH_OK) return error;
    }
    /* Members may follow each other in one file (RFC 1952, 2.2). */
    if (state == Z_STREAM_END && inflateReset(stream) != Z_OK) break;
    uInt in = stream->avail_in = piece(left_in);
    uInt room = stream->avail_out = piece(inflation->capacity - inflation->out.bytes);
    stream->next_out = (Bytef *)inflation->out.data + inflation->out.bytes;
    state = inflate(stream, Z_NO_FLUSH);
    left_in -= in - stream->avail_in;
    inflation->out.bytes += room - stream->avail_out;
    bool is_stuck = in == stream->avail_in && room == stream->avail_out;
    if ((state != Z_OK && state != Z_STREAM_END) || (state == Z_OK && is_stuck))
      return th_fail(TH_ERR_DATA, "%s: broken gzip stream near byte %llu: %s", inflation->path,
                     (unsigned long long)(packed->bytes - left_in),
                     stream->msg != NULL ? stream->msg : "it ends too early");
  }
  return TH_OK;
}

static th_error gunzip(const char *path, th_buffer *contents) {
  th_inflation inflation = {.path = path};
  /* 16: expect gzip's header and checksum. */
  if (inflateInit2(&inflation.stream, MAX_WBITS + 16) != Z_OK)
    return th_fail(TH_ERR_SYSTEM, "no memory to unpack %s", path);
  th_error error = inflation_run(&inflation, contents);
  inflateEnd(&inflation.stream);
  if (error != TH_OK) {
    th_buffer_fini(&inflation.out);
    return error;
  }
  th_buffer_fini(contents);
  *contents = inflation.out;
  ((char *)contents->data)[contents->bytes] = '\0';
  return TH_OK;
}

th_error th_file_read(const char *path, th_buffer *contents) {
  int fd;
  th_buffer read = {0};
  th_error error = open_for_reading(path, &fd);
  if (error != TH_OK) return error;
  error = th_file_read_fd(fd, path, &read);
  close(fd);
  if (error == TH_OK && is_gzip(&read)) error = gunzip(path, &read);
  if (error != TH_OK) {
    th_buffer_fini(&read);
    return error;
  }
  *contents = read;
  return TH_OK;
}

/* ---- writing ---- */

/* A file being written beside the one that it will replace. */
typedef struct fresh_file {
  char path[PATH_MAX];
  int fd;
} fresh_file;

/* The mode is what the umask leaves of it, as for any file that a person's command writes. */
static th_error fresh_open(const char *path, fresh_file *fresh) {
  static atomic_uint count;
  do {
    int length = snprintf(fresh->path, sizeof fresh->path, "%s.%d-%u.new", path, (int)getpid(),
                          atomic_fetch_add(&count, 1));
    if (length < 0 || (size_t)length >= sizeof fresh->path)
      return th_fail(TH_ERR_IO, "cannot write %.64s…: the path is too long", path);
    fresh->fd = open(fresh->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (fresh->fd < 0 && errno == EEXIST);
  if (fresh->fd < 0) return th_fail_errno(TH_ERR_IO, "cannot write %s", path);
  return TH_OK;
}

static th_error fresh_discard(fresh_file *fresh, th_error error) {
  if (fresh->fd >= 0) close(fresh->fd);
  unlink(fresh->path);
  return error;
}

static th_error bytes_write(int fd, const char *path, const void *data, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    ssize_t written = write(fd, (const char *)data + done, bytes - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return th_fail_errno(TH_ERR_IO, "cannot write %s", path);
    done += (size_t)written;
  }
  return TH_OK;
}

static th_error directory_sync(const char *path) {
  char directory[PATH_MAX] = ".";
  const char *slash = strrchr(path, '/');
  if (slash != NULL)
    snprintf(directory, sizeof directory, "%.*s", (int)(slash == path ? 1 : slash - path), path);
  int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int failed = fd < 0 || fsync(fd) != 0;
  th_error error =
      failed ? th_fail_errno(TH_ERR_IO, "cannot write the directory of %s", path) : TH_OK;
  if (fd >= 0) close(fd);
  return error;
}

th_error th_file_write(const char *path, const void *data, size_t bytes) {
  fresh_file fresh;
  th_error error = fresh_open(path, &fresh);
  if (error != TH_OK) return error;
  error = bytes_write(fresh.fd, path, data, bytes);
  if (error == TH_OK && fsync(fresh.fd) != 0)
    error = th_fail_errno(TH_ERR_IO, "cannot write %s", path);
  if (error == TH_OK && rename(fresh.path, path) != 0)
    error = th_fail_errno(TH_ERR_IO, "cannot write %s", path);
  if (error != TH_OK) return fresh_discard(&fresh, error);
  close(fresh.fd);
  return directory_sync(path);
}

th_error th_file_check_writable(const char *path) {
  struct stat status;
  if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
    return th_fail(TH_ERR_IO, "cannot write %s: it is a directory", path);
  fresh_file fresh;
  th_error error = fresh_open(path, &fresh);
  return error == TH_OK ? fresh_discard(&fresh, TH_OK) : error;
}

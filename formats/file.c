#include "formats/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "formats/gzip.h"

/* ---- reading ---- */

static th_error fd_judge(int fd, const char *name, uint64_t *bytes) {
  struct stat status;
  if (fstat(fd, &status) != 0) return th_fail_errno(TH_ERR_IO, "cannot read %s", name);
  if (!S_ISREG(status.st_mode)) return th_fail(TH_ERR_IO, "cannot read %s: no regular file", name);
  *bytes = (uint64_t)status.st_size;
  return TH_OK;
}

th_error th_file_open(const char *path, int *fd, uint64_t *bytes) {
  /* Non-blocking, for a pipe without a writer would keep us waiting before it can be refused. */
  *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (*fd < 0) {
    th_error error = errno == ENOENT || errno == ENOTDIR ? TH_ERR_NOT_FOUND : TH_ERR_IO;
    return th_fail_errno(error, "cannot open %s", path);
  }
  th_error error = fd_judge(*fd, path, bytes);
  if (error != TH_OK) close(*fd);
  return error;
}

th_error th_file_read_at(int fd, const char *name, uint64_t offset, void *bytes, size_t count) {
  for (size_t done = 0; done < count;) {
    ssize_t got = pread(fd, (char *)bytes + done, count - done, (off_t)(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return th_fail_errno(TH_ERR_IO, "cannot read %s", name);
    if (got == 0) return th_fail(TH_ERR_IO, "cannot read %s: it became shorter meanwhile", name);
    done += (size_t)got;
  }
  return TH_OK;
}

th_error th_file_read_fd(int fd, const char *name, th_buffer *contents) {
  uint64_t bytes;
  th_error error = fd_judge(fd, name, &bytes);
  if (error != TH_OK) return error;
  th_buffer buffer = {.data = th_memory_take(bytes + 1), .bytes = bytes};
  if (buffer.data == NULL)
    return th_fail(TH_ERR_SYSTEM, "no memory for the %llu bytes of %s", (unsigned long long)bytes,
                   name);
  error = th_file_read_at(fd, name, 0, buffer.data, bytes);
  if (error != TH_OK) {
    th_buffer_fini(&buffer);
    return error;
  }
  ((char *)buffer.data)[bytes] = '\0';
  *contents = buffer;
  return TH_OK;
}

th_error th_file_read(const char *path, th_buffer *contents) {
  int fd;
  uint64_t bytes;
  th_buffer read = {0};
  th_error error = th_file_open(path, &fd, &bytes);
  if (error != TH_OK) return error;
  error = th_file_read_fd(fd, path, &read);
  close(fd);
  if (error == TH_OK && th_gzip_is(&read)) error = th_gzip_unpack(path, NULL, &read);
  if (error == TH_OK)
    *contents = read;
  else
    th_buffer_fini(&read);
  return error;
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

/* @return error, so that a failure can end with it. */
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

th_error th_file_sync_name(const char *path) {
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
  return th_file_sync_name(path);
}

th_error th_file_check_writable(const char *path) {
  struct stat status;
  if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
    return th_fail(TH_ERR_IO, "cannot write %s: it is a directory", path);
  fresh_file fresh;
  th_error error = fresh_open(path, &fresh);
  return error == TH_OK ? fresh_discard(&fresh, TH_OK) : error;
}

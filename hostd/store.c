#include "hostd/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "formats/file.h"
#include "hostd/record.h"

/* Numbers are reserved on disk in blocks, so that starting a job waits for no disk; after a crash
 * the rest of a block is skipped. */
enum { NUMBERS_RESERVED = 1000 };

static const char *const file_names[] = {[TH_STORE_OUTPUT] = "output",
                                         [TH_STORE_CHECKPOINT] = "checkpoint",
                                         [TH_STORE_CARD] = "card.json"};

/* The state directory's path is judged at open to leave room for every name beneath it. */
__attribute__((format(printf, 2, 3))) static void path_format(char path[PATH_MAX],
                                                              const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(path, PATH_MAX, format, arguments);
  va_end(arguments);
  th_check(length > 0 && length < PATH_MAX);
}

/* Results are the user's alone: only the daemon reads the directory, clients are handed
 * descriptors. */
static th_error directory_make(const char *path) {
  if (mkdir(path, 0700) == 0 || errno == EEXIST) return TH_OK;
  return th_fail_errno(TH_ERR_IO, "cannot make the directory %s; choose another with --state-dir",
                       path);
}

/* Delete a job's directory: it holds plain files only. */
static th_error directory_delete(const char *path) {
  DIR *directory = opendir(path);
  if (directory == NULL && errno == ENOENT) return TH_OK;
  if (directory == NULL) return th_fail_errno(TH_ERR_IO, "cannot read the directory %s", path);
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
    if (entry->d_name[0] != '.' || entry->d_type == DT_REG)
      unlinkat(dirfd(directory), entry->d_name, 0);
  closedir(directory);
  if (rmdir(path) != 0) return th_fail_errno(TH_ERR_IO, "cannot delete %s", path);
  return TH_OK;
}

static th_error lock_take(th_store *store) {
  char path[PATH_MAX];
  path_format(path, "%s/lock", store->dir);
  store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (store->lock_fd < 0) return th_fail_errno(TH_ERR_IO, "cannot open %s", path);
  if (flock(store->lock_fd, LOCK_EX | LOCK_NB) == 0) return TH_OK;
  return th_fail(TH_ERR_BUSY, "another trainhostd uses %s; give this one its own --state-dir",
                 store->dir);
}

static th_error numbers_write(th_store *store, uint64_t next) {
  char path[PATH_MAX], text[32];
  path_format(path, "%s/next-job", store->dir);
  int length = snprintf(text, sizeof text, "%" PRIu64 "\n", next);
  th_error error = th_file_write(path, text, (size_t)length);
  if (error == TH_OK) store->reserved_until = next;
  return error;
}

static th_error numbers_read(th_store *store) {
  char path[PATH_MAX];
  path_format(path, "%s/next-job", store->dir);
  th_buffer text;
  th_error error = th_file_read(path, &text);
  store->next_job = store->reserved_until = 1;
  if (error == TH_ERR_NOT_FOUND) return TH_OK;
  if (error != TH_OK) return error;
  char *end;
  uint64_t next = strtoull(text.data, &end, 10);
  bool is_number = end != text.data && next > 0 && next < UINT64_MAX / 2;
  th_buffer_fini(&text);
  if (!is_number)
    return th_fail(TH_ERR_IO, "%s holds no job number; write one above all jobs ever run", path);
  store->next_job = store->reserved_until = next;
  return TH_OK;
}

/* Directories whose name begins with a dot were being written when the daemon was killed. */
static th_error unfinished_clear(const th_store *store) {
  char path[PATH_MAX];
  path_format(path, "%s/jobs", store->dir);
  DIR *directory = opendir(path);
  if (directory == NULL) return th_fail_errno(TH_ERR_IO, "cannot read %s", path);
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
    if (strncmp(entry->d_name, ".new-", 5) != 0) continue;
    path_format(path, "%s/jobs/%s", store->dir, entry->d_name);
    th_error error = directory_delete(path);
    if (error == TH_OK) continue;
    closedir(directory);
    return error;
  }
  closedir(directory);
  return TH_OK;
}

th_error th_store_open(const char *dir, th_store *store) {
  *store = (th_store){.lock_fd = -1};
  if (strlen(dir) >= sizeof store->dir)
    return th_fail(TH_ERR_USAGE, "the state directory's path is longer than %zu bytes",
                   sizeof store->dir - 1);
  strcpy(store->dir, dir);
  char jobs[PATH_MAX];
  path_format(jobs, "%s/jobs", dir);
  th_error error = directory_make(dir);
  if (error == TH_OK) error = lock_take(store);
  if (error == TH_OK) error = directory_make(jobs);
  if (error == TH_OK) error = unfinished_clear(store);
  if (error == TH_OK) error = numbers_read(store);
  if (error != TH_OK && store->lock_fd >= 0) close(store->lock_fd);
  if (error != TH_OK) store->lock_fd = -1;
  return error;
}

th_error th_store_take_number(th_store *store, uint64_t *job) {
  if (store->next_job == store->reserved_until) {
    th_error error = numbers_write(store, store->next_job + NUMBERS_RESERVED);
    if (error != TH_OK) return error;
  }
  *job = store->next_job++;
  return TH_OK;
}

static th_error file_save(const char *dir, const char *name, const th_buffer *contents) {
  if (contents->bytes == 0) return TH_OK;
  char path[PATH_MAX];
  path_format(path, "%s/%s", dir, name);
  return th_file_write(path, contents->data, contents->bytes);
}

static th_error files_save(const char *dir, const th_record *record, const th_buffer *output,
                           const th_buffer *card) {
  th_buffer json = {0};
  th_store_file kind = record->is_checkpoint ? TH_STORE_CHECKPOINT : TH_STORE_OUTPUT;
  th_error error = th_record_format(record, &json);
  if (error == TH_OK) error = file_save(dir, file_names[kind], output);
  if (error == TH_OK) error = file_save(dir, file_names[TH_STORE_CARD], card);
  if (error == TH_OK) error = file_save(dir, "job.json", &json);
  th_buffer_fini(&json);
  return error;
}

/* A directory that holds files cannot be renamed over: the two change places at once, and the older
 * one is under the other name then. */
static th_error directory_put(const char *fresh, const char *final) {
  if (rename(fresh, final) == 0) return TH_OK;
  bool is_there = errno == ENOTEMPTY || errno == EEXIST;
  if (is_there && renameat2(AT_FDCWD, fresh, AT_FDCWD, final, RENAME_EXCHANGE) == 0) return TH_OK;
  if (is_there && errno == EINVAL)
    return th_fail(TH_ERR_IO,
                   "the file system of %s cannot exchange two directories; choose another with "
                   "--state-dir",
                   final);
  return th_fail_errno(TH_ERR_IO, "cannot rename %s to %s", fresh, final);
}

/* The error of the save is told, whatever becomes of the cleaning. */
static th_error directory_discard(const char *path, th_error error) {
  char text[TH_ERROR_TEXT_BYTES_MAX];
  strcpy(text, th_error_text());
  (void)directory_delete(path);
  return error == TH_OK ? TH_OK : th_fail(error, "%s", text);
}

th_error th_store_save(const th_store *store, const th_record *record, const th_buffer *output,
                       const th_buffer *card) {
  char fresh[PATH_MAX], final[PATH_MAX];
  path_format(fresh, "%s/jobs/.new-%" PRIu64, store->dir, record->job);
  path_format(final, "%s/jobs/%" PRIu64, store->dir, record->job);
  th_error error = directory_make(fresh);
  if (error == TH_OK) error = files_save(fresh, record, output, card);
  if (error == TH_OK) error = directory_put(fresh, final);
  if (error == TH_OK) error = th_file_sync_name(final);
  return directory_discard(fresh, error);
}

th_error th_store_open_file(const th_store *store, uint64_t job, th_store_file file, int *fd,
                            uint64_t *bytes) {
  char path[PATH_MAX];
  struct stat status;
  *fd = -1;
  *bytes = 0;
  path_format(path, "%s/jobs/%" PRIu64, store->dir, job);
  if (stat(path, &status) != 0)
    return th_fail(TH_ERR_NOT_FOUND, "job %" PRIu64 " is not stored", job);
  path_format(path, "%s/jobs/%" PRIu64 "/%s", store->dir, job, file_names[file]);
  int opened = open(path, O_RDONLY | O_CLOEXEC);
  if (opened < 0 && errno == ENOENT) return TH_OK;
  if (opened < 0 || fstat(opened, &status) != 0) {
    if (opened >= 0) close(opened);
    return th_fail_errno(TH_ERR_IO, "cannot open %s", path);
  }
  *fd = opened;
  *bytes = (uint64_t)status.st_size;
  return TH_OK;
}

th_error th_store_forget(const th_store *store, uint64_t job) {
  char stored[PATH_MAX], fading[PATH_MAX];
  path_format(stored, "%s/jobs/%" PRIu64, store->dir, job);
  path_format(fading, "%s/jobs/.new-%" PRIu64, store->dir, job);
  /* Renamed first, so that a crash in the middle leaves a job to clear away and not half a result.
   */
  if (rename(stored, fading) == 0) return directory_delete(fading);
  return errno == ENOENT ? TH_OK : th_fail_errno(TH_ERR_IO, "cannot delete %s", stored);
}

static th_error record_read(const th_store *store, const char *name, th_record *record) {
  char path[PATH_MAX];
  path_format(path, "%s/jobs/%s/job.json", store->dir, name);
  th_buffer json;
  th_error error = th_file_read(path, &json);
  if (error != TH_OK) return error;
  error = th_record_parse(&json, record);
  th_buffer_fini(&json);
  if (error != TH_OK) return th_fail(error, "%s: %s", path, th_error_text());
  if (strtoull(name, NULL, 10) != record->job)
    return th_fail(TH_ERR_DATA, "%s: the directory's name is not the job's number", path);
  return TH_OK;
}

th_error th_store_each(const th_store *store, th_store_visit *visit, void (*skipped)(void *user),
                       void *user) {
  char path[PATH_MAX];
  path_format(path, "%s/jobs", store->dir);
  DIR *directory = opendir(path);
  if (directory == NULL) return th_fail_errno(TH_ERR_IO, "cannot read %s", path);
  th_error error = TH_OK;
  for (struct dirent *entry; error == TH_OK && (entry = readdir(directory)) != NULL;) {
    if (entry->d_name[0] == '.') continue;
    th_record record;
    if (record_read(store, entry->d_name, &record) == TH_OK)
      error = visit(user, &record);
    else
      skipped(user);
  }
  closedir(directory);
  return error;
}

void th_store_close(th_store *store) {
  if (store->lock_fd < 0) return;
  (void)numbers_write(store, store->next_job);
  close(store->lock_fd);
  store->lock_fd = -1;
}

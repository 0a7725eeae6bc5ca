#include "shim/result.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What an answer brought: sizes that were announced, and files that were passed. */
typedef struct th_parcel {
  th_wire_result sizes;
  int output_fd, card_fd; /* −1: none */
} th_parcel;

static th_error fail_broken(const th_way_job *job, const char *what) {
  return th_fail(TH_ERR_PROTOCOL, "the result of job %" PRIu64 " from trainhostd at %s %s",
                 job->number, job->session->link.path, what);
}

/* One descriptor for each size that is not 0, in order. */
static th_error parcel_open(th_way_job *job, th_parcel *parcel) {
  th_message *answer = &job->session->link.answer;
  if (answer->header.body_bytes != sizeof parcel->sizes)
    return fail_broken(job, "has a head of another size");
  memcpy(&parcel->sizes, answer->body, sizeof parcel->sizes);
  uint32_t wanted = (parcel->sizes.output_bytes != 0) + (parcel->sizes.card_bytes != 0);
  if (answer->fd_count != wanted) return fail_broken(job, "came with too many or too few files");
  uint32_t taken = 0;
  if (parcel->sizes.output_bytes != 0) parcel->output_fd = answer->fds[taken++];
  if (parcel->sizes.card_bytes != 0) parcel->card_fd = answer->fds[taken++];
  answer->fd_count = 0;
  return TH_OK;
}

static void parcel_close(th_parcel *parcel) {
  if (parcel->output_fd >= 0) close(parcel->output_fd);
  if (parcel->card_fd >= 0) close(parcel->card_fd);
}

/* Bounded by bytes, since a read at the end of the file fails. */
static th_error bytes_read(const th_way_job *job, int fd, uint8_t *bytes, uint64_t count) {
  for (uint64_t done = 0; done < count;) {
    ssize_t got = pread(fd, bytes + done, count - done, (off_t)done);
    if (got == 0) return fail_broken(job, "became shorter while it was read");
    if (got < 0 && errno != EINTR)
      return th_fail_errno(TH_ERR_IO, "cannot read the result of job %" PRIu64, job->number);
    if (got > 0) done += (uint64_t)got;
  }
  return TH_OK;
}

/* A file of `count` bytes, with a NUL behind them so that text is a string. */
static th_error file_read(const th_way_job *job, int fd, uint64_t count, void **contents,
                          size_t *bytes) {
  struct stat status;
  if (count > 0 &&
      (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || (uint64_t)status.st_size != count))
    return fail_broken(job, "is not a file of the announced size");
  uint8_t *data = malloc((size_t)count + 1);
  if (data == NULL)
    return th_fail(TH_ERR_SYSTEM, "no memory for the %" PRIu64 " bytes of job %" PRIu64 "'s result",
                   count, job->number);
  th_error error = bytes_read(job, fd, data, count);
  if (error != TH_OK) {
    free(data);
    return error;
  }
  data[count] = '\0';
  *contents = data;
  *bytes = (size_t)count;
  return TH_OK;
}

static th_error parcel_read(const th_way_job *job, const th_parcel *parcel, th_result *result) {
  const th_wire_result *sizes = &parcel->sizes;
  if (sizes->kind != (uint32_t)job->kind) return fail_broken(job, "is of another kind of job");
  result->kind = job->kind;
  result->is_checkpoint = sizes->is_checkpoint != 0;
  void *card = NULL;
  th_error error = TH_OK;
  if (sizes->output_bytes != 0)
    error = file_read(job, parcel->output_fd, sizes->output_bytes, &result->output,
                      &result->output_bytes);
  if (error == TH_OK)
    error = file_read(job, parcel->card_fd, sizes->card_bytes, &card, &result->card_bytes);
  result->card = card;
  return error;
}

static th_error parcel_receive(th_way_job *job, th_wire_type asked, th_parcel *parcel) {
  th_link *link = &job->session->link;
  th_wire_job body = {.job = job->number};
  int64_t deadline_ns = th_link_deadline_ns(link);
  th_error error = th_link_enter(link, deadline_ns);
  if (error != TH_OK) return error;
  error = th_link_exchange(link, asked, &body, sizeof body, deadline_ns);
  if (error == TH_OK) error = parcel_open(job, parcel);
  th_link_leave(link);
  return error;
}

th_error th_result_fetch(th_way_job *job, th_wire_type asked, th_result *result) {
  *result = (th_result){0};
  th_parcel parcel = {.output_fd = -1, .card_fd = -1};
  th_error error = parcel_receive(job, asked, &parcel);
  if (error == TH_OK) error = parcel_read(job, &parcel, result);
  parcel_close(&parcel);
  if (error != TH_OK) th_result_fini(result);
  return error;
}

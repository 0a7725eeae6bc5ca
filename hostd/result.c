/* What a client may have of a job: its result or its newest checkpoint, as files. */
#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hostd/job.h"

/* A result that the disk refused, in a file that only exists in memory. */
static th_error memory_file(const th_buffer *contents, int *fd, uint64_t *bytes) {
  *fd = -1;
  *bytes = contents->bytes;
  if (contents->bytes == 0) return TH_OK;
  int made = memfd_create("trainhost result", MFD_CLOEXEC);
  if (made < 0) return th_fail_errno(TH_ERR_SYSTEM, "cannot make a memory file");
  for (size_t done = 0; done < contents->bytes;) {
    ssize_t written = write(made, (const char *)contents->data + done, contents->bytes - done);
    if (written < 0) {
      close(made);
      return th_fail_errno(TH_ERR_SYSTEM, "cannot fill a memory file of %zu bytes",
                           contents->bytes);
    }
    done += (size_t)written;
  }
  *fd = made;
  return TH_OK;
}

static th_error result_files(th_job *job, int fds[2], th_wire_result *result) {
  if (job->is_stored) {
    const th_store *store = job->jobs->store;
    th_store_file output = job->record.is_checkpoint ? TH_STORE_CHECKPOINT : TH_STORE_OUTPUT;
    th_error error = th_store_open_file(store, job->number, output, &fds[0], &result->output_bytes);
    if (error != TH_OK) return error;
    return th_store_open_file(store, job->number, TH_STORE_CARD, &fds[1], &result->card_bytes);
  }
  const th_outcome *outcome = th_run_outcome(job->run);
  th_error error = memory_file(&outcome->output, &fds[0], &result->output_bytes);
  if (error != TH_OK) return error;
  return memory_file(&outcome->card, &fds[1], &result->card_bytes);
}

th_error th_job_open_result(th_job *job, int fds[2], th_wire_result *result) {
  fds[0] = fds[1] = -1;
  if (!th_job_is_over(job)) return TH_ERR_AGAIN;
  th_error ended = (th_error)job->record.progress.error;
  if (ended != TH_OK && !job->record.is_checkpoint) return th_fail(ended, "%s", job->record.text);
  *result = (th_wire_result){.kind = job->kind, .is_checkpoint = job->record.is_checkpoint};
  th_error error = result_files(job, fds, result);
  if (error != TH_OK && fds[0] >= 0) {
    close(fds[0]);
    fds[0] = -1;
  }
  return error;
}

/* While the job runs, its result may take the checkpoint's place at any moment: it has another
 * name, so that neither is taken for the other. */
th_error th_job_open_checkpoint(th_job *job, int fds[2], th_wire_result *result) {
  bool is_over = th_job_is_over(job);
  if (is_over && job->record.is_checkpoint) return th_job_open_result(job, fds, result);
  fds[0] = fds[1] = -1;
  *result = (th_wire_result){.kind = job->kind, .is_checkpoint = 1};
  if (is_over)
    return th_fail(TH_ERR_NOT_FOUND, "job %" PRIu64 " is over and has left no checkpoint",
                   job->number);
  th_error error = th_store_open_file(job->jobs->store, job->number, TH_STORE_CHECKPOINT, &fds[0],
                                      &result->output_bytes);
  bool is_none = error == TH_ERR_NOT_FOUND || (error == TH_OK && fds[0] < 0);
  return is_none ? TH_ERR_AGAIN : error;
}

#include "cli/checkpoint.h"

#include "base/clock.h"
#include "cli/host.h"
#include "cli/output.h"
#include "formats/file.h"

/* Who trains epochs in milliseconds loses no more than this; the disk has a rest meanwhile. */
#define REWRITE_NS TH_NS_PER_S

/* Of a long history only some epochs are told, so that one of the beat may be passed over. */
static void epoch_note(th_checkpoint_file *file, uint32_t epoch) {
  if (epoch / file->epochs > file->told / file->epochs) file->is_due = true;
  file->told = epoch;
}

/* None yet, where the host's disk refused it, is for the host to tell. */
static th_error file_renew(const th_checkpoint_file *file, th_job *job) {
  th_result newest = {0};
  th_error error = th_job_checkpoint(job, &newest);
  if (error == TH_ERR_AGAIN || error == TH_ERR_NOT_FOUND) return TH_OK;
  if (error == TH_OK) error = th_file_write(file->path, newest.output, newest.output_bytes);
  th_result_fini(&newest);
  return error;
}

void th_checkpoint_file_follow(th_checkpoint_file *file, th_job *job, th_display *display,
                               const th_event *event) {
  if (file->path == NULL || file->epochs == 0) return;
  if (event != NULL && event->kind == TH_EVENT_EPOCH) epoch_note(file, event->epoch);
  if (!file->is_due || th_clock_now_ns() < file->next_ns) return;
  th_error error = file_renew(file, job);
  file->is_due = false;
  file->next_ns = th_clock_deadline_ns(REWRITE_NS);
  if (error != TH_OK && !file->has_failed) {
    th_display_clear(display);
    th_output_warn(error);
  }
  file->has_failed = error != TH_OK;
}

#include "cli/outcome.h"

#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/card.h"
#include "cli/interrupt.h"
#include "cli/predictions.h"
#include "formats/file.h"

/* ---- names ---- */

static bool ends_with(const char *text, const char *end) {
  size_t length = strlen(text), end_length = strlen(end);
  return length > end_length && strcmp(text + length - end_length, end) == 0;
}

/* "model.safetensors" has its card in "model.json"; any other name gets ".json" appended. */
static th_error card_path(const char *out, char path[PATH_MAX]) {
  static const char extension[] = ".safetensors";
  size_t length = strlen(out);
  if (ends_with(out, extension)) length -= strlen(extension);
  int written =
      snprintf(path, PATH_MAX, "%.*s.json", (int)(length < PATH_MAX ? length : PATH_MAX), out);
  if (written > 0 && written < PATH_MAX) return TH_OK;
  return th_fail(TH_ERR_IO, "cannot write %.64s...: the path is too long", out);
}

/* Both files, since a model whose card is missing cannot say where it came from. */
static th_error model_judge(const char *out) {
  char card[PATH_MAX];
  th_error error = card_path(out, card);
  if (error == TH_OK) error = th_file_check_writable(out);
  return error == TH_OK ? th_file_check_writable(card) : error;
}

th_error th_outcome_judge(th_job_kind kind, const char *out) {
  if (kind == TH_JOB_EVALUATE) return TH_OK;
  if (kind == TH_JOB_TRAIN) return model_judge(out);
  if (ends_with(out, ".npy") || ends_with(out, ".csv")) return th_file_check_writable(out);
  return th_fail(TH_ERR_USAGE,
                 "--out %s: the name decides what is written: logits if it ends in .npy, classes "
                 "and probabilities if it ends in .csv; of a regression its outputs in both",
                 out);
}

/* ---- files ---- */

/* The model first: if only one of the two fits on the disk, it is the one that cannot be had again.
 */
static th_error model_write(const th_result *result, const char *out) {
  char card[PATH_MAX];
  th_error error = card_path(out, card);
  if (error == TH_OK) error = th_file_write(out, result->output, result->output_bytes);
  if (error == TH_OK) error = th_file_write(card, result->card, result->card_bytes);
  return error;
}

static th_error table_write(th_result *result, const char *out) {
  th_buffer csv;
  th_buffer npy = {.data = result->output, .bytes = result->output_bytes};
  result->output = NULL;
  result->output_bytes = 0;
  bool are_logits = th_card_classes(result->card, result->card_bytes) > 0;
  th_error error = th_predictions_to_csv(&npy, are_logits, &csv);
  th_buffer_fini(&npy);
  if (error != TH_OK) return error;
  error = th_file_write(out, csv.data, csv.bytes);
  th_buffer_fini(&csv);
  return error;
}

th_error th_outcome_write(th_result *result, const char *out) {
  if (result->kind == TH_JOB_EVALUATE) return TH_OK;
  /* A checkpoint has no card: it is no model yet. */
  if (result->kind == TH_JOB_TRAIN && !result->is_checkpoint) return model_write(result, out);
  if (result->kind == TH_JOB_PREDICT && ends_with(out, ".csv")) return table_write(result, out);
  return th_file_write(out, result->output, result->output_bytes);
}

/* ---- words ---- */

th_error th_outcome_tell(const th_host *host, uint64_t job, const th_result *result,
                         const char *out) {
  char card[PATH_MAX];
  th_told told = {.mode = th_host_mode_name(host), .job = job, .kind = result->kind, .out = out};
  if (result->is_checkpoint) {
    th_card_tell_checkpoint(&told);
    return TH_OK;
  }
  if (result->kind == TH_JOB_TRAIN) {
    th_error error = card_path(out, card);
    if (error != TH_OK) return error;
    told.card = card;
  }
  return th_card_tell(&told, result->card, result->card_bytes);
}

/* ---- what cannot be written ---- */

/* Under a name that no other process takes. */
static bool is_written_into(const char *directory, th_result *result, const char *out,
                            char path[PATH_MAX]) {
  const char *slash = strrchr(out, '/');
  int written = snprintf(path, PATH_MAX, "%s/trainhost-%d-%s", directory, (int)getpid(),
                         slash != NULL ? slash + 1 : out);
  return written > 0 && written < PATH_MAX && th_outcome_write(result, path) == TH_OK;
}

/* What took hours to train must not be lost for want of room on one of several disks. */
static th_error model_rescue(th_result *result, th_error error, const char *out,
                             const char *checkpoint) {
  char why[TH_ERROR_TEXT_BYTES_MAX], path[PATH_MAX], beside[PATH_MAX];
  const char *temporary = getenv("TMPDIR");
  if (temporary == NULL || temporary[0] == '\0') temporary = "/tmp";
  snprintf(beside, sizeof beside, "%s", checkpoint != NULL ? checkpoint : "");
  strcpy(why, th_error_text());
  if ((checkpoint != NULL && is_written_into(dirname(beside), result, out, path)) ||
      is_written_into(temporary, result, out, path))
    return th_fail(error, "%.300s; it is in %s instead", why, path);
  return th_fail(error, "%.300s; nor could it be written anywhere else: %s", why, th_error_text());
}

static th_error result_write(const th_host *host, uint64_t job, th_result *result, const char *out,
                             const char *checkpoint) {
  th_error error = th_outcome_write(result, out);
  if (error == TH_OK) return TH_OK;
  if (!th_host_is_local(host))
    return th_fail(error, "%s; the host keeps the result: trainhost result %" PRIu64 " --out FILE",
                   th_error_text(), job);
  /* A prediction is made again in a moment. */
  return result->kind == TH_JOB_TRAIN ? model_rescue(result, error, out, checkpoint) : error;
}

/* ---- the end of a job ---- */

static th_error fail_kept(uint64_t job) {
  return th_fail(TH_ERR_HOST_LOST,
                 "the host was stopped during job %" PRIu64
                 " and keeps a checkpoint of it: trainhost result %" PRIu64
                 " --out FILE fetches it, trainhost train --resume FILE goes on from it",
                 job, job);
}

/* Under the name of a model a checkpoint would be taken for one. */
static th_error checkpoint_take(const th_host *host, th_job *job, th_result *result,
                                const char *path) {
  uint64_t number = th_job_number(job);
  if (path == NULL) return fail_kept(number);
  th_error error = result_write(host, number, result, path, NULL);
  if (error != TH_OK) return error;
  /* A host that goes away keeps its own, which does no harm. */
  th_error forgotten = th_job_forget(job);
  (void)forgotten;
  return th_fail(th_interrupt_came() ? TH_ERR_CANCELED : TH_ERR_HOST_LOST,
                 "job %" PRIu64
                 " was stopped; trainhost train --resume %s goes on from its checkpoint, with the "
                 "same data and fields",
                 number, path);
}

th_error th_outcome_take(const th_host *host, th_job *job, th_result *result, const char *out,
                         const char *checkpoint) {
  uint64_t number = th_job_number(job);
  if (result->is_checkpoint) return checkpoint_take(host, job, result, checkpoint);
  th_error error = result_write(host, number, result, out, checkpoint);
  if (error == TH_OK) error = th_outcome_tell(host, number, result, out);
  /* Only now is it safe: the host deletes its own. */
  return error == TH_OK ? th_job_forget(job) : error;
}

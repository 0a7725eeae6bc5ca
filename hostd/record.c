#include "hostd/record.h"

#include <jansson.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

/* The members of a th_progress that outlive its job, so that writing and reading cannot drift
 * apart. */
#define COUNT(member) \
  { #member, offsetof(th_progress, member) }
static const struct {
  const char *name;
  size_t offset;
} count_rows[] = {COUNT(phase), COUNT(stop_reason), COUNT(epoch),      COUNT(epochs),
                  COUNT(step),  COUNT(steps),       COUNT(best_epoch), COUNT(history_stride)},
  number_rows[] = {COUNT(fraction),
                   COUNT(loss),
                   COUNT(accuracy),
                   COUNT(validation_loss),
                   COUNT(validation_accuracy),
                   COUNT(samples_per_second),
                   COUNT(elapsed_seconds)};
#undef COUNT

enum {
  COUNT_ROWS = sizeof count_rows / sizeof count_rows[0],
  NUMBER_ROWS = sizeof number_rows / sizeof number_rows[0],
};

/* JSON has no NaN. */
static json_t *number_or_null(double number) {
  return isfinite(number) ? json_real(number) : json_null();
}

static json_t *progress_to_json(const th_progress *progress) {
  json_t *object = json_object();
  const char *base = (const char *)progress;
  for (size_t i = 0; i < COUNT_ROWS; i++) {
    uint32_t count;
    memcpy(&count, base + count_rows[i].offset, sizeof count);
    json_object_set_new(object, count_rows[i].name, json_integer(count));
  }
  for (size_t i = 0; i < NUMBER_ROWS; i++) {
    double number;
    memcpy(&number, base + number_rows[i].offset, sizeof number);
    json_object_set_new(object, number_rows[i].name, number_or_null(number));
  }
  json_object_set_new(object, "error", json_integer(progress->error));
  return object;
}

th_error th_record_format(const th_record *record, th_buffer *json) {
  json_t *object = json_pack("{s:I, s:I, s:i, s:b, s:s, s:s, s:o}", "job", (json_int_t)record->job,
                             "uid", (json_int_t)record->uid, "kind", (int)record->kind,
                             "is_checkpoint", record->is_checkpoint, "name", record->name, "text",
                             record->text, "progress", progress_to_json(&record->progress));
  char *text = object == NULL ? NULL : json_dumps(object, JSON_INDENT(2));
  json_decref(object);
  if (text == NULL) return th_fail(TH_ERR_SYSTEM, "no memory to describe a job");
  *json = (th_buffer){.data = text, .bytes = strlen(text)};
  return TH_OK;
}

static th_error progress_from_json(json_t *object, th_progress *progress) {
  char *base = (char *)progress;
  for (size_t i = 0; i < COUNT_ROWS; i++) {
    json_t *value = json_object_get(object, count_rows[i].name);
    json_int_t count = json_integer_value(value);
    if (!json_is_integer(value) || count < 0 || count > UINT32_MAX)
      return th_fail(TH_ERR_DATA, "progress.%s is no count", count_rows[i].name);
    memcpy(base + count_rows[i].offset, &(uint32_t){(uint32_t)count}, sizeof(uint32_t));
  }
  for (size_t i = 0; i < NUMBER_ROWS; i++) {
    json_t *value = json_object_get(object, number_rows[i].name);
    double number = json_is_number(value) ? json_number_value(value) : NAN;
    memcpy(base + number_rows[i].offset, &number, sizeof number);
  }
  progress->error = (int32_t)json_integer_value(json_object_get(object, "error"));
  progress->eta_seconds = 0;
  return TH_OK;
}

static th_error record_from_json(json_t *object, th_record *record) {
  json_int_t job, uid;
  int kind, is_checkpoint;
  const char *name, *text;
  json_t *progress;
  json_error_t where;
  if (json_unpack_ex(object, &where, 0, "{s:I, s:I, s:i, s:b, s:s, s:s, s:o}", "job", &job, "uid",
                     &uid, "kind", &kind, "is_checkpoint", &is_checkpoint, "name", &name, "text",
                     &text, "progress", &progress) != 0)
    return th_fail(TH_ERR_DATA, "%s", where.text);
  if (job <= 0 || uid < 0 || uid > UINT32_MAX || kind < TH_JOB_TRAIN || kind > TH_JOB_PREDICT)
    return th_fail(TH_ERR_DATA, "job, uid or kind is out of range");
  *record = (th_record){.job = (uint64_t)job,
                        .uid = (uint32_t)uid,
                        .kind = (th_job_kind)kind,
                        .is_checkpoint = is_checkpoint != 0};
  strncpy(record->name, name, sizeof record->name - 1);
  strncpy(record->text, text, sizeof record->text - 1);
  record->progress.job = record->job;
  return progress_from_json(progress, &record->progress);
}

th_error th_record_parse(const th_buffer *json, th_record *record) {
  json_error_t where;
  json_t *object = json_loadb(json->data, json->bytes, JSON_REJECT_DUPLICATES, &where);
  if (object == NULL) return th_fail(TH_ERR_DATA, "line %d: %s", where.line, where.text);
  th_record parsed;
  th_error error = record_from_json(object, &parsed);
  json_decref(object);
  if (error == TH_OK) *record = parsed;
  return error;
}

#include "hostd/record.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static th_record example(void) {
  th_record record = {
      .job = UINT64_C(1) << 40,
      .uid = UINT32_MAX,
      .kind = TH_JOB_TRAIN,
      .is_checkpoint = true,
      .name = "a \"name\" with \\ and é",
      .text = "job 1 was canceled\nat epoch 3",
      .progress = {.phase = TH_PHASE_CANCELED,
                   .error = TH_ERR_CANCELED,
                   .epoch = 3,
                   .epochs = 10,
                   .step = 7,
                   .steps = 469,
                   .best_epoch = 2,
                   .history_stride = 1,
                   .fraction = 0.25,
                   .loss = 0.123456789012345678,
                   .accuracy = 0.5,
                   .validation_loss = NAN,
                   .validation_accuracy = NAN,
                   .samples_per_second = 1e6,
                   .elapsed_seconds = 2.5},
  };
  record.progress.job = record.job;
  return record;
}

Test(record, parse_reads_back_what_format_wrote) {
  th_record written = example(), read = {0};
  th_buffer json;
  cr_assert_eq(th_record_format(&written, &json), TH_OK);
  cr_assert_eq(th_record_parse(&json, &read), TH_OK, "%s", th_error_text());
  cr_assert_eq(read.job, written.job);
  cr_assert_eq(read.uid, written.uid);
  cr_assert_eq(read.kind, written.kind);
  cr_assert_eq(read.is_checkpoint, true);
  cr_assert_str_eq(read.name, written.name);
  cr_assert_str_eq(read.text, written.text);
  cr_assert_eq(read.progress.job, written.job);
  cr_assert_eq(read.progress.error, TH_ERR_CANCELED);
  cr_assert_eq(read.progress.steps, 469);
  cr_assert_eq(read.progress.loss, written.progress.loss, "a double must survive to the last bit");
  cr_assert(isnan(read.progress.validation_loss));
  th_buffer_fini(&json);
}

static th_error parse_text(const char *text, th_record *record) {
  th_buffer json = {.data = (void *)(uintptr_t)text, .bytes = strlen(text)};
  return th_record_parse(&json, record);
}

Test(record, parse_refuses_what_is_no_record) {
  static const char *const texts[] = {"", "[]", "{", "{}", "{\"job\": 1}", "null", "\xff\xfe"};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    th_record record = {.job = 99};
    cr_assert_eq(parse_text(texts[i], &record), TH_ERR_DATA, "%s", texts[i]);
    cr_assert_eq(record.job, 99, "touched by %s", texts[i]);
  }
}

Test(record, parse_survives_every_truncation_and_every_changed_byte) {
  th_record written = example(), read;
  th_buffer json;
  cr_assert_eq(th_record_format(&written, &json), TH_OK);
  for (size_t bytes = 0; bytes < json.bytes; bytes++) {
    th_buffer cut = {.data = json.data, .bytes = bytes};
    cr_assert_eq(th_record_parse(&cut, &read), TH_ERR_DATA, "cut to %zu bytes", bytes);
  }
  unsigned char *text = json.data;
  for (size_t i = 0; i < json.bytes; i++) {
    unsigned char original = text[i];
    for (unsigned flip = 1; flip < 256; flip <<= 1) {
      text[i] = (unsigned char)(original ^ flip);
      th_error error = th_record_parse(&json, &read);
      cr_assert(error == TH_OK || error == TH_ERR_DATA);
      if (error == TH_OK) cr_assert(memchr(read.text, '\0', sizeof read.text) != NULL);
    }
    text[i] = original;
  }
  th_buffer_fini(&json);
}

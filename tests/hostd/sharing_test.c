/* Jobs that share the data of another, from before those are whole to after they are gone. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "hostd/job.h"

enum { ROWS = 64, WIDTH = 4, UID = 1000, SESSION = 1, CELLS = 8 };

static char dir[] = "/tmp/trainhost-sharing-XXXXXX";
static th_store store;
static th_device device;
static th_scheduler *scheduler;
static th_jobs jobs;
static th_wire_cell cells[CELLS];
static float features[ROWS * WIDTH];
static int32_t labels[ROWS];

static void setup(void) {
  for (int i = 0; i < ROWS; i++) labels[i] = i % 2;
  for (int i = 0; i < ROWS * WIDTH; i++) features[i] = (float)(i * 37 % 101) / 101.0F;
  cr_assert_not_null(mkdtemp(dir));
  cr_assert_eq(th_store_open(dir, &store), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_device_open("cpu", &device), TH_OK);
  cr_assert_eq(th_scheduler_create(2, 2, 4, &scheduler), TH_OK);
  const th_job_limits limits = {.jobs_max = CELLS, .data_bytes_max = 1 << 20};
  int poke_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  cr_assert_eq(th_jobs_open(&store, &device, scheduler, &limits, poke_fd, &jobs), TH_OK);
}

static void teardown(void) {
  th_scheduler_destroy(scheduler);
  close(jobs.poke_fd);
  th_jobs_close(&jobs);
  th_store_close(&store);
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", dir);
  cr_assert_eq(system(command), 0);
}

TestSuite(sharing, .init = setup, .fini = teardown, .timeout = 100);

/* As the daemon does it: start, attach, begin. */
static th_job *start(const th_run_request *request) {
  th_job *job;
  cr_assert_eq(th_jobs_start(&jobs, UID, request, false, &job), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_jobs_attach(&jobs, job, SESSION, cells, CELLS), TH_OK, "%s", th_error_text());
  th_job_begin(job);
  return job;
}

static th_job *start_owner(bool keeps_data) {
  th_run_request request = {
      .kind = TH_JOB_TRAIN,
      .spec = "{\"epochs\": 2, \"hidden\": [4]}",
      .spec_bytes = strlen("{\"epochs\": 2, \"hidden\": [4]}"),
      .rows = ROWS,
      .width = WIDTH,
      .array_bytes = {[TH_ARRAY_FEATURES] = sizeof features, [TH_ARRAY_LABELS] = sizeof labels},
      .keeps_data = keeps_data};
  return start(&request);
}

static th_job *start_sharer(const th_job *owner) {
  th_run_request request = {.kind = TH_JOB_TRAIN, .spec = "{\"epochs\": 2}", .spec_bytes = 13};
  cr_assert_eq(th_jobs_find_data(&jobs, owner->number, UID, &request.data_of), TH_OK, "%s",
               th_error_text());
  return start(&request);
}

static void receive_all(th_job *job) {
  cr_assert_eq(th_job_receive(job, TH_ARRAY_FEATURES, 0, features, sizeof features), TH_OK);
  cr_assert_eq(th_job_receive(job, TH_ARRAY_LABELS, 0, labels, sizeof labels), TH_OK);
}

/* The loop's part until the job is settled and its session was told all of it. */
static void await_end(th_job *job) {
  th_wire_event event;
  while (!job->is_settled || th_job_next_event(job, &event) == TH_OK) {
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    th_jobs_settle(&jobs);
  }
  th_jobs_settle(&jobs);
}

Test(sharing, jobs_that_wait_go_on_when_the_data_are_whole) {
  th_job *owner = start_owner(false);
  th_job *sharers[] = {start_sharer(owner), start_sharer(owner)};
  cr_assert_not(sharers[0]->is_scheduled);
  cr_assert_eq(th_jobs_data_bytes(&jobs), sizeof features + sizeof labels + 1,
               "three parts, each rounded up");
  receive_all(owner);
  cr_assert(owner->is_scheduled && sharers[0]->is_scheduled && sharers[1]->is_scheduled);
  await_end(owner);
  for (int i = 0; i < 2; i++) {
    await_end(sharers[i]);
    cr_assert_eq(sharers[i]->record.progress.phase, TH_PHASE_DONE, "%s", sharers[i]->record.text);
  }
  cr_assert_eq(th_jobs_data_bytes(&jobs), 0);
}

Test(sharing, jobs_that_wait_fail_when_the_data_are_given_up) {
  th_job *owner = start_owner(false), *sharer = start_sharer(owner);
  th_jobs_forget(&jobs, owner);
  await_end(sharer);
  cr_assert_eq(sharer->record.progress.phase, TH_PHASE_FAILED);
  cr_assert_eq(sharer->record.progress.error, TH_ERR_DATA);
  cr_assert_neq(sharer->record.text[0], '\0');
  cr_assert_eq(th_jobs_data_bytes(&jobs), 0);
}

Test(sharing, data_are_gone_with_the_last_job_that_holds_them) {
  th_job *owner = start_owner(false);
  receive_all(owner);
  await_end(owner);
  th_run *run;
  cr_assert_eq(th_jobs_find_data(&jobs, owner->number, UID, &run), TH_ERR_NOT_FOUND);
  cr_assert_not_null(strstr(th_error_text(), "anew"), "%s", th_error_text());
}

Test(sharing, data_that_a_job_keeps_stay_until_it_is_forgotten) {
  th_job *owner = start_owner(true);
  receive_all(owner);
  await_end(owner);
  cr_assert_eq(th_jobs_data_bytes(&jobs), sizeof features + sizeof labels);
  th_job *sharer = start_sharer(owner);
  cr_assert(sharer->is_scheduled);
  await_end(sharer);
  th_jobs_forget(&jobs, owner);
  cr_assert_eq(th_jobs_data_bytes(&jobs), 0);
}

Test(sharing, data_that_a_job_keeps_go_with_its_session) {
  th_job *owner = start_owner(true);
  receive_all(owner);
  await_end(owner);
  th_jobs_leave(&jobs, SESSION);
  cr_assert_eq(jobs.count, 1, "its result is kept");
  cr_assert_eq(th_jobs_data_bytes(&jobs), 0);
}

Test(sharing, data_of_another_user_are_not_found) {
  th_job *owner = start_owner(true);
  th_run *run;
  cr_assert_eq(th_jobs_find_data(&jobs, owner->number, UID + 1, &run), TH_ERR_NOT_FOUND);
}

/* trainhost sweep: many trainings on one data set, side by side. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/job.h"
#include "cli/commands.h"
#include "cli/dataset.h"
#include "cli/follow.h"
#include "cli/interrupt.h"
#include "cli/outcome.h"
#include "cli/output.h"
#include "cli/results.h"
#include "cli/words.h"
#include "formats/file.h"
#include "kernels/data.h"
#include "kernels/spec.h"

/* Few enough for one session, which the daemon gives 64 progress cells. */
#define JOBS_MAX 60

/* How long at most until the display is refreshed and an interrupt noticed. */
#define LOOK_NS (100 * TH_NS_PER_MS)

/* Jobs end within a step of being canceled; a step takes far less than this. */
#define CANCEL_NS_MAX (3 * TH_NS_PER_S)

/* A combination that the host has. */
typedef struct sweep_job {
  th_job *job;
  uint32_t index; /* of its combination */
} sweep_job;

typedef struct sweep_state {
  const char *dir;
  bool tells_all;
  uint32_t jobs_max;
  th_grid grid;
  th_results results;
  th_table dataset; /* until the first job has sent it */
  th_host host;
  th_display display;
  th_job *keeper; /* the job that sent the data, and keeps them for the others */
  sweep_job active[JOBS_MAX];
  uint32_t active_count;
  uint32_t next; /* combination to be started */
  uint32_t skipped; /* done before */
  int64_t begun_ns;
  int64_t shown_ns;
  th_error failure; /* the first of a combination; its text follows */
  char failure_text[TH_ERROR_TEXT_BYTES_MAX];
} sweep_state;

/* ---- names of files ---- */

/* "DIR/007-hidden-64_seed-1" and an extension. */
static th_error path_make(const sweep_state *sweep, uint32_t index, const char *extension,
                          char path[PATH_MAX]) {
  int written = snprintf(path, PATH_MAX, "%s/%03u-%s%s", sweep->dir, index + 1,
                         sweep->grid.trials[index].label, extension);
  if (written > 0 && written < PATH_MAX) return TH_OK;
  return th_fail(TH_ERR_IO, "cannot write into %.64s...: the path is too long", sweep->dir);
}

static th_error dir_make(const char *dir) {
  char path[PATH_MAX];
  if (mkdir(dir, 0777) != 0 && errno != EEXIST)
    return th_fail_errno(TH_ERR_IO, "cannot make the directory %s", dir);
  int written = snprintf(path, sizeof path, "%s/sweep.json", dir);
  if (written < 0 || written >= PATH_MAX)
    return th_fail(TH_ERR_IO, "cannot write into %.64s...: the path is too long", dir);
  return th_file_check_writable(path);
}

/* ---- what was done before ---- */

/* By way of the parser, so that it does not matter how the numbers are written. */
static bool spec_matches(const json_t *card, const char *spec) {
  th_spec parsed;
  th_buffer formatted = {0};
  char *text = json_dumps(json_object_get(card, "spec"), JSON_COMPACT);
  bool matches = text != NULL && th_spec_parse(text, strlen(text), &parsed) == TH_OK &&
                 th_spec_format(&parsed, &formatted) == TH_OK && strcmp(formatted.data, spec) == 0;
  th_buffer_fini(&formatted);
  free(text);
  return matches;
}

static bool card_matches(const th_buffer *file, const char *spec, const char *digest) {
  json_t *card = json_loadb(file->data, file->bytes, 0, NULL);
  const char *its = json_string_value(json_object_get(json_object_get(card, "data"), "digest"));
  bool matches = its != NULL && strcmp(its, digest) == 0 && spec_matches(card, spec);
  json_decref(card);
  return matches;
}

/* A card of other data or another specification is none of this sweep's, and will be replaced. */
static th_error trial_recall(sweep_state *sweep, uint32_t index, const char *digest) {
  char model[PATH_MAX], path[PATH_MAX];
  struct stat status;
  th_buffer file = {0};
  th_error error = path_make(sweep, index, ".safetensors", model);
  if (error == TH_OK) error = path_make(sweep, index, ".json", path);
  if (error != TH_OK) return error;
  if (stat(model, &status) != 0 || th_file_read(path, &file) != TH_OK) return TH_OK;
  if (card_matches(&file, sweep->grid.trials[index].spec, digest)) {
    error = th_results_done(&sweep->results, index, file.data, file.bytes, model, path);
    sweep->skipped++;
  }
  th_buffer_fini(&file);
  return error;
}

static void survey_goes_on(void *user) {
  (void)user;
}

/* The digest is made by the code that makes the one in the cards. It finds wrong numbers, too,
 * before any of them is sent. */
static th_error trials_recall(sweep_state *sweep) {
  th_data_facts facts;
  const th_data data = th_dataset_view(&sweep->dataset);
  th_error error = th_data_survey(&data, 0, survey_goes_on, NULL, &facts);
  for (uint32_t i = 0; i < sweep->grid.count && error == TH_OK; i++)
    error = trial_recall(sweep, i, facts.digest);
  if (error != TH_OK || sweep->skipped == 0) return error;
  th_display_clear(&sweep->display);
  th_output_text("%u of %u combinations are done already\n", sweep->skipped, sweep->grid.count);
  return TH_OK;
}

/* ---- starting ---- */

static th_error first_start(sweep_state *sweep, uint32_t index) {
  th_job_request request = {
      .kind = TH_JOB_TRAIN, .spec = sweep->grid.trials[index].spec, .keep_data = true};
  th_dataset_lend(&sweep->dataset, &request);
  th_error error = th_follow_start(&sweep->host, &request, &sweep->display, &sweep->keeper);
  /* The host has a copy. */
  if (error == TH_OK) th_table_fini(&sweep->dataset);
  return error;
}

static th_error next_start(sweep_state *sweep) {
  uint32_t index = sweep->next;
  sweep_job *started = &sweep->active[sweep->active_count];
  th_error error;
  if (sweep->keeper == NULL) {
    error = first_start(sweep, index);
    started->job = sweep->keeper;
  } else {
    const th_job_request request = {
        .kind = TH_JOB_TRAIN, .spec = sweep->grid.trials[index].spec, .data_of = sweep->keeper};
    error = th_job_start(sweep->host.adapter, &request, &started->job);
  }
  if (error != TH_OK) return error;
  started->index = index;
  sweep->active_count++;
  sweep->next++;
  return TH_OK;
}

/* A host that is full has room again when one of these jobs is over. */
static th_error trials_start(sweep_state *sweep) {
  th_error error = TH_OK;
  while (error == TH_OK && sweep->active_count < sweep->jobs_max &&
         sweep->next < sweep->grid.count) {
    if (sweep->results.rows[sweep->next].state == TH_ROW_DONE)
      sweep->next++;
    else
      error = next_start(sweep);
  }
  return error == TH_ERR_BUSY && sweep->active_count > 0 ? TH_OK : error;
}

/* ---- the end of a job ---- */

static th_error trial_keep(sweep_state *sweep, uint32_t index, th_result *result) {
  char model[PATH_MAX], card[PATH_MAX];
  if (result->is_checkpoint)
    return th_fail(TH_ERR_HOST_LOST,
                   "the host was stopped during the sweep; what is finished is kept: run it again "
                   "to go on");
  th_error error = path_make(sweep, index, ".safetensors", model);
  if (error == TH_OK) error = path_make(sweep, index, ".json", card);
  if (error == TH_OK) error = th_outcome_write(result, model);
  if (error != TH_OK) return error;
  return th_results_done(&sweep->results, index, result->card, result->card_bytes, model, card);
}

/* Why a combination has no result is told once here, and once more at the end. */
static th_error trial_fail(sweep_state *sweep, uint32_t index, th_error error) {
  if (sweep->failure == TH_OK) {
    sweep->failure = error;
    snprintf(sweep->failure_text, sizeof sweep->failure_text, "%s", th_error_text());
  }
  return th_results_failed(&sweep->results, index, error);
}

static bool is_of_host(th_error error) {
  return error == TH_ERR_HOST_LOST || error == TH_ERR_HOST_STALLED || error == TH_ERR_PROTOCOL;
}

/* The keeper is forgotten last of all: its data go with it. */
static th_error job_end(sweep_state *sweep, const sweep_job *ended) {
  th_result result = {0};
  th_error error = th_job_result(ended->job, &result);
  if (is_of_host(error)) return error;
  /* What an interrupt canceled has no place in the table: a next run trains it. */
  bool is_canceled = error == TH_ERR_CANCELED && th_interrupt_came();
  if (error == TH_OK)
    error = trial_keep(sweep, ended->index, &result);
  else
    error = is_canceled ? TH_OK : trial_fail(sweep, ended->index, error);
  th_result_fini(&result);
  if (error != TH_OK) return error;
  th_display_clear(&sweep->display);
  if (!is_canceled)
    th_results_tell_row(&sweep->results, ended->index, sweep->display.form == TH_DISPLAY_LINES);
  return ended->job == sweep->keeper ? TH_OK : th_job_forget(ended->job);
}

/* Of its events only the last counts: what the others tell, the progress tells newer. */
static th_error job_is_over(th_job *job, bool *is_over) {
  th_event event;
  th_error error;
  do {
    error = th_job_next(job, &event, 0);
    *is_over = error == TH_OK && event.kind == TH_EVENT_PHASE && th_phase_is_last(event.phase);
  } while (error == TH_OK && !*is_over);
  return error == TH_ERR_AGAIN ? TH_OK : error;
}

static th_error jobs_look(sweep_state *sweep) {
  for (uint32_t i = sweep->active_count; i-- > 0;) {
    bool is_over;
    th_error error = job_is_over(sweep->active[i].job, &is_over);
    if (error != TH_OK) return error;
    if (!is_over) continue;
    error = job_end(sweep, &sweep->active[i]);
    if (error != TH_OK) return error;
    if (sweep->active[i].job != sweep->keeper) th_job_close(sweep->active[i].job);
    sweep->active[i] = sweep->active[--sweep->active_count];
  }
  return TH_OK;
}

/* ---- the view ---- */

/* What this run has done of its combinations, those under way in part. */
static double work_done(const sweep_state *sweep) {
  double done =
      (double)(sweep->grid.count - sweep->skipped) - th_results_count(&sweep->results, TH_ROW_OPEN);
  for (uint32_t i = 0; i < sweep->active_count; i++) {
    th_progress progress;
    if (th_job_progress(sweep->active[i].job, &progress) == TH_OK) done += progress.fraction;
  }
  return done;
}

static void view_draw(sweep_state *sweep) {
  int64_t now_ns = th_clock_now_ns();
  if (sweep->display.form != TH_DISPLAY_LIVE || now_ns - sweep->shown_ns < LOOK_NS) return;
  sweep->shown_ns = now_ns;
  uint32_t count = sweep->grid.count;
  double done = work_done(sweep), all = count - sweep->skipped;
  double elapsed = (double)(now_ns - sweep->begun_ns) / (double)TH_NS_PER_S;
  double eta = done > 0 ? elapsed / done * (all - done) : NAN;
  const th_row *best = th_results_best(&sweep->results);
  char best_text[64] = "";
  if (best != NULL)
    snprintf(best_text, sizeof best_text, "  best %s (#%u)", th_words_score(best->score).text,
             best->number);
  th_display_note(&sweep->display, "%u/%u done  %u at the host%s  ETA %s",
                  count - th_results_count(&sweep->results, TH_ROW_OPEN), count,
                  sweep->active_count, best_text, th_words_duration(eta).text);
}

/* ---- waiting, canceling ---- */

/* A signal ends the wait early. */
static th_error news_wait(sweep_state *sweep) {
  th_error error = th_adapter_arm(sweep->host.adapter);
  if (error == TH_ERR_AGAIN) return TH_OK;
  if (error != TH_OK) return error;
  struct pollfd news = {.fd = th_adapter_fd(sweep->host.adapter), .events = POLLIN};
  (void)poll(&news, 1, LOOK_NS / TH_NS_PER_MS);
  return TH_OK;
}

/* Whatever is over by now is kept; the rest is trained by a next run. */
static th_error jobs_cancel(sweep_state *sweep) {
  th_display_note(&sweep->display, "canceling");
  th_error error = TH_OK;
  for (uint32_t i = 0; i < sweep->active_count && error == TH_OK; i++)
    error = th_job_cancel(sweep->active[i].job);
  int64_t until_ns = th_clock_deadline_ns(CANCEL_NS_MAX);
  while (error == TH_OK && sweep->active_count > 0 && th_clock_now_ns() < until_ns) {
    error = jobs_look(sweep);
    if (error == TH_OK && sweep->active_count > 0) error = news_wait(sweep);
  }
  if (error != TH_OK) return error;
  return th_fail(TH_ERR_CANCELED,
                 "canceled with %u of %u combinations done; run it again to train the rest",
                 th_results_count(&sweep->results, TH_ROW_DONE), sweep->grid.count);
}

static th_error trials_run(sweep_state *sweep) {
  th_interrupt_watch();
  sweep->begun_ns = th_clock_now_ns();
  for (;;) {
    if (th_interrupt_came()) return jobs_cancel(sweep);
    th_error error = trials_start(sweep);
    if (error == TH_OK) error = jobs_look(sweep);
    if (error != TH_OK) return error;
    bool is_done = sweep->active_count == 0 && sweep->next == sweep->grid.count;
    if (is_done) return TH_OK;
    view_draw(sweep);
    error = news_wait(sweep);
    if (error != TH_OK) return error;
  }
}

/* ---- the whole ---- */

static th_error fail_trials(const sweep_state *sweep) {
  return th_fail(sweep->failure, "%u of %u combinations failed; the first: %s",
                 th_results_count(&sweep->results, TH_ROW_FAILED), sweep->grid.count,
                 sweep->failure_text);
}

/* The table is written however the sweep ended: what is finished is finished. */
static th_error sweep_conclude(sweep_state *sweep, th_error ended) {
  char text[TH_ERROR_TEXT_BYTES_MAX];
  snprintf(text, sizeof text, "%s", ended == TH_OK ? "" : th_error_text());
  th_display_clear(&sweep->display);
  th_error error = th_results_write(&sweep->results, sweep->dir);
  if (error == TH_OK)
    error = th_results_tell(&sweep->results, th_host_mode_name(&sweep->host), sweep->dir,
                            sweep->tells_all);
  if (ended != TH_OK) return th_fail(ended, "%s", text);
  return error == TH_OK && sweep->failure != TH_OK ? fail_trials(sweep) : error;
}

/* Jobs left behind by a failure end with the session. */
static void sweep_close(sweep_state *sweep) {
  for (uint32_t i = 0; i < sweep->active_count; i++)
    if (sweep->active[i].job != sweep->keeper) th_job_close(sweep->active[i].job);
  if (sweep->keeper != NULL) {
    /* If that fails, the host keeps one result more; the sweep has its own. */
    th_error error = th_job_forget(sweep->keeper);
    (void)error;
  }
  th_job_close(sweep->keeper);
  th_host_close(&sweep->host);
  th_results_fini(&sweep->results);
  th_table_fini(&sweep->dataset);
  th_grid_fini(&sweep->grid);
}

static th_error arguments_judge(const th_arguments *arguments) {
  th_error error = th_dataset_judge(arguments, TH_JOB_TRAIN);
  if (error != TH_OK) return error;
  if (arguments->out_dir == NULL)
    return th_fail(TH_ERR_USAGE, "--out-dir is missing: the directory for the models");
  if (arguments->jobs > JOBS_MAX)
    return th_fail(TH_ERR_USAGE, "--jobs is %u: a session follows at most %d jobs", arguments->jobs,
                   JOBS_MAX);
  return TH_OK;
}

/* A sweep run again trains what is not done, from the beginning: only a host keeps what it left. */
static th_error mode_judge(const sweep_state *sweep) {
  if (!th_host_is_local(&sweep->host)) return TH_OK;
  for (uint32_t i = 0; i < sweep->grid.count; i++) {
    th_spec spec;
    const char *text = sweep->grid.trials[i].spec;
    th_error error = th_spec_parse(text, strlen(text), &spec);
    if (error != TH_OK) return error;
    if (spec.checkpoint_epochs > 0)
      return th_fail(TH_ERR_USAGE,
                     "checkpoint_epochs is %u, and a sweep in local mode has no host to keep "
                     "checkpoints: leave it out, or set USE_TRAINING_HOST_SERVICE=true",
                     spec.checkpoint_epochs);
  }
  return TH_OK;
}

/* As with train: all that is wrong with the command line first, then the host, then the data. */
static th_error sweep_prepare(sweep_state *sweep, const th_arguments *arguments) {
  th_error error = th_grid_read(arguments->file, &sweep->grid);
  if (error == TH_OK) error = arguments_judge(arguments);
  if (error == TH_OK) error = th_results_init(&sweep->results, &sweep->grid);
  if (error == TH_OK) error = th_host_open(&sweep->host);
  if (error == TH_OK) error = mode_judge(sweep);
  if (error == TH_OK) error = dir_make(arguments->out_dir);
  if (error == TH_OK)
    error = th_dataset_read(arguments, TH_JOB_TRAIN, &sweep->display, &sweep->dataset);
  return error == TH_OK ? trials_recall(sweep) : error;
}

static th_error run(const th_arguments *arguments) {
  sweep_state sweep = {.dir = arguments->out_dir,
                       .tells_all = arguments->all,
                       .jobs_max = arguments->jobs > 0 ? arguments->jobs : JOBS_MAX};
  th_display_init(&sweep.display, TH_JOB_TRAIN);
  th_error error = sweep_prepare(&sweep, arguments);
  if (error == TH_OK) error = sweep_conclude(&sweep, trials_run(&sweep));
  th_display_clear(&sweep.display);
  sweep_close(&sweep);
  return error;
}

static const struct argp_option rows[] = {
    TH_ROWS_DATA,
    {"out-dir", TH_FLAG_OUT_DIR, "DIR", 0,
     "Write each model and its card into this directory, and the table: sweep.csv, sweep.json", 2},
    {"jobs", TH_FLAG_JOBS, "N", 0,
     "Give the host at most N combinations at once (default and most 60); it decides how many of "
     "them run",
     2},
    {"all", TH_FLAG_ALL, NULL, 0, "List every combination, also where folds or seeds are summed up",
     2},
    {0},
};

const th_command th_command_sweep = {
    .name = "sweep",
    .summary = "train a grid of specifications on the same data",
    .doc =
        "Train every combination of a grid on the same data, which are sent once, and list the "
        "results, best first."
        "\v"
        "SWEEP.json: {\"spec\": {FIELD: VALUE, ...}, \"grid\": {FIELD: [VALUE, ...], ...}, "
        "\"seeds\": N or [SEED, ...]}. The fields are those of trainhost train. The last field of "
        "the grid changes fastest, and the seed faster still; N stands for the seeds 0 to N-1. "
        "Combinations that differ only in fold and seed are summed up, as mean and deviation: "
        "\"fold\" in the grid is cross-validation.\n\n"
        "Run again with the same file and data, it skips the combinations whose card is there. "
        "Ctrl-C cancels what runs and keeps what is finished.\n\n"
        "Example: trainhost sweep grid.json --data x.npy --labels y.npy --out-dir results",
    .rows = rows,
    .file = "SWEEP.json",
    .run = run,
};

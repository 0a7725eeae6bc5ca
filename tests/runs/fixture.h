/** Data that can be learned, runs made of them, and a witness who is told of everything. */
#ifndef TH_TESTS_RUNS_FIXTURE_H
#define TH_TESTS_RUNS_FIXTURE_H

#include <pthread.h>
#include <stdbool.h>

#include "runs/scheduler.h"

/** Longer than any test needs, under any sanitizer, on a busy machine. */
#define WITNESS_TIMEOUT_NS (INT64_C(100) * 1000000000)

enum { SET_ROWS = 256, SET_WIDTH = 8, SET_CLASSES = 3, WITNESS_PHASES_MAX = 64 };

/** Three clouds of points. */
struct set {
  float features[SET_ROWS * SET_WIDTH];
  int32_t labels[SET_ROWS];
};

void set_fill(struct set *set);

/** What one run's observer was told. */
struct witness {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  th_phase phases[WITNESS_PHASES_MAX]; /**< entered, in order; further ones are not kept */
  uint32_t phase_count;
  uint32_t calls;
  uint32_t calls_after_the_end;
  th_progress newest;
  bool is_inside; /**< the observer runs just now */
  bool was_entered_twice;
  double fraction_lost; /**< by how much the fraction ever fell */
  /* What it does when told, without its lock: */
  void (*act)(struct witness *witness, th_run *run, const th_progress *progress);
  void *act_user;
  th_run_saver *saver; /**< of a run made with the witness; NULL: none */
};

void witness_init(struct witness *witness);
th_run_observer witness_observe;

/** Wait for the end, and for a condition; the test fails if neither comes. */
void witness_wait_over(struct witness *witness);
void witness_wait(struct witness *witness,
                  bool (*holds)(const th_progress *progress, uint32_t number), uint32_t number);
bool has_epoch(const th_progress *progress, uint32_t epoch);
bool has_position(const th_progress *progress, uint32_t position);
bool has_phase(const th_progress *progress, uint32_t phase);

const th_device *cpu(void);

/** A run with all its arrays; a model may be NULL. */
th_run *run_make(uint64_t job, th_job_kind kind, const char *spec, const struct set *set,
                 const th_buffer *model, struct witness *witness);

/** Train to the end on a scheduler of its own. @return the model; free it. */
th_buffer model_train(const char *spec, const struct set *set, uint32_t threads);

#endif

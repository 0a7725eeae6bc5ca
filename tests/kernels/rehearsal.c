#include "tests/kernels/rehearsal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/engine.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/phases.h"

static uint32_t block_lanes;
static uint32_t calls_until_failure;
static int held;

struct th_cuda_queue {
  uint32_t device;
};

static const char *fails(void) {
  return calls_until_failure > 0 && --calls_until_failure == 0 ? "cudaErrorIllegalAddress" : NULL;
}

/* ---- kernels ---- */

/* An order of the lanes that changes from phase to phase. */
static void block_run(const th_cuda_job *job, const th_cuda_batch *batch,
                      const th_cuda_program *program) {
  th_cursor cursor = {0};
  uint32_t number = 0;
  do {
    th_permutation order = th_permutation_draw(block_lanes, 1, 0, number++);
    for (uint32_t i = 0; i < block_lanes; i++) {
      th_lane lane = {.index = th_permutation_at(&order, i), .count = block_lanes};
      th_phase_run(job, batch, program, cursor, lane);
    }
  } while (th_cursor_advance(&cursor, job->net, program));
}

/* A block that keeps its rows in shared memory finds there what others left: nothing that was not
 * written in this launch may be read. */
static void area_spoil(const th_cuda_area *area, uint32_t width) {
  for (size_t i = 0; i < (size_t)area->rows_max * width; i++) area->numbers[i] = NAN;
}

static const char *train(th_cuda_queue *queue, const th_cuda_training *training) {
  (void)queue;
  const char *why = fails();
  area_spoil(&training->job.area, training->job.net->area_width);
  for (uint32_t s = 0; s < training->count && why == NULL; s++) {
    th_cuda_batch batch = th_training_batch(training, s);
    block_run(&training->job, &batch, &training->job.net->step);
  }
  return why;
}

static const char *judge(th_cuda_queue *queue, const th_cuda_judging *judging) {
  (void)queue;
  const char *why = fails();
  for (uint32_t s = 0; s * TH_CUDA_JUDGED_ROWS < judging->rows && why == NULL; s++) {
    th_cuda_job job = th_judging_job(judging, s % judging->areas, s);
    th_cuda_batch batch = th_judging_batch(judging, s);
    area_spoil(&job.area, job.net->area_width);
    block_run(&job, &batch, &job.net->judging);
  }
  return why;
}

/* ---- memory ---- */

static const char *describe(uint32_t device, th_cuda_facts *facts) {
  (void)device;
  *facts = (th_cuda_facts){.name = "rehearsal",
                           .multiprocessors = 2,
                           .memory_bytes = (size_t)1 << 30,
                           .free_bytes = (size_t)1 << 30};
  return fails();
}

static const char *queue_open(uint32_t device, th_cuda_queue **queue) {
  const char *why = fails();
  if (why != NULL) return why;
  *queue = malloc(sizeof **queue);
  (*queue)->device = device;
  held++;
  return NULL;
}

static void queue_close(th_cuda_queue *queue) {
  free(queue);
  held--;
}

static const char *allocate(th_cuda_queue *queue, size_t bytes, void **memory) {
  (void)queue;
  const char *why = fails();
  if (why != NULL) return why;
  /* As little as was asked for, so that the sanitizer sees what lies beyond it. */
  *memory = calloc(1, bytes);
  held++;
  return NULL;
}

static void release(th_cuda_queue *queue, void *memory) {
  (void)queue;
  free(memory);
  held--;
}

static const char *copy(th_cuda_queue *queue, void *to, const void *from, size_t bytes) {
  (void)queue;
  const char *why = fails();
  if (why == NULL) memcpy(to, from, bytes);
  return why;
}

static const char *queue_wait(th_cuda_queue *queue) {
  (void)queue;
  return fails();
}

static const th_cuda_runtime runtime = {
    .version = TH_CUDA_RUNTIME_VERSION,
    .describe = describe,
    .open = queue_open,
    .allocate = allocate,
    .upload = copy,
    .download = copy,
    .copy = copy,
    .train = train,
    .judge = judge,
    .wait = queue_wait,
    .release = release,
    .close = queue_close,
};

th_device rehearsal_device(uint32_t lanes) {
  block_lanes = lanes;
  return (th_device){
      .backend = &th_cuda_backend, .cuda = &runtime, .threads = 1, .name = "rehearsal"};
}

void rehearsal_fail_at(uint32_t call) {
  calls_until_failure = call;
}

int rehearsal_held(void) {
  return held;
}

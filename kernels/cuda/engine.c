#include "kernels/cuda/engine.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "kernels/cuda/layout.h"
#include "kernels/cuda/runtime.h"
#include "kernels/weighting.h"

/* Steps of one launch: a few milliseconds of a small net, so that a job ends soon when it is asked
 * to, and others have their turn. */
#define STEPS_AT_ONCE 256
#define ROWS_AT_ONCE 8192
/* Blocks that judge rows side by side, each with an area of its own: two for every multiprocessor
 * of the largest device. */
#define AREAS_MAX 288
/* And no more than so much memory for them: the rows of a window take a good deal. */
#define AREAS_BYTES_MAX (UINT64_C(256) << 20)
#define ARRAYS_MAX 32

struct th_engine {
  th_engine_plan plan;
  const th_cuda_runtime *runtime;
  th_cuda_queue *queue;
  th_cuda_net net; /* as the device has it, pointers and all */
  th_cuda_training training;
  th_cuda_judging judging;
  float *features; /* the device's own */
  float *best; /* NULL until there is one */
  th_optimizer *optimizers; /* [STEPS_AT_ONCE] */
  th_sums *slice_sums; /* of judging, in the device's memory */
  float *staged; /* [net.parameters] on the host, between the two orders */
  void *arrays[ARRAYS_MAX]; /* of the device, to be released */
  uint32_t array_count;
  uint32_t device;
};

static th_error fail(const th_engine *engine, const char *what, const char *why) {
  return th_fail(TH_ERR_DEVICE, "cuda:%u could not %s: %s", engine->device, what, why);
}

/* ---- memory ---- */

/* A failure is remembered in `why`, and what follows it does nothing: who makes an engine asks
 * once. */
typedef struct maker {
  th_engine *engine;
  const char *why;
} maker;

static void *device_array(maker *m, uint64_t count, size_t element_bytes) {
  th_engine *engine = m->engine;
  size_t bytes;
  if (m->why != NULL) return NULL;
  if (__builtin_mul_overflow(count, element_bytes, &bytes)) {
    m->why = "a size that no memory holds";
    return NULL;
  }
  void *memory = NULL;
  m->why = engine->runtime->allocate(engine->queue, bytes == 0 ? element_bytes : bytes, &memory);
  if (m->why != NULL) return NULL;
  th_check(engine->array_count < ARRAYS_MAX);
  engine->arrays[engine->array_count++] = memory;
  return memory;
}

static void *device_copy(maker *m, const void *from, uint64_t count, size_t element_bytes) {
  if (from == NULL) return NULL;
  void *memory = device_array(m, count, element_bytes);
  if (m->why == NULL)
    m->why =
        m->engine->runtime->upload(m->engine->queue, memory, from, (size_t)count * element_bytes);
  return memory;
}

static void data_upload(maker *m, const th_engine_plan *plan) {
  th_cuda_net *net = &m->engine->net;
  const th_data *data = plan->data;
  uint64_t count = data->rows * data->width;
  m->engine->features = device_copy(m, data->features, count, sizeof(float));
  net->features = m->engine->features;
  if (th_loss_is_regression(plan->spec->loss)) {
    uint64_t outputs = plan->model->outputs;
    net->targets = device_copy(m, data->targets, data->rows * outputs, sizeof(float));
    net->training_shares = device_copy(m, plan->training_shares, outputs, sizeof(double));
    net->validation_shares = device_copy(m, plan->validation_shares, outputs, sizeof(double));
  } else {
    net->labels = device_copy(m, data->labels, data->rows, sizeof(int32_t));
  }
  net->row_weights = device_copy(m, th_weighting_rows(plan), data->rows, sizeof(float));
  if (net->embedding > 0 || net->window > 1)
    net->groups = device_copy(m, data->groups, data->rows, sizeof(int32_t));
  net->rows = device_copy(m, plan->rows, data->rows, sizeof(uint32_t));
  net->shift = device_copy(m, plan->shift, data->width, sizeof(float));
  net->scale = device_copy(m, plan->scale, data->width, sizeof(float));
}

static void sampling_upload(maker *m, const th_engine_plan *plan) {
  const th_sampling *from = &plan->sampling;
  uint32_t rows = plan->training_rows;
  m->engine->net.sampling =
      (th_sampling){.aliases = device_copy(m, from->aliases, rows, sizeof *from->aliases),
                    .groups = device_copy(m, from->groups, from->group_count, sizeof *from->groups),
                    .group_count = from->group_count,
                    .members = device_copy(m, from->members, rows, sizeof *from->members)};
}

static void rule_upload(maker *m, const th_engine_plan *plan) {
  float weights[TH_CLASS_WEIGHTS_MAX];
  th_loss_rule rule = th_weighting_rule(plan, th_weighting_is_settled(plan) ? weights : NULL);
  rule.weights = device_copy(m, rule.weights, plan->model->classes, sizeof *weights);
  m->engine->net.rule = rule;
}

static th_cuda_area areas_make(maker *m, uint32_t rows, uint32_t areas) {
  uint32_t rows_max = th_tiles_over(rows) * TH_TILE;
  uint64_t all = (uint64_t)rows_max * areas;
  return (th_cuda_area){
      .rows_max = rows_max,
      .numbers = device_array(m, all * m->engine->net.area_width, sizeof(float)),
      .columns = device_array(m, (uint64_t)m->engine->net.area_columns * areas, sizeof(float)),
      .rows = device_array(m, all, sizeof(uint32_t)),
      .befores = device_array(m, all, sizeof(uint32_t)),
      .shares = device_array(m, all, sizeof(float)),
      .judged = device_array(m, all, sizeof(th_sums)),
      .share_sums = device_array(m, (uint64_t)th_sums_over(rows_max) * areas, sizeof(double)),
  };
}

/* Tiles of the gradient, or of a layer's products over the batch. */
static uint64_t tiles_widest(const th_cuda_net *net, uint32_t rows) {
  uint64_t widest = net->tiles;
  for (uint32_t l = 0; l < net->layer_count; l++) {
    uint64_t across = net->layers[l].output_stride / TH_TILE;
    if (th_tiles_over(rows) * across > widest) widest = th_tiles_over(rows) * across;
  }
  return widest;
}

static void training_make(maker *m, const th_engine_plan *plan, th_cuda_job *job) {
  const th_cuda_net *net = &m->engine->net;
  uint64_t count = net->parameters;
  uint32_t rows = plan->training_rows < net->batch_size ? plan->training_rows : net->batch_size;
  if (net->moments > 0) job->state.moment1 = device_array(m, count, sizeof(float));
  if (net->moments > 1) job->state.moment2 = device_array(m, count, sizeof(float));
  m->engine->training.state_numbers = count * (1 + net->moments);
  m->engine->training.area_numbers = (size_t)net->area_width * th_tiles_over(rows) * TH_TILE;
  m->engine->training.tiles_widest = tiles_widest(net, rows);
  if (net->clip_norm > 0) {
    job->state.gradients = device_array(m, count, sizeof(float));
    job->state.tile_squares = device_array(m, net->tiles, sizeof(double));
    job->state.square_sums = device_array(m, th_square_groups(net), sizeof(double));
  }
  job->area = areas_make(m, rows, 1);
  m->engine->optimizers = device_array(m, STEPS_AT_ONCE, sizeof(th_optimizer));
}

static uint32_t slices_over(uint32_t rows) {
  return (rows + TH_CUDA_JUDGED_ROWS - 1) / TH_CUDA_JUDGED_ROWS;
}

static uint32_t areas_count(const th_cuda_net *net, uint32_t slices) {
  uint64_t most = AREAS_BYTES_MAX / (sizeof(float) * net->area_width * TH_CUDA_JUDGED_ROWS);
  if (most > AREAS_MAX) most = AREAS_MAX;
  if (most > slices) most = slices;
  return most > 0 ? (uint32_t)most : 1;
}

static void judging_make(maker *m, const th_engine_plan *plan, th_cuda_job *job) {
  uint64_t rows = plan->data->rows - plan->training_rows;
  uint32_t at_once = rows < ROWS_AT_ONCE ? (uint32_t)rows : ROWS_AT_ONCE;
  uint32_t slices = slices_over(at_once);
  th_cuda_judging *judging = &m->engine->judging;
  judging->areas = areas_count(&m->engine->net, slices);
  job->area = areas_make(m, TH_CUDA_JUDGED_ROWS, judging->areas);
  m->engine->slice_sums = device_array(m, slices, sizeof(th_sums));
  judging->logits = device_array(m, (uint64_t)at_once * plan->model->outputs, sizeof(float));
  job->sums = m->engine->slice_sums;
}

static void job_make(maker *m, const th_engine_plan *plan) {
  th_engine *engine = m->engine;
  data_upload(m, plan);
  sampling_upload(m, plan);
  rule_upload(m, plan);
  th_cuda_job job = {.net = device_copy(m, &engine->net, 1, sizeof engine->net),
                     .state.parameters = device_array(m, engine->net.parameters, sizeof(float)),
                     .sums = device_array(m, 1, sizeof(th_sums))};
  engine->training.job = job;
  engine->judging.job = job;
  if (plan->training_rows > 0) training_make(m, plan, &engine->training.job);
  judging_make(m, plan, &engine->judging.job);
}

/* ---- the table ---- */

static void engine_destroy(th_engine *engine) {
  if (engine == NULL) return;
  for (uint32_t i = 0; i < engine->array_count; i++)
    engine->runtime->release(engine->queue, engine->arrays[i]);
  if (engine->queue != NULL) engine->runtime->close(engine->queue);
  free(engine->staged);
  free(engine);
}

/* How much memory there is matters only now, and asking takes a while. */
static th_error fail_create(const th_engine *engine, const char *why) {
  th_cuda_facts facts = {0};
  (void)engine->runtime->describe(engine->device, &facts);
  return th_fail(TH_ERR_DEVICE,
                 "cuda:%u could not take a net of %" PRIu64 " parameters and %" PRIu64
                 " rows: %s, with %zu of %zu MiB free",
                 engine->device, engine->plan.model->parameters, engine->plan.data->rows, why,
                 facts.free_bytes >> 20, facts.memory_bytes >> 20);
}

static th_error engine_create(const th_engine_plan *plan, th_engine **engine) {
  th_engine *made = calloc(1, sizeof *made);
  if (made == NULL) return th_fail(TH_ERR_SYSTEM, "no memory for an engine");
  made->plan = *plan;
  made->runtime = plan->device->cuda;
  made->device = plan->device->index;
  made->net = th_cuda_layout(plan);
  made->staged = malloc(made->net.parameters * sizeof *made->staged);
  maker m = {.engine = made, .why = made->staged == NULL ? "no memory on the host" : NULL};
  if (m.why == NULL) m.why = made->runtime->open(made->device, &made->queue);
  if (m.why == NULL) job_make(&m, plan);
  if (m.why == NULL) {
    *engine = made;
    return TH_OK;
  }
  th_error error = fail_create(made, m.why);
  engine_destroy(made);
  return error;
}

/* The numbers of every step are computed here, in double; the kernel goes through them without a
 * word to its host. */
static const char *optimizers_upload(th_engine *engine, uint64_t step, uint32_t count) {
  th_optimizer optimizers[STEPS_AT_ONCE];
  const th_engine_plan *plan = &engine->plan;
  for (uint32_t i = 0; i < count; i++)
    optimizers[i] = th_optimizer_at(
        plan->spec, th_schedule_rate_of(plan->schedule, plan->spec, step + i), step + i + 1);
  return engine->runtime->upload(engine->queue, engine->optimizers, optimizers,
                                 count * sizeof *optimizers);
}

static th_error engine_train(th_engine *engine, th_team *team, uint32_t epoch, uint32_t first,
                             uint32_t count, th_sums *sums) {
  (void)team;
  th_check(count <= STEPS_AT_ONCE);
  const th_cuda_runtime *runtime = engine->runtime;
  const th_spec *spec = engine->plan.spec;
  th_cuda_training *training = &engine->training;
  th_sums found = {0};
  training->order = th_order_of(&engine->net.sampling, spec, engine->net.training_rows, epoch);
  training->optimizers = engine->optimizers;
  training->first = first;
  training->count = count;
  training->step = (epoch - UINT64_C(1)) * th_spec_steps(spec, engine->net.training_rows) + first;
  const char *why = optimizers_upload(engine, training->step, count);
  if (why == NULL) why = runtime->upload(engine->queue, training->job.sums, &found, sizeof found);
  if (why == NULL) why = runtime->train(engine->queue, training);
  if (why == NULL) why = runtime->download(engine->queue, &found, training->job.sums, sizeof found);
  if (why == NULL) why = runtime->wait(engine->queue);
  if (why != NULL) return fail(engine, "train", why);
  th_sums_add(sums, &found);
  return TH_OK;
}

/* A single logit is of class 1 against class 0, whose own is 0. */
static void logits_widen(const th_model *model, uint32_t rows, th_real *logits) {
  if (model->outputs == th_model_columns(model)) return;
  for (uint32_t i = rows; i-- > 0;) {
    logits[2 * (size_t)i + 1] = logits[i];
    logits[2 * (size_t)i] = 0;
  }
}

static const char *features_refresh(th_engine *engine) {
  const th_data *data = engine->plan.data;
  if (!engine->plan.features_change) return NULL;
  return engine->runtime->upload(engine->queue, engine->features, data->features,
                                 data->rows * data->width * sizeof(float));
}

static th_error engine_evaluate(th_engine *engine, th_team *team, uint32_t first, uint32_t count,
                                th_sums *sums, th_real *logits) {
  (void)team;
  th_check(count <= ROWS_AT_ONCE);
  const th_cuda_runtime *runtime = engine->runtime;
  const th_model *model = engine->plan.model;
  th_sums found[(ROWS_AT_ONCE + TH_CUDA_JUDGED_ROWS - 1) / TH_CUDA_JUDGED_ROWS];
  uint32_t slices = slices_over(count);
  engine->judging.first = first;
  engine->judging.rows = count;
  const char *why = features_refresh(engine);
  if (why == NULL) why = runtime->judge(engine->queue, &engine->judging);
  if (why == NULL)
    why = runtime->download(engine->queue, found, engine->slice_sums, slices * sizeof *found);
  if (why == NULL && logits != NULL)
    why = runtime->download(engine->queue, logits, engine->judging.logits,
                            (size_t)count * model->outputs * sizeof *logits);
  if (why == NULL) why = runtime->wait(engine->queue);
  if (why != NULL) return fail(engine, "judge rows", why);
  for (uint32_t i = 0; i < slices; i++) th_sums_add(sums, &found[i]);
  if (logits != NULL) logits_widen(model, count, logits);
  return TH_OK;
}

static const char *array_read(const th_engine *engine, const float *array, th_real *copy) {
  if (copy == NULL) return NULL;
  if (array == NULL) {
    memset(copy, 0, engine->plan.model->parameters * sizeof *copy);
    return NULL;
  }
  const char *why = engine->runtime->download(engine->queue, engine->staged, array,
                                              engine->net.parameters * sizeof *array);
  if (why == NULL) why = engine->runtime->wait(engine->queue);
  if (why == NULL) th_cuda_layout_read(&engine->net, engine->plan.model, engine->staged, copy);
  return why;
}

static th_error engine_read(const th_engine *engine, const th_engine_state *state) {
  const th_cuda_state *held = &engine->training.job.state;
  const char *why = array_read(engine, held->parameters, state->parameters);
  if (why == NULL) why = array_read(engine, held->moment1, state->moment1);
  if (why == NULL) why = array_read(engine, held->moment2, state->moment2);
  if (why == NULL) why = array_read(engine, engine->best, state->best);
  return why == NULL ? TH_OK : fail(engine, "give back a model", why);
}

static const char *array_write(th_engine *engine, th_real *copy, float *array) {
  if (copy == NULL || array == NULL) return NULL;
  th_cuda_layout_write(&engine->net, engine->plan.model, copy, engine->staged);
  const char *why = engine->runtime->upload(engine->queue, array, engine->staged,
                                            engine->net.parameters * sizeof *array);
  return why == NULL ? engine->runtime->wait(engine->queue) : why;
}

/* The best parameters have memory from the first time that there are any. */
static const char *best_allocate(th_engine *engine) {
  maker m = {.engine = engine};
  if (engine->best == NULL)
    engine->best = device_array(&m, engine->net.parameters, sizeof *engine->best);
  return m.why;
}

static th_error engine_write(th_engine *engine, const th_engine_state *state) {
  th_cuda_state *held = &engine->training.job.state;
  const char *why = state->best == NULL ? NULL : best_allocate(engine);
  if (why == NULL) why = array_write(engine, state->parameters, held->parameters);
  if (why == NULL) why = array_write(engine, state->moment1, held->moment1);
  if (why == NULL) why = array_write(engine, state->moment2, held->moment2);
  if (why == NULL) why = array_write(engine, state->best, engine->best);
  return why == NULL ? TH_OK : fail(engine, "take a model", why);
}

static th_error engine_keep_best(th_engine *engine) {
  const char *why = best_allocate(engine);
  if (why == NULL)
    why = engine->runtime->copy(engine->queue, engine->best, engine->training.job.state.parameters,
                                engine->net.parameters * sizeof *engine->best);
  return why == NULL ? TH_OK : fail(engine, "keep the best model", why);
}

static th_error engine_restore_best(th_engine *engine) {
  if (engine->best == NULL) return TH_OK;
  const char *why =
      engine->runtime->copy(engine->queue, engine->training.job.state.parameters, engine->best,
                            engine->net.parameters * sizeof *engine->best);
  return why == NULL ? TH_OK : fail(engine, "restore the best model", why);
}

const th_backend th_cuda_backend = {
    .name = "cuda",
    .steps_at_once = STEPS_AT_ONCE,
    .rows_at_once = ROWS_AT_ONCE,
    .create = engine_create,
    .train = engine_train,
    .evaluate = engine_evaluate,
    .read = engine_read,
    .write = engine_write,
    .keep_best = engine_keep_best,
    .restore_best = engine_restore_best,
    .destroy = engine_destroy,
};

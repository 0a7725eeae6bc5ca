/* Two kinds of threads. The keeper owns the queue: it takes in what is added, tells positions,
 * ends what is canceled while it waits, and starts a run when one of active_max is over. Workers
 * advance the active runs, a slice each, fairly between owners. So a run is driven by one thread
 * at a time, and a long slice never keeps a queue from being told the truth.
 *
 * Lock order: a run's lock, then the scheduler's. No run is called with the scheduler's held. */
#include "runs/scheduler.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "runs/run_state.h"

/* Long enough that changing runs costs nothing, short enough that nobody notices the turns. */
#define SLICE_NS (50 * TH_NS_PER_MS)

/* Threads for one run. A worker sits down on the lowest free seat, so on seat s at least s + 1 runs
 * share the cores and a team of threads / (s + 1), rounded up, is all that is ever used of it. */
typedef struct scheduler_seat {
  th_team *team;
  bool is_taken;
} scheduler_seat;

struct th_scheduler {
  uint32_t threads, threads_each;
  uint32_t active_max;

  pthread_mutex_t lock;
  pthread_cond_t keeper_wake, worker_wake;
  /* Under the lock: */
  bool keeper_has_news;
  bool is_stopping;
  bool is_closed; /**< the keeper is gone: nothing more is taken in */
  th_run *added; /**< in order; the keeper puts them in the queue */
  th_run **added_end;
  th_run *active; /**< in progress, in any order */
  uint32_t active_count;
  uint64_t turns; /**< slices given so far */
  scheduler_seat *seats; /**< one a worker */

  /* The keeper's alone: */
  th_run *queue; /**< in the order in which they start */
  uint64_t round; /**< of the run started last */

  /* Of the thread that creates and stops: */
  pthread_t keeper;
  bool keeper_is_started;
  pthread_t *workers;
  uint32_t worker_count;
  uint32_t workers_started;
};

/* ---- lists of runs, linked through their places ---- */

static void list_push(th_run **list, th_run *run) {
  run->place.next = *list;
  *list = run;
}

/* The run must be in the list. Lists are as short as the number of active runs. */
static void list_remove(th_run **list, th_run *run) {
  while (*list != run) list = &(*list)->place.next;
  *list = run->place.next;
}

/* ---- turns: which active run gets the next slice; under the lock ---- */

/* An owner's newest turn, through whichever of its runs. */
static uint64_t owner_turn(const th_scheduler *scheduler, uint64_t owner) {
  uint64_t newest = 0;
  for (const th_run *run = scheduler->active; run != NULL; run = run->place.next)
    if (run->place.owner == owner && run->place.turn > newest) newest = run->place.turn;
  return newest;
}

/* The owner that waits longest comes first, and of its runs the one that waits longest. */
static bool turn_is_before(const th_scheduler *scheduler, const th_run *a, const th_run *b) {
  uint64_t owner_a = owner_turn(scheduler, a->place.owner);
  uint64_t owner_b = owner_turn(scheduler, b->place.owner);
  return owner_a != owner_b ? owner_a < owner_b : a->place.turn < b->place.turn;
}

static th_run *turn_take(th_scheduler *scheduler) {
  th_run *next = NULL;
  for (th_run *run = scheduler->active; run != NULL; run = run->place.next)
    if (!run->place.is_driven && (next == NULL || turn_is_before(scheduler, run, next))) next = run;
  if (next == NULL) return NULL;
  next->place.is_driven = true;
  next->place.turn = ++scheduler->turns;
  return next;
}

static uint32_t seat_take(th_scheduler *scheduler) {
  uint32_t seat = 0;
  while (scheduler->seats[seat].is_taken) seat++;
  scheduler->seats[seat].is_taken = true;
  return seat;
}

/* The cores are shared out among the active runs; the lowest seats have what is left over. */
static uint32_t seat_share(const th_scheduler *scheduler, uint32_t seat) {
  uint32_t threads = scheduler->threads, runs = scheduler->active_count;
  if (runs >= threads) return 1;
  uint32_t share = threads / runs + (seat < threads % runs ? 1 : 0);
  return share < scheduler->threads_each ? share : scheduler->threads_each;
}

/* ---- the workers ---- */

static void keeper_notify(th_scheduler *scheduler) {
  scheduler->keeper_has_news = true;
  pthread_cond_signal(&scheduler->keeper_wake);
}

/* Let go of a run whose outcome is decided. Its end is told only then, because whoever is told may
 * destroy it. Returns with the lock held, as it was called. */
static void active_retire(th_scheduler *scheduler, th_run *run) {
  list_remove(&scheduler->active, run);
  scheduler->active_count--;
  keeper_notify(scheduler);
  if (scheduler->active_count == 0) pthread_cond_broadcast(&scheduler->worker_wake);
  pthread_mutex_unlock(&scheduler->lock);
  th_run_end(run);
  pthread_mutex_lock(&scheduler->lock);
}

/* One slice of one run; the lock is held before and after, not during. */
static void worker_slice(th_scheduler *scheduler, th_run *run) {
  uint32_t seat = seat_take(scheduler);
  uint32_t share = seat_share(scheduler, seat);
  pthread_mutex_unlock(&scheduler->lock);
  th_team *team = scheduler->seats[seat].team;
  th_team_set_active(team, share);
  bool is_over = th_run_advance(run, team, th_clock_now_ns() + SLICE_NS);
  pthread_mutex_lock(&scheduler->lock);
  scheduler->seats[seat].is_taken = false;
  run->place.is_driven = false;
  if (is_over) active_retire(scheduler, run);
}

static void *worker_main(void *argument) {
  th_scheduler *scheduler = argument;
  pthread_setname_np(pthread_self(), "th-train");
  pthread_mutex_lock(&scheduler->lock);
  for (;;) {
    th_run *run = turn_take(scheduler);
    if (run != NULL) {
      worker_slice(scheduler, run);
    } else if (scheduler->is_stopping && scheduler->active_count == 0) {
      break;
    } else {
      pthread_cond_wait(&scheduler->worker_wake, &scheduler->lock);
    }
  }
  pthread_mutex_unlock(&scheduler->lock);
  return NULL;
}

/* ---- the keeper: the queue ---- */

/* The round after all of the owner's runs that are queued or active; 0 if there is none. */
static uint64_t owner_next_round(const th_scheduler *scheduler, uint64_t owner) {
  uint64_t next = 0;
  const th_run *lists[] = {scheduler->queue, scheduler->active};
  for (int i = 0; i < 2; i++)
    for (const th_run *run = lists[i]; run != NULL; run = run->place.next)
      if (run->place.owner == owner && run->place.round >= next) next = run->place.round + 1;
  return next;
}

/* Start-time fair queueing (Goyal, Vin, Cheng 1996) with runs of one size: an owner has one run in
 * each round, and a newcomer joins the round that is being started. */
static void queue_insert(th_scheduler *scheduler, th_run *run) {
  uint64_t round = owner_next_round(scheduler, run->place.owner);
  run->place.round = round > scheduler->round ? round : scheduler->round;
  th_run **at = &scheduler->queue;
  while (*at != NULL && (*at)->place.round <= run->place.round) at = &(*at)->place.next;
  list_push(at, run);
}

/* With the lock: the rounds of the active runs are looked at, too. */
static void queue_take_in(th_scheduler *scheduler) {
  pthread_mutex_lock(&scheduler->lock);
  th_run *added = scheduler->added;
  scheduler->added = NULL;
  scheduler->added_end = &scheduler->added;
  while (added != NULL) {
    th_run *run = added;
    added = run->place.next;
    queue_insert(scheduler, run);
  }
  pthread_mutex_unlock(&scheduler->lock);
}

/* What nobody has begun is over as soon as somebody wishes it. */
static void queue_end_wished(th_scheduler *scheduler) {
  th_run **at = &scheduler->queue;
  while (*at != NULL) {
    th_run *run = *at;
    if (th_run_wished(run) == TH_WISH_NONE) {
      at = &run->place.next;
      continue;
    }
    *at = run->place.next;
    th_run_abandon(run);
    th_run_end(run);
  }
}

/* Runs whose position is unchanged are not bothered; see th_run_queue. */
static void queue_tell(th_scheduler *scheduler) {
  uint32_t position = 0;
  for (th_run *run = scheduler->queue; run != NULL; run = run->place.next)
    th_run_queue(run, ++position);
}

/* Start the first of the queue if there is room. The run counts as active before it is told so,
 * which keeps a stop waiting for it, but workers leave it alone until then. */
static bool queue_start_first(th_scheduler *scheduler) {
  th_run *run = scheduler->queue;
  pthread_mutex_lock(&scheduler->lock);
  bool has_room =
      run != NULL && scheduler->active_count < scheduler->active_max && !scheduler->is_stopping;
  if (has_room) {
    scheduler->queue = run->place.next;
    scheduler->round = run->place.round;
    run->place.is_driven = true;
    run->place.turn = scheduler->turns;
    list_push(&scheduler->active, run);
    scheduler->active_count++;
  }
  pthread_mutex_unlock(&scheduler->lock);
  if (!has_room) return false;
  th_run_enter(run, TH_PHASE_PREPARING);
  pthread_mutex_lock(&scheduler->lock);
  run->place.is_driven = false;
  pthread_cond_signal(&scheduler->worker_wake);
  pthread_mutex_unlock(&scheduler->lock);
  return true;
}

/* A canceled run that waits for its turn need not wait for it to end. */
static void active_end_canceled(th_scheduler *scheduler) {
  pthread_mutex_lock(&scheduler->lock);
  th_run *run = scheduler->active;
  while (run != NULL) {
    if (run->place.is_driven || th_run_wished(run) != TH_WISH_CANCEL) {
      run = run->place.next;
      continue;
    }
    run->place.is_driven = true;
    pthread_mutex_unlock(&scheduler->lock);
    th_run_abandon(run);
    pthread_mutex_lock(&scheduler->lock);
    active_retire(scheduler, run);
    run = scheduler->active;
  }
  pthread_mutex_unlock(&scheduler->lock);
}

static void list_wish_stop(th_run *list) {
  for (th_run *run = list; run != NULL; run = run->place.next) th_run_wish(run, TH_WISH_STOP);
}

static bool all_is_over(const th_scheduler *scheduler) {
  return scheduler->is_stopping && scheduler->added == NULL && scheduler->queue == NULL &&
         scheduler->active == NULL;
}

/* @return false when the scheduler is stopped and every run is over. */
static bool keeper_wait(th_scheduler *scheduler) {
  pthread_mutex_lock(&scheduler->lock);
  while (!scheduler->keeper_has_news && !all_is_over(scheduler))
    pthread_cond_wait(&scheduler->keeper_wake, &scheduler->lock);
  scheduler->keeper_has_news = false;
  if (scheduler->is_stopping) {
    list_wish_stop(scheduler->added);
    list_wish_stop(scheduler->queue);
    list_wish_stop(scheduler->active);
  }
  scheduler->is_closed = all_is_over(scheduler);
  bool goes_on = !scheduler->is_closed;
  pthread_mutex_unlock(&scheduler->lock);
  return goes_on;
}

/* Positions are told before a run starts, so that none begins without having been queued, and again
 * for those that moved up. */
static void *keeper_main(void *argument) {
  th_scheduler *scheduler = argument;
  pthread_setname_np(pthread_self(), "th-queue");
  while (keeper_wait(scheduler)) {
    queue_take_in(scheduler);
    queue_end_wished(scheduler);
    active_end_canceled(scheduler);
    queue_tell(scheduler);
    bool has_started = false;
    while (queue_start_first(scheduler)) has_started = true;
    if (has_started) queue_tell(scheduler);
  }
  return NULL;
}

/* ---- create, add, stop ---- */

/* Signals belong to the threads of whoever uses this; those that a fault raises cannot be passed
 * on. */
static void signals_block(sigset_t *before) {
  sigset_t blocked;
  sigfillset(&blocked);
  const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) sigdelset(&blocked, faults[i]);
  pthread_sigmask(SIG_SETMASK, &blocked, before);
}

static th_error thread_start(pthread_t *thread, void *(*work)(void *), th_scheduler *scheduler) {
  int number = pthread_create(thread, NULL, work, scheduler);
  if (number == 0) return TH_OK;
  errno = number;
  return th_fail_errno(TH_ERR_SYSTEM, "cannot start a training thread");
}

static th_error threads_start(th_scheduler *scheduler) {
  for (uint32_t i = 0; i < scheduler->worker_count; i++) {
    uint32_t share = (scheduler->threads + i) / (i + 1);
    uint32_t size = share < scheduler->threads_each ? share : scheduler->threads_each;
    th_error error = th_team_create(size, &scheduler->seats[i].team);
    if (error != TH_OK) return error;
  }
  for (uint32_t i = 0; i < scheduler->worker_count; i++) {
    th_error error = thread_start(&scheduler->workers[i], worker_main, scheduler);
    if (error != TH_OK) return error;
    scheduler->workers_started++;
  }
  th_error error = thread_start(&scheduler->keeper, keeper_main, scheduler);
  scheduler->keeper_is_started = error == TH_OK;
  return error;
}

th_error th_scheduler_create(uint32_t threads, uint32_t threads_each, uint32_t active_max,
                             th_scheduler **created) {
  th_check(threads > 0 && threads_each > 0 && active_max > 0);
  th_scheduler *scheduler = calloc(1, sizeof *scheduler);
  if (scheduler == NULL) return th_fail_errno(TH_ERR_SYSTEM, "cannot allocate a scheduler");
  pthread_mutex_init(&scheduler->lock, NULL);
  pthread_cond_init(&scheduler->keeper_wake, NULL);
  pthread_cond_init(&scheduler->worker_wake, NULL);
  scheduler->threads = threads;
  scheduler->threads_each = threads_each;
  scheduler->active_max = active_max;
  scheduler->added_end = &scheduler->added;
  uint32_t count = threads < active_max ? threads : active_max;
  scheduler->worker_count = count;
  scheduler->seats = calloc(count, sizeof *scheduler->seats);
  scheduler->workers = calloc(count, sizeof *scheduler->workers);
  th_error error = TH_OK;
  if (scheduler->seats == NULL || scheduler->workers == NULL)
    error = th_fail_errno(TH_ERR_SYSTEM, "cannot allocate %u training threads", count);
  sigset_t before;
  signals_block(&before);
  if (error == TH_OK) error = threads_start(scheduler);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error != TH_OK) goto fail;
  *created = scheduler;
  return TH_OK;
fail:
  th_scheduler_destroy(scheduler);
  return error;
}

/* A run's wake. */
static void scheduler_wake(void *woken) {
  th_scheduler *scheduler = woken;
  pthread_mutex_lock(&scheduler->lock);
  keeper_notify(scheduler);
  pthread_mutex_unlock(&scheduler->lock);
}

/* The place is written before the run is held: afterwards it is the keeper's. */
void th_scheduler_add(th_scheduler *scheduler, th_run *run, uint64_t owner) {
  th_check(th_run_is_received(run));
  run->place = (th_run_place){.owner = owner};
  if (!th_run_hold(run, scheduler_wake, scheduler)) return;
  pthread_mutex_lock(&scheduler->lock);
  bool is_closed = scheduler->is_closed;
  if (!is_closed) {
    *scheduler->added_end = run;
    scheduler->added_end = &run->place.next;
    keeper_notify(scheduler);
  }
  pthread_mutex_unlock(&scheduler->lock);
  if (!is_closed) return;
  th_run_wish(run, TH_WISH_STOP);
  th_run_abandon(run);
  th_run_end(run);
}

void th_scheduler_stop(th_scheduler *scheduler) {
  pthread_mutex_lock(&scheduler->lock);
  scheduler->is_stopping = true;
  keeper_notify(scheduler);
  pthread_cond_broadcast(&scheduler->worker_wake);
  pthread_mutex_unlock(&scheduler->lock);
  if (scheduler->keeper_is_started) pthread_join(scheduler->keeper, NULL);
  scheduler->keeper_is_started = false;
  while (scheduler->workers_started > 0)
    pthread_join(scheduler->workers[--scheduler->workers_started], NULL);
}

void th_scheduler_destroy(th_scheduler *scheduler) {
  if (scheduler == NULL) return;
  th_scheduler_stop(scheduler);
  for (uint32_t i = 0; scheduler->seats != NULL && i < scheduler->worker_count; i++)
    th_team_destroy(scheduler->seats[i].team);
  free(scheduler->seats);
  free(scheduler->workers);
  pthread_cond_destroy(&scheduler->worker_wake);
  pthread_cond_destroy(&scheduler->keeper_wake);
  pthread_mutex_destroy(&scheduler->lock);
  free(scheduler);
}

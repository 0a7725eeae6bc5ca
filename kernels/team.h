/** A team of threads that run one loop together. */
#ifndef TH_KERNELS_TEAM_H
#define TH_KERNELS_TEAM_H

#include <stdint.h>

#include "base/error.h"

typedef struct th_team th_team;

/** One piece of work: called once for each index, from any thread of the team. */
typedef void th_team_work(void *argument, uint32_t index);

/**
 * Start size − 1 threads, which sleep while there is no work; the caller is the last member.
 *
 * @return TH_OK; TH_ERR_SYSTEM.
 */
th_error th_team_create(uint32_t size, th_team **team);

uint32_t th_team_size(const th_team *team);

/**
 * Use only the first `active` members from the next loop on. What a loop computes never depends on
 * it. Not while a loop runs.
 */
void th_team_set_active(th_team *team, uint32_t active);

/**
 * Call work(argument, i) for every i in [0, count) and return when all are done.
 *
 * Threads: by the one thread that owns the team. A release before and an acquire after order
 * memory.
 */
void th_team_run(th_team *team, uint32_t count, th_team_work *work, void *argument);

/** Stop the threads. Takes NULL. */
void th_team_destroy(th_team *team);

#endif

/**
 * Events of one job that its reader has not taken yet.
 *
 * Bounded, and always ready for one more: newest steps replace older ones, and when it is full,
 * every second epoch goes. So a slow reader neither grows without end nor holds up another job.
 */
#ifndef TH_SHIM_INBOX_H
#define TH_SHIM_INBOX_H

#include <stdbool.h>

#include "base/error.h"
#include "shim/trainhost.h"

/** Events that an inbox holds at most; a power of two. */
#define TH_INBOX_EVENTS_MAX 4096

typedef struct th_inbox {
  th_event *events; /**< a ring of `capacity` */
  uint32_t capacity; /**< a power of two */
  uint32_t first, count;
  uint32_t phases_told; /**< bit p: the reader has taken an event of phase p */
  th_phase phase; /**< newest one put; 0 before the first */
  th_error error; /**< of the phase that ended the job */
} th_inbox;

/** @return TH_OK; TH_ERR_SYSTEM without memory. */
th_error th_inbox_init(th_inbox *inbox);

/**
 * Put an event. What comes after the end of the job is ignored.
 *
 * Order: as put. PHASE is kept; but once the inbox is full, a turn through TRAINING and VALIDATING
 * goes with the epoch that was thinned out. The number left out is added to the `coalesced` of the
 * next event of that kind.
 */
void th_inbox_put(th_inbox *inbox, const th_event *event);

/** Take the oldest event. @return TH_OK; TH_ERR_AGAIN if there is none. */
th_error th_inbox_take(th_inbox *inbox, th_event *event);

/** Whether the job's last phase was put, taken or not. */
bool th_inbox_is_over(const th_inbox *inbox);

/** Takes one whose init failed. */
void th_inbox_fini(th_inbox *inbox);

#endif

/**
 * The shared memory of one session: three sealed memfds, made by the daemon alone.
 *
 *   CTL     the client writes: submission queue, its index into the event queue
 *   STATUS  the daemon writes: event queue, progress cells, heartbeat; F_SEAL_FUTURE_WRITE
 *   ARENA   the client writes: slots for batches
 *
 * All three are sealed against shrinking and growing, so that no peer can turn an access into
 * SIGBUS by truncation. Their pages are reserved at creation: no memory is an error at connect.
 */
#ifndef TH_IPC_REGION_H
#define TH_IPC_REGION_H

#include <stdint.h>

#include "base/error.h"
#include "ipc/wire.h"

/** Sizes of a region, as the daemon chooses them. */
typedef struct th_region_geometry {
  uint32_t submission_entries; /**< power of two, 1 … 65536 */
  uint32_t event_entries; /**< power of two, 1 … 65536, at least submission_entries */
  uint32_t cell_count; /**< 1 … 4096: jobs that a session can follow at once */
  uint32_t slot_bytes; /**< multiple of the page size, at most 256 MiB */
  uint32_t slot_count; /**< 1 … 65536 */
} th_region_geometry;

/** One side's view. Descriptors are −1 and pointers NULL where it has none. */
typedef struct th_region {
  th_region_geometry geometry;
  uint64_t ctl_bytes, status_bytes, arena_bytes;
  int ctl_fd, status_fd, arena_fd;
  th_wire_ctl *ctl;
  th_wire_submission *submissions;
  th_wire_status *status; /**< read-only mapping on the client's side */
  th_wire_cell *cells;
  th_wire_event *events;
  uint8_t *arena; /**< slot i at arena + i × slot_bytes */
} th_region;

/**
 * Make a session's region (daemon).
 *
 * @return TH_OK; TH_ERR_USAGE (a size out of its range); TH_ERR_SYSTEM naming how many bytes could
 * not be had. Ownership: th_region_fini frees everything.
 */
th_error th_region_create(const th_region_geometry *geometry, th_region *region);

/**
 * Map a region received with a welcome (client).
 *
 * Judges that the welcome's sizes fit each other and the memfds, that the seals are set and the
 * heads carry magic and version.
 *
 * @param fds  CTL, STATUS, ARENA. Taken over, also on failure.
 * @return TH_OK; TH_ERR_PROTOCOL; TH_ERR_SYSTEM.
 */
th_error th_region_adopt(const th_wire_welcome *welcome, const int fds[3], th_region *region);

/** Fill in the fields of a welcome that describe the region. */
void th_region_describe(const th_region *region, th_wire_welcome *welcome);

/** Unmap and close. Takes a half-made one and `{0}`-initialised with fds −1 (TH_REGION_NONE). */
void th_region_fini(th_region *region);

#define TH_REGION_NONE ((th_region){.ctl_fd = -1, .status_fd = -1, .arena_fd = -1})

#endif

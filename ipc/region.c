#include "ipc/region.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  PAGE_BYTES = 4096,
  ENTRIES_MAX = 65536,
  CELLS_MAX = 4096,
  SLOTS_MAX = 65536,
  SLOT_BYTES_MAX = 256 << 20,
  SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL,
  RESERVE_TRIES_MAX = 100,
};

/* Linux 6.3; newer than the C library's headers. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

/* The protocol's page, which is not always the machine's: sizes must mean the same to both sides.
 */
static uint64_t pages(uint64_t bytes) {
  return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

static bool is_power_of_two(uint32_t number) {
  return number != 0 && (number & (number - 1)) == 0;
}

/* Every size below is a product of two bounded numbers, so none overflows. */
static bool geometry_is_sound(const th_region_geometry *geometry) {
  return is_power_of_two(geometry->submission_entries) &&
         is_power_of_two(geometry->event_entries) && geometry->event_entries <= ENTRIES_MAX &&
         geometry->submission_entries <= geometry->event_entries && geometry->cell_count > 0 &&
         geometry->cell_count <= CELLS_MAX && geometry->slot_count > 0 &&
         geometry->slot_count <= SLOTS_MAX && geometry->slot_bytes > 0 &&
         geometry->slot_bytes % PAGE_BYTES == 0 && geometry->slot_bytes <= SLOT_BYTES_MAX;
}

/* Both sides compute the sizes from the counts, so that nothing the daemon says can disagree with
 * where the parts lie. */
static void region_measure(th_region *region) {
  const th_region_geometry *geometry = &region->geometry;
  region->ctl_bytes = pages(sizeof(th_wire_ctl) +
                            (uint64_t)geometry->submission_entries * sizeof(th_wire_submission));
  region->status_bytes =
      pages(sizeof(th_wire_status) + (uint64_t)geometry->cell_count * sizeof(th_wire_cell) +
            (uint64_t)geometry->event_entries * sizeof(th_wire_event));
  region->arena_bytes = (uint64_t)geometry->slot_bytes * geometry->slot_count;
}

/* ---- the daemon's side ---- */

/* Memory that nobody can execute, where the kernel knows how; hardened ones insist on it. */
static int memory_open(const char *name) {
  const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  int fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);
  return fd < 0 && errno == EINVAL ? memfd_create(name, flags) : fd;
}

/* Reserved now: a page that cannot be had later would be a signal and not an error. A signal that
 * comes in between undoes what was reserved, so that each try begins anew. */
static int memory_reserve(int fd, uint64_t bytes) {
  int number = EINTR;
  for (int try = 0; try < RESERVE_TRIES_MAX && number == EINTR; try++)
    number = posix_fallocate(fd, 0, (off_t)bytes);
  return number;
}

static th_error memory_create(const char *name, uint64_t bytes, int *fd) {
  *fd = memory_open(name);
  if (*fd < 0) return th_fail_errno(TH_ERR_SYSTEM, "cannot make shared memory (memfd_create)");
  int number = memory_reserve(*fd, bytes);
  if (number == 0) return TH_OK;
  errno = number;
  return th_fail_errno(TH_ERR_SYSTEM, "cannot reserve %llu bytes of shared memory",
                       (unsigned long long)bytes);
}

static th_error memory_map(int fd, uint64_t bytes, int protection, void *address) {
  void *mapped = mmap(NULL, bytes, protection, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED)
    return th_fail_errno(TH_ERR_SYSTEM, "cannot map %llu bytes of shared memory",
                         (unsigned long long)bytes);
  *(void **)address = mapped;
  return TH_OK;
}

static th_error memory_seal(int fd, int seals) {
  if (fcntl(fd, F_ADD_SEALS, seals) == 0) return TH_OK;
  return th_fail_errno(TH_ERR_SYSTEM, "cannot seal shared memory");
}

static void region_arrange(th_region *region) {
  region->submissions = (th_wire_submission *)(void *)(region->ctl + 1);
  region->cells = (th_wire_cell *)(void *)(region->status + 1);
  region->events = (th_wire_event *)(void *)(region->cells + region->geometry.cell_count);
}

th_error th_region_create(const th_region_geometry *geometry, th_region *region) {
  *region = TH_REGION_NONE;
  region->geometry = *geometry;
  if (!geometry_is_sound(geometry))
    return th_fail(
        TH_ERR_USAGE,
        "a region of %u submissions, %u events, %u cells and %u slots of %u bytes: one of "
        "the sizes is out of range",
        geometry->submission_entries, geometry->event_entries, geometry->cell_count,
        geometry->slot_count, geometry->slot_bytes);
  region_measure(region);
  const int both = PROT_READ | PROT_WRITE;
  th_error error = memory_create("trainhost ctl", region->ctl_bytes, &region->ctl_fd);
  if (error == TH_OK)
    error = memory_create("trainhost status", region->status_bytes, &region->status_fd);
  if (error == TH_OK)
    error = memory_create("trainhost arena", region->arena_bytes, &region->arena_fd);
  if (error == TH_OK) error = memory_map(region->ctl_fd, region->ctl_bytes, both, &region->ctl);
  if (error == TH_OK)
    error = memory_map(region->status_fd, region->status_bytes, both, &region->status);
  /* The daemon only ever reads batches. */
  if (error == TH_OK)
    error = memory_map(region->arena_fd, region->arena_bytes, PROT_READ, &region->arena);
  if (error == TH_OK) error = memory_seal(region->ctl_fd, SEALS);
  /* Mapped before: from now on nobody gets another writable mapping of STATUS. */
  if (error == TH_OK) error = memory_seal(region->status_fd, SEALS | F_SEAL_FUTURE_WRITE);
  if (error == TH_OK) error = memory_seal(region->arena_fd, SEALS);
  if (error != TH_OK) {
    th_region_fini(region);
    return error;
  }
  region_arrange(region);
  region->ctl->magic = region->status->magic = TH_WIRE_MAGIC;
  region->ctl->version = region->status->version = TH_WIRE_VERSION_MAX;
  return TH_OK;
}

void th_region_describe(const th_region *region, th_wire_welcome *welcome) {
  welcome->ctl_bytes = region->ctl_bytes;
  welcome->status_bytes = region->status_bytes;
  welcome->arena_bytes = region->arena_bytes;
  welcome->slot_bytes = region->geometry.slot_bytes;
  welcome->slot_count = region->geometry.slot_count;
  welcome->submission_entries = region->geometry.submission_entries;
  welcome->event_entries = region->geometry.event_entries;
  welcome->cell_count = region->geometry.cell_count;
}

/* ---- the client's side ---- */

static th_error welcome_judge(const th_wire_welcome *welcome, th_region *region) {
  region->geometry = (th_region_geometry){.submission_entries = welcome->submission_entries,
                                          .event_entries = welcome->event_entries,
                                          .cell_count = welcome->cell_count,
                                          .slot_bytes = welcome->slot_bytes,
                                          .slot_count = welcome->slot_count};
  if (!geometry_is_sound(&region->geometry))
    return th_fail(TH_ERR_PROTOCOL, "the daemon's welcome describes a region that cannot be");
  region_measure(region);
  if (welcome->ctl_bytes != region->ctl_bytes || welcome->status_bytes != region->status_bytes ||
      welcome->arena_bytes != region->arena_bytes)
    return th_fail(TH_ERR_PROTOCOL, "the sizes in the daemon's welcome do not fit each other");
  return TH_OK;
}

/* Without the seals a daemon gone wrong could turn any access here into a signal. */
static th_error memory_judge(int fd, uint64_t bytes, int seals) {
  struct stat status;
  int has = fcntl(fd, F_GET_SEALS);
  if (has < 0 || fstat(fd, &status) != 0)
    return th_fail(TH_ERR_PROTOCOL, "the daemon sent a descriptor that is no shared memory");
  if ((has & seals) != seals)
    return th_fail(TH_ERR_PROTOCOL, "the daemon sent shared memory that is not sealed");
  if ((uint64_t)status.st_size != bytes)
    return th_fail(TH_ERR_PROTOCOL,
                   "the daemon announced %llu bytes of shared memory and sent %llu",
                   (unsigned long long)bytes, (unsigned long long)status.st_size);
  return TH_OK;
}

/* Last of all: it is the first look into the memory, which is now known to be as large as it says.
 */
static th_error heads_judge(const th_region *region, uint16_t version) {
  if (region->ctl->magic == TH_WIRE_MAGIC && region->status->magic == TH_WIRE_MAGIC &&
      region->ctl->version == version && region->status->version == version)
    return TH_OK;
  return th_fail(TH_ERR_PROTOCOL, "the daemon's shared memory does not begin as version %u does",
                 version);
}

th_error th_region_adopt(const th_wire_welcome *welcome, const int fds[3], th_region *region) {
  *region = (th_region){.ctl_fd = fds[0], .status_fd = fds[1], .arena_fd = fds[2]};
  const int both = PROT_READ | PROT_WRITE;
  th_error error = welcome_judge(welcome, region);
  if (error == TH_OK) error = memory_judge(region->ctl_fd, region->ctl_bytes, SEALS);
  if (error == TH_OK)
    error = memory_judge(region->status_fd, region->status_bytes, SEALS | F_SEAL_FUTURE_WRITE);
  if (error == TH_OK) error = memory_judge(region->arena_fd, region->arena_bytes, SEALS);
  if (error == TH_OK) error = memory_map(region->ctl_fd, region->ctl_bytes, both, &region->ctl);
  if (error == TH_OK)
    error = memory_map(region->status_fd, region->status_bytes, PROT_READ, &region->status);
  if (error == TH_OK)
    error = memory_map(region->arena_fd, region->arena_bytes, both, &region->arena);
  if (error == TH_OK) error = heads_judge(region, welcome->version);
  if (error != TH_OK) {
    th_region_fini(region);
    return error;
  }
  region_arrange(region);
  return TH_OK;
}

static void memory_fini(void *address, uint64_t bytes, int fd) {
  if (address != NULL) munmap(address, bytes);
  if (fd >= 0) close(fd);
}

void th_region_fini(th_region *region) {
  memory_fini(region->ctl, region->ctl_bytes, region->ctl_fd);
  memory_fini(region->status, region->status_bytes, region->status_fd);
  memory_fini(region->arena, region->arena_bytes, region->arena_fd);
  *region = TH_REGION_NONE;
}

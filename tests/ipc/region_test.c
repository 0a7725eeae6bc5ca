/* The shared memory of a session: who can do what to it, and what each side refuses. */
#include "ipc/region.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/leak.h"

TestSuite(region, .init = leak_begin, .fini = leak_end);

/* Each count is large enough that another one needs another number of pages. */
static const th_region_geometry small = {.submission_entries = 64,
                                         .event_entries = 64,
                                         .cell_count = 16,
                                         .slot_bytes = 8192,
                                         .slot_count = 3};

/* What the daemon made, what it says of it, and what the client made of that. */
typedef struct both {
  th_region host, client;
  th_wire_welcome welcome;
} both;

static void host_create(both *sides) {
  sides->client = TH_REGION_NONE;
  cr_assert_eq(th_region_create(&small, &sides->host), TH_OK, "%s", th_error_text());
  sides->welcome = (th_wire_welcome){.magic = TH_WIRE_MAGIC, .version = TH_WIRE_VERSION_MAX};
  th_region_describe(&sides->host, &sides->welcome);
}

/* As they come out of the socket: descriptors of the client's own. */
static void fds_pass(const th_region *host, int fds[3]) {
  fds[0] = dup(host->ctl_fd);
  fds[1] = dup(host->status_fd);
  fds[2] = dup(host->arena_fd);
}

static th_error client_adopt(both *sides) {
  int fds[3];
  fds_pass(&sides->host, fds);
  return th_region_adopt(&sides->welcome, fds, &sides->client);
}

static void both_open(both *sides) {
  host_create(sides);
  cr_assert_eq(client_adopt(sides), TH_OK, "%s", th_error_text());
}

static void both_close(both *sides) {
  th_region_fini(&sides->client);
  th_region_fini(&sides->host);
}

static void expect_adopt_refuses(both *sides, const char *what) {
  cr_assert_eq(client_adopt(sides), TH_ERR_PROTOCOL, "%s", what);
  cr_assert_eq(sides->client.ctl_fd, -1);
  cr_assert_null(sides->client.ctl);
}

/* ---- both sides see the same ---- */

Test(region, what_one_side_writes_the_other_sees_at_the_same_place) {
  both sides;
  both_open(&sides);
  sides.client.ctl->submission_tail = 7;
  sides.client.submissions[7].cookie = 70;
  sides.client.arena[3 * 8192 - 1] = 77;
  sides.host.status->heartbeat = 9;
  sides.host.cells[3].sequence = 90;
  sides.host.events[15].cookie = 99;
  cr_assert_eq(sides.host.ctl->submission_tail, 7);
  cr_assert_eq(sides.host.submissions[7].cookie, 70);
  cr_assert_eq(sides.host.arena[3 * 8192 - 1], 77);
  cr_assert_eq(sides.client.status->heartbeat, 9);
  cr_assert_eq(sides.client.cells[3].sequence, 90);
  cr_assert_eq(sides.client.events[15].cookie, 99);
  both_close(&sides);
}

Test(region, the_parts_lie_where_the_protocol_says) {
  both sides;
  both_open(&sides);
  const uint8_t *ctl = (const uint8_t *)sides.client.ctl;
  const uint8_t *status = (const uint8_t *)sides.client.status;
  cr_assert_eq((const uint8_t *)sides.client.submissions - ctl, 4608);
  cr_assert_eq((const uint8_t *)sides.client.cells - status, 1664);
  cr_assert_eq((const uint8_t *)sides.client.events - status, 1664 + 16 * 256);
  cr_assert_eq(offsetof(th_wire_ctl, client_sleeps), 384);
  cr_assert_eq(offsetof(th_wire_ctl, client_awaits), 388);
  cr_assert_eq(offsetof(th_wire_status, daemon_wants_room), 388);
  cr_assert_eq(offsetof(th_wire_status, heartbeat), 512);
  cr_assert_eq(offsetof(th_wire_ctl, call), 512);
  cr_assert_eq(offsetof(th_wire_call, body), 16);
  cr_assert_eq(offsetof(th_wire_status, answer), 640);
  cr_assert_eq(offsetof(th_wire_answer, body), 16);
  both_close(&sides);
}

Test(region, the_client_still_reads_status_after_the_daemon_is_gone) {
  both sides;
  both_open(&sides);
  sides.host.status->heartbeat = 5;
  th_region_fini(&sides.host);
  cr_assert_eq(sides.client.status->heartbeat, 5);
  both_close(&sides);
}

Test(region, everything_is_zero_but_the_heads) {
  both sides;
  both_open(&sides);
  static const uint8_t zeros[3 * 8192];
  cr_assert_arr_eq(sides.client.arena, zeros, sizeof zeros);
  cr_assert_eq(sides.client.ctl->magic, TH_WIRE_MAGIC);
  cr_assert_eq(sides.client.status->version, TH_WIRE_VERSION_MAX);
  cr_assert_arr_eq((uint8_t *)sides.client.ctl + 8, zeros, sides.client.ctl_bytes - 8);
  cr_assert_arr_eq((const uint8_t *)sides.client.status + 8, zeros, sides.client.status_bytes - 8);
  both_close(&sides);
}

/* ---- the daemon's sizes ---- */

Test(region, the_pages_are_there_from_the_start) {
  both sides;
  host_create(&sides);
  const int fds[] = {sides.host.ctl_fd, sides.host.status_fd, sides.host.arena_fd};
  const uint64_t bytes[] = {sides.host.ctl_bytes, sides.host.status_bytes, sides.host.arena_bytes};
  for (int i = 0; i < 3; i++) {
    struct stat status;
    cr_assert_eq(fstat(fds[i], &status), 0);
    cr_assert_eq((uint64_t)status.st_size, bytes[i]);
    cr_assert_geq((uint64_t)status.st_blocks * 512, bytes[i], "pages are missing");
    cr_assert(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
  }
  both_close(&sides);
}

Test(region, create_refuses_a_size_out_of_its_range) {
  static const th_region_geometry wrong[] = {
      {0, 16, 4, 8192, 3},
      {3, 16, 4, 8192, 3},
      {131072, 131072, 4, 8192, 3},
      {8, 0, 4, 8192, 3},
      {8, 12, 4, 8192, 3},
      {8, 131072, 4, 8192, 3},
      {16, 8, 4, 8192, 3},
      {8, 16, 0, 8192, 3},
      {8, 16, 4097, 8192, 3},
      {8, 16, UINT32_MAX, 8192, 3},
      {8, 16, 4, 0, 3},
      {8, 16, 4, 100, 3},
      {8, 16, 4, 4097, 3},
      {8, 16, 4, (256U << 20) + 4096, 1},
      {8, 16, 4, UINT32_MAX, 3},
      {8, 16, 4, 8192, 0},
      {8, 16, 4, 8192, 65537},
      {8, 16, 4, 8192, UINT32_MAX},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    th_region region;
    cr_assert_eq(th_region_create(&wrong[i], &region), TH_ERR_USAGE, "geometry %zu", i);
    cr_assert_eq(region.ctl_fd, -1);
    th_region_fini(&region);
  }
}

Test(region, the_smallest_region_is_four_pages) {
  const th_region_geometry smallest = {1, 1, 1, 4096, 1};
  th_region region;
  cr_assert_eq(th_region_create(&smallest, &region), TH_OK);
  cr_assert_eq(region.ctl_bytes, 8192);
  cr_assert_eq(region.status_bytes, 4096);
  cr_assert_eq(region.arena_bytes, 4096);
  th_region_fini(&region);
}

/* memfds obey RLIMIT_FSIZE, which stands for a machine without memory. The limit falls before, into
 * and behind each of the three. */
Test(region, create_without_memory_is_an_error_and_leaves_nothing) {
  static const th_region_geometry rising = {8, 256, 64, 65536, 3};
  static const char *const missing[] = {"8192 bytes", "36864 bytes", "196608 bytes"};
  static const rlim_t limits[] = {1024, 16384, 65536};
  signal(SIGXFSZ, SIG_IGN);
  struct rlimit before;
  cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
  for (int i = 0; i < 3; i++) {
    struct rlimit limit = {.rlim_cur = limits[i], .rlim_max = before.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    th_region region;
    th_error error = th_region_create(&rising, &region);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    cr_assert_eq(error, TH_ERR_SYSTEM);
    cr_assert_not_null(strstr(th_error_text(), missing[i]), "\"%s\" does not say %s",
                       th_error_text(), missing[i]);
    cr_assert_eq(region.arena_fd, -1);
  }
}

Test(region, create_without_descriptors_is_an_error_and_leaves_none) {
  int lowest = dup(0);
  close(lowest);
  struct rlimit before;
  cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
  for (int allowed = 0; allowed < 3; allowed++) {
    struct rlimit few = {.rlim_cur = (rlim_t)(lowest + allowed), .rlim_max = before.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    th_region region;
    cr_assert_eq(th_region_create(&small, &region), TH_ERR_SYSTEM, "%d allowed", allowed);
    cr_assert_eq(region.ctl_fd, -1);
  }
  cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
}

Test(region, fini_takes_nothing_and_takes_it_twice) {
  th_region region = TH_REGION_NONE;
  th_region_fini(&region);
  cr_assert_eq(th_region_create(&small, &region), TH_OK);
  th_region_fini(&region);
  th_region_fini(&region);
  cr_assert_eq(region.status_fd, -1);
  cr_assert_null(region.arena);
}

/* ---- what a client cannot do ---- */

Test(region, nobody_changes_the_size_or_the_seals) {
  both sides;
  both_open(&sides);
  const int fds[] = {sides.client.ctl_fd, sides.client.status_fd, sides.client.arena_fd};
  for (int i = 0; i < 3; i++) {
    cr_assert_eq(ftruncate(fds[i], 0), -1);
    cr_assert_eq(errno, EPERM);
    cr_assert_eq(ftruncate(fds[i], 1 << 20), -1);
    cr_assert_eq(errno, EPERM);
    cr_assert_eq(fcntl(fds[i], F_ADD_SEALS, F_SEAL_WRITE), -1);
    cr_assert_eq(errno, EPERM);
  }
  both_close(&sides);
}

static void expect_status_not_writable(int fd, uint64_t bytes) {
  cr_assert_eq(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
  cr_assert_eq(errno, EPERM);
  cr_assert_eq(pwrite(fd, "x", 1, 0), -1);
  cr_assert_eq(errno, EPERM);
  cr_assert_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
  cr_assert_eq(errno, EPERM);
}

Test(region, the_client_cannot_write_status) {
  both sides;
  both_open(&sides);
  expect_status_not_writable(sides.client.status_fd, sides.client.status_bytes);
  void *status = (void *)(uintptr_t)sides.client.status;
  cr_assert_eq(mprotect(status, sides.client.status_bytes, PROT_READ | PROT_WRITE), -1);
  cr_assert_eq(errno, EACCES);
  both_close(&sides);
}

/* Opening anew gives a descriptor that may write, but the seal is the memory's and not the
 * descriptor's. */
Test(region, the_client_cannot_write_status_by_opening_it_anew) {
  both sides;
  both_open(&sides);
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", sides.client.status_fd);
  int fd = open(path, O_RDWR | O_CLOEXEC);
  cr_assert_geq(fd, 0);
  expect_status_not_writable(fd, sides.client.status_bytes);
  close(fd);
  both_close(&sides);
}

Test(region, the_daemon_writes_status_through_its_own_mapping_alone) {
  both sides;
  both_open(&sides);
  sides.host.status->heartbeat = 3;
  cr_assert_eq(sides.client.status->heartbeat, 3);
  expect_status_not_writable(sides.host.status_fd, sides.host.status_bytes);
  both_close(&sides);
}

/* The client can take pages out of ARENA in spite of the seals. The daemon then reads zeros: no
 * signal, and nothing of anybody else. */
Test(region, a_hole_in_the_arena_reads_as_zeros) {
  both sides;
  both_open(&sides);
  memset(sides.client.arena, 0xFF, 8192);
  cr_assert_eq(
      fallocate(sides.client.arena_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), 0);
  cr_assert_eq(sides.host.arena[0], 0);
  cr_assert_eq(sides.host.arena[4096], 0xFF);
  both_close(&sides);
}

/* ---- what a client refuses ---- */

Test(region, adopt_refuses_a_welcome_whose_sizes_do_not_fit) {
  static const struct {
    const char *name;
    size_t offset;
    bool is_long;
  } fields[] = {
      {"ctl_bytes", offsetof(th_wire_welcome, ctl_bytes), true},
      {"status_bytes", offsetof(th_wire_welcome, status_bytes), true},
      {"arena_bytes", offsetof(th_wire_welcome, arena_bytes), true},
      {"slot_bytes", offsetof(th_wire_welcome, slot_bytes), false},
      {"slot_count", offsetof(th_wire_welcome, slot_count), false},
      {"submission_entries", offsetof(th_wire_welcome, submission_entries), false},
      {"event_entries", offsetof(th_wire_welcome, event_entries), false},
      {"cell_count", offsetof(th_wire_welcome, cell_count), false},
  };
  static const uint64_t lies[] = {0, 1, 4096, 65536, INT32_MAX, UINT32_MAX, UINT64_MAX};
  both sides;
  host_create(&sides);
  const th_wire_welcome honest = sides.welcome;
  for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
    for (size_t k = 0; k < sizeof lies / sizeof lies[0]; k++) {
      uint8_t *field = (uint8_t *)&sides.welcome + fields[i].offset;
      memcpy(field, &lies[k], fields[i].is_long ? 8 : 4);
      if (memcmp(&sides.welcome, &honest, sizeof honest) != 0)
        expect_adopt_refuses(&sides, fields[i].name);
      sides.welcome = honest;
    }
  }
  both_close(&sides);
}

Test(region, adopt_refuses_the_memfds_in_another_order) {
  both sides;
  host_create(&sides);
  int fds[3];
  fds_pass(&sides.host, fds);
  const int swapped[3] = {fds[1], fds[0], fds[2]};
  cr_assert_eq(th_region_adopt(&sides.welcome, swapped, &sides.client), TH_ERR_PROTOCOL);
  both_close(&sides);
}

/* @return a memfd of the size with the seals. */
static int memory_make(uint64_t bytes, int seals) {
  int fd = memfd_create("other", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  cr_assert_eq(ftruncate(fd, (off_t)bytes), 0);
  cr_assert_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
  return fd;
}

/* Put another descriptor in the i-th place and see it refused; it is closed with the others. */
static void expect_adopt_refuses_fd(both *sides, int place, int other) {
  int fds[3];
  fds_pass(&sides->host, fds);
  close(fds[place]);
  fds[place] = other;
  cr_assert_eq(th_region_adopt(&sides->welcome, fds, &sides->client), TH_ERR_PROTOCOL,
               "descriptor %d", place);
}

Test(region, adopt_refuses_memory_without_each_of_the_seals) {
  const int all = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  static const int missing[] = {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_SEAL};
  both sides;
  host_create(&sides);
  const uint64_t bytes[] = {sides.host.ctl_bytes, sides.host.status_bytes, sides.host.arena_bytes};
  for (int place = 0; place < 3; place++) {
    int needed = place == 1 ? all | F_SEAL_FUTURE_WRITE : all;
    for (int i = 0; i < 3; i++)
      expect_adopt_refuses_fd(&sides, place, memory_make(bytes[place], needed & ~missing[i]));
  }
  expect_adopt_refuses_fd(&sides, 1, memory_make(bytes[1], all));
  both_close(&sides);
}

Test(region, adopt_refuses_memory_of_another_size) {
  const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | F_SEAL_FUTURE_WRITE;
  both sides;
  host_create(&sides);
  for (int place = 0; place < 3; place++) {
    expect_adopt_refuses_fd(&sides, place, memory_make(0, seals));
    expect_adopt_refuses_fd(&sides, place, memory_make(UINT64_C(1) << 30, seals));
  }
  both_close(&sides);
}

Test(region, adopt_refuses_what_is_no_shared_memory) {
  both sides;
  host_create(&sides);
  for (int place = 0; place < 3; place++) {
    int ends[2];
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    close(ends[1]);
    expect_adopt_refuses_fd(&sides, place, ends[0]);
    expect_adopt_refuses_fd(&sides, place, open("/etc/passwd", O_RDONLY | O_CLOEXEC));
    expect_adopt_refuses_fd(&sides, place, -1);
  }
  both_close(&sides);
}

Test(region, adopt_refuses_heads_that_are_not_the_versions) {
  both sides;
  host_create(&sides);
  uint32_t *const words[] = {&sides.host.ctl->magic, &sides.host.ctl->version,
                             &sides.host.status->magic, &sides.host.status->version};
  for (int i = 0; i < 4; i++) {
    uint32_t right = *words[i];
    *words[i] = right + 1;
    expect_adopt_refuses(&sides, "a head");
    *words[i] = right;
  }
  sides.welcome.version++;
  expect_adopt_refuses(&sides, "version");
  both_close(&sides);
}

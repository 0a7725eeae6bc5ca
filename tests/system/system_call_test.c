/* Calls through shared memory to a real daemon: what a hostile client puts there, and what waiting
 * costs. */
#include <criterion/criterion.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "ipc/call.h"
#include "ipc/channel.h"
#include "ipc/doorbell.h"
#include "ipc/region.h"
#include "ipc/spin.h"
#include "tests/support/host.h"

TestSuite(system_call, .init = test_set_up, .fini = test_tear_down, .timeout = 60);

/* ---- a client of its own kind ---- */

typedef struct raw_client {
  int fd, daemon_bell, client_bell, answer_bell;
  th_region region;
  th_message message;
} raw_client;

static raw_client raw;

static void raw_open(void) {
  int64_t deadline_ns = th_clock_deadline_ns(5 * TH_NS_PER_S);
  th_wire_hello hello = {.magic = TH_WIRE_MAGIC,
                         .version_min = 1,
                         .version_max = 1,
                         .features = TH_WIRE_FEATURE_CALLS | UINT64_C(0xFF00)};
  th_wire_header header = {.type = TH_WIRE_HELLO, .body_bytes = sizeof hello};
  th_wire_welcome welcome;
  cr_assert_eq(th_channel_connect(test_host.socket_path, &raw.fd), TH_OK, "%s", th_error_text());
  cr_assert_eq(th_channel_send(raw.fd, &header, &hello, NULL, 0, deadline_ns), TH_OK);
  cr_assert_eq(th_channel_receive(raw.fd, &raw.message, deadline_ns), TH_OK);
  memcpy(&welcome, raw.message.body, sizeof welcome);
  cr_assert_eq(welcome.features, TH_WIRE_FEATURE_CALLS, "only what both have");
  raw.daemon_bell = raw.message.fds[3];
  raw.client_bell = raw.message.fds[4];
  raw.answer_bell = raw.message.fds[5];
  cr_assert_eq(th_region_adopt(&welcome, raw.message.fds, &raw.region), TH_OK);
}

static void raw_close(void) {
  close(raw.fd);
  close(raw.daemon_bell);
  close(raw.client_bell);
  close(raw.answer_bell);
  th_region_fini(&raw.region);
}

/* Publish a call as it should not be, and wait for the end of the session. */
static void assert_shown_out(uint32_t number, uint32_t type, uint32_t body_bytes) {
  raw_open();
  th_wire_call *call = &raw.region.ctl->call;
  call->type = type;
  call->body_bytes = body_bytes;
  call->number = number;
  th_doorbell_ring(&raw.region.status->daemon_sleeps, raw.daemon_bell);
  th_error error = th_channel_receive(raw.fd, &raw.message, th_clock_deadline_ns(5 * TH_NS_PER_S));
  cr_assert_eq(error, TH_ERR_HOST_LOST, "call %u of type %u with %u bytes", number, type,
               body_bytes);
  raw_close();
}

Test(system_call, broken_calls_end_their_session_and_no_other) {
  th_adapter *bystander = test_adapter_open(&test_host, NULL);
  uint32_t fds = test_process_fds(test_host.pid);
  assert_shown_out(2, TH_WIRE_PING, 0);
  assert_shown_out(UINT32_MAX, TH_WIRE_PING, 0);
  assert_shown_out(1, TH_WIRE_HELLO, sizeof(th_wire_hello));
  assert_shown_out(1, TH_WIRE_RESULT, sizeof(th_wire_job));
  assert_shown_out(1, 1000, 0);
  assert_shown_out(1, TH_WIRE_START, UINT32_MAX);
  assert_shown_out(1, TH_WIRE_START, TH_WIRE_CALL_BYTES_MAX + 1);
  assert_shown_out(1, TH_WIRE_START, sizeof(th_wire_start) - 1);
  assert_shown_out(1, TH_WIRE_CANCEL, 3);
  th_health health;
  cr_assert_eq(th_adapter_health(bystander, &health), TH_OK, "%s", th_error_text());
  cr_assert_eq(health.sessions, 1);
  cr_assert_eq(test_process_fds(test_host.pid), fds, "descriptors leaked");
  th_adapter_close(bystander);
}

/* The answer comes before the hang-up, and says why. */
Test(system_call, the_daemon_s_last_word_is_the_reason) {
  raw_open();
  th_caller caller = {.call = &raw.region.ctl->call, .answer = &raw.region.status->answer};
  th_call_put(&caller, TH_WIRE_PING, "body", 4);
  th_doorbell_ring(&raw.region.status->daemon_sleeps, raw.daemon_bell);
  th_error error = th_channel_receive(raw.fd, &raw.message, th_clock_deadline_ns(5 * TH_NS_PER_S));
  cr_assert_eq(error, TH_ERR_HOST_LOST);
  cr_assert_eq(th_call_take_answer(&caller, &raw.message), TH_OK);
  cr_assert_eq(raw.message.header.status, TH_ERR_PROTOCOL);
  raw.message.body[raw.message.header.body_bytes] = '\0';
  cr_assert_not_null(strstr((const char *)raw.message.body, "type 2 with 4 bytes"), "%s",
                     (const char *)raw.message.body);
  raw_close();
}

/* ---- what waiting costs ---- */

/* Times that this thread slept, and doorbells that it rang. */
static uint64_t waits(th_adapter *adapter) {
  struct rusage usage;
  th_statistics statistics;
  getrusage(RUSAGE_THREAD, &usage);
  th_adapter_statistics(adapter, &statistics);
  return (uint64_t)usage.ru_nvcsw + statistics.doorbells;
}

static void pin(pid_t thread, size_t cpu) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(cpu, &cpus);
  cr_assert_eq(sched_setaffinity(thread, sizeof cpus, &cpus), 0);
}

/* The loop and this thread, each on a processor of its own: on a busy machine the scheduler would
 * put them on one. */
static void pin_apart(void) {
  cpu_set_t cpus;
  cr_assert_eq(sched_getaffinity(0, sizeof cpus, &cpus), 0);
  size_t first = 0;
  while (!CPU_ISSET(first, &cpus)) first++;
  size_t second = first + 1;
  while (!CPU_ISSET(second, &cpus)) second++;
  pin(test_host.pid, first);
  pin(0, second);
}

/* What else runs here may take the processor from either side, but not all the time. */
Test(system_call, hot_round_trips_make_no_system_call) {
  th_spin spin;
  th_spin_init(&spin);
  if (!spin.may_spin) cr_skip_test("one processor, or a quota: nobody spins");
  th_adapter *adapter = test_adapter_open(&test_host, NULL);
  pin_apart();
  int64_t deadline_ns = th_clock_deadline_ns(20 * TH_NS_PER_S);
  uint64_t before, after;
  do {
    th_health health;
    before = waits(adapter);
    for (int i = 0; i < 10; i++)
      cr_assert_eq(th_adapter_health(adapter, &health), TH_OK, "%s", th_error_text());
    after = waits(adapter);
  } while (after != before && th_clock_now_ns() < deadline_ns);
  cr_assert_eq(after, before, "of ten round trips some always sleep");
  th_adapter_close(adapter);
}

/* Whoever was hot a moment ago comes to rest. */
Test(system_call, idle_after_hot_round_trips_costs_no_processor_time) {
  th_adapter *adapter = test_adapter_open(&test_host, NULL);
  th_health health;
  for (int i = 0; i < 2000; i++) cr_assert_eq(th_adapter_health(adapter, &health), TH_OK);
  /* The threads that the BLAS starts spin for a moment before they sleep for ever. */
  nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL);
  double daemon_before = test_process_cpu_seconds(test_host.pid);
  double client_before = test_process_cpu_seconds(getpid());
  sleep(2);
  double daemon_used = test_process_cpu_seconds(test_host.pid) - daemon_before;
  double client_used = test_process_cpu_seconds(getpid()) - client_before;
  cr_assert_lt(daemon_used, 0.01, "%.1f ms of 2 s", daemon_used * 1e3);
  cr_assert_lt(client_used, 0.01, "%.1f ms of 2 s", client_used * 1e3);
  th_adapter_close(adapter);
}

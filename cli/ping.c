/* trainhost ping: who would train, and how far away it is. */
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/host.h"
#include "cli/output.h"
#include "cli/words.h"

enum { COUNT_DEFAULT = 10 };

typedef struct round_trips {
  uint64_t least_ns, median_ns;
  uint32_t count;
} round_trips;

/* Copied out, for qsort knows only bytes. */
static int compare(const void *a, const void *b) {
  uint64_t left, right;
  memcpy(&left, a, sizeof left);
  memcpy(&right, b, sizeof right);
  return left < right ? -1 : left > right;
}

/* The first round trip warms both sides up and is not counted. */
static th_error round_trips_measure(th_host *host, uint32_t count, th_health *health,
                                    round_trips *measured) {
  uint64_t *times = calloc(count, sizeof *times);
  if (times == NULL) return th_fail(TH_ERR_SYSTEM, "no memory for %u times", count);
  th_error error = th_adapter_health(host->adapter, health);
  for (uint32_t i = 0; i < count && error == TH_OK; i++) {
    error = th_adapter_health(host->adapter, health);
    times[i] = health->round_trip_ns;
  }
  if (error == TH_OK) {
    qsort(times, count, sizeof *times, compare);
    *measured = (round_trips){.least_ns = times[0], .median_ns = times[count / 2], .count = count};
  }
  free(times);
  return error;
}

static void json_tell(const th_host *host, const th_health *health, const round_trips *measured) {
  th_output_json(json_pack(
      "{s:s, s:s, s:s, s:o, s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
      "event", "result", "mode", th_host_mode_name(host), "url", th_manager_url(host->manager),
      "daemon", th_output_string(health->daemon), "device", th_output_string(health->device), "io",
      health->io, "threads", (json_int_t)health->threads, "uptime_ms",
      (json_int_t)health->uptime_ms, "sessions", (json_int_t)health->sessions, "sessions_max",
      (json_int_t)health->sessions_max, "jobs_running", (json_int_t)health->jobs_running,
      "jobs_queued", (json_int_t)health->jobs_queued, "jobs_kept", (json_int_t)health->jobs_kept,
      "data_bytes", (json_int_t)health->data_bytes, "data_bytes_max",
      (json_int_t)health->data_bytes_max, "round_trip_least_ns", (json_int_t)measured->least_ns,
      "round_trip_median_ns", (json_int_t)measured->median_ns));
}

static void host_print(const th_host *host, th_health *health, const round_trips *measured,
                       bool is_verbose) {
  th_words_disarm(health->daemon);
  th_words_disarm(health->device);
  th_output_text("%s at %s\n", health->daemon, th_manager_url(host->manager));
  th_output_text("  device      %s, %u thread%s\n", health->device, health->threads,
                 health->threads == 1 ? "" : "s");
  th_output_text("  up          %s\n", th_words_duration((double)health->uptime_ms / 1000).text);
  th_output_text("  sessions    %u of %u\n", health->sessions, health->sessions_max);
  th_output_text("  jobs        %u running, %u queued, %u kept\n", health->jobs_running,
                 health->jobs_queued, health->jobs_kept);
  th_output_text("  data        %s", th_words_bytes(health->data_bytes).text);
  if (health->data_bytes_max > 0)
    th_output_text(" of %s", th_words_bytes(health->data_bytes_max).text);
  th_output_text("\n  round trip  %.1f us median, %.1f us least, of %u\n",
                 (double)measured->median_ns / 1000, (double)measured->least_ns / 1000,
                 measured->count);
  if (is_verbose) th_output_text("  io          %s\n", health->io);
}

/* No round trip: a call in the process says nothing about a host. */
static void local_print(th_health *health) {
  th_words_disarm(health->device);
  th_output_text("local mode: there is no daemon, each process trains by itself\n");
  th_output_text("  version     %s\n", health->daemon);
  th_output_text("  device      %s, %u thread%s\n", health->device, health->threads,
                 health->threads == 1 ? "" : "s");
  th_output_text("set USE_TRAINING_HOST_SERVICE=true to use a training host\n");
}

static th_error run(const th_arguments *arguments) {
  th_host host = {0};
  th_health health;
  round_trips measured;
  uint32_t count = arguments->count > 0 ? arguments->count : COUNT_DEFAULT;
  th_error error = th_host_open(&host);
  if (error == TH_OK) error = round_trips_measure(&host, count, &health, &measured);
  if (error == TH_OK && th_output_is_json())
    json_tell(&host, &health, &measured);
  else if (error == TH_OK && th_host_is_local(&host))
    local_print(&health);
  else if (error == TH_OK)
    host_print(&host, &health, &measured, arguments->verbose);
  th_host_close(&host);
  return error;
}

static const struct argp_option rows[] = {
    {"count", TH_FLAG_COUNT, "N", 0, "Measure N round trips (default 10)", 1},
    {"verbose", TH_FLAG_VERBOSE, NULL, 0, "Also say how this side reaches the kernel, and why", 2},
    {0},
};

const th_command th_command_ping = {
    .name = "ping",
    .summary = "say who would train, and how far away it is",
    .doc = "Ask the daemon how it is, and measure how long it takes to answer.",
    .rows = rows,
    .run = run,
};

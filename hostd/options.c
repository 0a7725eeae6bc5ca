#include "hostd/options.h"

#include <argp.h>
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
  OPTION_SOCKET_MODE = 0x100,
  OPTION_SOCKET_GROUP,
  OPTION_THREADS,
  OPTION_ACTIVE_MAX,
  OPTION_SESSIONS_MAX,
  OPTION_JOBS_MAX,
  OPTION_DATA_MAX,
  OPTION_ARENA,
  OPTION_LOG_LEVEL,
};

static const struct argp_option option_rows[] = {
    {"device", 'd', "DEVICE", 0,
     "Train on DEVICE: cpu, cuda or cuda:N (default cuda). It is never replaced by another", 0},
    {"socket", 's', "PATH", 0, "Listen on PATH (default /run/trainhost/trainhost.sock)", 0},
    {"state-dir", 'S', "DIR", 0, "Keep results and checkpoints in DIR (default /var/lib/trainhost)",
     0},
    {"socket-mode", OPTION_SOCKET_MODE, "MODE", 0, "Mode of the socket file, octal (default 0660)",
     0},
    {"socket-group", OPTION_SOCKET_GROUP, "GROUP", 0, "Group of the socket file, name or number",
     0},
    {"threads", OPTION_THREADS, "N", 0,
     "Train with N threads (default: one a core, or one a multiprocessor of a GPU)", 0},
    {"active-max", OPTION_ACTIVE_MAX, "N", 0,
     "Advance at most N jobs at once, in slices; others are queued (default: one for each thread, "
     "8 "
     "at least)",
     0},
    {"sessions-max", OPTION_SESSIONS_MAX, "N", 0, "Serve at most N clients (default 64)", 0},
    {"jobs-max", OPTION_JOBS_MAX, "N", 0,
     "Hold at most N jobs, finished ones whose result waits to be collected too (default 256)", 0},
    {"data-max", OPTION_DATA_MAX, "SIZE", 0,
     "Hold at most SIZE of data for jobs, as 512M or 8G (default: half of the available memory)",
     0},
    {"arena", OPTION_ARENA, "SIZE", 0, "Shared memory for each client's batches (default 8M)", 0},
    {"log-level", OPTION_LOG_LEVEL, "LEVEL", 0, "error, warning, info or debug (default info)", 0},
    {0},
};

static uint64_t number_parse(struct argp_state *state, const char *name, const char *text, int base,
                             uint64_t least, uint64_t most) {
  char *end;
  errno = 0;
  unsigned long long value = strtoull(text, &end, base);
  if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || value < least || value > most)
    argp_error(state, "--%s %s: not a number from %llu to %llu", name, text,
               (unsigned long long)least, (unsigned long long)most);
  return value;
}

static uint32_t count_parse(struct argp_state *state, const char *name, const char *text,
                            uint32_t most) {
  return (uint32_t)number_parse(state, name, text, 10, 1, most);
}

/* "512M" and the like; units of 1024. */
static uint64_t size_parse(struct argp_state *state, const char *name, const char *text) {
  static const char units[] = "KMGT";
  char *end;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  unsigned shift = 0;
  const char *unit = *end == '\0' ? NULL : strchr(units, *end);
  if (unit != NULL) {
    shift = 10 * (unsigned)(unit - units + 1);
    end++;
  }
  if (errno != 0 || *end != '\0' || text[0] == '-' || value == 0 || value > UINT64_MAX >> shift)
    argp_error(state, "--%s %s: not a size such as 512M or 8G", name, text);
  return (uint64_t)value << shift;
}

static gid_t group_parse(struct argp_state *state, const char *text) {
  struct group *group = getgrnam(text);
  if (group != NULL) return group->gr_gid;
  char *end;
  errno = 0;
  unsigned long value = strtoul(text, &end, 10);
  if (errno != 0 || end == text || *end != '\0' || value >= (gid_t)-1)
    argp_error(state, "--socket-group %s: no such group", text);
  return (gid_t)value;
}

static th_log_level level_parse(struct argp_state *state, const char *text) {
  static const struct {
    const char *word;
    th_log_level level;
  } rows[] = {{"error", TH_LOG_ERROR},
              {"warning", TH_LOG_WARNING},
              {"info", TH_LOG_INFO},
              {"debug", TH_LOG_DEBUG}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    if (strcasecmp(text, rows[i].word) == 0) return rows[i].level;
  argp_error(state, "--log-level %s: not one of error, warning, info, debug", text);
  return TH_LOG_INFO;
}

static error_t option_take(int key, char *text, struct argp_state *state) {
  th_options *options = state->input;
  switch (key) {
    case 'd':
      options->device = text;
      return 0;
    case 's':
      options->socket_path = text;
      return 0;
    case 'S':
      options->state_dir = text;
      return 0;
    case OPTION_SOCKET_MODE:
      options->socket_mode = (mode_t)number_parse(state, "socket-mode", text, 8, 0, 0777);
      return 0;
    case OPTION_SOCKET_GROUP:
      options->socket_gid = group_parse(state, text);
      return 0;
    case OPTION_THREADS:
      options->threads = count_parse(state, "threads", text, 1024);
      return 0;
    case OPTION_ACTIVE_MAX:
      options->active_max = count_parse(state, "active-max", text, 4096);
      return 0;
    case OPTION_SESSIONS_MAX:
      options->sessions_max = count_parse(state, "sessions-max", text, 4096);
      return 0;
    case OPTION_JOBS_MAX:
      options->jobs_max = count_parse(state, "jobs-max", text, 65536);
      return 0;
    case OPTION_DATA_MAX:
      options->data_bytes_max = size_parse(state, "data-max", text);
      return 0;
    case OPTION_ARENA:
      options->arena_bytes = size_parse(state, "arena", text);
      return 0;
    case OPTION_LOG_LEVEL:
      options->log_level = level_parse(state, text);
      return 0;
    case ARGP_KEY_ARG:
      argp_error(state, "unexpected argument: %s", text);
      return 0;
    default:
      return ARGP_ERR_UNKNOWN;
  }
}

void th_options_parse(int argc, char **argv, th_options *options) {
  static const struct argp parser = {
      .options = option_rows,
      .parser = option_take,
      .doc =
          "Train neural networks on this host's device for clients on a Unix socket.\v"
          "SIGTERM and SIGINT stop it cleanly: running jobs leave a checkpoint. Exit status: 0 "
          "after a clean stop, 64 for a wrong command line, 69 if the device cannot be used, 74 "
          "if socket or state directory cannot be written, 75 if another daemon has the socket.",
  };
  *options = (th_options){
      .device = "cuda",
      .socket_path = "/run/trainhost/trainhost.sock",
      .state_dir = "/var/lib/trainhost",
      .socket_mode = 0660,
      .socket_gid = (gid_t)-1,
      .sessions_max = 64,
      .jobs_max = 256,
      .arena_bytes = UINT64_C(8) << 20,
      .log_level = TH_LOG_INFO,
  };
  /* Assigned and not defined: a definition of ours would be hidden from libc. */
  argp_program_version = "trainhostd " TH_VERSION;
  argp_parse(&parser, argc, argv, 0, NULL, options);
}

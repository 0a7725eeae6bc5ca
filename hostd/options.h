/** What the command line of trainhostd says. */
#ifndef TH_HOSTD_OPTIONS_H
#define TH_HOSTD_OPTIONS_H

#include <stdint.h>
#include <sys/types.h>

#include "hostd/log.h"

typedef struct th_options {
  const char *device;
  const char *socket_path;
  const char *state_dir;
  mode_t socket_mode;
  gid_t socket_gid; /**< (gid_t)-1: leave the group as it is */
  uint32_t threads; /**< 0: as many as the device says */
  uint32_t active_max; /**< 0: one for each thread, and more if they are few */
  uint32_t sessions_max;
  uint32_t jobs_max;
  uint64_t data_bytes_max; /**< 0: half of the memory that is available at start */
  uint64_t arena_bytes;
  th_log_level log_level;
} th_options;

/** Read the command line. On a mistake prints it and exits with 64, on --help and --version with 0.
 */
void th_options_parse(int argc, char **argv, th_options *options);

#endif

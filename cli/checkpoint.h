/** The file of --checkpoint: the newest checkpoint of a training that is followed. */
#ifndef TH_CLI_CHECKPOINT_H
#define TH_CLI_CHECKPOINT_H

#include "cli/display.h"

typedef struct th_checkpoint_file {
  const char *path; /**< NULL: none is wanted */
  uint32_t epochs; /**< from one to the next; 0: none before the job is stopped */
  uint32_t told; /**< the newest epoch that the job has told of */
  bool is_due; /**< there is one that the file does not have */
  bool has_failed; /**< it could not be brought up to date, which was told */
  int64_t next_ns; /**< not written again before */
} th_checkpoint_file;

/**
 * Take note of what the job told, and bring the file up to date when it is time: the old one or the
 * whole new one is there at any moment. That it cannot be written is told once; the training goes
 * on.
 *
 * @param event  NULL: it told nothing.
 */
void th_checkpoint_file_follow(th_checkpoint_file *file, th_job *job, th_display *display,
                               const th_event *event);

#endif

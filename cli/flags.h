/** A command and its flags: one table a command, one reader for all. */
#ifndef TH_CLI_FLAGS_H
#define TH_CLI_FLAGS_H

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/array.h"
#include "base/error.h"

/** More fields than a specification has. */
#define TH_FIELDS_MAX 64

/** What a command line says. Texts are the command line's own; NULL or 0 where nothing was said. */
typedef struct th_arguments {
  const char *files[TH_ARRAY_DATA_COUNT]; /**< by th_array: --data, --labels, … */
  const char *columns[TH_ARRAY_DATA_COUNT]; /**< likewise: --label-column, …; none of features */
  const char *validation_files[TH_ARRAY_DATA_COUNT]; /**< likewise: --validation-data, … */
  const char *model, *resume, *init, *profile, *spec, *out, *out_dir, *history, *checkpoint;
  const char *file; /**< the word that is no flag, of a command that takes one */
  const char *fields[TH_FIELDS_MAX]; /**< by the index of th_spec_fields */
  uint64_t job;
  bool has_job;
  uint32_t count;
  uint32_t jobs;
  bool detach, watch, wait, verbose, all;
} th_arguments;

/** Keys of the flags; th_flags_parse knows what each one means, wherever it occurs. */
typedef enum th_flag {
  TH_FLAG_FILE = 0x100, /* + th_array; beyond what could be a short option's letter */
  TH_FLAG_COLUMN = TH_FLAG_FILE + TH_ARRAY_DATA_COUNT, /* + th_array */
  TH_FLAG_VALIDATION = TH_FLAG_COLUMN + TH_ARRAY_DATA_COUNT, /* + th_array */
  TH_FLAG_MODEL = TH_FLAG_VALIDATION + TH_ARRAY_DATA_COUNT,
  TH_FLAG_RESUME,
  TH_FLAG_INIT,
  TH_FLAG_PROFILE,
  TH_FLAG_HISTORY,
  TH_FLAG_CHECKPOINT,
  TH_FLAG_SPEC,
  TH_FLAG_OUT,
  TH_FLAG_OUT_DIR,
  TH_FLAG_COUNT,
  TH_FLAG_JOBS,
  TH_FLAG_DETACH,
  TH_FLAG_WATCH,
  TH_FLAG_WAIT,
  TH_FLAG_VERBOSE,
  TH_FLAG_ALL,
  TH_FLAG_JSON,
  TH_FLAG_QUIET,
  TH_FLAG_FIELD = 0x200, /* + index */
  TH_FLAG_NO_FIELD = TH_FLAG_FIELD + TH_FIELDS_MAX, /* + index of a boolean field */
} th_flag;

/* Rows that several commands have. The last number is the group: input, output, --json and --quiet,
 * then a group for each field. */
#define TH_ROW_ARRAY(name, array, doc) \
  { name, TH_FLAG_FILE + (array), "FILE", 0, doc, 1 }
#define TH_ROW_DATA \
  TH_ROW_ARRAY("data", TH_ARRAY_FEATURES, "Features: IDX (plain or gzipped), .npy or CSV")
#define TH_ROW_GROUPS                     \
  TH_ROW_ARRAY("groups", TH_ARRAY_GROUPS, \
               "What each row belongs to, as a symbol: one number a row, counted from 0")
#define TH_ROW_COLUMN(name, array, doc) \
  { name, TH_FLAG_COLUMN + (array), "NAME", 0, doc, 1 }
#define TH_ROW_TAKEN_COLUMN(name, array, what) \
  TH_ROW_COLUMN(name, array,                   \
                "Take the " what " from this column of the data, a CSV file with a header")

/** A data set with all that it can have. */
#define TH_ROWS_DATA                                                                         \
  TH_ROW_DATA, TH_ROW_ARRAY("labels", TH_ARRAY_LABELS, "Labels, one a row, counted from 0"), \
      TH_ROW_ARRAY("targets", TH_ARRAY_TARGETS,                                              \
                   "Numbers to come near to, instead of labels: one a row or more"),         \
      TH_ROW_ARRAY("weights", TH_ARRAY_WEIGHTS,                                              \
                   "What each row counts: one number a row, 0 or above (default 1)"),        \
      TH_ROW_GROUPS, TH_ROW_TAKEN_COLUMN("label-column", TH_ARRAY_LABELS, "labels"),         \
      TH_ROW_TAKEN_COLUMN("target-column", TH_ARRAY_TARGETS, "targets"),                     \
      TH_ROW_TAKEN_COLUMN("weight-column", TH_ARRAY_WEIGHTS, "weights"),                     \
      TH_ROW_TAKEN_COLUMN("group-column", TH_ARRAY_GROUPS, "groups")
#define TH_ROW_MODEL \
  { "model", TH_FLAG_MODEL, "FILE", 0, "A model that `trainhost train' wrote", 1 }
#define TH_ROW_OUT(doc) \
  { "out", TH_FLAG_OUT, "FILE", 0, doc, 2 }

/** The first group of the fields. */
#define TH_GROUP_FIELDS 4

typedef enum th_job_argument {
  TH_JOB_ARGUMENT_NONE,
  TH_JOB_ARGUMENT_OPTIONAL,
  TH_JOB_ARGUMENT_REQUIRED,
} th_job_argument;

typedef struct th_command {
  const char *name;
  const char *summary; /**< for the overview */
  const char *doc; /**< as argp takes it: before the flags, \v, after them */
  const struct argp_option *rows; /**< beside --json and --quiet, which all have; NULL: none */
  bool has_fields; /**< takes the fields of a specification as flags, too */
  th_job_argument job;
  const char *file; /**< the file that it takes beside its flags, for the help; NULL: none */
  th_error (*run)(const th_arguments *arguments);
} th_command;

/**
 * Read a command line; --help, --usage and --version print and end the process.
 *
 * Flags must be written in full: an abbreviation that works today could mean two things tomorrow.
 *
 * @param argv  argv[0] is the command's name. Not kept, but its texts are.
 * @return TH_OK; TH_ERR_USAGE naming the flag and the nearest known one.
 */
th_error th_flags_parse(const th_command *command, int argc, char **argv, th_arguments *arguments);

/** Print the command's flags, one a line: what a shell completes a word to. */
void th_flags_list(const th_command *command);

#endif

#include "cli/flags.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "cli/fields.h"
#include "cli/output.h"

/* Every field and its opposite, and what else a command has. */
enum { FLAGS_MAX = 2 * TH_FIELDS_MAX + 32 };

static const struct argp_option output_rows[] = {
    {"json", TH_FLAG_JSON, NULL, 0,
     "Print JSON, one object a line; the last is the result or the error", 3},
    {"quiet", TH_FLAG_QUIET, NULL, 0,
     "Print nothing but errors, and with --json nothing but the last line", 3},
    {0},
};

/* argp's own, which it does not show. */
static const struct argp_option builtin_rows[] = {
    {"help", '?', NULL, 0, NULL, 0},
    {"usage", 0, NULL, 0, NULL, 0},
    {"version", 'V', NULL, 0, NULL, 0},
    {0},
};

/* ---- which flags there are ---- */

/* Rows, and their names once more as th_nearest takes them. */
typedef struct flag_list {
  const struct argp_option *rows[FLAGS_MAX];
  const char *names[FLAGS_MAX];
  size_t count;
} flag_list;

static void list_add(flag_list *list, const struct argp_option *rows) {
  for (; rows != NULL && rows->name != NULL && list->count < FLAGS_MAX; rows++) {
    list->rows[list->count] = rows;
    list->names[list->count++] = rows->name;
  }
}

static flag_list list_of(const th_command *command) {
  flag_list list = {.count = 0};
  list_add(&list, command->rows);
  list_add(&list, output_rows);
  if (command->has_fields) list_add(&list, th_fields_rows());
  list_add(&list, builtin_rows);
  return list;
}

void th_flags_list(const th_command *command) {
  flag_list list = list_of(command);
  for (size_t i = 0; i < list.count; i++) th_output_text("--%s\n", list.names[i]);
}

/* ---- what argp would be too lenient or too terse about ---- */

/* The row of "--name" or "--name=value"; NULL if there is none. */
static const struct argp_option *flag_find(const flag_list *list, const char *word) {
  size_t length = strcspn(word + 2, "=");
  for (size_t i = 0; i < list->count; i++)
    if (strncmp(word + 2, list->names[i], length) == 0 && list->names[i][length] == '\0')
      return list->rows[i];
  return NULL;
}

static th_error fail_unknown(const th_command *command, const flag_list *list, const char *word) {
  char name[64];
  snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word);
  size_t nearest = th_nearest(name + strspn(name, "-"), list->names, list->count);
  if (nearest < list->count)
    return th_fail(TH_ERR_USAGE, "%s: there is no flag %s; did you mean --%s?", command->name, name,
                   list->names[nearest]);
  return th_fail(TH_ERR_USAGE, "%s: there is no flag %s; trainhost %s --help lists them",
                 command->name, name, command->name);
}

static bool is_builtin_letter(const char *word) {
  return strcmp(word, "-?") == 0 || strcmp(word, "-V") == 0;
}

/* Looks at the whole line although the first mistake decides: where --json stands in it must not
 * change how the mistake is told. */
static th_error words_judge(const th_command *command, int argc, char **argv) {
  flag_list list = list_of(command);
  th_error error = TH_OK;
  for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
    const char *word = argv[i];
    if (word[0] != '-' || word[1] == '\0' || is_builtin_letter(word)) continue;
    const struct argp_option *row = word[1] == '-' ? flag_find(&list, word) : NULL;
    if (row == NULL) {
      if (error == TH_OK) error = fail_unknown(command, &list, word);
      continue;
    }
    if (row->key == TH_FLAG_JSON) th_output_set_json();
    bool wants_next =
        row->arg != NULL && (row->flags & OPTION_ARG_OPTIONAL) == 0 && strchr(word, '=') == NULL;
    if (wants_next && ++i == argc && error == TH_OK)
      error =
          th_fail(TH_ERR_USAGE, "%s: --%s needs a value: %s", command->name, row->name, row->arg);
  }
  return error;
}

/* ---- what each flag means ---- */

/* strtoull would take blanks, a sign and an overflow without a word. */
static error_t number_read(const char *what, const char *text, uint64_t most, uint64_t *number) {
  char *end;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  bool is_number = text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
  if (!is_number || value < 1 || value > most) {
    (void)th_fail(TH_ERR_USAGE, "%s is \"%.60s\": it must be a whole number from 1 to %llu", what,
                  text, (unsigned long long)most);
    return EINVAL;
  }
  *number = value;
  return 0;
}

static error_t count_take(const char *flag, const char *text, uint32_t *count) {
  enum { COUNT_MAX = 1000000 };
  uint64_t number = 0;
  error_t error = number_read(flag, text, COUNT_MAX, &number);
  *count = (uint32_t)number;
  return error;
}

static error_t word_take(const th_command *command, const char *text, th_arguments *arguments) {
  if (command->file != NULL && arguments->file == NULL) {
    arguments->file = text;
    return 0;
  }
  if (command->job == TH_JOB_ARGUMENT_NONE || arguments->has_job) {
    (void)th_fail(TH_ERR_USAGE, "%s: \"%.60s\" is one word too many; flags begin with --",
                  command->name, text);
    return EINVAL;
  }
  arguments->has_job = true;
  return number_read("a job's number", text, UINT64_MAX, &arguments->job);
}

/* Nothing was said of a file or a job, although the command is about one. */
static error_t end_judge(const th_command *command, const th_arguments *arguments) {
  if (command->file != NULL && arguments->file == NULL) {
    (void)th_fail(TH_ERR_USAGE,
                  "%s: the file %s is missing; trainhost %s --help says what is in it",
                  command->name, command->file, command->name);
    return EINVAL;
  }
  if (command->job != TH_JOB_ARGUMENT_REQUIRED || arguments->has_job) return 0;
  (void)th_fail(TH_ERR_USAGE, "%s: the job's number is missing; trainhost status lists the jobs",
                command->name);
  return EINVAL;
}

/* The flags whose text is kept, and where. */
static const struct {
  int flag;
  size_t offset;
} text_places[] = {
    {TH_FLAG_MODEL, offsetof(th_arguments, model)},
    {TH_FLAG_RESUME, offsetof(th_arguments, resume)},
    {TH_FLAG_INIT, offsetof(th_arguments, init)},
    {TH_FLAG_PROFILE, offsetof(th_arguments, profile)},
    {TH_FLAG_HISTORY, offsetof(th_arguments, history)},
    {TH_FLAG_CHECKPOINT, offsetof(th_arguments, checkpoint)},
    {TH_FLAG_SPEC, offsetof(th_arguments, spec)},
    {TH_FLAG_OUT, offsetof(th_arguments, out)},
    {TH_FLAG_OUT_DIR, offsetof(th_arguments, out_dir)},
};

/* Three for each array of a data set, in the order of their keys. */
static bool array_take(int flag, const char *text, th_arguments *arguments) {
  const char **const places[] = {arguments->files, arguments->columns, arguments->validation_files};
  if (flag < TH_FLAG_FILE || flag >= TH_FLAG_VALIDATION + TH_ARRAY_DATA_COUNT) return false;
  int place = flag - TH_FLAG_FILE;
  places[place / TH_ARRAY_DATA_COUNT][place % TH_ARRAY_DATA_COUNT] = text;
  return true;
}

static bool text_take(int flag, const char *text, th_arguments *arguments) {
  for (size_t i = 0; i < sizeof text_places / sizeof text_places[0]; i++) {
    if (text_places[i].flag != flag) continue;
    const char **place = (const char **)((char *)arguments + text_places[i].offset);
    *place = text;
    return true;
  }
  return false;
}

/* argp hands this the command and the arguments in one. */
typedef struct flag_reading {
  const th_command *command;
  th_arguments *arguments;
} flag_reading;

static error_t flag_take(int key, char *text, struct argp_state *state) {
  const flag_reading *reading = state->input;
  th_arguments *arguments = reading->arguments;
  if (array_take(key, text, arguments) || text_take(key, text, arguments)) return 0;
  switch (key) {
    case TH_FLAG_COUNT:
      return count_take("--count", text, &arguments->count);
    case TH_FLAG_JOBS:
      return count_take("--jobs", text, &arguments->jobs);
    case TH_FLAG_DETACH:
      arguments->detach = true;
      return 0;
    case TH_FLAG_WATCH:
      arguments->watch = true;
      return 0;
    case TH_FLAG_WAIT:
      arguments->wait = true;
      return 0;
    case TH_FLAG_VERBOSE:
      arguments->verbose = true;
      return 0;
    case TH_FLAG_ALL:
      arguments->all = true;
      return 0;
    case ARGP_KEY_INIT:
      if (reading->command->has_fields) state->child_inputs[1] = arguments;
      return 0;
    case ARGP_KEY_ARG:
      return word_take(reading->command, text, arguments);
    case ARGP_KEY_END:
      return end_judge(reading->command, arguments);
    default:
      return ARGP_ERR_UNKNOWN;
  }
}

/* For the whole process, as the output is: no command is asked. */
static error_t output_take(int key, char *text, struct argp_state *state) {
  (void)text;
  (void)state;
  if (key == TH_FLAG_JSON)
    th_output_set_json();
  else if (key == TH_FLAG_QUIET)
    th_output_set_quiet();
  else
    return ARGP_ERR_UNKNOWN;
  return 0;
}

/* Only kept here: a value is judged with the whole specification, when its file has been read. */
static error_t field_take(int key, char *text, struct argp_state *state) {
  th_arguments *arguments = state->input;
  if (key >= TH_FLAG_NO_FIELD && key < TH_FLAG_NO_FIELD + TH_FIELDS_MAX)
    arguments->fields[key - TH_FLAG_NO_FIELD] = "false";
  else if (key >= TH_FLAG_FIELD && key < TH_FLAG_NO_FIELD)
    arguments->fields[key - TH_FLAG_FIELD] = text != NULL ? text : "true";
  else
    return ARGP_ERR_UNKNOWN;
  return 0;
}

th_error th_flags_parse(const th_command *command, int argc, char **argv, th_arguments *arguments) {
  static const char *const words[] = {[TH_JOB_ARGUMENT_NONE] = NULL,
                                      [TH_JOB_ARGUMENT_OPTIONAL] = "[JOB]",
                                      [TH_JOB_ARGUMENT_REQUIRED] = "JOB"};
  *arguments = (th_arguments){0};
  th_error error = words_judge(command, argc, argv);
  if (error != TH_OK) return error;
  /* --help and --usage call the program by argv[0]. */
  char called[64];
  snprintf(called, sizeof called, "trainhost %s", command->name);
  argv[0] = called;
  const struct argp output = {.options = output_rows, .parser = output_take};
  const struct argp fields = {.options = th_fields_rows(), .parser = field_take};
  const struct argp_child children[] = {
      {.argp = &output}, {.argp = command->has_fields ? &fields : NULL}, {0}};
  const struct argp parser = {
      .options = command->rows,
      .parser = flag_take,
      .args_doc = command->file != NULL ? command->file : words[command->job],
      .doc = command->doc,
      .children = children};
  flag_reading reading = {command, arguments};
  return argp_parse(&parser, argc, argv, 0, NULL, &reading) == 0 ? TH_OK : TH_ERR_USAGE;
}

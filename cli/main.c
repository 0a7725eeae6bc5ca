/* trainhost: the command line. */
#include <stdio.h>
#include <string.h>

#include "base/nearest.h"
#include "cli/commands.h"
#include "cli/output.h"

static const th_command *const commands[] = {
    &th_command_train,   &th_command_sweep,  &th_command_evaluate,
    &th_command_predict, &th_command_ping,   &th_command_status,
    &th_command_cancel,  &th_command_result, &th_command_forget,
};

enum { COMMANDS = sizeof commands / sizeof commands[0] };

static th_error overview_print(void) {
  th_output_text(
      "usage: trainhost COMMAND [FLAG...]\n\n"
      "Train neural networks on a training host, or in this process.\n\n");
  for (int i = 0; i < COMMANDS; i++)
    th_output_text("  %-10s %s\n", commands[i]->name, commands[i]->summary);
  th_output_text(
      "\ntrainhost COMMAND --help lists the flags of a command.\n\n"
      "USE_TRAINING_HOST_SERVICE=true trains through the daemon at\n"
      "TRAINING_HOST_SERVICE_URL (default unix:///run/trainhost/trainhost.sock);\n"
      "otherwise training happens in this process.\n");
  return TH_OK;
}

static th_error command_find(const char *name, const th_command **command) {
  const char *names[COMMANDS];
  for (int i = 0; i < COMMANDS; i++) {
    names[i] = commands[i]->name;
    if (strcmp(name, names[i]) != 0) continue;
    *command = commands[i];
    return TH_OK;
  }
  size_t nearest = th_nearest(name, names, COMMANDS);
  if (nearest < COMMANDS)
    return th_fail(TH_ERR_USAGE, "there is no command \"%.60s\"; did you mean \"%s\"?", name,
                   names[nearest]);
  return th_fail(TH_ERR_USAGE, "there is no command \"%.60s\"; trainhost help lists them", name);
}

static th_error command_run(int argc, char **argv) {
  const th_command *command;
  th_arguments arguments;
  th_error error = command_find(argv[0], &command);
  if (error == TH_OK) error = th_flags_parse(command, argc, argv, &arguments);
  return error == TH_OK ? command->run(&arguments) : error;
}

/* As argp would print it for "trainhost NAME --help". */
static th_error help_print(const char *name) {
  char help[] = "--help";
  char *argv[] = {NULL, help, NULL};
  const th_command *command;
  th_arguments arguments;
  th_error error = command_find(name, &command);
  return error == TH_OK ? th_flags_parse(command, 2, argv, &arguments) : error;
}

/* For a shell that completes a word: the commands, or the flags of one. */
static th_error words_print(const char *name) {
  const th_command *command;
  if (name == NULL) {
    for (int i = 0; i < COMMANDS; i++) th_output_text("%s\n", commands[i]->name);
    return TH_OK;
  }
  th_error error = command_find(name, &command);
  if (error == TH_OK) th_flags_list(command);
  return error;
}

static bool is_one_of(const char *word, const char *a, const char *b) {
  return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

/* What comes before any command; "complete" is for the shell and not in the overview. */
static th_error words_run(int argc, char **argv) {
  const char *next = argc > 2 ? argv[2] : NULL;
  if (argc < 2 || is_one_of(argv[1], "--help", "-?") || strcmp(argv[1], "--usage") == 0)
    return overview_print();
  if (strcmp(argv[1], "help") == 0) return next == NULL ? overview_print() : help_print(next);
  if (strcmp(argv[1], "complete") == 0) return words_print(next);
  if (!is_one_of(argv[1], "--version", "-V")) return command_run(argc - 1, argv + 1);
  th_output_text("%s\n", argp_program_version);
  return TH_OK;
}

int main(int argc, char **argv) {
  /* Assigned, since a definition of its own would be hidden and argp would not see it. */
  argp_program_version = "trainhost " TH_VERSION;
  return th_output_finish(words_run(argc, argv));
}

#include "benchmarks/peer.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "benchmarks/stop.h"

enum { ARGUMENTS_MAX = 8 };

/* What runs in the child. Every library is told the number of threads: one left unset takes all
 * cores without a word. */
static void child_run(const th_bench_options *options, uint32_t threads,
                      const char *const *arguments) {
  static const char *const variables[] = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
                                          "MKL_NUM_THREADS"};
  char count[16];
  snprintf(count, sizeof count, "%u", threads);
  for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) setenv(variables[i], count, 1);
  /* execv promises to change none of them. */
  char *words[ARGUMENTS_MAX + 3] = {(char *)(uintptr_t)options->python,
                                    (char *)(uintptr_t)options->peer};
  for (int i = 0; i < ARGUMENTS_MAX && arguments[i] != NULL; i++)
    words[2 + i] = (char *)(uintptr_t)arguments[i];
  execv(options->python, words);
  th_stop(options->python);
}

static void line_read(const th_peer *peer, char *line, size_t bytes) {
  if (fgets(line, (int)bytes, peer->answers) == NULL) {
    fprintf(stderr, "the peer ended without an answer; its own message is above\n");
    exit(EXIT_FAILURE);
  }
  line[strcspn(line, "\n")] = '\0';
}

void th_peer_start(th_peer *peer, const th_bench_options *options, uint32_t threads,
                   const char *const *arguments) {
  int asks[2], answers[2];
  if (pipe2(asks, O_CLOEXEC) != 0 || pipe2(answers, O_CLOEXEC) != 0) th_stop("pipe");
  peer->process = th_fork();
  if (peer->process == 0) {
    dup2(asks[0], STDIN_FILENO);
    dup2(answers[1], STDOUT_FILENO);
    close(asks[1]);
    close(answers[0]);
    child_run(options, threads, arguments);
  }
  close(asks[0]);
  close(answers[1]);
  peer->asks = fdopen(asks[1], "w");
  peer->answers = fdopen(answers[0], "r");
  if (peer->asks == NULL || peer->answers == NULL) th_stop("fdopen");
  line_read(peer, peer->description, sizeof peer->description);
}

void th_peer_start_on(th_peer *peer, const th_bench_options *options, const char *name,
                      uint32_t threads, const th_bench_data *data) {
  char count[16], file[32], rows[16], width[16];
  snprintf(count, sizeof count, "%u", threads);
  snprintf(file, sizeof file, "/proc/self/fd/%d", data->fd);
  snprintf(rows, sizeof rows, "%u", data->rows);
  snprintf(width, sizeof width, "%u", data->width);
  const char *const arguments[] = {name, count, file, rows, width, NULL};
  th_peer_start(peer, options, threads, arguments);
}

void th_peer_ask(th_peer *peer) {
  fputs("run\n", peer->asks);
  fflush(peer->asks);
}

double th_peer_answer(th_peer *peer) {
  char line[64];
  line_read(peer, line, sizeof line);
  return strtod(line, NULL);
}

double th_peer_run(th_peer *peer) {
  th_peer_ask(peer);
  return th_peer_answer(peer);
}

void th_peer_stop(th_peer *peer) {
  fclose(peer->asks);
  fclose(peer->answers);
  waitpid(peer->process, NULL, 0);
}

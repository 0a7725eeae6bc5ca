#include "benchmarks/training_peer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void fail(const char *what) {
  perror(what);
  exit(EXIT_FAILURE);
}

th_peer_data th_peer_data_create(uint32_t rows, uint32_t width) {
  th_peer_data data = {.rows = rows, .width = width};
  data.bytes = (size_t)rows * (width + 1) * sizeof(float);
  /* The child opens it by its number, so it stays open over exec. */
  data.fd = memfd_create("training data", 0);
  if (data.fd < 0 || ftruncate(data.fd, (off_t)data.bytes) != 0) fail("memory file");
  data.features = mmap(NULL, data.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, data.fd, 0);
  if (data.features == MAP_FAILED) fail("mmap");
  data.labels = (int32_t *)(void *)(data.features + (size_t)rows * width);
  return data;
}

void th_peer_data_destroy(th_peer_data *data) {
  munmap(data->features, data->bytes);
  close(data->fd);
}

/* What runs in the child. Every library is told the number of threads: one left unset takes all
 * cores without a word. */
static void child_run(const char *python, const char *script, const char *name, uint32_t threads,
                      const th_peer_data *data) {
  static const char *const variables[] = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
                                          "MKL_NUM_THREADS"};
  char count[16], file[32], rows[16], width[16];
  snprintf(count, sizeof count, "%u", threads);
  snprintf(file, sizeof file, "/proc/self/fd/%d", data->fd);
  snprintf(rows, sizeof rows, "%u", data->rows);
  snprintf(width, sizeof width, "%u", data->width);
  for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) setenv(variables[i], count, 1);
  execl(python, python, script, name, count, file, rows, width, (char *)NULL);
  fail(python);
}

static void line_read(const th_peer *peer, char *line, size_t bytes) {
  if (fgets(line, (int)bytes, peer->answers) == NULL) {
    fprintf(stderr, "the peer ended without an answer; its own message is above\n");
    exit(EXIT_FAILURE);
  }
  line[strcspn(line, "\n")] = '\0';
}

void th_peer_start(th_peer *peer, const char *python, const char *script, const char *name,
                   uint32_t threads, const th_peer_data *data) {
  int asks[2], answers[2];
  if (pipe(asks) != 0 || pipe(answers) != 0) fail("pipe");
  fflush(NULL);
  peer->process = fork();
  if (peer->process < 0) fail("fork");
  if (peer->process == 0) {
    dup2(asks[0], STDIN_FILENO);
    dup2(answers[1], STDOUT_FILENO);
    close(asks[1]);
    close(answers[0]);
    child_run(python, script, name, threads, data);
  }
  close(asks[0]);
  close(answers[1]);
  peer->asks = fdopen(asks[1], "w");
  peer->answers = fdopen(answers[0], "r");
  if (peer->asks == NULL || peer->answers == NULL) fail("fdopen");
  line_read(peer, peer->description, sizeof peer->description);
}

double th_peer_run(th_peer *peer) {
  char line[64];
  fputs("run\n", peer->asks);
  fflush(peer->asks);
  line_read(peer, line, sizeof line);
  return strtod(line, NULL);
}

void th_peer_stop(th_peer *peer) {
  fclose(peer->asks);
  fclose(peer->answers);
  waitpid(peer->process, NULL, 0);
}

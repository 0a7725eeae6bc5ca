#include "kernels/cpu/cpu.h"

#include <cblas.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "kernels/cpu/loops.h"

/* Fields of /proc/cpuinfo begin its lines; the first processor's name stands for all. */
static void processor_name(char *name, size_t bytes) {
  snprintf(name, bytes, "processor");
  FILE *file = fopen("/proc/cpuinfo", "re");
  if (file == NULL) return;
  char line[256];
  while (fgets(line, sizeof line, file) != NULL) {
    const char *colon = strchr(line, ':');
    if (strncmp(line, "model name", strlen("model name")) != 0 || colon == NULL) continue;
    line[strcspn(line, "\n")] = '\0';
    snprintf(name, bytes, "%s", colon + 1 + strspn(colon + 1, " "));
    break;
  }
  fclose(file);
}

static uint32_t cores_allowed(void) {
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof cores, &cores) != 0) return 1;
  return (uint32_t)CPU_COUNT(&cores);
}

void th_cpu_open(th_device *device) {
  openblas_set_num_threads(1);
  char processor[48];
  processor_name(processor, sizeof processor);
  uint32_t cores = cores_allowed();
  *device = (th_device){.backend = &th_cpu_backend, .threads = cores, .threads_each = UINT32_MAX};
  snprintf(device->name, sizeof device->name, "cpu: %s, %u core%s, %s, %.16s BLAS", processor,
           device->threads, device->threads == 1 ? "" : "s", th_loops_choose()->name,
           openblas_get_corename());
}

#include "kernels/device.h"

#include <stdbool.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cuda/probe.h"

#define CUDA_INDEX_DIGITS_MAX 3

/* Whether name is "cuda" or "cuda:" and a number without signs, spaces or superfluous zeros. */
static bool is_cuda(const char *name) {
  if (strncmp(name, "cuda", 4) != 0) return false;
  if (name[4] == '\0') return true;
  const char *digits = name + 5;
  size_t count = strspn(digits, "0123456789");
  return name[4] == ':' && count > 0 && count <= CUDA_INDEX_DIGITS_MAX && digits[count] == '\0' &&
         (digits[0] != '0' || count == 1);
}

th_error th_device_open(const char *name, th_device *device) {
  if (strcmp(name, "cpu") == 0) {
    th_cpu_open(device);
    return TH_OK;
  }
  if (!is_cuda(name))
    return th_fail(TH_ERR_USAGE, "unknown device \"%s\": it is cpu, cuda or cuda:N", name);
  char found[TH_CUDA_PROBE_BYTES_MAX];
  th_cuda_probe(found, sizeof found);
  return th_fail(TH_ERR_DEVICE,
                 "device \"%s\" cannot be used: found %s, and this build has no CUDA backend; "
                 "\"--device cpu\" trains on the processor",
                 name, found);
}

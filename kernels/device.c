#include "kernels/device.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"

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
  uint32_t index = name[4] == '\0' ? 0 : (uint32_t)strtoul(name + 5, NULL, 10);
  return th_cuda_open(name, index, device);
}

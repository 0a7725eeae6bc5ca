#include "kernels/cuda/cuda.h"

#include <dlfcn.h>
#include <stdio.h>

#include "kernels/cuda/engine.h"
#include "kernels/cuda/probe.h"
#include "kernels/cuda/runtime.h"

static th_error fail_open(const char *name, const char *why) {
  char found[TH_CUDA_PROBE_BYTES_MAX];
  th_cuda_probe(found, sizeof found);
  return th_fail(TH_ERR_DEVICE,
                 "device \"%s\" cannot be used: found %s, and %s; \"--device cpu\" trains on the "
                 "processor",
                 name, found, why);
}

/* Once loaded it stays: a process has one device. */
static th_error runtime_load(const char *name, const th_cuda_runtime **runtime) {
  void *library = dlopen(TH_CUDA_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL)
    return fail_open(name,
                     "no CUDA backend: " TH_CUDA_LIBRARY " was not built, or is not installed");
  *runtime = dlsym(library, TH_CUDA_RUNTIME_SYMBOL);
  if (*runtime != NULL && (*runtime)->version == TH_CUDA_RUNTIME_VERSION) return TH_OK;
  dlclose(library);
  return fail_open(name, TH_CUDA_LIBRARY " is of another build; install both of one");
}

th_error th_cuda_open(const char *name, uint32_t index, th_device *device) {
  const th_cuda_runtime *runtime;
  th_cuda_facts facts = {0};
  th_error error = runtime_load(name, &runtime);
  if (error != TH_OK) return error;
  const char *why = runtime->describe(index, &facts);
  if (why != NULL) return fail_open(name, why);
  *device = (th_device){.backend = &th_cuda_backend,
                        .cuda = runtime,
                        .index = index,
                        .threads = facts.multiprocessors,
                        .threads_each = 1};
  snprintf(device->name, sizeof device->name, "cuda:%u: %.40s, %u SMs, %u GiB", index, facts.name,
           facts.multiprocessors, (unsigned)(facts.memory_bytes >> 30));
  return TH_OK;
}

#include "kernels/cuda/probe.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>

/* The driver's own library; its entry points keep their signatures (CUDA driver API). */
#define DRIVER_LIBRARY "libcuda.so.1"
#define DEVICE_FILES "/dev/nvidia[0-9]*"

typedef int init_function(unsigned flags);
typedef int count_function(int *count);
typedef int device_function(int *device, int ordinal);
typedef int name_function(char *name, int bytes, int device);

static size_t device_file_count(void) {
  glob_t files;
  if (glob(DEVICE_FILES, 0, NULL, &files) != 0) return 0;
  size_t count = files.gl_pathc;
  globfree(&files);
  return count;
}

static void driver_ask(void *driver, char *found, size_t bytes) {
  init_function *init = (init_function *)dlsym(driver, "cuInit");
  count_function *get_count = (count_function *)dlsym(driver, "cuDeviceGetCount");
  device_function *get_device = (device_function *)dlsym(driver, "cuDeviceGet");
  name_function *get_name = (name_function *)dlsym(driver, "cuDeviceGetName");
  if (init == NULL || get_count == NULL || get_device == NULL || get_name == NULL) {
    snprintf(found, bytes, DRIVER_LIBRARY " is not a CUDA driver");
    return;
  }
  int count = 0;
  int result = init(0);
  if (result == 0) result = get_count(&count);
  if (result != 0) {
    snprintf(found, bytes, "a driver that does not start (CUDA error %d), %zu device files", result,
             device_file_count());
    return;
  }
  char name[64] = "";
  int device;
  if (count > 0 && get_device(&device, 0) == 0) get_name(name, sizeof name, device);
  snprintf(found, bytes, "a driver with %d device%s%s%s", count, count == 1 ? "" : "s",
           name[0] == '\0' ? "" : ", the first: ", name);
}

void th_cuda_probe(char *found, size_t bytes) {
  void *driver = dlopen(DRIVER_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  if (driver == NULL) {
    snprintf(found, bytes, "no driver (" DRIVER_LIBRARY ") and %zu device files (/dev/nvidia*)",
             device_file_count());
    return;
  }
  driver_ask(driver, found, bytes);
  dlclose(driver);
}

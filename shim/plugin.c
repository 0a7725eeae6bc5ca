#include "shim/plugin.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

static pthread_mutex_t load_lock = PTHREAD_MUTEX_INITIALIZER;
static const th_way *loaded;

static th_error fail_load(void) {
  const char *why = dlerror();
  return th_fail(TH_ERR_USAGE,
                 "the local trainer cannot be loaded: %s; install " TH_WAY_LOCAL_LIBRARY
                 " beside libtrainhost, or set USE_TRAINING_HOST_SERVICE=true to train on the host",
                 why != NULL ? why : TH_WAY_LOCAL_LIBRARY " is not whole");
}

/* Beside this library, wherever that lies. The path is spelt out, as a search would ask
 * LD_LIBRARY_PATH first, and a sanitizer's dlopen does not search where this library's RUNPATH
 * says. Without a directory, in a program that links all of it statically, the loader searches. */
static void plugin_path(char path[PATH_MAX]) {
  Dl_info self = {0};
  const char *own = dladdr(&loaded, &self) != 0 ? self.dli_fname : "";
  const char *slash = strrchr(own, '/');
  int directory_bytes = slash == NULL ? 0 : (int)(slash + 1 - own);
  snprintf(path, PATH_MAX, "%.*s" TH_WAY_LOCAL_LIBRARY, directory_bytes, own);
}

static th_error load(void) {
  char path[PATH_MAX];
  plugin_path(path);
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) return fail_load();
  const th_way *way = dlsym(library, TH_WAY_LOCAL_SYMBOL);
  if (way == NULL) {
    th_error error = fail_load();
    dlclose(library);
    return error;
  }
  loaded = way;
  return TH_OK;
}

th_error th_plugin_load(const th_way **way) {
  pthread_mutex_lock(&load_lock);
  th_error error = loaded != NULL ? TH_OK : load();
  *way = loaded;
  pthread_mutex_unlock(&load_lock);
  return error;
}

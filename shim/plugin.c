#include "shim/plugin.h"

#include <dlfcn.h>
#include <pthread.h>

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

/* The name without a directory: the loader looks beside this library first, as its RUNPATH says. */
static th_error load(void) {
  void *library = dlopen(TH_WAY_LOCAL_LIBRARY, RTLD_NOW | RTLD_LOCAL);
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

#include "cli/host.h"

#include <dlfcn.h>

#include "base/check.h"
#include "base/clock.h"

typedef const char *text_function(void);

/* By the name alone the linker would take the copy that is linked in. That copy is hidden, so the
 * loader knows only the library's. */
static const char *library_error_text(void) {
  void *symbol = dlsym(RTLD_DEFAULT, "th_error_text");
  th_check(symbol != NULL);
  text_function *function;
  /* As dlsym(3) has it: ISO C knows no conversion from a pointer to data to one to a function. */
  *(void **)&function = symbol;
  return function();
}

th_error th_host_judge(th_error error) {
  if (error != TH_OK && error != TH_ERR_AGAIN) (void)th_fail(error, "%s", library_error_text());
  return error;
}

/* How soon it failed is what people who came from time-outs want to see. */
static th_error adapter_open(th_host *host) {
  int64_t start_ns = th_clock_now_ns();
  th_error error = th_adapter_open(host->manager, NULL, &host->adapter);
  int64_t taken_us = (th_clock_now_ns() - start_ns) / 1000;
  if (error == TH_OK) return TH_OK;
  (void)th_host_judge(error);
  return th_fail(error, "%s (known after %lld us)", th_error_text(), (long long)taken_us);
}

th_error th_host_open(th_host *host) {
  *host = (th_host){0};
  th_error error = th_manager_from_env(&host->manager);
  return error == TH_OK ? adapter_open(host) : th_host_judge(error);
}

void th_host_close(th_host *host) {
  th_adapter_close(host->adapter);
  th_manager_close(host->manager);
  *host = (th_host){0};
}

bool th_host_is_local(const th_host *host) {
  return th_manager_mode(host->manager) == TH_MODE_LOCAL;
}

const char *th_host_mode_name(const th_host *host) {
  return th_host_is_local(host) ? "local" : "host";
}

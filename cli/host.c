#include "cli/host.h"

#include "base/clock.h"

/* How soon it failed is what people who came from time-outs want to see. */
static th_error adapter_open(th_host *host) {
  int64_t start_ns = th_clock_now_ns();
  th_error error = th_adapter_open(host->manager, NULL, &host->adapter);
  int64_t taken_us = (th_clock_now_ns() - start_ns) / 1000;
  if (error == TH_OK) return TH_OK;
  return th_fail(error, "%s (known after %lld us)", th_error_text(), (long long)taken_us);
}

th_error th_host_open(th_host *host) {
  *host = (th_host){0};
  th_error error = th_manager_from_env(&host->manager);
  return error == TH_OK ? adapter_open(host) : error;
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

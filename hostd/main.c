#include "base/error.h"
#include "hostd/daemon.h"

int main(int argc, char **argv) {
  th_options options;
  th_options_parse(argc, argv, &options);
  th_log_set_level(options.log_level);
  th_error error = th_daemon_run(&options);
  if (error != TH_OK) th_log(TH_LOG_ERROR, "%s", th_error_text());
  return th_error_exit_status(error);
}

/** The commands of `trainhost`, one for each verb. */
#ifndef TH_CLI_COMMANDS_H
#define TH_CLI_COMMANDS_H

#include "cli/flags.h"

extern const th_command th_command_cancel;
extern const th_command th_command_evaluate;
extern const th_command th_command_forget;
extern const th_command th_command_ping;
extern const th_command th_command_predict;
extern const th_command th_command_result;
extern const th_command th_command_status;
extern const th_command th_command_sweep;
extern const th_command th_command_train;

#endif

/** The fields of a specification as flags: made of the table that the parser itself goes by. */
#ifndef TH_CLI_FIELDS_H
#define TH_CLI_FIELDS_H

#include <argp.h>

#include "cli/flags.h"
#include "kernels/spec.h"

/** A row for each field, and --no-FIELD for each boolean one. Static. */
const struct argp_option *th_fields_rows(void);

/**
 * The specification that the flags ask for: the file of --spec, with the fields of flags in place
 * of its own, judged as a whole.
 *
 * @return TH_OK; TH_ERR_USAGE naming file and field; as th_file_read.
 */
th_error th_fields_spec(const th_arguments *arguments, th_spec *spec);

#endif

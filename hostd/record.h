/** job.json: a record as text and back. */
#ifndef TH_HOSTD_RECORD_H
#define TH_HOSTD_RECORD_H

#include "hostd/store.h"

/** @param json  [out] owned by the caller. @return TH_OK; TH_ERR_SYSTEM without memory. */
th_error th_record_format(const th_record *record, th_buffer *json);

/** @return TH_OK; TH_ERR_DATA naming the line or the field. */
th_error th_record_parse(const th_buffer *json, th_record *record);

#endif

/** CSV (RFC 4180) of numbers. Private to this room. */
#ifndef TH_FORMATS_CSV_H
#define TH_FORMATS_CSV_H

#include "formats/table.h"

/**
 * Read the whole text of a CSV file. Errors name the path and the line, counted from 1.
 *
 * @param contents  a NUL follows its last byte; the header's names are unquoted in place.
 * @param numbers   [out] all columns; untouched unless TH_OK.
 * @return TH_OK; TH_ERR_DATA; TH_ERR_SYSTEM.
 */
th_error th_csv_to_numbers(const char *path, th_buffer *contents, th_numbers *numbers);

/** Likewise, of a file that has one column. */
th_error th_csv_to_indices(const char *path, th_buffer *contents, th_indices *indices);

/** Likewise, of a file whose header names columns, as th_csv_read_table takes them. */
th_error th_csv_to_table(const char *path, th_buffer *contents,
                         const char *const columns[TH_ARRAY_DATA_COUNT], th_table *table);

#endif

/** CSV (RFC 4180) of numbers. Private to this room. */
#ifndef TH_FORMATS_CSV_H
#define TH_FORMATS_CSV_H

#include "formats/table.h"

/** What the columns of a CSV file are. */
typedef enum th_csv_columns {
  TH_CSV_FEATURES, /**< all features */
  TH_CSV_LABELS, /**< one column, the labels */
  TH_CSV_LABELED, /**< features, but for one column named in the header */
} th_csv_columns;

/**
 * Read the whole text of a CSV file. Errors name the path and the line, counted from 1.
 *
 * @param contents      a NUL follows its last byte; the header's names are unquoted in place.
 * @param label_column  for TH_CSV_LABELED.
 * @param features      [out] unless TH_CSV_LABELS; untouched unless TH_OK.
 * @param labels        [out] unless TH_CSV_FEATURES; untouched unless TH_OK.
 * @return TH_OK; TH_ERR_DATA; TH_ERR_USAGE if no column has that name; TH_ERR_SYSTEM.
 */
th_error th_csv_read(const char *path, th_buffer *contents, th_csv_columns columns,
                     const char *label_column, th_features *features, th_labels *labels);

#endif

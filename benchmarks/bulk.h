/** Ways to bring many bytes from one process into the memory of another. */
#ifndef TH_BENCHMARKS_BULK_H
#define TH_BENCHMARKS_BULK_H

#include <stdbool.h>
#include <stdint.h>

#include "benchmarks/side.h"

/** Made before the process forks and opened after it, as a carrier. Whatever fails ends the process
 * with a message. */
typedef struct th_bulk_kind {
  void *(*create)(uint32_t bytes);
  void (*open)(void *bulk, bool sends); /**< NULL: there is nothing to do */
  void (*send)(void *bulk, const float *numbers, uint32_t bytes);
  /** Wait until all are there. */
  void (*receive)(void *bulk, float *numbers, uint32_t bytes);
} th_bulk_kind;

extern const th_bulk_kind th_bulk_socket, th_bulk_zeromq;
/** POST to libmicrohttpd by libcurl: the bytes as they are, or the numbers as a JSON array. */
extern const th_bulk_kind th_bulk_http, th_bulk_http_json;

/** What is to be carried. */
typedef struct th_bulk {
  uint32_t bytes; /**< a multiple of TH_BULK_ROW_BYTES */
  const th_bulk_kind *kind; /**< of th_side_bulk */
} th_bulk;

enum { TH_BULK_WIDTH = 64, TH_BULK_ROW_BYTES = TH_BULK_WIDTH * 4 };

/** From this process' memory until a child has them in its own, by the kind. argument, of all of
 * these: a th_bulk. */
extern const th_side_kind th_side_bulk;
/** memcpy. */
extern const th_side_kind th_side_bulk_memcpy;
/** The product: th_job_start, which returns when the daemon has taken all of them. */
extern const th_side_kind th_side_bulk_job;

/** The same from a file in the page cache: mapped for the product, and plain read(2). */
extern const th_side_kind th_side_bulk_file_job, th_side_bulk_file_read;

/** Exactly so many, or the process ends with a message. */
void th_bulk_write(int fd, const void *from, uint32_t bytes);
void th_bulk_read(int fd, void *to, uint32_t bytes);

#endif

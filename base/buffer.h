/** A block of bytes on the heap that its holder frees. */
#ifndef TH_BASE_BUFFER_H
#define TH_BASE_BUFFER_H

#include <stddef.h>
#include <stdlib.h>

/** Bytes and their count. `{0}` is an empty one. Text in it is also NUL-terminated. */
typedef struct th_buffer {
  void *data;
  size_t bytes;
} th_buffer;

/** Free what the buffer holds and leave it empty. Takes an empty one. */
static inline void th_buffer_fini(th_buffer *buffer) {
  free(buffer->data);
  *buffer = (th_buffer){0};
}

#endif

#include "formats/gzip.h"

#include <limits.h>
#include <zlib.h>

bool th_gzip_is(const th_buffer *contents) {
  const unsigned char *bytes = contents->data;
  return contents->bytes >= 2 && bytes[0] == 0x1F && bytes[1] == 0x8B;
}

typedef struct gzip_stream {
  const char *path;
  th_gzip_announcement *announcement; /* until it was asked */
  z_stream stream;
  const th_buffer *packed;
  uint64_t packed_done;
  th_buffer out;
  uint64_t capacity;
  uint64_t bytes_max;
} gzip_stream;

/* The output grows only as bytes really come, and not beyond what the file announces: a small file
 * that unpacks to gigabytes is stopped at its first byte too many. */
static th_error output_grow(gzip_stream *unpacking) {
  if (unpacking->announcement != NULL && unpacking->out.bytes >= TH_GZIP_HEAD_BYTES) {
    th_error error = unpacking->announcement(unpacking->path, unpacking->out.data,
                                             unpacking->out.bytes, &unpacking->bytes_max);
    if (error != TH_OK) return error;
    unpacking->announcement = NULL;
  }
  if (unpacking->out.bytes > unpacking->bytes_max)
    return th_fail(TH_ERR_DATA, "%s unpacks to more than the %llu bytes that its header announces",
                   unpacking->path, (unsigned long long)unpacking->bytes_max);
  uint64_t capacity = unpacking->capacity + unpacking->capacity / 2 + TH_GZIP_HEAD_BYTES;
  if (capacity > unpacking->bytes_max) capacity = unpacking->bytes_max + 1;
  void *data = realloc(unpacking->out.data, capacity + 1);
  if (data == NULL)
    return th_fail(TH_ERR_SYSTEM, "no memory to unpack %s beyond %llu bytes", unpacking->path,
                   (unsigned long long)unpacking->out.bytes);
  unpacking->out.data = data;
  unpacking->capacity = capacity;
  return TH_OK;
}

/* zlib counts in 32 bits; more goes through it in pieces. */
static uInt piece(uint64_t bytes) {
  return bytes > UINT_MAX / 2 ? UINT_MAX / 2 : (uInt)bytes;
}

static int inflate_piece(gzip_stream *unpacking) {
  z_stream *stream = &unpacking->stream;
  uInt in = stream->avail_in = piece(unpacking->packed->bytes - unpacking->packed_done);
  uInt room = stream->avail_out = piece(unpacking->capacity - unpacking->out.bytes);
  stream->next_out = (Bytef *)unpacking->out.data + unpacking->out.bytes;
  int state = inflate(stream, Z_NO_FLUSH);
  unpacking->packed_done += in - stream->avail_in;
  unpacking->out.bytes += room - stream->avail_out;
  return state;
}

static th_error unpacking_fail(const gzip_stream *unpacking, int state) {
  if (state == Z_MEM_ERROR)
    return th_fail(TH_ERR_SYSTEM, "no memory to unpack %s", unpacking->path);
  const char *reason = state == Z_BUF_ERROR            ? "it ends too early"
                       : unpacking->stream.msg != NULL ? unpacking->stream.msg
                                                       : zError(state);
  return th_fail(TH_ERR_DATA, "%s: broken gzip stream near byte %llu: %s", unpacking->path,
                 (unsigned long long)unpacking->packed_done, reason);
}

/* Each round consumes or produces at least a byte, for zlib reports a round that does neither as
 * Z_BUF_ERROR. */
static th_error unpacking_run(gzip_stream *unpacking) {
  int state = Z_OK;
  while (state != Z_STREAM_END || unpacking->packed_done < unpacking->packed->bytes) {
    if (unpacking->out.bytes == unpacking->capacity) {
      th_error error = output_grow(unpacking);
      if (error != TH_OK) return error;
    }
    /* Members may follow each other in one file (RFC 1952, 2.2). */
    if (state == Z_STREAM_END) inflateReset(&unpacking->stream);
    state = inflate_piece(unpacking);
    if (state != Z_OK && state != Z_STREAM_END) return unpacking_fail(unpacking, state);
  }
  return TH_OK;
}

th_error th_gzip_unpack(const char *path, th_gzip_announcement *announcement, th_buffer *contents) {
  gzip_stream unpacking = {.path = path, .announcement = announcement, .packed = contents};
  unpacking.bytes_max = UINT64_MAX;
  unpacking.stream.next_in = contents->data;
  /* 16: expect gzip's header and checksum. */
  if (inflateInit2(&unpacking.stream, MAX_WBITS + 16) != Z_OK)
    return th_fail(TH_ERR_SYSTEM, "no memory to unpack %s", path);
  th_error error = unpacking_run(&unpacking);
  inflateEnd(&unpacking.stream);
  if (error != TH_OK) {
    th_buffer_fini(&unpacking.out);
    return error;
  }
  th_buffer_fini(contents);
  *contents = unpacking.out;
  ((char *)contents->data)[contents->bytes] = '\0';
  return TH_OK;
}

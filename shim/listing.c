#include "shim/listing.h"

#include <stdlib.h>
#include <string.h>

/* A list that is longer is no list of a daemon's. */
enum { ROWS_MAX = 1 << 20 };

/* How one kind of row is read: its sizes, and its translation into the caller's array. */
typedef struct th_row_kind {
  th_wire_type type;
  size_t wire_bytes;
  size_t info_bytes;
  /* Returns the row's number. */
  uint64_t (*convert)(const uint8_t *wire, void *info);
} th_row_kind;

static uint64_t job_convert(const uint8_t *wire, void *info) {
  th_wire_job_row row;
  memcpy(&row, wire, sizeof row);
  th_job_info *job = info;
  *job = (th_job_info){.progress = row.progress,
                       .kind = (th_job_kind)row.kind,
                       .session = row.session,
                       .uid = row.uid,
                       .is_checkpoint = row.is_checkpoint != 0};
  memcpy(job->name, row.name, sizeof job->name - 1);
  return row.progress.job;
}

static uint64_t session_convert(const uint8_t *wire, void *info) {
  th_wire_session_row row;
  memcpy(&row, wire, sizeof row);
  th_session_info *session = info;
  *session = (th_session_info){.session = row.session,
                               .uid = row.uid,
                               .gid = row.gid,
                               .pid = row.pid,
                               .jobs = row.jobs,
                               .connected_ms = row.connected_ms,
                               .received_bytes = row.received_bytes};
  memcpy(session->client, row.client, sizeof session->client - 1);
  return row.session;
}

static const th_row_kind job_rows = {TH_WIRE_JOBS, sizeof(th_wire_job_row), sizeof(th_job_info),
                                     job_convert};
static const th_row_kind session_rows = {TH_WIRE_SESSIONS, sizeof(th_wire_session_row),
                                         sizeof(th_session_info), session_convert};

/* The list so far. */
typedef struct th_listing {
  uint8_t *rows;
  size_t count;
  uint64_t last; /* number of the last row */
} th_listing;

static th_error fail_broken(th_way_session *session) {
  th_error error = th_fail(TH_ERR_PROTOCOL,
                           "trainhostd at %s broke the protocol: a list whose rows "
                           "are out of order or do not fit it",
                           session->link.path);
  return th_link_end(&session->link, error);
}

static th_error rows_reserve(th_listing *listing, const th_row_kind *kind, uint32_t more) {
  uint8_t *rows = realloc(listing->rows, (listing->count + more) * kind->info_bytes);
  if (rows == NULL) return th_fail(TH_ERR_SYSTEM, "no memory for a list of %u more rows", more);
  listing->rows = rows;
  return TH_OK;
}

/* Numbers must grow from row to row: so no page is asked for twice. */
static th_error page_append(th_way_session *session, const th_row_kind *kind, th_listing *listing,
                            bool *has_more) {
  const th_message *answer = &session->link.answer;
  th_wire_listing head;
  if (answer->header.body_bytes < sizeof head) return fail_broken(session);
  memcpy(&head, answer->body, sizeof head);
  *has_more = head.more != 0;
  uint64_t rows_bytes = answer->header.body_bytes - sizeof head;
  if (rows_bytes != (uint64_t)head.count * kind->wire_bytes || (head.more && head.count == 0) ||
      listing->count + head.count > ROWS_MAX)
    return fail_broken(session);
  if (head.count == 0) return TH_OK;
  th_error error = rows_reserve(listing, kind, head.count);
  if (error != TH_OK) return error;
  for (uint32_t i = 0; i < head.count; i++) {
    uint64_t number = kind->convert(answer->body + sizeof head + i * kind->wire_bytes,
                                    listing->rows + listing->count * kind->info_bytes);
    if (number <= listing->last) return fail_broken(session);
    listing->last = number;
    listing->count++;
  }
  return TH_OK;
}

static th_error page_fetch(th_way_session *session, const th_row_kind *kind, th_listing *listing,
                           bool *has_more) {
  th_link *link = &session->link;
  th_wire_list body = {.after = listing->last};
  int64_t deadline_ns = th_link_deadline_ns(link);
  th_error error = th_link_enter(link, deadline_ns);
  if (error != TH_OK) return error;
  error = th_link_exchange(link, kind->type, &body, sizeof body, deadline_ns);
  if (error == TH_OK) error = page_append(session, kind, listing, has_more);
  th_link_leave(link);
  return error;
}

static th_error listing_fetch(th_way_session *session, const th_row_kind *kind, void **rows,
                              size_t *count) {
  th_listing listing = {0};
  bool has_more = true;
  th_error error = TH_OK;
  while (error == TH_OK && has_more) error = page_fetch(session, kind, &listing, &has_more);
  if (error != TH_OK) {
    free(listing.rows);
    return error;
  }
  *rows = listing.rows;
  *count = listing.count;
  return TH_OK;
}

th_error th_listing_jobs(th_way_session *session, th_job_info **jobs, size_t *count) {
  void *rows;
  th_error error = listing_fetch(session, &job_rows, &rows, count);
  if (error == TH_OK) *jobs = rows;
  return error;
}

th_error th_listing_sessions(th_way_session *session, th_session_info **sessions, size_t *count) {
  void *rows;
  th_error error = listing_fetch(session, &session_rows, &rows, count);
  if (error == TH_OK) *sessions = rows;
  return error;
}

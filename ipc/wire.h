/**
 * Every byte that the two sides exchange: control messages on the socket, and the layout of the
 * shared region. docs/protocol.md says the same in words. Little-endian, fixed widths, asserted
 * offsets.
 */
#ifndef TH_IPC_WIRE_H
#define TH_IPC_WIRE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/array.h"
#include "base/error.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the wire is little-endian");

#define TH_WIRE_MAGIC UINT32_C(0x534F4854) /* "THOS" */
#define TH_WIRE_VERSION_MIN 1
#define TH_WIRE_VERSION_MAX 1

/* One datagram of the control socket: header, then body. */
#define TH_WIRE_BODY_BYTES_MAX 65536
#define TH_WIRE_FDS_MAX 8

/** Control messages. A request is answered once, with the same type and request number. */
typedef enum th_wire_type {
  TH_WIRE_HELLO = 1, /**< th_wire_hello → th_wire_welcome and six descriptors */
  TH_WIRE_PING = 2, /**< nothing → th_wire_health */
  TH_WIRE_START = 3, /**< th_wire_start, specification → th_wire_job */
  TH_WIRE_ATTACH = 4, /**< th_wire_job → th_wire_job */
  TH_WIRE_CANCEL = 5, /**< th_wire_job → nothing */
  TH_WIRE_RESULT = 6, /**< th_wire_job → th_wire_result and up to two descriptors */
  TH_WIRE_FORGET = 7, /**< th_wire_job → nothing; the result is acknowledged and deleted */
  TH_WIRE_JOBS = 8, /**< th_wire_list → th_wire_listing, th_wire_job_row[count] */
  TH_WIRE_SESSIONS = 9, /**< th_wire_list → th_wire_listing, th_wire_session_row[count] */
  TH_WIRE_STOP = 10, /**< th_wire_job → nothing; as a cancel, but a training leaves a checkpoint */
  TH_WIRE_CHECKPOINT = 11, /**< th_wire_job → th_wire_result and one descriptor */
} th_wire_type;

/** Optional abilities, in force if both sides have them. */
#define TH_WIRE_FEATURE_CALLS                                         \
  UINT64_C(1) /**< requests may come as calls, through CTL and STATUS \
               */

/** Before every body. */
typedef struct th_wire_header {
  uint32_t type;
  uint32_t request; /**< chosen by the client; the answer carries it back */
  int32_t status; /**< th_error in an answer, else 0; if not TH_OK the body is its text */
  uint32_t body_bytes; /**< that follow */
} th_wire_header;

typedef struct th_wire_hello {
  uint32_t magic;
  uint16_t version_min, version_max; /**< that the client speaks */
  uint64_t features; /**< TH_WIRE_FEATURE_… that the client has */
  char client[64]; /**< "trainhost 0.1.0, PROGRAM"; NUL-padded, for logs and lists */
} th_wire_hello;

/** With it come, in this order: CTL, STATUS, ARENA, the daemon's doorbell, the client's doorbells
 * for events and for answers. */
enum { TH_WIRE_WELCOME_FDS = 6 };

typedef struct th_wire_welcome {
  uint32_t magic;
  uint16_t version; /**< the highest that both speak */
  uint16_t reserved;
  uint64_t features; /**< those of the hello that the daemon has, too */
  uint64_t session;
  uint64_t ctl_bytes, status_bytes, arena_bytes;
  uint32_t slot_bytes, slot_count;
  uint32_t submission_entries, event_entries; /**< powers of two */
  uint32_t cell_count;
  uint32_t heartbeat_ms; /**< how often the heartbeat moves */
  char daemon[64]; /**< "trainhostd 0.1.0" */
  char device[96];
} th_wire_welcome;

typedef struct th_wire_health {
  uint64_t uptime_ms;
  uint32_t sessions, sessions_max;
  uint32_t jobs_running, jobs_queued, jobs_kept; /**< kept: over, result not yet acknowledged */
  uint32_t threads;
  uint64_t data_bytes, data_bytes_max; /**< held for jobs, and the limit */
} th_wire_health;

/** Flags of th_wire_start. */
#define TH_WIRE_START_DETACH UINT32_C(1) /**< the job outlives the session */
#define TH_WIRE_START_KEEP_DATA UINT32_C(2) /**< its data outlive the job, within the session */

enum { TH_WIRE_ARRAYS_MAX = 8 };

/** Then follow spec_bytes of JSON. */
typedef struct th_wire_start {
  uint32_t kind; /**< th_job_kind */
  uint32_t flags;
  uint64_t rows;
  uint32_t width;
  uint32_t target_width; /**< 0 without targets */
  uint32_t spec_bytes;
  uint32_t reserved;
  uint64_t array_bytes[TH_WIRE_ARRAYS_MAX]; /**< by th_array; 0: not sent */
  uint64_t data_of; /**< 0: own arrays; else the job whose data, all but the model, it shares */
} th_wire_start;

typedef struct th_wire_job {
  uint64_t job;
  uint32_t cell; /**< in an answer: index of the job's progress cell */
  uint32_t kind; /**< in an answer: th_job_kind */
} th_wire_job;

/** Descriptors, in order, for each size that is not 0: output, card. Read-only files. */
typedef struct th_wire_result {
  uint64_t output_bytes, card_bytes;
  uint32_t kind;
  uint32_t is_checkpoint;
} th_wire_result;

typedef struct th_wire_list {
  uint64_t after; /**< rows with a higher number only; 0: from the first */
} th_wire_list;

typedef struct th_wire_listing {
  uint32_t count;
  uint32_t more; /**< 1: ask again, after the last row's number */
} th_wire_listing;

typedef struct th_wire_job_row {
  th_progress progress;
  uint64_t session; /**< 0: none is attached */
  uint32_t kind;
  uint32_t uid;
  uint32_t is_checkpoint; /**< 1: its result is a checkpoint */
  uint32_t reserved;
  char name[64];
} th_wire_job_row;

typedef struct th_wire_session_row {
  uint64_t session;
  uint32_t uid, gid;
  int32_t pid; /**< as the daemon sees it */
  uint32_t jobs;
  uint64_t connected_ms;
  uint64_t received_bytes;
  char client[64];
} th_wire_session_row;

/** Entry of the submission queue, client → daemon: a batch of an array's bytes lies in a slot. */
typedef struct th_wire_submission {
  uint64_t job;
  uint64_t cookie; /**< comes back with the completion */
  uint64_t array_offset; /**< in bytes; each batch begins where the last of its array ended */
  uint32_t array; /**< index into th_wire_start.array_bytes */
  uint32_t slot;
  uint32_t bytes; /**< 1 … slot_bytes */
  uint32_t reserved[7];
} th_wire_submission;

typedef enum th_wire_event_kind {
  TH_WIRE_EVENT_COMPLETION = 1, /**< a submission was taken; its slot is the client's again */
  TH_WIRE_EVENT_PHASE = 2, /**< the job entered `phase`; never dropped */
  TH_WIRE_EVENT_EPOCH = 3, /**< an epoch ended; dropped only where the history is thinned */
  TH_WIRE_EVENT_STEP = 4, /**< the newest step; older ones not yet sent are coalesced */
} th_wire_event_kind;

/** Entry of the event queue, daemon → client. Fields that a kind does not use are 0. */
typedef struct th_wire_event {
  uint64_t job;
  uint64_t cookie; /**< completion: the submission's */
  uint32_t kind;
  int32_t status; /**< completion: th_error; phase FAILED: why */
  uint32_t phase;
  uint32_t slot; /**< completion */
  uint32_t epoch, step;
  uint32_t coalesced; /**< step: how many are left out before this one */
  float loss, accuracy, validation_loss, validation_accuracy;
  uint32_t reserved;
} th_wire_event;

_Static_assert(sizeof(th_wire_header) == 16, "header");
_Static_assert(sizeof(th_wire_hello) == 80, "hello");
_Static_assert(sizeof(th_wire_welcome) == 232, "welcome");
_Static_assert(sizeof(th_wire_health) == 48, "health");
_Static_assert(sizeof(th_wire_start) == 104, "start");
_Static_assert(offsetof(th_wire_start, array_bytes) == 32, "sizes of a start");
_Static_assert((int)TH_ARRAY_COUNT <= (int)TH_WIRE_ARRAYS_MAX, "arrays of a start");
_Static_assert(sizeof(th_wire_job) == 16, "job");
_Static_assert(sizeof(th_wire_result) == 24, "result");
_Static_assert(sizeof(th_progress) == 128, "progress");
_Static_assert(sizeof(th_wire_job_row) == 216, "job row");
_Static_assert(sizeof(th_wire_session_row) == 104, "session row");
_Static_assert(sizeof(th_wire_submission) == 64, "submission");
_Static_assert(sizeof(th_wire_event) == 64, "event");

/* The region. Each index or flag that one side writes and the other polls has 128 bytes of its own:
 * two cache lines, because adjacent lines are prefetched in pairs. */
#define TH_WIRE_LINE_BYTES 128

/** The newest request that was made by shared memory instead of the socket. Its head and a short
 * body share a cache line. */
enum { TH_WIRE_CALL_BYTES_MAX = 4096 - 16, TH_WIRE_ANSWER_BYTES_MAX = 1024 - 16 };

typedef struct th_wire_call {
  _Alignas(TH_WIRE_LINE_BYTES) _Atomic uint32_t number; /**< calls made, free-running */
  _Atomic uint32_t type; /**< th_wire_type */
  _Atomic uint32_t body_bytes;
  uint32_t reserved;
  uint8_t body[TH_WIRE_CALL_BYTES_MAX];
} th_wire_call;

/** Its answer; a th_wire_health shares the head's cache line. */
typedef struct th_wire_answer {
  _Alignas(TH_WIRE_LINE_BYTES) _Atomic uint32_t number; /**< calls answered, free-running */
  _Atomic int32_t status; /**< th_error; if not TH_OK the body is its text */
  _Atomic uint32_t body_bytes;
  uint32_t reserved;
  uint8_t body[TH_WIRE_ANSWER_BYTES_MAX];
} th_wire_answer;

/** Head of CTL, which the client writes; th_wire_submission[submission_entries] follow. */
typedef struct th_wire_ctl {
  _Alignas(TH_WIRE_LINE_BYTES) uint32_t magic; /**< written by the daemon before it is sent */
  uint32_t version;
  _Alignas(TH_WIRE_LINE_BYTES) _Atomic uint32_t submission_tail; /**< entries put, free-running */
  _Alignas(TH_WIRE_LINE_BYTES) _Atomic uint32_t event_head; /**< events taken, free-running */
  /** 1: ring the client's doorbell for events after putting some. */
  _Alignas(TH_WIRE_LINE_BYTES) _Atomic uint32_t client_sleeps;
  _Atomic uint32_t client_awaits; /**< 1: ring the one for answers after answering */
  th_wire_call call;
} th_wire_ctl;

/** Where one job's newest progress lies: a seqlock (Boehm 2012, "Can seqlocks get along with
 * programming language memory models?"). Odd sequence: being written. */
typedef struct th_wire_cell {
  _Alignas(TH_WIRE_LINE_BYTES) _Atomic uint32_t sequence;
  uint32_t reserved;
  _Atomic uint64_t words[sizeof(th_progress) / 8];
} th_wire_cell;

/** Head of STATUS, which the daemon writes and the client cannot; th_wire_cell[cell_count] and then
 *  th_wire_event[event_entries] follow. */
typedef struct th_wire_status {
  _Alignas(TH_WIRE_LINE_BYTES) uint32_t magic;
  uint32_t version;
  _Alignas(TH_WIRE_LINE_BYTES) _Atomic uint32_t submission_head; /**< entries taken, free-running */
  _Alignas(TH_WIRE_LINE_BYTES) _Atomic uint32_t event_tail; /**< events put, free-running */
  /** 1: ring the daemon's doorbell after putting submissions, or making a call. */
  _Alignas(TH_WIRE_LINE_BYTES) _Atomic uint32_t daemon_sleeps;
  /** 1: news found the event queue full; ring the daemon's doorbell after taking events. */
  _Atomic uint32_t daemon_wants_room;
  _Alignas(TH_WIRE_LINE_BYTES) _Atomic uint64_t heartbeat; /**< grows every heartbeat_ms */
  th_wire_answer answer;
} th_wire_status;

_Static_assert(sizeof(th_progress) % 8 == 0, "cells copy whole words");
_Static_assert(sizeof(th_wire_call) == 4096, "call");
_Static_assert(sizeof(th_wire_answer) == 1024, "answer");
_Static_assert(sizeof(th_wire_ctl) == 4 * TH_WIRE_LINE_BYTES + sizeof(th_wire_call), "ctl");
_Static_assert(sizeof(th_wire_status) == 5 * TH_WIRE_LINE_BYTES + sizeof(th_wire_answer), "status");
_Static_assert(sizeof(th_wire_cell) == 2 * TH_WIRE_LINE_BYTES, "cell");
_Static_assert(offsetof(th_wire_cell, words) == 8, "cell words");

#endif

/**
 * A way to train: what an adapter calls, once it is decided which. Two exist: host.c speaks to the
 * daemon, local/ trains in the process from a shared object of its own, so that libtrainhost
 * carries no training code. Signatures and promises are those of trainhost.h.
 */
#ifndef TH_SHIM_WAY_H
#define TH_SHIM_WAY_H

#include "shim/trainhost.h"

/** Each way defines these two for itself. */
typedef struct th_way_session th_way_session;
typedef struct th_way_job th_way_job;

typedef struct th_way {
  const char *(*error_text)(void); /**< of the room's own copy of base/error */
  th_error (*open)(const char *path, const th_adapter_options *options, th_way_session **session);
  void (*close)(th_way_session *session);
  /** In a forked child, instead of close: let go of what only the parent may hold. NULL: nothing
   * is. No lock may be taken. */
  void (*abandon)(th_way_session *session);
  th_error (*health)(th_way_session *session, th_health *health);
  th_error (*jobs)(th_way_session *session, th_job_info **jobs, size_t *count);
  th_error (*sessions)(th_way_session *session, th_session_info **sessions, size_t *count);
  void (*statistics)(th_way_session *session, th_statistics *statistics); /**< traffic only */
  int (*fd)(th_way_session *session);
  th_error (*arm)(th_way_session *session);
  /** @param data_of  the number of the request's data_of; 0: none. */
  th_error (*start)(th_way_session *session, const th_job_request *request, uint64_t data_of,
                    th_way_job **job);
  th_error (*attach)(th_way_session *session, uint64_t number, th_way_job **job);
  uint64_t (*number)(const th_way_job *job);
  th_error (*progress)(th_way_job *job, th_progress *progress);
  th_error (*next)(th_way_job *job, th_event *event, int64_t timeout_ns);
  th_error (*cancel)(th_way_session *session, uint64_t number);
  th_error (*stop)(th_way_job *job);
  th_error (*result)(th_way_job *job, th_result *result);
  th_error (*checkpoint)(th_way_job *job, th_result *result);
  th_error (*forget)(th_way_job *job);
  void (*job_close)(th_way_job *job);
} th_way;

/** The daemon's. */
extern const th_way th_way_host;

/** Symbol that libtrainhost-local.so exports, and what it is. */
#define TH_WAY_LOCAL_SYMBOL "th_way_local"
#define TH_WAY_LOCAL_LIBRARY "libtrainhost-local.so.0"

#endif

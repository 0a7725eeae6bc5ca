/** The daemon's log: the only place in it that prints. */
#ifndef TH_HOSTD_LOG_H
#define TH_HOSTD_LOG_H

typedef enum th_log_level {
  TH_LOG_ERROR = 3, /**< as syslog's numbers, which journald understands */
  TH_LOG_WARNING = 4,
  TH_LOG_INFO = 6,
  TH_LOG_DEBUG = 7,
} th_log_level;

/** Print lines up to this level. Before the threads start. */
void th_log_set_level(th_log_level level);

/** One line on stderr, with the time, or journald's priority mark where stderr is a journal. Never
 * waits: lines for which there is no room are counted, and the next that has some says so. Any
 * thread. */
__attribute__((format(printf, 2, 3))) void th_log(th_log_level level, const char *format, ...);

#endif

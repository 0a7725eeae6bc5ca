/**
 * Ways to carry a moment, eight bytes, from one process to another: what the product does, the
 * limits of the machine, and what others use.
 *
 * A carrier is made before the process forks and opened after it, on each side for its own
 * direction. Whatever fails ends the process with a message: a benchmark has nothing to save.
 */
#ifndef TH_BENCHMARKS_CARRIER_H
#define TH_BENCHMARKS_CARRIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct th_carrier_kind {
  void *(*create)(void);
  void (*open)(void *carrier, bool puts); /**< NULL: there is nothing to do */
  void (*put)(void *carrier, int64_t moment_ns); /**< each later than the one before */
  int64_t (*take)(void *carrier); /**< waits for one that is newer than the last */
  void (*ask)(void *carrier); /**< request and answer in one, where the taker can only ask; else
                                 NULL */
} th_carrier_kind;

/** The product: a snapshot in a progress cell, looked at all the time. */
extern const th_carrier_kind th_carrier_progress;
/** The product: an entry of an event queue, whose taker sleeps until its doorbell is rung. */
extern const th_carrier_kind th_carrier_event;

/** A word in shared memory, looked at all the time. */
extern const th_carrier_kind th_carrier_cacheline;
/** A word in shared memory, whose taker sleeps in read(2) of an eventfd. */
extern const th_carrier_kind th_carrier_eventfd;
/** The same in futex(2). */
extern const th_carrier_kind th_carrier_futex;
/** A datagram on a Unix socket. */
extern const th_carrier_kind th_carrier_socket;
/** A message of ZeroMQ, by ipc. */
extern const th_carrier_kind th_carrier_zeromq;
/** A server of libmicrohttpd asked by libcurl, which keeps its connection: loopback TCP, and a Unix
 * socket. */
extern const th_carrier_kind th_carrier_http, th_carrier_http_unix;

/** Memory that this process shares with those that it forks, zeroed. */
void *th_carrier_share(size_t bytes);

#endif

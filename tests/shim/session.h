/**
 * One session of a test with a scripted peer, for suites whose every test has one.
 *
 *   begin_with(script, NULL);
 *   … ask the adapter …
 *   end();
 */
#ifndef TH_TESTS_SHIM_SESSION_H
#define TH_TESTS_SHIM_SESSION_H

#include <criterion/criterion.h>
#include <string.h>

#include "tests/shim/peer.h"

/* What tests ask, and who answers. */
static th_adapter *adapter;
static struct peer *peer;

/** As peer_start and peer_connect. */
static inline void begin_with(void (*script)(struct peer *server),
                              const th_adapter_options *options) {
  peer = peer_start(script, NULL);
  adapter = peer_connect(peer, options);
}

/** Hang up, and wait for the script's end. */
static inline void end(void) {
  th_adapter_close(adapter);
  peer_stop(peer);
}

/** Assert that this thread's error says so. */
static inline void assert_text(const char *part) {
  cr_assert_not_null(strstr(th_error_text(), part), "no \"%s\" in: %s", part, th_error_text());
}

#endif

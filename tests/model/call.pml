/*
 * Calls and their answers (ipc/call.h, ipc/doorbell.h) between a client and a daemon, one of which may die at any moment.
 *
 * The client makes CALLS calls in one place of shared memory and waits for the answer to each in another. One that it
 * gave up keeps the place until it is answered, so giving up is no step of its own here. The daemon sleeps on its bell,
 * the client on its bell for answers; each rings only as th_doorbell_ring says: publish, then look at the flag.
 *
 * Spin runs one statement at a time in one order for all, so a missing fence is modelled by what it allows: the
 * load comes before the store.
 *
 * What must hold: each call is taken once and whole, each answer is that of its call, nobody sleeps for ever (no invalid
 * end state), and who outlives the other notices. Each variant below breaks one rule, and the check must find it.
 *   NUMBER_BEFORE_BODY      the call's number is published before its body is written
 *   ANSWER_BEFORE_BODY      the answer's number is published before its body is written
 *   CALL_AGAIN_UNANSWERED   a call that was given up does not keep its place
 *   CALLER_LOOKS_FIRST      the caller's fence is missing: it looks for the answer, then sets its flag
 *   DAEMON_LOOKS_FIRST      the daemon's fence is missing in the same way
 *   RING_BEFORE_ANSWER      the daemon looks at the caller's flag, then publishes the answer
 *   WAIT_WITHOUT_HANG_UP    a sleeper waits for its bell alone
 */
#define CALLS 4

byte call_number, call_body;              /* in CTL */
byte answer_number, answer_body;          /* in STATUS */
bool client_awaits, daemon_sleeps;        /* flags in shared memory */
bool answer_bell, daemon_bell;            /* eventfds: rung or not */
bool client_gone, daemon_gone;            /* what the socket's hang-up shows */

#define may_die(gone) if :: gone = true; goto dead :: skip fi

inline ring(sleeps, bell) {
  if
  :: sleeps -> bell = true
  :: else
  fi
}

inline wait_for(bell, peer_gone) {
#ifdef WAIT_WITHOUT_HANG_UP
  bell
#else
  (bell || peer_gone)
#endif
}

active proctype client() {
  byte made = 0;
  bool is_open = false;
  bool looked;
  do
  :: made == CALLS && !is_open -> goto done
#ifdef CALL_AGAIN_UNANSWERED
  :: made < CALLS ->
#else
  :: made < CALLS && !is_open ->
#endif
     may_die(client_gone);
#ifdef NUMBER_BEFORE_BODY
     call_number = made + 1;
     call_body = made + 1;
#else
     call_body = made + 1;
     may_die(client_gone);
     call_number = made + 1;
#endif
     made++;
     is_open = true;
     may_die(client_gone);
     ring(daemon_sleeps, daemon_bell)
  :: is_open && answer_number == made ->
     assert(answer_body == 10 + made);
     is_open = false
  :: is_open && answer_number != made ->
     assert(answer_number == made - 1 || answer_number == made);
     if
     :: daemon_gone && answer_number != made -> goto dead
     :: else
     fi;
#ifdef CALLER_LOOKS_FIRST
     looked = (answer_number == made);
     client_awaits = true;
     if
     :: looked
     :: else -> wait_for(answer_bell, daemon_gone)
     fi;
#else
     client_awaits = true;
     if
     :: answer_number == made
     :: else -> wait_for(answer_bell, daemon_gone)
     fi;
#endif
     client_awaits = false;
     answer_bell = false
  od;
dead:
  client_gone = true;
done: /* alive, with its session open: no hang-up wakes the other side */
  skip
}

active proctype daemon() {
  byte taken = 0;
  bool looked, flag_seen;
  do
  :: taken == CALLS -> goto done
  :: taken < CALLS && call_number != taken ->
     may_die(daemon_gone);
     assert(call_number == taken + 1);
     taken = call_number;
     assert(call_body == taken);
#ifdef RING_BEFORE_ANSWER
     flag_seen = client_awaits;
#endif
#ifdef ANSWER_BEFORE_BODY
     answer_number = taken;
     answer_body = 10 + taken;
#else
     answer_body = 10 + taken;
     may_die(daemon_gone);
     answer_number = taken;
#endif
     may_die(daemon_gone);
#ifdef RING_BEFORE_ANSWER
     if
     :: flag_seen -> answer_bell = true
     :: else
     fi
#else
     ring(client_awaits, answer_bell)
#endif
  :: taken < CALLS && call_number == taken ->
     if
     :: client_gone && call_number == taken -> goto dead
     :: else
     fi;
#ifdef DAEMON_LOOKS_FIRST
     looked = (call_number != taken);
     daemon_sleeps = true;
     if
     :: looked
     :: else -> wait_for(daemon_bell, client_gone)
     fi;
#else
     daemon_sleeps = true;
     if
     :: call_number != taken
     :: else -> wait_for(daemon_bell, client_gone)
     fi;
#endif
     daemon_sleeps = false;
     daemon_bell = false
  od;
dead:
  daemon_gone = true;
done:
  skip
}

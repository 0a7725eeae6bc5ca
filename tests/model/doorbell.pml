/*
 * The queue and its wake-ups (ipc/ring.h, ipc/doorbell.h) between two processes, one of which may die at any moment.
 *
 * The producer puts numbered entries into a queue of SIZE and the consumer takes them. Each sleeps only as
 * th_doorbell_sleep says: flag, look again, wait for the bell or for the peer's hang-up. Each rings only as
 * th_doorbell_ring says: publish, then look at the flag. daemon_sleeps is consumer_sleeps where the daemon takes
 * submissions; daemon_wants_room is producer_sleeps where its news found the event queue full.
 *
 * Spin runs one statement at a time in one order for all, so a missing fence is modelled by what it allows: the
 * load comes before the store.
 *
 * What must hold: entries come in order, none is lost or overwritten, nobody sleeps for ever (no invalid end state),
 * and who outlives the other notices. Each variant below breaks one rule, and the check must find it.
 *   SLEEP_WITHOUT_LOOKING   the sleeper does not look again after setting its flag
 *   LOOK_BEFORE_FLAG        the sleeper's fence is missing
 *   FLAG_BEFORE_PUBLISH     the waker's fence is missing
 *   WAIT_WITHOUT_HANG_UP    a sleeper waits for the bell alone
 *   PUBLISH_BEFORE_ENTRY    the index is published before the entry is written
 *   NO_ROOM_BELL            the consumer does not ring for room
 */
#define SIZE 2
#define ENTRIES 5

byte entries[SIZE];
byte tail, head;                          /* published indices */
bool producer_sleeps, consumer_sleeps;    /* flags in shared memory */
bool producer_bell, consumer_bell;        /* eventfds: rung or not */
bool producer_gone, consumer_gone;        /* what the socket's hang-up shows */

#define may_die(gone) if :: gone = true; goto dead :: skip fi

inline ring(sleeps, bell) {
  if
  :: sleeps -> bell = true
  :: else
  fi
}

/* Until `ready`, or the other side is gone. The flag is taken back, and the bell emptied, on waking. */
inline sleep_until(ready, sleeps, bell, peer_gone) {
#ifdef LOOK_BEFORE_FLAG
  looked = (ready);
  sleeps = true;
  if
  :: looked
  :: else -> wait_for(bell, peer_gone)
  fi;
#else
  sleeps = true;
#ifdef SLEEP_WITHOUT_LOOKING
  wait_for(bell, peer_gone);
#else
  if
  :: ready
  :: else -> wait_for(bell, peer_gone)
  fi;
#endif
#endif
  sleeps = false;
  bell = false
}

inline wait_for(bell, peer_gone) {
#ifdef WAIT_WITHOUT_HANG_UP
  bell
#else
  (bell || peer_gone)
#endif
}

active proctype producer() {
  byte next = 0;
  bool looked, flag_seen;
  do
  :: next == ENTRIES -> goto done
  :: next < ENTRIES && tail - head < SIZE ->
     may_die(producer_gone);
#ifdef FLAG_BEFORE_PUBLISH
     flag_seen = consumer_sleeps;
#endif
#ifdef PUBLISH_BEFORE_ENTRY
     tail = next + 1;
     entries[next % SIZE] = next;
#else
     entries[next % SIZE] = next;
     may_die(producer_gone);
     tail = next + 1;
#endif
     assert(tail - head <= SIZE);
     next++;
     may_die(producer_gone);
#ifdef FLAG_BEFORE_PUBLISH
     if
     :: flag_seen -> consumer_bell = true
     :: else
     fi
#else
     ring(consumer_sleeps, consumer_bell)
#endif
  :: next < ENTRIES && tail - head == SIZE ->
     if
     :: consumer_gone -> goto dead
     :: else
     fi;
     sleep_until(tail - head < SIZE, producer_sleeps, producer_bell, consumer_gone)
  od;
dead:
  producer_gone = true;
done: /* alive, with its session open: no hang-up wakes the other side */
  skip
}

active proctype consumer() {
  byte next = 0;
  byte taken;
  bool looked;
  do
  :: next == ENTRIES -> goto done
  :: next < ENTRIES && tail > head ->
     may_die(consumer_gone);
     taken = entries[next % SIZE];
     assert(taken == next);
     next++;
     head = next;
     may_die(consumer_gone);
#ifndef NO_ROOM_BELL
     ring(producer_sleeps, producer_bell)
#endif
  :: next < ENTRIES && tail == head ->
     if
     :: producer_gone && tail == head -> goto dead
     :: else
     fi;
     sleep_until(tail > head, consumer_sleeps, consumer_bell, producer_gone)
  od;
dead:
  consumer_gone = true;
done:
  skip
}

// SPDX-License-Identifier: Apache-2.0

// Sleeping and waking over one ring: the two ends, the words that they share, a store buffer for
// each processor, and the doorbell. README.md maps each step to the code.
//
// Each of these is checked for deadlock and failed assertions, and for the claims at the end of the
// file that stand here; or for what it names itself:
//
// claims: lost_wakeup all_done
//
// must hold:
// must hold: -DMESSAGES=4
// must hold: -DBATCHES
// must hold: -DBATCHES -DWEAK
// must hold: -DSOCKET
// must hold: -DDEADLINES=1 -DCAPACITY=1 -DMESSAGES=2
// must hold: -DBUDGET=2
// must hold: -DBUDGET=2 -DSOCKET -DQUEUE=2
// must hold: -DCONSUMER_CLOSES
// must hold: -DMORTAL=P
// must hold: -DMORTAL=C
//
// With the futex doorbell, and without the limit that each sleep has in the code:
//
// must hold: -DFUTEX
// must hold: -DFUTEX -DBATCHES -DWEAK
// must hold: -DFUTEX -DDEADLINES=1 -DCAPACITY=1 -DMESSAGES=2
// must hold: -DFUTEX -DBUDGET=2
// must hold: -DFUTEX -DMORTAL=P -DCAPACITY=1 -DMESSAGES=2
// must hold: -DFUTEX -DMORTAL=C -DCAPACITY=1 -DMESSAGES=2
// must hold (safety lost_wakeup): -DFUTEX -DASYMMETRIC
//
// Where one end skips its fence and the other makes a barrier for both:
//
// must hold: -DASYMMETRIC -DBUDGET=3
// must hold (safety lost_wakeup): -DASYMMETRIC -DBATCHES -DWEAK
// must hold (safety lost_wakeup): -DASYMMETRIC -DSOCKET
// must hold (safety lost_wakeup): -DASYMMETRIC -DDEADLINES=1 -DCAPACITY=1 -DMESSAGES=2
// must hold (safety lost_wakeup): -DASYMMETRIC -DCONSUMER_CLOSES
// must hold (safety lost_wakeup): -DASYMMETRIC -DMORTAL=P -DCAPACITY=1 -DMESSAGES=2
// must hold (safety lost_wakeup): -DASYMMETRIC -DMORTAL=C -DCAPACITY=1 -DMESSAGES=2
// must hold (safety lost_wakeup): -DSKIPPER=P
// must hold (safety lost_wakeup): -DSKIPPER=C
//
// A liar that skips and is not registered loses wake-ups of the other end, and none of its own; with
// a deadline for each wait both get to the end. So do they where a filter denies the barrier, from
// any call on: the sleeps are short then.
//
// must hold (producer_woken): -DASYMMETRIC -DUNREGISTERED=P
// must hold (consumer_woken): -DASYMMETRIC -DUNREGISTERED=C
// must hold (all_done): -DSKIPPER=P -DUNREGISTERED=P -DDEADLINE_AT_LAST -DCAPACITY=1 -DMESSAGES=2
// must hold (all_done): -DSKIPPER=C -DUNREGISTERED=C -DDEADLINE_AT_LAST -DCAPACITY=1 -DMESSAGES=2
// must hold (all_done): -DSKIPPER=P -DDENIED -DCAPACITY=1 -DMESSAGES=2
// must hold (all_done): -DSKIPPER=C -DDENIED -DCAPACITY=1 -DMESSAGES=2
//
// And each of these, one thing taken away, must be caught, and in the way that is named:
//
// must fail (deadlock): -DNO_FENCE_IN_RINGER
// must fail (deadlock): -DNO_FENCE_IN_SLEEPER
// must fail (lost_wakeup): -DNO_FENCE_IN_RINGER
// must fail (lost_wakeup): -DNO_FENCE_IN_SLEEPER
// must fail (all_done): -DNO_FENCE_IN_SLEEPER
// must fail (deadlock): -DNO_SECOND_LOOK
// must fail (deadlock): -DFUTEX -DNO_FENCE_IN_RINGER
// must fail (deadlock): -DFUTEX -DNO_FENCE_IN_SLEEPER
// must fail (deadlock): -DFUTEX -DNOTED_AFTER_LOOK
// must fail (deadlock): -DFUTEX -DWAKE_BEFORE_COUNT
// must fail (deadlock): -DONE_EPOCH_PER_WAIT
// must fail (deadlock): -DDRAIN_AFTER_LOOK
// must fail (deadlock): -DFLAG_CLEARED_BY_RINGER
// must fail (deadlock): -DNO_RING_AT_CLOSE
// must fail (deadlock): -DNO_PUBLISH_BEFORE_WAIT -DBATCHES
// must fail (assertion): -DRING_EACH_TIME
// must fail (assertion): -DTAIL_BEFORE_STATE
// must fail (assertion): -DSTATE_BEFORE_TAIL_STORE -DBATCHES
// must fail (assertion): -DTAIL_NOT_RELEASED
// must fail (assertion): -DSTATE_NOT_RELEASED -DBATCHES
// must fail (assertion): -DHEAD_BEFORE_COPY
// must fail (assertion): -DNO_LAST_LOOK -DMORTAL=P
// must fail (deadlock): -DDEAF_TO_DEATH -DMORTAL=P
// must fail (assertion): -DBUDGET=1
// must fail (assertion): -DBUDGET=2 -DSOCKET -DMESSAGES=4
// must fail (assertion): -DNO_CREDIT -DBUDGET=2
// must fail (deadlock): -DDRAINED_ONLY -DCONSUMER_CLOSES
// must fail (deadlock): -DASYMMETRIC -DNO_BARRIER
// must fail (lost_wakeup): -DASYMMETRIC -DNO_BARRIER
// must fail (deadlock): -DASYMMETRIC -DBARRIER_BEFORE_EPOCH
// must fail (deadlock): -DSKIPPER=P -DUNREGISTERED=P
// must fail (deadlock): -DSKIPPER=C -DUNREGISTERED=C
// must fail (consumer_woken): -DASYMMETRIC -DUNREGISTERED=P
// must fail (producer_woken): -DASYMMETRIC -DUNREGISTERED=C
// must fail (all_done): -DSKIPPER=P -DDENIED -DNO_SHORT_SLEEP -DCAPACITY=1 -DMESSAGES=2
// must fail (assertion): -DASYMMETRIC -DBUDGET=2

#ifndef MESSAGES
#define MESSAGES 3
#endif
#ifndef CAPACITY
#define CAPACITY 2  // records
#endif
#define PENDING 3  // stores that a buffer holds

#define P 0  // the producer's process
#define C 1  // the consumer's

// The shared words, each written by one process alone: offsets in ring/layout.h.
#define TAIL 0
#define PRODUCER_STATE 1
#define SEND_EPOCH 2
#define DATA 3  // and 4
#define HEAD 5
#define CONSUMER_STATE 6
#define RECEIVE_EPOCH 7
#ifdef FUTEX
#define RINGS(sleeper) (8 + sleeper)  // counted by the other end: kDataSignalsOffset, kSpaceSignalsOffset
byte memory[10];
#else
byte memory[8];
#endif

#define OPEN 0
#define CLOSED 1

// Outcome, ring/ring_types.h.
#define NOT_NOW 0
#define DONE 1
#define ENDED 2
// Waiter::Result.
#define READY 3
#define PEER_GONE 4
#define DEADLINE 5

chan buffer[2] = [PENDING] of { byte, byte };  // word, value

byte doorbell[2];  // doorbell[C] is rung for data, doorbell[P] for room
bool gone[2];  // what the kernel tells of a process: its pidfd is readable, its sockets hung up
bool killed[2];
bool asleep[2];
bool finished[2];
bool due[2];  // its deadline has come

// Seen by the assertions only.
byte published;  // the last tail that was stored
bool closed;     // the producer's state was stored
byte rung[2];    // the last epoch of each end that it was rung for

// ---------------------------------------------------------------------------------- the machine

// x86: stores reach memory in order, later than the loads that follow them. -DWEAK: a relaxed
// store also passes stores to other words; a release store stays behind all that came before it.
#define REACHES(word) atomic { buffer[_pid]??eval(word), value -> memory[word] = value; value = 0 }

active [2] proctype StoreBuffer() {  // _pid is P and C
  byte word, value;
end:
  do
  :: atomic { buffer[_pid]?word, value -> memory[word] = value; word = 0; value = 0 }
#ifdef WEAK
  :: REACHES(SEND_EPOCH)
  :: REACHES(RECEIVE_EPOCH)
  :: REACHES(DATA)
  :: REACHES(DATA + 1)
#endif
#ifdef TAIL_NOT_RELEASED
  :: REACHES(TAIL)
#endif
#ifdef STATE_NOT_RELEASED
  :: REACHES(PRODUCER_STATE)
#endif
  od
}

#ifdef MORTAL
#define UNLESS_KILLED(me) unless { killed[me] }
#else
#define UNLESS_KILLED(me)
#endif

#define STORE(me, word, value) buffer[me]!word, value
#define FENCE(me) empty(buffer[me])

// What the handshake settles (FenceMode). -DASYMMETRIC: both ends skip the fence with which one
// looks whether the other sleeps. -DSKIPPER=P, =C: that one does. Whose peer skips calls
// membarrier before it sleeps, which empties its own buffer and then the peer's.
#if defined(ASYMMETRIC)
#define SKIPS(me) true
#elif defined(SKIPPER)
#define SKIPS(me) (me == SKIPPER)
#else
#define SKIPS(me) false
#endif
#if defined(NO_BARRIER)
#define REACHED(peer) true
#elif defined(UNREGISTERED)  // it said that it was
#define REACHED(peer) (peer == UNREGISTERED || empty(buffer[peer]))
#else
#define REACHED(peer) empty(buffer[peer])
#endif

// wait/doorbell.h: Doorbell::Signal and Doorbell::Drain. The system calls are no fences here.
#ifdef SOCKET
#ifndef QUEUE
#define QUEUE 3  // full: EAGAIN
#endif
#define MOST_RECEIVES 2  // of one Drain
inline Ring(me, peer) {
  d_step {
    if
    :: doorbell[peer] < QUEUE -> doorbell[peer]++
    :: else
    fi
  }
}
inline Drain(me) {
  received = 0;
  do
  :: atomic { received < MOST_RECEIVES && doorbell[me] > 0 -> doorbell[me]--; received++ }
  :: atomic { received == MOST_RECEIVES || doorbell[me] == 0 -> received = 0; break }
  od
}
#elif defined(FUTEX)
// The count, and then FUTEX_WAKE, which in the kernel begins with a barrier. A wake-up reaches who
// sleeps already; `doorbell` is on its way to it.
inline Ring(me, peer) {
#ifdef WAKE_BEFORE_COUNT
  FENCE(me);
  d_step { doorbell[peer] = (asleep[peer] -> 1 : 0) };
  rings++;
  STORE(me, RINGS(peer), rings)
#else
  rings++;
  STORE(me, RINGS(peer), rings);
  FENCE(me);
  d_step { doorbell[peer] = (asleep[peer] -> 1 : 0) }
#endif
}
inline Drain(me) { skip }
#else
inline Ring(me, peer) { doorbell[peer] = 1 }  // an eventfd: how often is not told
inline Drain(me) { doorbell[me] = 0 }
#endif

// --------------------------------------------- ring/send_position.h, ring/receive_position.h

#ifdef FUTEX
#define OWN_COUNTS byte rings, heard  // signals_, seen_ of wait/futex_doorbell.cc
#define SLEEPS_ON(me) (memory[RINGS(me)] == heard)
#define NOTE_RINGS(me) heard = memory[RINGS(me)]
#else
#define OWN_COUNTS skip
#endif

// What an end keeps to itself.
#define OWN_STATE                                                   \
  byte epoch, signalled_epoch, seen, before, credited, found, result;    \
  byte state, tail, head, released, received, fruitless, deadlines; \
  bool ended, last_look, saw_gone, woken_ready, late, denied, brief; \
  OWN_COUNTS

// SendPosition::Refresh. `head`, `ended`, `tail`: as there.
inline Refresh() {
  state = memory[CONSUMER_STATE];
  d_step {
    assert(memory[HEAD] >= head && memory[HEAD] <= published);  // Cursor::CheckHead
    head = memory[HEAD];
    if
    :: state == CLOSED -> ended = true
    :: else
    fi;
    state = OPEN
  }
}

// SendPosition::MakeSpace, and so Producer::HasFreeSpace.
inline MakeSpace() {
  if
  :: ended -> found = ENDED
  :: else ->
    if
    :: tail - head < CAPACITY
    :: else -> Refresh()
    fi;
    found = (ended -> ENDED : (tail - head < CAPACITY -> DONE : NOT_NOW))
  fi
}

// What Sender::AwaitDrained waits for.
inline Drained() {
  if
  :: head != published -> Refresh()
  :: else
  fi;
#ifdef DRAINED_ONLY
  found = (head == published -> DONE : NOT_NOW)
#else
  found = (head == published -> DONE : (ended -> ENDED : NOT_NOW))
#endif
}

// ReceivePosition::Available and PollForMore, and so Consumer::HasData.
inline Available() {
  if
  :: tail != head -> found = DONE
  :: else ->
#ifdef TAIL_BEFORE_STATE
    tail = memory[TAIL];
    state = memory[PRODUCER_STATE];
    d_step {
#else
    state = memory[PRODUCER_STATE];
    d_step {
      assert(memory[TAIL] >= tail && memory[TAIL] - released <= CAPACITY);  // Cursor::CheckTail
      tail = memory[TAIL];
#endif
      found = (tail != head -> DONE : (state == CLOSED -> ENDED : NOT_NOW));
      state = OPEN
    }
  fi
}

// -------------------------------------------------------------------------- channel/waiter.{h,cc}

#ifdef FLAG_CLEARED_BY_RINGER
#define ANNOUNCE(me, epoch_word) STORE(me, epoch_word, 1)
#define AWAITED seen == 1
#define TAKE_NOTE(me, epoch_word) STORE(me, epoch_word, 0)
#else
#define ANNOUNCE(me, epoch_word) epoch++; STORE(me, epoch_word, epoch)
#ifdef RING_EACH_TIME
#define AWAITED seen != 0
#else
#define AWAITED seen != signalled_epoch
#endif
#define TAKE_NOTE(me, epoch_word) signalled_epoch = seen
#endif

// Waiter::SignalIfAwaited and Waiter::Ring.
inline SignalIfAwaited(me, peer, peer_epoch_word) {
#ifndef NO_FENCE_IN_RINGER
  SKIPS(me) || FENCE(me);
#endif
  seen = memory[peer_epoch_word];
  if
  :: AWAITED ->
    TAKE_NOTE(me, peer_epoch_word);
#ifndef FLAG_CLEARED_BY_RINGER
    d_step { assert(seen > rung[peer]); rung[peer] = seen };  // at most once per epoch
#endif
    Ring(me, peer)
  :: else
  fi;
  seen = 0
}

// Waiter::Refund and Waiter::CountWakeUp, as far as the budget of fruitless wake-ups goes.
#ifdef BUDGET
inline CountWakeUp(progress) {
  if
  :: woken_ready || progress != before -> fruitless = 0
  :: else -> fruitless++
  fi;
  before = 0;
  assert(fruitless <= BUDGET)
}
#define REMEMBER(progress) before = progress
#else
#define CountWakeUp(progress) skip
#define REMEMBER(progress) skip
#endif
#if defined(BUDGET) && !defined(NO_CREDIT)
inline Refund(progress) {
  if
  :: progress != credited -> credited = progress; fruitless = 0
  :: else
  fi
}
#else
#define Refund(progress) skip
#endif

#ifdef FUTEX
#define AWAKE(me) asleep[me] = false; due[me] = false; doorbell[me] = 0
#else
#define AWAKE(me) asleep[me] = false; due[me] = false
#endif

// Waiter::Wait: result is READY, PEER_GONE or DEADLINE. `awaited`: what the looks look for;
// `progress`: a number that changes when the peer did something useful.
inline Wait(me, peer, epoch_word, awaited, progress) {
  Refund(progress);
#ifdef ONE_EPOCH_PER_WAIT
  ANNOUNCE(me, epoch_word);
#endif
  do
  ::
    REMEMBER(progress);
    // Waiter::Announce
#if defined(FUTEX) && !defined(NOTED_AFTER_LOOK)
    NOTE_RINGS(me);
#endif
#ifdef BARRIER_BEFORE_EPOCH
    !SKIPS(peer) || REACHED(peer);
#endif
#ifndef ONE_EPOCH_PER_WAIT
    ANNOUNCE(me, epoch_word);
#endif
#ifndef NO_FENCE_IN_SLEEPER
    FENCE(me);
#ifdef BARRIER_BEFORE_EPOCH
#elif defined(DENIED)
    if
    :: !SKIPS(peer)
    :: SKIPS(peer) -> denied = true  // from now on
    :: SKIPS(peer) && !denied -> REACHED(peer)
    fi;
#else
    !SKIPS(peer) || REACHED(peer);
#endif
#endif
#ifndef NO_SECOND_LOOK
    Look(awaited);
    if
    :: found != NOT_NOW -> result = READY; break
    :: else
    fi;
#endif
    if  // Core::peer_gone: noted here, or by the end of another ring in this process
    :: saw_gone || gone[peer] -> saw_gone = true; result = PEER_GONE; break
    :: !saw_gone
    fi;
#ifdef DRAIN_AFTER_LOOK
    Drain(me);
#endif
#ifdef NOTED_AFTER_LOOK
    NOTE_RINGS(me);
#endif
    // Waiter::Sleep: one poll; with the futex, the kernel's look at the count and the sleep are one
    // step, and the poll for the other's end is in between two slices.
#ifdef FUTEX
    d_step { asleep[me] = true; doorbell[me] = (SLEEPS_ON(me) -> 0 : 1) };
#else
    asleep[me] = true;
#endif
    if
#ifdef DEAF_TO_DEATH
    :: d_step { doorbell[me] > 0 -> AWAKE(me) }
#else
    :: d_step { doorbell[me] > 0 || gone[peer] -> saw_gone = gone[peer]; AWAKE(me) }
#endif
#ifdef DEADLINES
    :: d_step { deadlines < DEADLINES -> deadlines++; late = true; AWAKE(me) }
#endif
#ifdef DEADLINE_AT_LAST
    :: d_step { due[me] -> late = true; AWAKE(me) }
#endif
#if defined(DENIED) && !defined(NO_SHORT_SLEEP)
    :: d_step { denied && due[me] -> brief = true; AWAKE(me) }
#endif
    fi;
    Look(awaited);
    woken_ready = (found != NOT_NOW);
    if
    :: late -> result = (woken_ready -> READY : DEADLINE); break
    :: brief && woken_ready -> result = READY; break
    :: brief && !woken_ready -> brief = false
    :: else ->
      // Waiter::TakeSignals
#ifndef DRAIN_AFTER_LOOK
      Drain(me);
#endif
      if
      :: saw_gone ->
        Look(awaited);
        result = (found != NOT_NOW -> READY : PEER_GONE);
        break
      :: else
      fi;
      CountWakeUp(progress);
      if
      :: woken_ready -> result = READY; break
      :: else
      fi
    fi
  od;
  woken_ready = false;
  late = false;
  brief = false;
  found = NOT_NOW
}

#define LOOK_FOR_ROOM 0
#define LOOK_WHETHER_DRAINED 1
#define LOOK_FOR_DATA 2
inline Look(awaited) {
  if
  :: awaited == LOOK_FOR_ROOM -> MakeSpace()
  :: awaited == LOOK_WHETHER_DRAINED -> Drained()
  :: awaited == LOOK_FOR_DATA -> Available()
  fi
}

// ------------------------------------------------------------------------ channel/sender.cc

// SendPosition::Publish, and the ring that follows it in Sender::AfterPublishing.
inline Publish() {
  if
  :: published != tail -> atomic { STORE(P, TAIL, tail); published = tail }
  :: else
  fi;
  SignalIfAwaited(P, C, RECEIVE_EPOCH)
}

// Sender::Close
inline CloseStream() {
#ifdef STATE_BEFORE_TAIL_STORE
  atomic { STORE(P, PRODUCER_STATE, CLOSED); closed = true };
#endif
  if
  :: published != tail -> atomic { STORE(P, TAIL, tail); published = tail }
  :: else
  fi;
#ifndef STATE_BEFORE_TAIL_STORE
  atomic { STORE(P, PRODUCER_STATE, CLOSED); closed = true };
#endif
#ifndef NO_RING_AT_CLOSE
  SignalIfAwaited(P, C, RECEIVE_EPOCH)
#endif
}

proctype Producer() {
  OWN_STATE;
  {
    // Sender::Send, MESSAGES times
    do
    :: tail == MESSAGES -> break
    :: else ->
      MakeSpace();
      if
      :: found == DONE ->
        STORE(P, DATA + tail % CAPACITY, tail + 1);
        tail++;
        if
        :: Publish()
#ifdef BATCHES
        :: true  // Sender::Stage
#endif
        fi
      :: found == ENDED -> goto over
      :: else ->
        // Sender::WaitForFreeSpace
#ifndef NO_PUBLISH_BEFORE_WAIT
        Publish();
#endif
        Wait(P, C, SEND_EPOCH, LOOK_FOR_ROOM, head);
        if
        :: result == PEER_GONE -> goto over
        :: else
        fi
      fi
    od;
    CloseStream();
    // Sender::AwaitDrained
    Drained();
    if
    :: found == NOT_NOW ->
      do
      :: Wait(P, C, SEND_EPOCH, LOOK_WHETHER_DRAINED, head);
        if
        :: result != DEADLINE -> break
        :: else
        fi
      od
    :: else
    fi;
    assert(result == PEER_GONE || head == MESSAGES || ended);
  over:
    finished[P] = true
  } UNLESS_KILLED(P);
  d_step { finished[P] = true; asleep[P] = false };
  // Ends, and what it stored arrives before the news of that; or lives on, doing other things.
  if
  :: FENCE(P) -> gone[P] = true
  :: !killed[P]
  fi
}

// ---------------------------------------------------------------------- channel/receiver.cc

proctype Consumer() {
  OWN_STATE;
  {
    // Receiver::Until around Receiver::TryReceive, until there is an end
    do
    ::
      Available();
      if
      :: found == DONE ->
#ifdef HEAD_BEFORE_COPY
        STORE(C, HEAD, head + 1);
#endif
        assert(memory[DATA + head % CAPACITY] == head + 1);  // each once, in order, whole
        head++;
        // ReceivePosition::Release
        released = head;
#ifndef HEAD_BEFORE_COPY
        STORE(C, HEAD, head);
#endif
        SignalIfAwaited(C, P, SEND_EPOCH);
        last_look = false
      :: found == ENDED ->
        assert(closed && head == published && head == MESSAGES);
        break
      :: found == NOT_NOW && last_look ->
        // PeerGoneStatus
        assert(gone[P] && !closed && head == published);
        break
      :: else ->
        Wait(C, P, RECEIVE_EPOCH, LOOK_FOR_DATA, released);
        if
        :: result == PEER_GONE ->
#ifdef NO_LAST_LOOK
          assert(gone[P] && !closed && head == published);
          break
#else
          last_look = true
#endif
        :: else
        fi
#ifdef CONSUMER_CLOSES
      :: true ->
        // Receiver::Close
        STORE(C, CONSUMER_STATE, CLOSED);
        SignalIfAwaited(C, P, SEND_EPOCH);
        break
#endif
      fi
    od;
    finished[C] = true
  } UNLESS_KILLED(C);
  d_step { finished[C] = true; asleep[C] = false };
  if
  :: FENCE(C) -> gone[C] = true
  :: !killed[C]
  fi
}

// ------------------------------------------------------------------------------------ what holds

#if defined(DEADLINE_AT_LAST) || defined(DENIED)
// Time passes while nobody does anything else: each deadline is longer than all that.
active proctype Clock() {
end:
  do
  :: timeout && (asleep[P] || asleep[C]) -> d_step { due[P] = asleep[P]; due[C] = asleep[C] }
  od
}
#endif

init {
  atomic { run Producer(); run Consumer() }
#ifdef MORTAL
  // SIGKILL at any moment, or never
  if
  :: killed[MORTAL] = true
  :: true
  fi
#endif
}

// A sleeper whose doorbell is silent while there is something for it, and nobody about to ring: all
// stores have arrived, and the other end sleeps or has finished.
#define SETTLED (len(buffer[P]) == 0 && len(buffer[C]) == 0)
#define IDLE(end) (!killed[end] && (asleep[end] || finished[end]))
#define DATA_MISSED (asleep[C] && doorbell[C] == 0 && !gone[P] && \
  (memory[TAIL] != memory[HEAD] || memory[PRODUCER_STATE] == CLOSED))
#define ROOM_MISSED (asleep[P] && doorbell[P] == 0 && !gone[C] && !closed && \
  (published - memory[HEAD] < CAPACITY || memory[CONSUMER_STATE] == CLOSED))
#define DRAIN_MISSED (asleep[P] && doorbell[P] == 0 && !gone[C] && closed && \
  (published == memory[HEAD] || memory[CONSUMER_STATE] == CLOSED))

#define CONSUMER_MISSED (SETTLED && DATA_MISSED && IDLE(P))
#define PRODUCER_MISSED (SETTLED && (ROOM_MISSED || DRAIN_MISSED) && IDLE(C))
ltl lost_wakeup { [] !(CONSUMER_MISSED || PRODUCER_MISSED) }

// Under weak fairness: whoever can go on, does at last.
ltl all_done { <> (finished[P] && finished[C]) }

// One half each, for where one end lies: who pays for that.
ltl consumer_woken { [] !CONSUMER_MISSED }
ltl producer_woken { [] !PRODUCER_MISSED }

#ifndef PARLEY_WAIT_DOORBELL_H_
#define PARLEY_WAIT_DOORBELL_H_

// A wake-up between the two processes; it carries no data.
//
// Each ring has one doorbell with two ends: the consumer's end is rung when there is data, the
// producer's when there is room. Three kinds, chosen in the handshake:
//
//   socket    a SEQPACKET pair; each side rings by sending one byte on its own end. Nothing that
//             the peer does to its end can make ours wait. The default.
//   eventfd   two eventfds, shared by both sides. Cheaper to ring, but a peer that may clear
//             O_NONBLOCK and saturate the counter makes our write wait for ever: only for a peer
//             under our system call filter, or one that the caller declares trusted.
//   futex     each side counts its rings in a word of its own region, and wakes one that sleeps on
//             it. The cheapest sleep, and nothing that the peer does can make our ring wait. But
//             there is nothing to poll: only for a thread that waits on this one channel, and it
//             has to look for the peer's death by itself. Where the caller asks for it.
//
// No wake-up of the futex is lost: the sleeper notes the count (SignalsSeen), then announces its
// sleep, looks once more, and sleeps only while the count is the one that it noted. A ringer that
// sees the announcement counts after that, and wakes after it has counted. So either the kernel,
// which compares the count and queues the sleeper under one lock, finds it changed and lets nobody
// sleep; or the sleeper is queued before the count changes, and the wake-up behind the change finds
// it. And a sleeper that already notes the new count sees in its last look what the ring was for:
// the count is stored with release order, after the position, and loaded with acquire order. (A
// count that comes round, after 2^32 rings between note and sleep, costs a sleep's limit.)
//
// Trust: the peer rings too often, never, or with rubbish; it fills our queue or never reads its
// own; it sets its count to anything, and wakes, requeues or leaves sleeping who sleeps on it. Each
// call here is at most a fixed number of system calls, none of which waits (with the socket and the
// futex, whatever the peer does; with the eventfd, as long as the peer can't change its flags).
// Sleep, which waits, ends at its deadline.
// Threads: Ring from the thread that uses the ring's end; Drain and Sleep from the one that waits.
//
//   if (doorbell.Drain() == Doorbell::Drained::kPeerGone) ...

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"

namespace parley {

class Doorbell {
 public:
  enum class Drained {
    kSignalled,   // there was at least one wake-up
    kQuiet,       // there was none
    kPeerGone,    // the peer's end is closed
    kUnexpected,  // something that is no wake-up: a violation
  };

  Doorbell() = default;
  // Our end of a socket doorbell: a connected SEQPACKET socket, on which no more messages than
  // wake-ups are sent from now on: its queue is made as small as the kernel allows.
  static Doorbell OfSocket(UniqueFd socket);
  // Our end of an eventfd doorbell: the one we wait on and the one we ring.
  static Doorbell OfEventfds(UniqueFd wait, UniqueFd ring);

  // Our end of a futex doorbell, for the ring that we send on and for the one that we receive on:
  // words of the control pages of our region and of the peer's, whose mappings outlive this. At
  // most one of each for a region, since only this counts in it.
  static Doorbell OfSendersFutex(OwnMemory own_control, PeerMemory peer_control);
  static Doorbell OfReceiversFutex(OwnMemory own_control, PeerMemory peer_control);

  // Wakes the other end. One system call; a full queue means that it has wake-ups enough.
  void Signal();
  // Takes the pending wake-ups, at most eight system calls (eventfd: one; futex: none, and there is
  // nothing to take).
  Drained Drain() const;
  // What poll and epoll watch for POLLIN; -1 with the futex.
  int wait_fd() const { return wait_.get(); }
  // What Ring writes to; with the socket, the same; -1 with the futex.
  int signal_fd() const { return ring_.ok() ? ring_.get() : wait_.get(); }
  bool is_socket() const { return kind_ == Kind::kSocket; }
  bool is_eventfd() const { return kind_ == Kind::kEventfd; }
  bool is_futex() const { return kind_ == Kind::kFutex; }

  // With the futex, how often the peer says that it has rung, modulo 2^32; 0 with the others. To be
  // taken before a sleep is announced.
  uint32_t SignalsSeen() const;
  // Futex only: sleeps until the peer rings, or has rung since `heard`, or the deadline. False if
  // nothing woke us; true proves nothing. One system call.
  bool Sleep(uint32_t heard, Deadline deadline) const;

 private:
  enum class Kind { kSocket, kEventfd, kFutex };
  struct FutexWords {
    OwnMemory own;
    PeerMemory peer;
    std::size_t ours = 0;    // the word that we count in
    std::size_t theirs = 0;  // the word that we sleep on
  };

  Doorbell(Kind kind, UniqueFd wait, UniqueFd ring)
      : kind_(kind), wait_(std::move(wait)), ring_(std::move(ring)) {}
  explicit Doorbell(const FutexWords& words) : kind_(Kind::kFutex), words_(words) {}

  Kind kind_ = Kind::kSocket;
  UniqueFd wait_;
  UniqueFd ring_;  // eventfd only: a socket is rung on wait_
  FutexWords words_;
  uint64_t rings_ = 0;  // futex only: what our word shows
};

// A new non-blocking, close-on-exec eventfd.
absl::StatusOr<UniqueFd> CreateEventfd();

// Connecting side: that a descriptor from the supervisor really is a plain eventfd (no semaphore,
// whose counter one read does not empty). Reads its entry in /proc/self.
absl::Status VerifyEventfd(int fd);

}  // namespace parley

#endif  // PARLEY_WAIT_DOORBELL_H_

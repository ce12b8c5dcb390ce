// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_HANDSHAKE_OPTIONS_H_
#define PARLEY_HANDSHAKE_OPTIONS_H_

// What each side of a handshake asks for and allows. What comes of it: session.h.
//
// Trust: options are ours.
// Threads: values.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "parley/handshake/identity.h"
#include "parley/handshake/peer_trust.h"
#include "parley/shm/shape.h"

namespace parley {

class Broadcast;     // shm/broadcast.h
class FileRegistry;  // sealing/file_registry.h

// A ring as it is asked for. Zeros leave the choice to the other side. Where both sides leave it,
// the accepting one takes kDefaultCapacityBytes and a quarter of the capacity. A message length
// without a capacity gets a ring in which two such messages fit.
struct RingRequest {
  uint64_t capacity_bytes = 0;  // a power of two from 4 KiB to the limit; at least a page is made
  uint32_t max_message_bytes = 0;  // from kMinMessageLimitBytes to capacity_bytes - 8
  // An arena beside the ring (frames/), for a FrameSender on the side that sends and a
  // FrameReceiver on the other. `bytes` is the accepting side's choice, none by default: it pays. A
  // connecting side that sets it gets that or no channel. `alignment` is what either side needs its
  // frames aligned to; the larger one holds.
  ArenaGeometry arena = {};
};

inline constexpr uint64_t kDefaultCapacityBytes = uint64_t{1} << 16;

// The maximum that is spent on one peer, set before it connects. What `send` and `receive` ask for
// lies within it. A ring of one page is always within it.
struct ChannelLimits {
  uint64_t max_capacity_bytes = uint64_t{16} << 20;  // of each ring; 4 KiB to 1 GiB
  uint32_t max_message_bytes = uint32_t{4} << 20;    // of each ring
  uint64_t max_arena_bytes = uint64_t{256} << 20;    // of each direction
  // Of the sections of the broadcast that a connecting side maps. An accepting side hands out what
  // it has made.
  uint64_t max_broadcast_bytes = uint64_t{256} << 20;
};

// Whether publishing pays a full fence, to see a peer that is about to sleep. Without it the
// sleeper makes up for it, with membarrier(2); see wait/memory_barrier.h for what it costs to be
// registered. To register takes 10 to 20 ms of the first connect in a process with several threads,
// whatever its deadline; RegisterForBarriers, called before there are threads, saves it.
enum class FenceMode {
  // A connecting side skips them towards a peer that it trusts (`trust`), and an accepting side
  // makes the barrier for a peer that it trusts. Nobody else does either.
  kAutomatic,
  kFull,
  // Registers this process and skips the fences if the peer agrees to make the barrier; makes the
  // barrier if the peer skips. For peers that are trusted not to abuse it. A filter that is
  // installed later has to allow GLOBAL_EXPEDITED to this side (ours do not: the call fails, and
  // this side sleeps in slices of a millisecond).
  kAsymmetric,
};

// Which directions exist, seen from this side. kNone: a broadcast alone, with nothing that comes
// back; the session then tells of the other side's end, and no more.
enum class Direction { kBoth, kSendOnly, kReceiveOnly, kNone };

// How the two ends wake each other; see wait/doorbell.h.
enum class DoorbellKind {
  // Accepting: eventfd where the peer is trusted and offers it, socket otherwise. Connecting:
  // offers sockets, and eventfds to a peer that it trusts.
  kAutomatic,
  kSocket,
  // Needs a `trust`.
  kEventfd,
  // The cheapest sleep, and safe with any peer, but there is no descriptor to poll: PrepareToWait
  // and FinishWait of such a channel are a bug of the caller's and abort. For a thread that waits
  // on this one channel. Both sides ask for it, or there is no channel.
  kFutex,
};

struct ConnectOptions {
  Direction direction = Direction::kBoth;
  RingRequest send = {};
  RingRequest receive = {};
  // The kinds of sections that this side understands of a broadcast of the accepting side: it gets
  // the broadcast if that has one of these kinds, and else a session without. At most 8, each at
  // least 1 and once.
  std::vector<uint16_t> broadcast_kinds = {};
  std::string format = {};  // at most kMaxFormatBytes; the other side sees it before it agrees
  ChannelLimits limits = {};
  // In the accepting side, for instance of a worker in its supervisor: eventfd doorbells are
  // offered as well (the other side could block our writes), and fences skipped.
  PeerTrust trust = {};
  FenceMode fences = FenceMode::kAutomatic;
  // Anything but kAutomatic: offers that one alone.
  DoorbellKind doorbell = DoorbellKind::kAutomatic;
  // Whom we connect to: judged before anything is said to it. Not set: for a name, where anybody
  // may listen first, SameUserOrRoot; for a socket that the caller brings, anyone. What the kernel
  // says is who called listen.
  std::optional<PeerPolicy> policy = {};
  // The set in which regions are claimed; nullptr: the process's.
  FileRegistry* registry = nullptr;
};

struct AcceptOptions {
  Direction direction = Direction::kBoth;
  // Used where the connecting side has no preference, and relied on where it has one: a request for
  // less than `send`, or for longer messages than `receive` allows, is refused. So a caller that
  // sets a message length here may send, and receive into buffers of, that length without asking.
  // What is left zero is the peer's choice, from kMinMessageLimitBytes to the limits: ask
  // max_message_bytes() of the channel.
  RingRequest send = {};
  RingRequest receive = {};
  // For each peer that offers one of its kinds, to read. Any number of sessions share it.
  std::shared_ptr<Broadcast> broadcast = {};
  std::string format = {};
  ChannelLimits limits = {};
  PeerPolicy policy = PeerPolicy::SameUser();
  // The peer's process descriptor, where this process spawned it; -1: ask the kernel. Not owned.
  int peer_pidfd = -1;
  DoorbellKind doorbell = DoorbellKind::kAutomatic;
  // That the peer runs under a system call filter of ours that denies F_SETFL, FIONBIO, AIO and
  // io_uring (every profile of sandbox/ does), or is trusted not to block us. Only then are
  // eventfds shared with it, and barriers made for it.
  PeerTrust trust = {};
  FenceMode fences = FenceMode::kAutomatic;
  // Of both rings, which this side makes. Huge ones pay for messages of several MiB, in rings of as
  // much as the last cache, and change nothing else (docs/BENCHMARKS.md). They double the time in
  // which the rings are made; where `send` and `receive` are open, their size is the peer's choice.
  HugePages pages = HugePages::kUsual;
  // Called with the peer's format; an error refuses the channel. Empty: any format. It must not use
  // or end the listener that asks.
  std::function<absl::Status(const std::string& format)> check_format = {};
  FileRegistry* registry = nullptr;
};

}  // namespace parley

#endif  // PARLEY_HANDSHAKE_OPTIONS_H_

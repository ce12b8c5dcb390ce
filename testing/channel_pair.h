// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_TESTING_CHANNEL_PAIR_H_
#define PARLEY_TESTING_CHANNEL_PAIR_H_

// Both ends of a real channel in one process: real regions, rings, doorbells and waits. Create
// leaves out only the handshake, which makes a pair cheap enough for a fuzz target to have one per
// input; CreateByHandshake has that as well.
//
// Trust: for tests only; who tests a handler plays the peer with the other end (and, for what an
// honest end can't write, with //channel:hostile_access).
// Threads: making one: one. Then each end as any channel.
//
//   auto pair = testing::ChannelPair::Create();
//   (*pair)->connecting().sender.TrySend(kTag, input);    // the peer
//   HandleOneMessage((*pair)->accepting().receiver);      // what is tested

#include <memory>

#include "absl/status/statusor.h"
#include "parley/channel/channel.h"
#include "parley/handshake/options.h"
#include "parley/sealing/file_registry.h"
#include "parley/shm/broadcast.h"
#include "parley/wait/wait_options.h"

namespace parley::testing {

struct ChannelPairOptions {
  RingRequest ring = {4096, 1024};  // of both directions; a page, where that is more
  bool eventfd = false;             // else socket doorbells, or
  bool futex = false;               // futexes: nothing to poll, see DoorbellKind::kFutex
  // Of the accepting side, for the connecting one to read.
  std::shared_ptr<Broadcast> broadcast = {};
  WaitOptions wait;
};

class ChannelPair {
  struct Private {};

 public:
  explicit ChannelPair(Private) {}
  // kInvalidArgument for a ring that can't be; else the system's refusals.
  static absl::StatusOr<std::unique_ptr<ChannelPair>> Create(
      const ChannelPairOptions& options = {});
  // The same through the real handshake, over a socketpair, the connecting side on a thread of its
  // own until it is complete: what options do to a channel. The two registries are this pair's; the
  // error is that of the accepting side, or else of the connecting one.
  static absl::StatusOr<std::unique_ptr<ChannelPair>> CreateByHandshake(
      AcceptOptions accept = {}, ConnectOptions connect = {}, const WaitOptions& wait = {});
  ChannelPair(const ChannelPair&) = delete;
  ChannelPair& operator=(const ChannelPair&) = delete;

  // To end one side as a process that dies does, assign Channel().
  Channel& accepting() { return accepting_; }
  Channel& connecting() { return connecting_; }

 private:
  // One memory object has a role at each end here, which the set of the whole process would refuse.
  FileRegistry accepting_registry_;
  FileRegistry connecting_registry_;
  Channel accepting_;
  Channel connecting_;
};

}  // namespace parley::testing

#endif  // PARLEY_TESTING_CHANNEL_PAIR_H_

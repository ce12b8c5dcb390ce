// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_TESTING_HOSTILE_PEER_H_
#define PARLEY_TESTING_HOSTILE_PEER_H_

// The other end of a channel in the hands of a fuzz input: messages of any tag, length and content,
// positions and headers that lie, payloads changed after they were sent, wake-ups without cause,
// an orderly end, a sudden death. What a fuzz target of a message handler needs:
//
//   extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
//     parley::testing::HostilePeer peer(data, size);
//     while (peer.Act()) HandleWhatIsThere(peer.victim());
//     return 0;
//   }
//
// Input: the doorbell (1 byte), then steps: one byte each (modulo 16), followed by what it needs.
// Half of the steps are a message: tag (1 byte), length (1 byte), content.
//
// Trust: for tests only. This is the attacker.
// Threads: one, which must not wait for this peer without a deadline: it acts in Act alone.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "parley/channel/channel.h"
#include "parley/testing/channel_pair.h"
#include "parley/testing/scripted_memory.h"

namespace parley::testing {

class HostilePeer {
 public:
  // The doorbell is the input's choice: a socket or an eventfd, or a futex where `options.futex`
  // says that the victim polls nothing. A victim that waits does so without spinning.
  HostilePeer(const uint8_t* data, std::size_t size, ChannelPairOptions options = {});
  HostilePeer(const HostilePeer&) = delete;
  HostilePeer& operator=(const HostilePeer&) = delete;

  // What is tested: an end as an honest process holds it.
  Channel& victim() { return pair_->accepting(); }
  // The next step; false, and nothing done, when the input is used up or the peer is dead.
  bool Act();
  // The same input, for what the test itself wants to leave open: which call it makes next.
  Script& script() { return script_; }

 private:
  Channel& self() { return pair_->connecting(); }
  void Send(uint32_t tag, std::size_t size);
  void SendWithHeader(uint64_t header);
  void Move(std::size_t control_offset, uint64_t from);
  void SetControlWord();
  void Rewrite();
  void Take();
  void Signal();

  Script script_;
  std::unique_ptr<ChannelPair> pair_;
  bool alive_ = true;
  bool may_send_ = true;
  bool may_take_ = true;
};

}  // namespace parley::testing

#endif  // PARLEY_TESTING_HOSTILE_PEER_H_

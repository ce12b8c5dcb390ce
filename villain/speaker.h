// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_VILLAIN_SPEAKER_H_
#define PARLEY_VILLAIN_SPEAKER_H_

// An attacker that speaks by a channel of ours: for lies in what is sent, not in how.
//
// Trust: an attacker.
// Threads: one.
//
//   Speaker speaker(attacker);
//   speaker.Send(3, RequestHeaderWire{...}, "text");

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "parley/channel/channel.h"
#include "parley/handshake/peer_socket.h"
#include "parley/handshake/peer_trust.h"
#include "parley/os/deadline.h"
#include "parley/villain/case.h"

namespace parley::villain {

class Speaker {
 public:
  explicit Speaker(Attacker& a) {
    ConnectOptions options;
    options.limits = {.max_capacity_bytes = uint64_t{1} << 24,
                      .max_message_bytes = uint32_t{1} << 22,
                      .max_arena_bytes = uint64_t{1} << 24};
    options.trust = PeerTrust::Because("the victim");
    auto socket = PeerSocket::Adopt(std::move(a.socket));
    if (!socket.ok()) a.CannotMount("no socket");
    auto channel = ConnectChannel(*std::move(socket), options, a.until);
    if (!channel.ok()) a.CannotMount(std::string(channel.status().message()));
    channel_ = *std::move(channel);
    buffer_.resize(channel_.receiver.max_message_bytes());
  }

  Channel& channel() { return channel_; }

  // The next record; ends this process where none comes any more: the victim has had enough.
  uint32_t Receive(std::size_t* size_bytes = nullptr) {
    const auto record = channel_.receiver.Receive(absl::MakeSpan(buffer_), Deadline::Never());
    if (!record.ok()) Attacker::Stay();
    if (size_bytes != nullptr) *size_bytes = record->size_bytes;
    return record->tag;
  }
  template <typename Wire>
  Wire Received() const {
    Wire wire;
    std::memcpy(&wire, buffer_.data(), sizeof(wire));
    return wire;
  }

  void SendBytes(uint32_t tag, absl::Span<const std::byte> bytes) {
    if (!channel_.sender.Send(tag, bytes, Deadline::Never()).ok()) Attacker::Stay();
  }
  template <typename Wire>
  void Send(uint32_t tag, const Wire& wire, std::string_view text = "") {
    std::vector<std::byte> message(sizeof(wire) + text.size());
    std::memcpy(message.data(), &wire, sizeof(wire));
    if (!text.empty()) std::memcpy(message.data() + sizeof(wire), text.data(), text.size());
    SendBytes(tag, message);
  }

 private:
  Channel channel_;
  std::vector<std::byte> buffer_;
};

}  // namespace parley::villain

#endif  // PARLEY_VILLAIN_SPEAKER_H_

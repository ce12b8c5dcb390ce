// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_TESTS_ECHO_SERVER_H_
#define PARLEY_TESTS_ECHO_SERVER_H_

// Serves any number of channels from one WaitSet: what comes is sent back. As a user would write
// it, with what a test wants to know.
//
// Threads: that of the set.
//
//   EchoServer server(set.get());
//   server.Add(*std::move(channel));
//   while (server.echoed() < 100) set->RunOnce(Generous());

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <list>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "parley/channel/channel.h"
#include "parley/wait_set/wait_set.h"

namespace parley {

class EchoServer {
 public:
  // How many messages of one channel are taken in a round.
  static constexpr int kMaxInARound = 16;

  explicit EchoServer(WaitSet* set) : set_(set) {}

  void Add(Channel channel) {
    clients_.emplace_back();
    const auto client = std::prev(clients_.end());
    client->channel = std::move(channel);
    buffer_.resize(
        std::max<std::size_t>(buffer_.size(), client->channel.receiver.max_message_bytes()));
    auto data = set_->Add(client->channel.receiver.waitable(),
                          [this, client](const absl::Status& status) { Serve(client, status); });
    if (data.ok()) {
      client->data = *std::move(data);
    } else {
      last_error_ = data.status();
      clients_.erase(client);
    }
  }

  std::size_t clients() const { return clients_.size(); }
  uint64_t echoed() const { return echoed_; }
  // How many ended, and why the last one did; OK: in order.
  int ended() const { return ended_; }
  int violations() const { return violations_; }
  const absl::Status& last_error() const { return last_error_; }

 private:
  struct Client {
    Channel channel;
    Registration data;  // after the channel: ends first
  };
  using Clients = std::list<Client>;

  void Serve(Clients::iterator client, const absl::Status& status) {
    if (!status.ok()) return End(client, status);
    Record record;
    for (int i = 0; i < kMaxInARound; ++i) {
      switch (client->channel.receiver.TryReceive(absl::MakeSpan(buffer_), &record)) {
        case Outcome::kOk:
          break;
        case Outcome::kWouldBlock:
          return;
        default:
          return End(client, absl::OkStatus());
      }
      const auto bytes = absl::MakeConstSpan(buffer_).first(record.size_bytes);
      // A client that takes nothing loses what it does not take.
      if (client->channel.sender.TrySend(record.tag, bytes) == Outcome::kOk) ++echoed_;
    }
  }
  void End(Clients::iterator client, const absl::Status& status) {
    ++ended_;
    if (absl::IsDataLoss(status)) ++violations_;
    last_error_ = status;
    clients_.erase(client);  // from its own handler
  }

  WaitSet* const set_;
  Clients clients_;
  std::vector<std::byte> buffer_;
  uint64_t echoed_ = 0;
  int ended_ = 0;
  int violations_ = 0;
  absl::Status last_error_;
};

}  // namespace parley

#endif  // PARLEY_TESTS_ECHO_SERVER_H_

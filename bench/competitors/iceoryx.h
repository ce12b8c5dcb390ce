// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_COMPETITORS_ICEORYX_H_
#define PARLEY_BENCH_COMPETITORS_ICEORYX_H_

// iceoryx: a publisher and a subscriber each way, no loss (the publisher waits), chunks written and
// read in place. Needs its daemon (roudi.h).
//
// Threads: one per process (and the library's).

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "iceoryx_posh/popo/untyped_publisher.hpp"
#include "iceoryx_posh/popo/untyped_subscriber.hpp"
#include "iceoryx_posh/popo/wait_set.hpp"
#include "parley/bench/cell.h"
#include "parley/bench/clock.h"

namespace parley::bench {

class Iceoryx {
 public:
  static absl::StatusOr<std::unique_ptr<Iceoryx>> Create(const Cell& cell, Waiting waiting);
  Iceoryx(std::string name, const Cell& cell, Waiting waiting)
      : name_(std::move(name)), cell_(cell), waiting_(waiting) {}

  absl::Status Open(Side side);

  template <typename Fill>
  bool Send(std::size_t bytes, const Fill& fill) {
    bool sent = false;
    // Out of chunks: the other end holds them all.
    while (!sent) {
      publisher_->loan(static_cast<uint32_t>(bytes)).and_then([&](void* payload) {
        fill(static_cast<std::byte*>(payload), 0, bytes);
        publisher_->publish(payload);
        sent = true;
      });
    }
    return true;
  }

  template <typename Read>
  bool Receive(std::size_t bytes, const Read& read) {
    bool received = false;
    while (!received) {
      subscriber_->take().and_then([&](const void* payload) {
        read(static_cast<const std::byte*>(payload), bytes);
        subscriber_->release(payload);
        received = true;
      });
      if (received) return true;
      if (waiting_ == Waiting::kSleep) {
        wait_set_->wait();
      } else {
        SpinOnce();
      }
    }
    return true;
  }

  std::string error() const { return ""; }

 private:
  const std::string name_;
  const Cell cell_;
  const Waiting waiting_;
  std::unique_ptr<iox::popo::UntypedPublisher> publisher_;
  std::unique_ptr<iox::popo::UntypedSubscriber> subscriber_;
  std::unique_ptr<iox::popo::WaitSet<1>> wait_set_;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_COMPETITORS_ICEORYX_H_

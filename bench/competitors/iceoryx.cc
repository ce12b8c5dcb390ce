// SPDX-License-Identifier: Apache-2.0
#if PARLEY_BENCH_HAVE_ICEORYX

#include "parley/bench/competitors/iceoryx.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/time/time.h"
#include "iceoryx_hoofs/log/logmanager.hpp"
#include "iceoryx_posh/runtime/posh_runtime.hpp"
#include "parley/os/deadline.h"

namespace parley::bench {
namespace {

// A subscriber's queue has at most 256 places.
constexpr std::size_t kDeepest = 256;

iox::capro::ServiceDescription Service(const std::string& name, const char* way) {
  return {"parley-bench", iox::capro::IdString_t(iox::cxx::TruncateToCapacity, name),
          iox::capro::IdString_t(iox::cxx::TruncateToCapacity, way)};
}

}  // namespace

absl::StatusOr<std::unique_ptr<Iceoryx>> Iceoryx::Create(const Cell& cell, Waiting waiting) {
  static int count = 0;
  std::string name = std::to_string(::getpid()) + "-" + std::to_string(++count);
  return std::make_unique<Iceoryx>(std::move(name), cell, waiting);
}

absl::Status Iceoryx::Open(Side side) {
  iox::log::LogManager::GetLogManager().SetDefaultLogLevel(iox::log::LogLevel::kError,
                                                           iox::log::LogLevelOutput::kHideLogLevel);
  const bool sends = side == Side::kSender;
  const std::string me = "parley-bench-" + name_ + (sends ? "-a" : "-b");
  iox::runtime::PoshRuntime::initRuntime(iox::RuntimeName_t(iox::cxx::TruncateToCapacity, me));
  iox::popo::PublisherOptions publisher;
  publisher.subscriberTooSlowPolicy = iox::popo::ConsumerTooSlowPolicy::WAIT_FOR_CONSUMER;
  iox::popo::SubscriberOptions subscriber;
  subscriber.queueFullPolicy = iox::popo::QueueFullPolicy::BLOCK_PRODUCER;
  subscriber.queueCapacity =
      std::clamp<std::size_t>(QueueBytes(cell_) / cell_.size_bytes, 4, kDeepest);
  publisher_ = std::make_unique<iox::popo::UntypedPublisher>(
      Service(name_, sends ? "there" : "back"), publisher);
  subscriber_ = std::make_unique<iox::popo::UntypedSubscriber>(
      Service(name_, sends ? "back" : "there"), subscriber);
  if (waiting_ == Waiting::kSleep) {
    wait_set_ = std::make_unique<iox::popo::WaitSet<1>>();
    if (wait_set_->attachState(*subscriber_, iox::popo::SubscriberState::HAS_DATA).has_error()) {
      return absl::UnavailableError("the wait set took no subscriber");
    }
  }
  const Deadline deadline = Deadline::After(absl::Seconds(10));
  while (subscriber_->getSubscriptionState() != iox::SubscribeState::SUBSCRIBED ||
         !publisher_->hasSubscribers()) {
    if (deadline.Expired()) return absl::DeadlineExceededError("no subscription");
    ::usleep(1'000);
  }
  return absl::OkStatus();
}

}  // namespace parley::bench

#endif  // PARLEY_BENCH_HAVE_ICEORYX

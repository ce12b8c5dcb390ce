// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/scale/channels.h"

#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/bench/arena.h"
#include "parley/bench/pair.h"
#include "parley/bench/quantile.h"
#include "parley/bench/transports/shared_value.h"
#include "parley/channel/channel.h"
#include "parley/os/deadline.h"
#include "parley/os/errors.h"
#include "parley/os/unique_fd.h"

namespace parley::bench {
namespace {

constexpr std::size_t kMessageBytes = 64;
constexpr int kRounds = 101;
constexpr std::size_t kDescriptorsPerChannel = 12;  // with room to spare

using Message = std::array<std::byte, kMessageBytes>;

Deadline Limit() { return Deadline::After(absl::Minutes(2)); }

// The soft limit, as far as the hard one allows.
absl::Status AllowDescriptors(std::size_t wanted) {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return ErrnoStatus(errno, "read RLIMIT_NOFILE");
  if (limit.rlim_cur >= wanted) return absl::OkStatus();
  if (limit.rlim_max < wanted) {
    return absl::ResourceExhaustedError("RLIMIT_NOFILE allows " + std::to_string(limit.rlim_max) +
                                        " descriptors, " + std::to_string(wanted) + " are needed");
  }
  limit.rlim_cur = wanted;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return ErrnoStatus(errno, "raise RLIMIT_NOFILE");
  return absl::OkStatus();
}

// The accepting process: has all channels and is what is measured.
class Holder {
 public:
  Holder(const std::string& name, std::size_t wanted, Arena& arena, ChannelsResult& result)
      : name_(name), wanted_(wanted), arena_(arena), result_(result) {}

  absl::Status Run() {
    AcceptOptions options;
    options.receive.max_message_bytes = kMessageBytes;
    auto listener = ChannelListener::Listen(name_, options);
    if (!listener.ok()) return listener.status();
    channels_.reserve(wanted_);
    result_.before = FootprintNow();
    arena_.Meet();
    const int64_t begin_ns = MonotonicNowNs();
    for (std::size_t i = 0; i < wanted_; ++i) {
      auto channel = listener->Accept(Limit());
      if (!channel.ok()) return channel.status();
      channels_.push_back(*std::move(channel));
    }
    result_.set_up_s = static_cast<double>(MonotonicNowNs() - begin_ns) * 1e-9;
    result_.after = FootprintNow();
    if (absl::Status status = Watch(); !status.ok()) return status;
    LookAtAll();
    if (absl::Status status = TakeRounds(false, &result_.one_ready_ns); !status.ok()) return status;
    if (absl::Status status = TakeRounds(true, &result_.all_ready_ns); !status.ok()) return status;
    arena_.Meet();
    return absl::OkStatus();
  }

 private:
  absl::Status Watch() {
    epoll_.Reset(::epoll_create1(EPOLL_CLOEXEC));
    if (epoll_.get() < 0) return ErrnoStatus(errno, "make an epoll");
    events_.resize(channels_.size());
    for (std::size_t i = 0; i < channels_.size(); ++i) {
      epoll_event event = {};
      event.events = EPOLLIN;
      event.data.u64 = i;
      const int descriptor = channels_[i].receiver.descriptor();
      if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, descriptor, &event) != 0) {
        return ErrnoStatus(errno, "watch a channel");
      }
    }
    return absl::OkStatus();
  }

  // Per channel: a look that finds nothing, and the announcement of a sleep.
  void LookAtAll() {
    std::vector<double> looks;
    std::vector<double> arms;
    Record record;
    for (int round = 0; round < kRounds; ++round) {
      const int64_t begin_ns = MonotonicNowNs();
      for (Channel& channel : channels_) {
        channel.receiver.TryReceive(absl::MakeSpan(message_), &record);
      }
      const int64_t looked_ns = MonotonicNowNs();
      for (Channel& channel : channels_) channel.receiver.PrepareToWait();
      const int64_t armed_ns = MonotonicNowNs();
      looks.push_back(PerChannel(looked_ns - begin_ns));
      arms.push_back(PerChannel(armed_ns - looked_ns));
    }
    result_.poll_ns = Median(looks);
    result_.arm_ns = Median(arms);
  }

  // Each round: the other process sends, on one channel or on all; then, timed, they are taken.
  absl::Status TakeRounds(bool all, double* median_ns) {
    std::vector<double> times;
    const std::size_t expected = all ? channels_.size() : 1;
    for (int round = 0; round < kRounds; ++round) {
      arena_.Meet();  // armed
      arena_.Meet();  // sent
      const int64_t begin_ns = MonotonicNowNs();
      for (std::size_t taken = 0; taken < expected;) {
        const auto found = Take();
        if (!found.ok()) return found.status();
        taken += *found;
      }
      times.push_back(static_cast<double>(MonotonicNowNs() - begin_ns) /
                      static_cast<double>(expected));
    }
    *median_ns = Median(times);
    return absl::OkStatus();
  }

  // What is ready: takes one message of each, and is ready to wait again.
  absl::StatusOr<std::size_t> Take() {
    const int ready =
        ::epoll_wait(epoll_.get(), events_.data(), static_cast<int>(events_.size()), 10'000);
    if (ready < 0 && errno != EINTR) return ErrnoStatus(errno, "wait for channels");
    if (ready == 0) return absl::DeadlineExceededError("a message did not ring");
    std::size_t taken = 0;
    for (int i = 0; i < ready; ++i) {
      Receiver& receiver = channels_[events_[static_cast<std::size_t>(i)].data.u64].receiver;
      if (absl::Status status = receiver.FinishWait(); !status.ok()) return status;
      Record record;
      while (receiver.TryReceive(absl::MakeSpan(message_), &record) == Outcome::kOk) ++taken;
      receiver.PrepareToWait();
    }
    return taken;
  }

  double PerChannel(int64_t ns) const {
    return static_cast<double>(ns) / static_cast<double>(channels_.size());
  }

  const std::string name_;
  const std::size_t wanted_;
  Arena& arena_;
  ChannelsResult& result_;
  std::vector<Channel> channels_;
  UniqueFd epoll_;
  std::vector<epoll_event> events_;
  Message message_ = {};
};

absl::Status Connect(const std::string& name, std::size_t wanted, Arena& arena) {
  arena.Meet();  // it listens
  std::vector<Channel> channels;
  for (std::size_t i = 0; i < wanted; ++i) {
    auto channel = ConnectChannel(name, ConnectOptions{}, Limit());
    if (!channel.ok()) return channel.status();
    channels.push_back(*std::move(channel));
  }
  const Message message = {};
  for (const bool all : {false, true}) {
    for (std::size_t round = 0; round < kRounds; ++round) {
      arena.Meet();
      // A stride, so that it is not the same few channels that are warm.
      const std::size_t first = all ? 0 : round * 7 % wanted;
      const std::size_t end = all ? wanted : first + 1;
      for (std::size_t i = first; i < end; ++i) {
        if (channels[i].sender.TrySend(0, message) != Outcome::kOk) {
          return absl::UnavailableError("a ring is full or gone");
        }
      }
      arena.Meet();
    }
  }
  arena.Meet();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ChannelsResult> MeasureChannels(std::size_t channels) {
  if (absl::Status status = AllowDescriptors(channels * kDescriptorsPerChannel + 64);
      !status.ok()) {
    return status;
  }
  const SharedArena arena;
  const SharedValue<ChannelsResult> result;
  result->channels = channels;
  const std::string name = "@parley-bench-" + std::to_string(::getpid());
  PairOptions options;
  options.limit = absl::Minutes(2);
  const Body body = [&](Side side) {
    return side == Side::kReceiver ? Holder(name, channels, *arena, *result).Run()
                                   : Connect(name, channels, *arena);
  };
  if (absl::Status status = RunPair(body, *arena, options, nullptr); !status.ok()) return status;
  return *result;
}

}  // namespace parley::bench

// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/scale/drift.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "parley/bench/arena.h"
#include "parley/bench/pair.h"
#include "parley/bench/payload.h"
#include "parley/bench/progress.h"
#include "parley/bench/transports/channel.h"
#include "parley/bench/transports/shared_value.h"
#include "parley/os/deadline.h"

namespace parley::bench {
namespace {

using Transport = ChannelTransport<Moving::kInPlace>;

constexpr std::size_t kBytes = 64;
constexpr uint64_t kPollsAtClock = 4'096;  // messages between two
constexpr uint64_t kEnd = 0;               // the first word of the last message: no message's own

int64_t ToNs(double seconds) { return static_cast<int64_t>(seconds * 1e9); }

bool SendWords(Transport& transport, uint64_t first) {
  return transport.Send(kBytes, [first](std::byte* to, std::size_t offset, std::size_t length) {
    FillWords(to, length, first + offset / 8);
  });
}

absl::Status Send(Transport& transport, const DriftOptions& options, Footprint& begin) {
  const int64_t end_ns = MonotonicNowNs() + ToNs(options.seconds);
  uint64_t number = 0;
  do {
    for (uint64_t i = 0; i < kPollsAtClock; ++i) {
      if (!SendWords(transport, FirstWord(number++))) {
        return absl::UnavailableError(transport.error());
      }
    }
    if (number == kPollsAtClock) begin = FootprintNow();
  } while (MonotonicNowNs() < end_ns);
  return SendWords(transport, kEnd) ? absl::OkStatus() : absl::UnavailableError(transport.error());
}

class Counter {
 public:
  Counter(const DriftOptions& options, DriftResult& result)
      : window_ns_(ToNs(options.window_s)),
        result_(result),
        progress_(static_cast<std::size_t>(options.seconds / options.window_s)),
        began_ns_(MonotonicNowNs()) {}

  absl::Status Receive(Transport& transport) {
    uint64_t& number = result_.messages;
    for (;; ++number) {
      uint64_t sum = 0;
      const bool received = transport.Receive(
          kBytes,
          [&sum](const std::byte* from, std::size_t length) { sum += SumWords(from, length); });
      if (!received) return absl::UnavailableError(transport.error());
      if (sum != ExpectedSum(kBytes, FirstWord(number))) [[unlikely]] {
        if (sum == ExpectedSum(kBytes, kEnd)) return absl::OkStatus();
        return absl::DataLossError("message " + std::to_string(number) + " is not what was sent");
      }
      if (number % kPollsAtClock == 0) LookAtClock();
    }
  }

 private:
  void LookAtClock() {
    if (result_.messages == kPollsAtClock) result_.begin[1] = FootprintNow();
    const int64_t now_ns = MonotonicNowNs();
    if (now_ns - began_ns_ < window_ns_) return;
    const auto messages = static_cast<double>(result_.messages - counted_);
    if (result_.windows < DriftResult::kMaxWindows) {
      result_.per_second[result_.windows++] =
          messages / (static_cast<double>(now_ns - began_ns_) * 1e-9);
    }
    progress_.End();
    progress_.Begin("flat out");
    counted_ = result_.messages;
    began_ns_ = now_ns;
  }

  const int64_t window_ns_;
  DriftResult& result_;
  Progress progress_;
  int64_t began_ns_;
  uint64_t counted_ = 0;
};

}  // namespace

absl::StatusOr<DriftResult> MeasureDrift(const DriftOptions& options) {
  Cell cell;
  cell.size_bytes = kBytes;
  auto made = Transport::Create(cell, ChannelMode{});
  if (!made.ok()) return made.status();
  const std::shared_ptr<Transport> transport = *std::move(made);
  const SharedArena arena;
  const SharedValue<DriftResult> result;
  PairOptions pair;
  pair.limit = absl::Seconds(options.seconds * 1.1 + 30);
  const Body body = [transport, &options, &arena, &result](Side side) -> absl::Status {
    if (absl::Status status = transport->Open(side); !status.ok()) return status;
    const auto i = static_cast<std::size_t>(side);
    FootprintNow();  // what looking itself brings in does not count
    arena->Meet();
    absl::Status status = side == Side::kSender ? Send(*transport, options, result->begin[0])
                                                : Counter(options, *result).Receive(*transport);
    if (!status.ok()) return status;
    arena->Meet();
    result->end[i] = FootprintNow();
    return absl::OkStatus();
  };
  if (absl::Status status = RunPair(body, *arena, pair, nullptr); !status.ok()) return status;
  return *result;
}

}  // namespace parley::bench

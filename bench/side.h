// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_SIDE_H_
#define PARLEY_BENCH_SIDE_H_

// What each of the two processes does with a transport: the loops that are timed.
//
// A transport is a class with these, bound at compile time so that nothing virtual is measured:
//
//   static absl::StatusOr<std::unique_ptr<T>> Create(const Cell&, ...);   before the fork
//   absl::Status Open(Side side);          after it, in each process; may wait for the other end
//   template <typename Fill> bool Send(std::size_t bytes, const Fill& fill);
//       One message. Calls fill(std::byte* to, std::size_t offset, std::size_t length) until each
//       byte was written: where the message will lie, if the transport has such a place, else in a
//       private buffer.
//   template <typename Read> bool Receive(std::size_t bytes, const Read& read);
//       One message. Calls read(const std::byte* from, std::size_t length) until all was seen.
//   bool Flush();                          optional: sends what is held back
//   std::string error() const;             why Send, Receive or Flush was false
//
// Threads: each process has one.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include "absl/status/status.h"
#include "parley/bench/arena.h"
#include "parley/bench/cell.h"
#include "parley/bench/clock.h"
#include "parley/bench/payload.h"
#include "parley/bench/usage.h"

namespace parley::bench {

// How long a sample takes.
struct Plan {
  double ticks_per_ns = 1;
  double warm_up_ns = 5e6;
  double measured_ns = 30e6;
  uint64_t fixed_count = 0;  // instead of measured_ns
  bool probe = true;         // senseless on one processor
};

namespace internal {

// Answers differ from requests.
inline constexpr uint64_t kAnswers = uint64_t{1} << 40;
// Clock readings of the receiver of a stream are at least so far apart.
inline constexpr double kMinBlockNs = 2'000;

template <typename T, std::size_t kSize>
class Worker {
 public:
  Worker(T& transport, Side side, const Cell& cell, const Plan& plan, Arena& arena)
      : transport_(transport),
        side_(side),
        round_trip_(cell.direction == Direction::kRoundTrip),
        size_(cell.size_bytes),
        plan_(plan),
        arena_(arena) {}

  // The whole sample.
  absl::Status Run() {
    arena_.Meet();
    if (side_ == Side::kSender) {
      if (plan_.probe) arena_.probe_before_ns = arena_.ProbeAsSender(plan_.ticks_per_ns);
      if (absl::Status status = Lead(); !status.ok()) return status;
      if (plan_.probe) arena_.probe_after_ns = arena_.ProbeAsSender(plan_.ticks_per_ns);
    } else {
      if (plan_.probe) arena_.ProbeAsReceiver();
      if (absl::Status status = Follow(); !status.ok()) return status;
      if (plan_.probe) arena_.ProbeAsReceiver();
    }
    arena_.result(side_).done = true;
    arena_.Meet();
    return absl::OkStatus();
  }

 private:
  std::size_t size() const { return kSize != 0 ? kSize : size_; }

  // Warms up with more and more messages, then measures as many as fit the time.
  absl::Status Lead() {
    double warm_ns = 0;
    double message_ns = std::numeric_limits<double>::max();
    for (uint64_t count = 1; warm_ns < plan_.warm_up_ns; count *= 2) {
      if (absl::Status status = LeadStretch(count, false, 1); !status.ok()) return status;
      const double ns =
          static_cast<double>(arena_.end_ticks - arena_.begin_ticks) / plan_.ticks_per_ns;
      warm_ns += ns;
      // The shortest: what interrupts one stretch must not decide how long the sample is.
      message_ns = std::min(message_ns, ns / static_cast<double>(count));
      if (plan_.fixed_count != 0) break;
    }
    const double fits = plan_.measured_ns / std::max(message_ns, 0.1);
    const uint64_t count = plan_.fixed_count != 0
                               ? plan_.fixed_count
                               : std::max<uint64_t>(static_cast<uint64_t>(fits), 8);
    uint64_t block = 1;
    while (static_cast<double>(block) * message_ns < kMinBlockNs && block * 64 < count) {
      block *= 2;
    }
    if (absl::Status status = LeadStretch(count, true, block); !status.ok()) return status;
    arena_.over = true;
    return Stretch();
  }

  absl::Status LeadStretch(uint64_t count, bool measured, uint64_t block) {
    arena_.count = count;
    arena_.measured = measured;
    arena_.block = block;
    arena_.histogram.Clear();
    return Stretch();
  }

  absl::Status Follow() {
    while (!over_) {
      if (absl::Status status = Stretch(); !status.ok()) return status;
    }
    return absl::OkStatus();
  }

  absl::Status Stretch() {
    arena_.Meet();
    arena_.Meet();  // by now both are awake, so this one is short
    // Read between two meetings, when nobody writes it.
    over_ = arena_.over;
    if (over_) return absl::OkStatus();
    const uint64_t count = arena_.count;
    const Usage before = UsageNow();
    auto& measuring = arena_.measuring[static_cast<std::size_t>(side_)];
    if (arena_.measured) measuring.store(true);
    const bool moved = round_trip_ ? Exchange(count) : Stream(count);
    measuring.store(false);
    if (!moved) return absl::UnavailableError(transport_.error());
    arena_.Meet();
    arena_.result(side_).usage = UsageNow() - before;
    return Verify(count);
  }

  bool Stream(uint64_t count) {
    return side_ == Side::kSender ? StreamOut(count) : StreamIn(count);
  }

  bool StreamOut(uint64_t count) {
    arena_.begin_ticks = Ticks();
    for (uint64_t i = 0; i < count; ++i) {
      if (!SendOne(next_ + i)) return false;
    }
    return Flush();
  }

  bool StreamIn(uint64_t count) {
    const uint64_t block = arena_.block;
    digest_ = Digest();
    uint64_t last = Ticks();
    bool first = true;
    for (uint64_t left = count; left != 0;) {
      const uint64_t now_wanted = std::min(block, left);
      for (uint64_t i = 0; i < now_wanted; ++i) {
        if (!ReceiveOne()) return false;
      }
      const uint64_t now = Ticks();
      // The first block holds the wait for the sender to begin, the last one may be short.
      if (!first && now_wanted == block) arena_.histogram.Add((now - last) / block);
      first = false;
      last = now;
      left -= now_wanted;
    }
    arena_.end_ticks = last;
    return true;
  }

  bool Exchange(uint64_t count) {
    digest_ = Digest();
    if (side_ == Side::kReceiver) {
      for (uint64_t i = 0; i < count; ++i) {
        if (!ReceiveOne() || !SendOne(kAnswers + next_ + i) || !Flush()) return false;
      }
      return true;
    }
    uint64_t last = Ticks();
    arena_.begin_ticks = last;
    for (uint64_t i = 0; i < count; ++i) {
      if (!SendOne(next_ + i) || !Flush() || !ReceiveOne()) return false;
      const uint64_t now = Ticks();
      arena_.histogram.Add(now - last);
      last = now;
    }
    arena_.end_ticks = last;
    return true;
  }

  bool SendOne(uint64_t number) {
    const uint64_t first = FirstWord(number);
    return transport_.Send(size(), [first](std::byte* to, std::size_t offset, std::size_t length) {
      FillWords(to, length, first + offset / 8);
    });
  }

  bool ReceiveOne() {
    uint64_t sum = 0;
    const bool received = transport_.Receive(
        size(),
        [&sum](const std::byte* from, std::size_t length) { sum += SumWords(from, length); });
    digest_.Add(sum);
    return received;
  }

  bool Flush() {
    if constexpr (requires { transport_.Flush(); }) return transport_.Flush();
    return true;
  }

  // Not timed.
  absl::Status Verify(uint64_t count) {
    const bool receives = round_trip_ || side_ == Side::kReceiver;
    const uint64_t from = side_ == Side::kSender ? kAnswers + next_ : next_;
    next_ += count;
    if (!receives || digest_.value() == ExpectedDigest(from, count, size())) {
      return absl::OkStatus();
    }
    return absl::DataLossError("the checksum of what was received is wrong");
  }

  T& transport_;
  const Side side_;
  const bool round_trip_;
  const std::size_t size_;
  const Plan plan_;
  Arena& arena_;
  bool over_ = false;
  uint64_t next_ = 0;  // number of the next message
  Digest digest_;
};

}  // namespace internal

// One side of one sample. Lengths that people give to structs are known to the compiler, as they
// would be there.
template <typename T>
absl::Status RunSide(T& transport, Side side, const Cell& cell, const Plan& plan, Arena& arena) {
  if (absl::Status status = transport.Open(side); !status.ok()) return status;
  switch (cell.size_bytes) {
    case 8:
      return internal::Worker<T, 8>(transport, side, cell, plan, arena).Run();
    case 64:
      return internal::Worker<T, 64>(transport, side, cell, plan, arena).Run();
    default:
      return internal::Worker<T, 0>(transport, side, cell, plan, arena).Run();
  }
}

}  // namespace parley::bench

#endif  // PARLEY_BENCH_SIDE_H_

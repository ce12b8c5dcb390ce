// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "parley/bench/alternate.h"
#include "parley/bench/arena.h"
#include "parley/bench/clock.h"
#include "parley/bench/pair.h"
#include "parley/bench/payload.h"
#include "parley/bench/safety/both_ends.h"
#include "parley/bench/safety/case.h"
#include "parley/bench/transports/shared_value.h"
#include "parley/os/check.h"
#include "parley/sandbox/confine.h"
#include "parley/sandbox/profile.h"

namespace parley::bench {
namespace {

constexpr std::size_t kBytes = 64;
using Message = std::array<std::byte, kBytes>;

std::shared_ptr<BothEnds> MakeEnds(DoorbellKind doorbell, FenceMode fences) {
  auto ends = BothEnds::Create(doorbell, fences);
  PARLEY_CHECK(ends.ok(), ends.status().ToString().c_str());
  return *std::move(ends);
}

void Send(BothEnds& ends, uint64_t number) {
  Message message;
  FillWords(message.data(), kBytes, number);
  PARLEY_CHECK(ends.connecting.sender.TrySend(0, message) == Outcome::kOk, "no room");
}

uint64_t Receive(BothEnds& ends, absl::Span<std::byte> buffer) {
  Record record;
  PARLEY_CHECK(ends.accepting.receiver.TryReceive(buffer, &record) == Outcome::kOk, "no message");
  return SumWords(buffer.data(), kBytes);
}

// Nobody sleeps: what being able to costs.
uint64_t Stream(BothEnds& ends, uint64_t pairs) {
  std::vector<std::byte> buffer(ends.accepting.receiver.max_message_bytes());
  return Alternate(
      pairs, kAtOnce, [&](uint64_t number) { Send(ends, number); },
      [&] { return Receive(ends, absl::MakeSpan(buffer)); });
}

// Each message finds a receiver that is about to sleep, and rings.
uint64_t SignalledStream(BothEnds& ends, uint64_t pairs) {
  Receiver& receiver = ends.accepting.receiver;
  std::vector<std::byte> buffer(receiver.max_message_bytes());
  return Alternate(
      pairs, 1,
      [&](uint64_t number) {
        PARLEY_CHECK(receiver.PrepareToWait(), "a message that nobody sent");
        Send(ends, number);
      },
      [&] {
        PARLEY_CHECK(receiver.FinishWait().ok(), "the channel ended");
        return Receive(ends, absl::MakeSpan(buffer));
      });
}

// Closes every other descriptor of the process, for good.
absl::Status Confine(const BothEnds& ends) {
  LockDownOptions options;
  std::vector<int> eventfds;
  for (const Channel* channel : {&ends.accepting, &ends.connecting}) {
    const ChannelDescriptors descriptors = DescriptorsOf(*channel);
    options.keep.insert(options.keep.end(), descriptors.all.begin(), descriptors.all.end());
    eventfds.insert(eventfds.end(), descriptors.eventfds.begin(), descriptors.eventfds.end());
  }
  Profile profile = Profile::Ring(options.keep).WithHeap().WithSanitizerIfBuiltIn();
  for (const int fd : eventfds) profile = profile.WithEventfd(fd);
  return LockDown(Prepared::After(ends), profile, options).status();
}

using Loop = uint64_t (*)(BothEnds&, uint64_t);

// In a process of its own, for there is no way back from confinement.
absl::StatusOr<double> InProcess(Loop loop, bool confined, uint64_t times) {
  const SharedArena arena;
  const SharedValue<uint64_t> ticks;
  const Body body = [&](Side side) -> absl::Status {
    if (side == Side::kReceiver) return absl::OkStatus();
    auto ends = BothEnds::Create(DoorbellKind::kSocket, FenceMode::kFull);
    if (!ends.ok()) return ends.status();
    if (confined) {
      if (absl::Status status = Confine(**ends); !status.ok()) return status;
    }
    loop(**ends, times / 10 + 1);  // warm
    const uint64_t begin = Ticks();
    loop(**ends, times);
    *ticks = Ticks() - begin;
    return absl::OkStatus();
  };
  if (absl::Status status = RunPair(body, *arena, PairOptions(), nullptr); !status.ok()) {
    return status;
  }
  static const double ticks_per_ns = MeasureTicksPerNs();
  return static_cast<double>(*ticks) / ticks_per_ns / static_cast<double>(times);
}

}  // namespace

std::vector<Case> WakeUpCases() {
  constexpr uint64_t kStreamed = 20'000;
  constexpr uint64_t kSignalled = 1'000;
  std::vector<Case> cases;
  const auto add = [&cases](const char* what, const char* variant, DoorbellKind doorbell,
                            FenceMode fences, Loop loop, uint64_t at_once, bool counted) {
    const auto ends = MakeEnds(doorbell, fences);
    cases.push_back({what,
                     variant,
                     [ends, loop](uint64_t times) { return loop(*ends, times); },
                     at_once,
                     counted,
                     {}});
  };
  add("full fence, 64 B", "on", DoorbellKind::kSocket, FenceMode::kFull, Stream, kStreamed, true);
  add("full fence, 64 B", "off", DoorbellKind::kSocket, FenceMode::kAsymmetric, Stream, kStreamed,
      true);
  add("full fence, a sleep", "on", DoorbellKind::kSocket, FenceMode::kFull, SignalledStream,
      kSignalled, false);
  add("full fence, a sleep", "off", DoorbellKind::kSocket, FenceMode::kAsymmetric, SignalledStream,
      kSignalled, false);
  add("socket doorbell", "on", DoorbellKind::kSocket, FenceMode::kFull, SignalledStream, kSignalled,
      false);
  add("socket doorbell", "off", DoorbellKind::kEventfd, FenceMode::kFull, SignalledStream,
      kSignalled, false);
  for (const bool confined : {true, false}) {
    const char* variant = confined ? "on" : "off";
    cases.push_back({"sandbox, 64 B", variant, {}, kStreamed, false, [confined](uint64_t times) {
                       return InProcess(Stream, confined, times);
                     }});
    cases.push_back(
        {"sandbox, a sleep", variant, {}, kSignalled, false, [confined](uint64_t times) {
           return InProcess(SignalledStream, confined, times);
         }});
  }
  return cases;
}

}  // namespace parley::bench

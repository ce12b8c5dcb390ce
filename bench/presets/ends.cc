// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/presets/ends.h"

#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "parley/bench/clock.h"
#include "parley/bench/pair.h"
#include "parley/bench/presets/pacer.h"
#include "parley/bench/transports/channel.h"
#include "parley/bench/transports/shared_value.h"
#include "parley/handshake/options.h"

namespace parley::bench {
namespace {

using Transport = ChannelTransport<Moving::kCopied>;

enum Kind : uint64_t { kWarmUp, kLastOfWarmUp, kMeasured, kLast };

// What is sent; an answer is the same again.
struct Message {
  uint64_t sent_ticks = 0;
  uint64_t number = 0;
  uint64_t kind = kWarmUp;
  std::array<uint64_t, 5> rest = {};
};
static_assert(sizeof(Message) == kLoadBytes);

bool Send(Transport& transport, const Message& message) {
  return transport.Send(kLoadBytes,
                        [&message](std::byte* to, std::size_t offset, std::size_t length) {
                          // SAFETY: the message looked at as bytes.
                          const auto* bytes = reinterpret_cast<const std::byte*>(&message);
                          std::memcpy(to, bytes + offset, length);
                        });
}

bool Receive(Transport& transport, Message* message) {
  return transport.Receive(kLoadBytes, [message](const std::byte* from, std::size_t length) {
    std::memcpy(message, from, length);
  });
}

// Processor time and wall time between two moments of one end.
class Meter {
 public:
  void Begin() {
    usage_ = UsageNow();
    ns_ = MonotonicNowNs();
  }
  EndCost End() const {
    EndCost cost;
    cost.wall_s = static_cast<double>(MonotonicNowNs() - ns_) * 1e-9;
    cost.usage = UsageNow() - usage_;
    return cost;
  }

 private:
  Usage usage_;
  int64_t ns_ = 0;
};

class SendingEnd {
 public:
  SendingEnd(Transport* transport, const Load& load, Arena& arena, LoadResult& result)
      : transport_(transport),
        load_(load),
        arena_(arena),
        result_(result),
        pacer_(load.rate_hz, load.ticks_per_ns) {}

  absl::Status Run() {
    if (absl::Status status = Stretch(load_.warm_up_s, kWarmUp); !status.ok()) return status;
    arena_.histogram.Clear();
    const uint64_t warm = number_;
    const double spun_s = pacer_.spun_s();
    Meter meter;
    meter.Begin();
    if (absl::Status status = Stretch(load_.measured_s, kMeasured); !status.ok()) return status;
    EndCost& cost = result_.ends[static_cast<std::size_t>(Side::kSender)];
    cost = meter.End();
    cost.spun_s = pacer_.spun_s() - spun_s;
    result_.messages = number_ - warm;
    return absl::OkStatus();
  }

 private:
  // Messages of one kind, at least two; the last is of the next kind.
  absl::Status Stretch(double seconds, Kind kind) {
    const auto ticks = static_cast<uint64_t>(seconds * 1e9 * load_.ticks_per_ns);
    const auto planned = static_cast<uint64_t>(seconds * load_.rate_hz);
    const uint64_t first = number_;
    const uint64_t begin = Ticks();
    for (bool last = false; !last;) {
      pacer_.Await();
      const uint64_t sent = number_ - first + 1;
      // A rate that can't be kept must not make the sample longer.
      last = sent > 1 && (Ticks() - begin >= ticks || (planned != 0 && sent >= planned));
      if (!One(last ? static_cast<Kind>(kind + 1) : kind)) {
        return absl::UnavailableError(transport_->error());
      }
    }
    return absl::OkStatus();
  }

  bool One(Kind kind) {
    Message message;
    message.number = number_++;
    message.kind = kind;
    message.sent_ticks = Ticks();
    if (transport_ == nullptr) return true;
    if (!Send(*transport_, message)) return false;
    if (load_.direction == Direction::kOneWay) return true;
    Message answer;
    if (!Receive(*transport_, &answer) || answer.number != message.number) return false;
    arena_.histogram.Add(Ticks() - message.sent_ticks);
    return true;
  }

  Transport* const transport_;  // nullptr: nothing is sent
  const Load load_;
  Arena& arena_;
  LoadResult& result_;
  Pacer pacer_;
  uint64_t number_ = 0;
};

absl::Status RunReceiver(Transport& transport, const Load& load, Arena& arena, LoadResult& result) {
  const bool answers = load.direction == Direction::kRoundTrip;
  Meter meter;
  Message message;
  for (uint64_t number = 0; message.kind != kLast; ++number) {
    if (!Receive(transport, &message)) return absl::UnavailableError(transport.error());
    const uint64_t now = Ticks();
    if (message.number != number) return absl::DataLossError("a message is missing");
    if (answers && !Send(transport, message)) return absl::UnavailableError(transport.error());
    if (message.kind == kLastOfWarmUp) {
      meter.Begin();
    } else if (message.kind >= kMeasured && !answers) {
      // The two counters may differ by a little.
      arena.histogram.Add(now > message.sent_ticks ? now - message.sent_ticks : 0);
    }
  }
  result.ends[static_cast<std::size_t>(Side::kReceiver)] = meter.End();
  return absl::OkStatus();
}

ChannelMode ModeOf(Preset preset) {
  ChannelMode mode;
  mode.waiting = preset == Preset::kPureSpin ? Waiting::kSpin : Waiting::kAdaptive;
  mode.wait = OptionsOf(preset);
  if (preset == Preset::kBalancedFutex) mode.doorbell = DoorbellKind::kFutex;
  mode.ring_bytes = kDefaultCapacityBytes;  // what a user gets who asks for nothing
  return mode;
}

}  // namespace

absl::StatusOr<LoadResult> RunLoad(const Load& load, Arena& arena) {
  Cell cell;
  cell.placement = Placement::kApart;
  cell.size_bytes = kLoadBytes;
  auto made = Transport::Create(cell, ModeOf(load.preset));
  if (!made.ok()) return made.status();
  const std::shared_ptr<Transport> transport = *std::move(made);
  const SharedValue<LoadResult> result;
  arena.histogram.Clear();
  const Body body = [transport, load, &arena, &result](Side side) -> absl::Status {
    if (load.preset == Preset::kControl) {
      if (side == Side::kReceiver) return absl::OkStatus();
      return SendingEnd(nullptr, load, arena, *result).Run();
    }
    if (absl::Status status = transport->Open(side); !status.ok()) return status;
    // No end closes the channel before the other has taken everything.
    arena.Meet();
    const absl::Status status = side == Side::kSender
                                    ? SendingEnd(transport.get(), load, arena, *result).Run()
                                    : RunReceiver(*transport, load, arena, *result);
    if (status.ok()) arena.Meet();
    return status;
  };
  PairOptions options;
  options.placement = cell.placement;
  options.limit = absl::Seconds(load.warm_up_s + load.measured_s + 30);
  if (absl::Status status = RunPair(body, arena, options, nullptr); !status.ok()) return status;
  return *result;
}

}  // namespace parley::bench

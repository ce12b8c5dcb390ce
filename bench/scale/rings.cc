// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/scale/rings.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "parley/bench/row.h"
#include "parley/bench/transports/channel.h"
#include "parley/bench/transports/shared_value.h"
#include "parley/handshake/options.h"
#include "parley/os/deadline.h"

namespace parley::bench {
namespace {

constexpr std::size_t kHeaderBytes = 8;  // of a record

using SetUpTimes = std::array<int64_t, 2>;  // ns, by side

// A channel, and how long each end took to open it.
class TimedChannel {
 public:
  using Inner = ChannelTransport<Moving::kInPlace>;

  TimedChannel(std::unique_ptr<Inner> channel, SetUpTimes& set_up_ns)
      : channel_(std::move(channel)), set_up_ns_(set_up_ns) {}

  absl::Status Open(Side side) {
    const int64_t begin_ns = MonotonicNowNs();
    absl::Status status = channel_->Open(side);
    set_up_ns_[static_cast<std::size_t>(side)] = MonotonicNowNs() - begin_ns;
    return status;
  }
  template <typename Fill>
  bool Send(std::size_t bytes, const Fill& fill) {
    return channel_->Send(bytes, fill);
  }
  template <typename Read>
  bool Receive(std::size_t bytes, const Read& read) {
    return channel_->Receive(bytes, read);
  }
  std::string error() const { return channel_->error(); }

 private:
  std::unique_ptr<Inner> channel_;
  SetUpTimes& set_up_ns_;
};

}  // namespace

bool Fits(std::size_t ring_bytes, std::size_t size_bytes) {
  return size_bytes + kHeaderBytes <= ring_bytes;
}

absl::StatusOr<RingSample> MeasureRing(std::size_t ring_bytes, std::size_t size_bytes,
                                       const SampleTimes& times) {
  const SharedValue<SetUpTimes> set_up_ns;
  ChannelMode mode;
  mode.ring_bytes = ring_bytes;
  mode.limits.max_capacity_bytes = std::max<uint64_t>(mode.limits.max_capacity_bytes, ring_bytes);
  const Row row = MakeRow("ring", "parley", Waiting::kSpin,
                          [&](const Cell& cell) -> absl::StatusOr<std::unique_ptr<TimedChannel>> {
                            auto channel = TimedChannel::Inner::Create(cell, mode);
                            if (!channel.ok()) return channel.status();
                            return std::make_unique<TimedChannel>(*std::move(channel), *set_up_ns);
                          });
  Cell cell;
  cell.size_bytes = size_bytes;
  const auto sample = TakeSample(row, cell, times);
  if (!sample.ok()) return sample.status();
  RingSample result;
  result.ring_bytes = ring_bytes;
  result.size_bytes = size_bytes;
  result.set_up_s = static_cast<double>(std::max((*set_up_ns)[0], (*set_up_ns)[1])) * 1e-9;
  result.message_ns = sample->mean_ns;
  result.probe = sample->probe;
  return result;
}

}  // namespace parley::bench

// SPDX-License-Identifier: Apache-2.0

// A WaitSet with a few channels, in any order of everything that can be done to it: registrations
// made, paused, resumed and reset; messages, closes, deaths and floods of signals; ports and
// registrations destroyed outside of a handler and in their own.
//
// Input: steps of two bytes, what and on which of the channels.
//
// What must hold, by rules of its own: no handler is called that nobody waits for; after any number
// of steps the set comes to rest; what a waiting port has then was told to its handler.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "parley/channel/channel.h"
#include "parley/channel/hostile_access.h"
#include "parley/os/check.h"
#include "parley/os/deadline.h"
#include "parley/testing/channel_pair.h"
#include "parley/testing/scripted_memory.h"
#include "parley/wait_set/wait_set.h"

namespace parley::fuzz {
namespace {

constexpr int kMaxSteps = 60;
constexpr int kMaxRounds = 1000;
constexpr int kTries = 3;

// One channel, of which the set has the receiver.
struct One {
  std::unique_ptr<testing::ChannelPair> pair;
  Registration data;  // after the pair: ends first
  WaitSet::Mode mode = WaitSet::Mode::kAlways;
  bool waits = false;
  bool closed = false;    // the peer's sending end
  bool destroys = false;  // its port, in the handler
  bool Lives() const { return static_cast<bool>(pair->accepting().receiver); }
};

class Run {
 public:
  explicit Run(testing::Script script) : script_(script) {
    for (One& one : all_) one.pair = *testing::ChannelPair::Create();
  }

  void Steps() {
    for (int i = 0; i < kMaxSteps && !script_.empty(); ++i) {
      const uint8_t what = script_.Take8();
      Step(what % 12, all_[script_.Take8() % all_.size()]);
    }
    int rounds = 0;
    while (set_->RunOnce(Deadline::AtMonotonicNs(0)) != WaitSet::Ran::kDeadline) {
      PARLEY_CHECK(++rounds < kMaxRounds, "the set does not come to rest");
    }
    for (One& one : all_) {
      if (!one.data || !one.waits || !one.Lives()) continue;
      PARLEY_CHECK(Take(one) != Outcome::kOk, "a message was not told");
    }
  }

 private:
  void Step(int what, One& one) {
    Channel& peer = one.pair->connecting();
    switch (what) {
      case 0:
      case 1:
        if (!one.Lives() || one.data) return;
        one.mode = what == 0 ? WaitSet::Mode::kAlways : WaitSet::Mode::kOnce;
        one.waits = what == 0;
        one.data = *set_->Add(
            one.pair->accepting().receiver.waitable(),
            [&](const absl::Status& status) { Told(one, status); }, one.mode);
        return;
      case 2:
        if (one.data) one.data.Pause();
        one.waits = false;
        return;
      case 3:
        if (!one.data) return;
        one.waits = true;
        return one.data.Resume();
      case 4:
        one.data.Reset();
        one.waits = false;
        return;
      case 5:
        if (peer.sender && !one.closed) static_cast<void>(peer.sender.TrySend(1, {}));
        return;
      case 6:
        if (peer.sender) peer.sender.Close();
        one.closed = true;
        return;
      case 7:
        peer = Channel();
        return;
      case 8:
        for (int i = 0; peer.sender && i < 20; ++i) HostileAccess::DoorbellOf(peer.sender).Signal();
        return;
      case 9:
        one.pair->accepting() = Channel();
        return;
      case 10:
        one.destroys = !one.destroys;
        return;
      default:
        set_->RunOnce(Deadline::AtMonotonicNs(0));
    }
  }
  Outcome Take(One& one) {
    Record record;
    return one.pair->accepting().receiver.TryReceive(absl::MakeSpan(buffer_), &record);
  }
  void Told(One& one, const absl::Status& status) {
    PARLEY_CHECK(one.data && one.waits, "a handler was called that nobody waits for");
    if (one.mode == WaitSet::Mode::kOnce) one.waits = false;
    // As whoever tries until an end: that is how a Try call learns of a death.
    for (int i = 0; i < kTries && status.ok() && one.Lives(); ++i) {
      if (Take(one) == Outcome::kClosed) break;
    }
    if (!one.destroys) return;
    one.pair->accepting() = Channel();
    one.data.Reset();
    one.waits = false;
  }

  testing::Script script_;
  std::vector<std::byte> buffer_ = std::vector<std::byte>(1 << 16);
  std::array<One, 3> all_;
  std::unique_ptr<WaitSet> set_ = *WaitSet::Create();
};

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  parley::fuzz::Run(parley::testing::Script(data, size)).Steps();
  return 0;
}

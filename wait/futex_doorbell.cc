// SPDX-License-Identifier: Apache-2.0
#include "parley/wait/futex_doorbell.h"

#include <poll.h>

#include <array>
#include <cstddef>
#include <vector>

#include "absl/types/span.h"
#include "parley/os/poll.h"
#include "parley/wait/futex.h"
#include "parley/wait/layout.h"

namespace parley {
namespace {

class FutexDoorbell final : public Doorbell {
 public:
  // `ours`: the word that we count in; `theirs`: the word that we sleep on.
  FutexDoorbell(OwnMemory own, PeerMemory peer, std::size_t ours, std::size_t theirs)
      : Doorbell(std::make_shared<internal::LocalWake>(-1)),
        own_(own),
        peer_(peer),
        ours_(ours),
        theirs_(theirs) {}

  void Signal() override {
    // PAIRS WITH: Prepare of the peer; and the kernel looks at it before it lets one sleep.
    own_.StoreRelease64(ours_, ++signals_);
    Futex::WakeOne(own_, ours_);
  }

  void Prepare() override {
    // PAIRS WITH: Signal of the peer: what it signalled for is seen by the poll that follows this.
    // TRUST: only compared for equality, by the kernel; a lie costs a wake-up, or a sleep's limit.
    seen_ = static_cast<uint32_t>(peer_.LoadAcquire64(theirs_).AnyValueIsAcceptable());
  }

  // In slices, which end when it is time to look for the peer's end: so a peer that never wakes us,
  // or that moves us to another word, costs a slice, and so does its death. By the clock and not
  // after each sleep, so that wake-ups without end (an heir may give them) hide no death either.
  bool Sleep(Deadline deadline) override {
    woken_ = false;
    const int64_t now_ns = MonotonicNowNs();
    if (now_ns >= next_poll_for_end_ns_) {
      next_poll_for_end_ns_ = now_ns + absl::ToInt64Nanoseconds(kMaxFutexSleep);
      if (PeerHasEnded()) return true;
    }
    if (!wake_->BeginSleep()) return true;
    const Deadline until = Deadline::AtMonotonicNs(next_poll_for_end_ns_).Or(deadline);
    switch (Futex::SleepWhile(peer_, theirs_, seen_, until.monotonic_ns())) {
      case Futex::Slept::kWoken:
      case Futex::Slept::kChanged:
        woken_ = true;
        break;
      case Futex::Slept::kTimedOut:
      case Futex::Slept::kFailed:
        break;
    }
    wake_->EndSleep();
    return woken_;
  }

  Drained Drain() override {
    if (ended_) return Drained::kPeerGone;
    return woken_ ? Drained::kSignalled : Drained::kQuiet;
  }

  Kind kind() const override { return Kind::kFutex; }
  int descriptor() override { return -1; }
  void BeginPolledSleep() override {}
  void EndPolledSleep() override {}
  void Throttle(int64_t) override {}
  void EndThrottle() override {}
  void AddDescriptors(std::vector<int>& all, std::vector<int>&) const override {
    for (const pollfd& end : ends_) all.push_back(end.fd);
  }
  void WatchForEnd(int connection, int pidfd) override {
    ends_ = {{{connection, POLLIN, 0}, {pidfd, POLLIN, 0}}};
  }
  bool PeerHasEnded() override {
    const auto ended = PollUntil(absl::MakeSpan(ends_), Deadline::AtMonotonicNs(0));
    ended_ = ended_ || (ended.ok() && *ended != 0);
    return ended_;
  }

 private:
  OwnMemory own_;
  PeerMemory peer_;
  const std::size_t ours_;
  const std::size_t theirs_;
  std::array<pollfd, 2> ends_ = {{{-1, POLLIN, 0}, {-1, POLLIN, 0}}};
  uint64_t signals_ = 0;  // what our word shows
  uint32_t seen_ = 0;     // the peer's count when the sleep was announced
  int64_t next_poll_for_end_ns_ = 0;
  bool woken_ = false;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<Doorbell> MakeSendersFutexDoorbell(OwnMemory own_control, PeerMemory peer_control) {
  return std::make_unique<FutexDoorbell>(own_control, peer_control, kDataSignalsOffset,
                                         kSpaceSignalsOffset);
}

std::unique_ptr<Doorbell> MakeReceiversFutexDoorbell(OwnMemory own_control,
                                                     PeerMemory peer_control) {
  return std::make_unique<FutexDoorbell>(own_control, peer_control, kSpaceSignalsOffset,
                                         kDataSignalsOffset);
}

}  // namespace parley

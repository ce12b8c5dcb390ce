// SPDX-License-Identifier: Apache-2.0

// RLIMIT_NOFILE reached, by every number of descriptors too few in turn, while peers come and go.

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "parley/endurance/conversation.h"
#include "parley/endurance/lane.h"
#include "parley/endurance/link.h"
#include "parley/endurance/parts.h"
#include "parley/endurance/shared.h"
#include "parley/endurance/survivor.h"
#include "parley/os/check.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/tests/child.h"

namespace parley::endurance {
namespace {

constexpr rlim_t kMaxSpare = 16;  // a channel needs fewer
constexpr int kPeers = 3;

class DescriptorLimit {
 public:
  DescriptorLimit() { PARLEY_CHECK(::getrlimit(RLIMIT_NOFILE, &before_) == 0, "getrlimit"); }
  // Leaves `spare` more than there are.
  void Lower(rlim_t spare) const {
    const UniqueFd lowest(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0));
    PARLEY_CHECK(lowest.ok(), "no descriptor left before the limit was lowered");
    const rlimit limit = {static_cast<rlim_t>(lowest.get()) + spare, before_.rlim_max};
    PARLEY_CHECK(::setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
  }
  void Lift() const { PARLEY_CHECK(::setrlimit(RLIMIT_NOFILE, &before_) == 0, "setrlimit"); }

 private:
  rlimit before_ = {};
};

// An error that tells the user what to do.
bool IsClear(const absl::Status& status) {
  return (absl::IsResourceExhausted(status) || absl::IsInvalidArgument(status)) &&
         status.message().find("ulimit -n") != absl::string_view::npos;
}

// What the survivor does with a channel: the accepting one answers, the connecting one asks.
absl::Status HaveSession(Link& link, Channel& channel, Diary& diary) {
  const Pace pace = {.messages = 3};
  return link.listener() != nullptr ? Answer(channel, diary, pace) : Converse(channel, diary, pace);
}

// Where the peers come in. The lane closes it before it looks around.
struct Door {
  std::atomic<uint32_t> open;
  std::atomic<uint32_t> inside;

  void Close() {
    open.store(0);
    while (inside.load() != 0) ::usleep(200);
  }
};

class FullTable {
 public:
  FullTable(Link link, const Options& options, Diary& diary, const Door& door)
      : link_(std::move(link)), options_(options), diary_(diary), door_(door) {}

  void Run() {
    diary_.Ready();
    for (rlim_t spare = 0; !diary_.Over(); spare = (spare + 1) % kMaxSpare) {
      link_.RestIfAsked(diary_);
      limit_.Lower(spare);
      const Deadline end = In(absl::Milliseconds(10));
      while (!end.Expired() && diary_.notes.end.load() == villain::End::kNone) TryOne();
      limit_.Lift();
      ServeOne();
      if (diary_.notes.end.load() != villain::End::kNone) return;
      Misbehave(options_.fault, diary_);
    }
  }

 private:
  // With too few descriptors, perhaps.
  void TryOne() {
    auto next = link_.Next(diary_, absl::Milliseconds(20));
    CheckLastFailure();
    if (!next.ok()) {
      if (!IsClear(next.status())) {
        return diary_.Wrong("an error that does not say what is wanting: " +
                            next.status().ToString());
      }
      diary_.refusals.fetch_add(1);
      ::usleep(500);
    } else if (*next) {
      Session(**next);
    }
  }

  // With enough of them again.
  void ServeOne() {
    const Deadline patience = Patience();
    const int64_t closes = diary_.closes.load();
    while (diary_.closes.load() == closes && door_.open.load() != 0) {
      if (patience.Expired()) return diary_.Wrong("nobody was served once the limit was lifted");
      auto next = link_.Next(diary_, absl::Milliseconds(500));
      if (!next.ok()) return diary_.Wrong("with descriptors again: " + next.status().ToString());
      if (*next) Session(**next);
    }
  }

  void Session(Channel& channel) {
    const int64_t messages = diary_.messages.load();
    const absl::Status end = HaveSession(link_, channel, diary_);
    if (end.ok()) {
      diary_.closes.fetch_add(1);
    } else if (!absl::IsUnavailable(end) || diary_.messages.load() != messages) {
      diary_.Wrong("a session ended with " + end.ToString());
    }
  }

  // Why the listener gave up a handshake.
  void CheckLastFailure() {
    ChannelListener* listener = link_.listener();
    if (listener == nullptr || listener->failures() == failures_) return;
    failures_ = listener->failures();
    const absl::Status& why = listener->last_failure();
    if (!IsClear(why) && !absl::IsUnavailable(why)) {
      diary_.Wrong("a handshake ended with " + why.ToString());
    }
    if (IsClear(why)) diary_.refusals.fetch_add(1);
  }

  Link link_;
  const Options& options_;
  Diary& diary_;
  const Door& door_;
  const DescriptorLimit limit_;
  uint64_t failures_ = 0;
};

// A peer: there is always one at the door.
int ComeAndGo(const LinkSetup& setup, bool connects, Door& door) {
  auto link = connects ? Link::Connecting(setup) : Link::Accepting(setup);
  if (!link.ok()) return 1;
  while (true) {
    door.inside.fetch_add(1);
    if (door.open.load() != 0) {
      auto channel = link->Next(In(absl::Seconds(1)));
      if (channel.ok() && connects) {
        static_cast<void>(Converse(*channel, NoDiary(), {.messages = 3}));
      } else if (channel.ok()) {
        static_cast<void>(Answer(*channel, NoDiary(), {}));
      }
    }
    door.inside.fetch_sub(1);
    ::usleep(200);
  }
}

class Crowd {
 public:
  Crowd(Lane& lane, bool survivor_accepts, bool eventfd) : lane_(lane), door_(*NewShared<Door>()) {
    setup_.name = lane.AbstractName();
    setup_.eventfd = eventfd;
    survivors_.push_back(std::make_unique<Survivor>(lane, [&](Diary& diary) {
      auto link = survivor_accepts ? Link::Accepting(setup_) : Link::Connecting(setup_);
      if (!link.ok()) return diary.Wrong(link.status().ToString());
      FullTable(*std::move(link), lane_.options(), diary, door_).Run();
    }));
    for (int i = 0; i < (survivor_accepts ? kPeers : 1); ++i) {
      peers_.emplace_back([&] { return ComeAndGo(setup_, survivor_accepts, door_); });
    }
  }

  void Run() {
    door_.open.store(1);
    if (!Served(static_cast<int64_t>(2 * kMaxSpare))) lane_.Fail("nobody was served at first");
    door_.Close();
    MeasureBefore(lane_, survivors_);
    door_.open.store(1);
    const std::atomic<int64_t>& refusals = survivors_[0]->diary().refusals;
    const int64_t refusals_before = refusals.load();
    const Deadline end = In(lane_.options().time);
    lane_.Expect(absl::ToInt64Milliseconds(lane_.options().time));
    const Deadline patience = Patience();
    while (Fine(survivors_)) {
      if (end.Expired() && (refusals.load() != refusals_before || patience.Expired())) break;
      ::usleep(10'000);
      lane_.Progress(absl::ToInt64Milliseconds(lane_.options().time - end.Remaining()));
    }
    lane_.row().count = refusals.load() - refusals_before;
    lane_.row().served_of = 20;
    if (Served(20)) lane_.row().served = 20;
    door_.Close();
    Conclude(lane_, survivors_);
    if (lane_.row().count == 0) lane_.Fail("the limit was never felt");
  }

 private:
  bool Served(int64_t count) {
    const std::atomic<int64_t>& closes = survivors_[0]->diary().closes;
    const int64_t wanted = closes.load() + count;
    const Deadline patience = Patience();
    while (closes.load() < wanted && Fine(survivors_) && !patience.Expired()) ::usleep(500);
    return closes.load() >= wanted;
  }

  Lane& lane_;
  Door& door_;
  LinkSetup setup_;
  Survivors survivors_;
  std::vector<Child> peers_;
};

}  // namespace

std::vector<LaneSpec> DescriptorLanes(const Options&) {
  std::vector<LaneSpec> lanes;
  for (const bool accepts : {true, false}) {
    for (const bool eventfd : {false, true}) {
      const std::string name = std::string(accepts ? "accepting" : "connecting") +
                               " side has too few, " + (eventfd ? "eventfd" : "socket");
      lanes.push_back({"descriptors", name, "refusals",
                       [=](Lane& lane) { Crowd(lane, accepts, eventfd).Run(); }});
    }
  }
  return lanes;
}

}  // namespace parley::endurance

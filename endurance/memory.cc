// SPDX-License-Identifier: Apache-2.0

// Memory control groups at their limit. The kernel charges a page of shared memory to the group of
// whoever touches it first, and the accepting side makes all pages of both regions before the peer
// hears of them: so it pays for them, and nothing that the peer does later can add to that.

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "parley/channel/hostile_access.h"
#include "parley/endurance/conversation.h"
#include "parley/endurance/lane.h"
#include "parley/endurance/link.h"
#include "parley/endurance/parts.h"
#include "parley/endurance/shared.h"
#include "parley/endurance/survivor.h"
#include "parley/handshake/connector.h"
#include "parley/handshake/listener.h"
#include "parley/os/deadline.h"
#include "parley/sandbox/memory_group.h"
#include "parley/tests/child.h"
#include "parley/wait/doorbell.h"

namespace parley::endurance {
namespace {

constexpr int64_t kMiB = 1 << 20;
constexpr RingRequest kLargeRing = {4 * kMiB, kMiB / 16};
// What a group may be charged on top in any case: the kernel charges in batches of 64 pages for
// each processor.
int64_t Tolerance(const Lane& lane) { return lane.options().growth_kb * 1024; }
constexpr int64_t kPeersLimit = 64 * kMiB;
constexpr RingRequest kRingBeyondThePeersLimit = {64 * kMiB, kMiB};

// What a hostile peer has done so far, and what the lane lets it do next.
struct Stage {
  std::atomic<uint32_t> reached;
  std::atomic<uint32_t> allowed;

  void Await(uint32_t step) const {
    while (allowed.load() < step) ::usleep(100);
  }
};
constexpr uint32_t kOpen = 1;
constexpr uint32_t kFilled = 2;
constexpr uint32_t kDone = 3;

// Everything that a peer may fill: its ring to the last byte, and the queues of the doorbells.
void FillEverything(Channel& channel) {
  const std::vector<std::byte> message(channel.sender.max_message_bytes());
  // The other end may take from it meanwhile.
  for (int i = 0; i < 1'000 && channel.sender.TrySend(kTag, message) == Outcome::kOk; ++i) {
  }
  for (int i = 0; i < 5'000 && channel.sender.TrySend(kTag, {}) == Outcome::kOk; ++i) {
  }
  for (int i = 0; i < 2'000; ++i) {
    HostileAccess::DoorbellOf(channel.sender).Signal();
    HostileAccess::DoorbellOf(channel.receiver).Signal();
  }
}

// Until the kernel has had enough.
[[noreturn]] void EatMemory() {
  while (true) {
    void* more = ::mmap(nullptr, kMiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (more == MAP_FAILED) ::_exit(30);
    std::memset(more, 1, kMiB);
  }
}

int BeHostile(const MemoryGroup& group, const LinkSetup& setup, bool connects, Stage& stage) {
  if (!group.Enter().ok()) return 31;
  auto link = connects ? Link::Connecting(setup) : Link::Accepting(setup);
  if (!link.ok()) return 32;
  auto channel = link->Next(Patience());
  if (!channel.ok()) return 33;
  stage.reached.store(kOpen);
  stage.Await(kOpen);
  FillEverything(*channel);
  stage.reached.store(kFilled);
  stage.Await(kFilled);
  EatMemory();
}

int BeHonest(const LinkSetup& setup, bool connects) {
  auto link = connects ? Link::Connecting(setup) : Link::Accepting(setup);
  if (!link.ok()) return 41;
  auto channel = link->Next(Patience());
  if (!channel.ok()) return 42;
  const absl::Status end =
      connects ? Converse(*channel, NoDiary(), {}) : Answer(*channel, NoDiary(), {});
  if (!connects && end.ok() && !channel->sender.AwaitDrained(Patience()).ok()) return 43;
  return end.ok() ? 0 : 44;
}

// Lets the peer do what it likes, then takes what there is, until the end.
absl::Status SufferTheHostile(Channel& channel, Diary& diary, const Stage& stage) {
  const Deadline patience = Patience();
  while (stage.allowed.load() < kFilled && !patience.Expired()) ::usleep(100);
  std::vector<std::byte> buffer(channel.receiver.max_message_bytes());
  while (true) {
    const villain::Call call(diary.notes, "Receive", Patience());
    const auto record = channel.receiver.Receive(absl::MakeSpan(buffer), call.deadline());
    if (!record.ok()) return record.status();
  }
}

constexpr char kHonest[] = "honest";
constexpr char kHostile[] = "hostile";

void BeSurvivor(const MemoryGroup& group, const LinkSetup& setup, bool accepts,
                const Options& options, const Stage& stage, Diary& diary) {
  if (absl::Status s = group.Enter(); !s.ok()) return diary.Wrong(s.ToString());
  auto link = accepts ? Link::Accepting(setup) : Link::Connecting(setup);
  if (!link.ok()) return diary.Wrong(link.status().ToString());
  diary.Ready();
  while (!diary.Over()) {
    link->RestIfAsked(diary);
    auto next = link->Next(diary, accepts ? absl::Milliseconds(5) : absl::Seconds(20));
    if (!next.ok()) return diary.Wrong(next.status().ToString());
    if (!*next) continue;
    Channel channel = **std::move(next);
    if (channel.peer_format == kHonest) {
      const absl::Status end = accepts ? Answer(channel, diary, {}) : Converse(channel, diary, {});
      if (!end.ok()) return diary.Wrong("an honest session ended with " + end.ToString());
      diary.closes.fetch_add(1);
    } else {
      const absl::Status end = SufferTheHostile(channel, diary, stage);
      // It rang for nothing, or it died.
      if (!absl::IsUnavailable(end) && !absl::IsDataLoss(end)) {
        return diary.Wrong("a hostile session ended with " + end.ToString());
      }
      diary.deaths.fetch_add(1);
    }
    Misbehave(options.fault, diary);
  }
}

absl::StatusOr<MemoryGroup> NewGroup(const Lane& lane, const char* whose, int64_t limit_bytes) {
  return MemoryGroup::Create(lane.options().tag + "-" + whose, limit_bytes);
}

// The hostile peer's group is full: it dies of that, and nobody else.
class PeersLimit {
 public:
  PeersLimit(Lane& lane, bool survivor_accepts, MemoryGroup ours, MemoryGroup theirs)
      : lane_(lane),
        accepts_(survivor_accepts),
        ours_(std::move(ours)),
        theirs_(std::move(theirs)),
        stage_(*NewShared<Stage>()) {
    setup_.name = lane.AbstractName();
    setup_.ring = kLargeRing;
    setup_.max_capacity_bytes = kRingBeyondThePeersLimit.capacity_bytes;
    survivors_.push_back(std::make_unique<Survivor>(lane, [&](Diary& diary) {
      BeSurvivor(ours_, setup_, accepts_, lane_.options(), stage_, diary);
    }));
  }

  void Run() {
    for (int i = 0; i < 2 && Fine(survivors_); ++i) OneRound();
    MeasureBefore(lane_, survivors_);
    const Deadline end = In(lane_.options().time);
    lane_.Expect(absl::ToInt64Milliseconds(lane_.options().time));
    while ((!end.Expired() || lane_.row().count < 2) && Fine(survivors_)) {
      OneRound();
      if (!accepts_ && Fine(survivors_)) TooPoorForItsOwnRegions();
      lane_.Progress(absl::ToInt64Milliseconds(lane_.options().time - end.Remaining()));
    }
    lane_.row().served_of = 5;
    for (int i = 0; i < 5 && Fine(survivors_); ++i) lane_.row().served += Served() ? 1 : 0;
    Report();
    Conclude(lane_, survivors_);
  }

 private:
  void OneRound() {
    const int64_t rest = ours_.Usage();
    const int64_t kills = theirs_.Kills();
    stage_.reached.store(0);
    stage_.allowed.store(0);
    LinkSetup setup = setup_;
    setup.format = kHostile;
    Child hostile([&] { return BeHostile(theirs_, setup, accepts_, stage_); });
    if (!AwaitStage(kOpen)) return;
    const int64_t open = ours_.Usage();
    stage_.allowed.store(kOpen);
    if (!AwaitStage(kFilled)) return;
    const int64_t filled = ours_.Usage();
    stage_.allowed.store(kFilled);
    const int status = hostile.Wait(Patience());
    if (status != 128 + SIGKILL || theirs_.Kills() <= kills) {
      return lane_.Fail("the hostile peer did not die of its group's limit: " +
                        std::to_string(status));
    }
    ++lane_.row().count;
    paid_for_regions_ = std::max(paid_for_regions_, open - rest);
    paid_for_filling_ = std::max(paid_for_filling_, filled - open);
    stage_.allowed.store(kDone);
    static_cast<void>(Served());
  }

  // An accepting side that has not the memory for what it must make is killed while it makes it.
  void TooPoorForItsOwnRegions() {
    const int64_t kills = theirs_.Kills();
    LinkSetup setup = setup_;
    setup.format = kHostile;
    setup.ring = kRingBeyondThePeersLimit;
    Child poor([&] { return BeHostile(theirs_, setup, false, stage_); });
    const int status = poor.Wait(Patience());
    if (status != 128 + SIGKILL || theirs_.Kills() <= kills) {
      return lane_.Fail("a peer made regions beyond its group's limit: " + std::to_string(status));
    }
    ++poor_;
    static_cast<void>(Served());
  }

  bool AwaitStage(uint32_t step) {
    const Deadline patience = Patience();
    while (stage_.reached.load() < step) {
      if (patience.Expired()) lane_.Fail("a hostile peer got no channel");
      if (!Fine(survivors_)) return false;
      ::usleep(200);
    }
    return true;
  }

  bool Served() {
    LinkSetup setup = setup_;
    setup.format = kHonest;
    const int status = Child([&] { return BeHonest(setup, accepts_); }).Wait(Patience());
    if (status != 0) lane_.Fail("an honest peer was not served: " + std::to_string(status));
    return status == 0;
  }

  void Report() {
    lane_.Figure("kB charged to the survivor for a channel", paid_for_regions_ / 1024);
    lane_.Figure("kB more when the peer filled all that it may", paid_for_filling_ / 1024);
    lane_.Figure("peak of the survivor's group in kB", ours_.Peak() / 1024);
    lane_.Figure("times it was at its limit", ours_.AtLimit());
    lane_.Figure("kills in it", ours_.Kills());
    lane_.Figure("kills in the peer's group", theirs_.Kills());
    if (!accepts_) lane_.Figure("peers too poor for their own regions", poor_);
    const auto regions = static_cast<int64_t>(2 * kLargeRing.capacity_bytes);
    if (ours_.Kills() != 0 || ours_.AtLimit() != 0) {
      lane_.Fail("the survivor's group was brought to its limit");
    }
    if (paid_for_filling_ > Tolerance(lane_)) {
      lane_.Fail("the survivor's group was charged for what the peer wrote");
    }
    if (paid_for_regions_ > (accepts_ ? regions : 0) + Tolerance(lane_)) {
      lane_.Fail("the survivor's group was charged for more than its regions");
    }
  }

  Lane& lane_;
  const bool accepts_;
  MemoryGroup ours_;
  MemoryGroup theirs_;
  Stage& stage_;
  LinkSetup setup_;
  Survivors survivors_;
  int64_t paid_for_regions_ = 0;
  int64_t paid_for_filling_ = 0;
  int64_t poor_ = 0;
};

void RunPeersLimit(Lane& lane, bool survivor_accepts) {
  auto ours = NewGroup(lane, "ours", 512 * kMiB);
  if (!ours.ok()) return lane.Skip(std::string(ours.status().message()));
  auto theirs = NewGroup(lane, "theirs", kPeersLimit);
  if (!theirs.ok()) return lane.Skip(std::string(theirs.status().message()));
  PeersLimit(lane, survivor_accepts, *std::move(ours), *std::move(theirs)).Run();
}

// --- the survivor's own limit -------------------------------------------------------------------

constexpr int kCrowd = 12;
constexpr RingRequest kCrowdRing = {kMiB, kMiB / 4};

// Takes all that come, and keeps each until it has ended.
void BeHost(const MemoryGroup& group, const LinkSetup& setup, Diary& diary) {
  if (absl::Status s = group.Enter(); !s.ok()) return diary.Wrong(s.ToString());
  AcceptOptions options = AcceptOptionsOf(setup);
  options.limits.max_capacity_bytes = kCrowdRing.capacity_bytes;
  auto listener = ChannelListener::Listen(setup.name, options, setup.limits);
  if (!listener.ok()) return diary.Wrong(listener.status().ToString());
  diary.Ready();
  std::vector<Channel> guests;
  std::vector<std::byte> buffer(kCrowdRing.capacity_bytes);
  while (!diary.Over()) {
    const bool rest = diary.RestWanted() && guests.empty();
    auto guest = [&] {
      const villain::Call call(diary.notes, "Accept", In(absl::Milliseconds(rest ? 20 : 2)));
      return listener->Accept(call.deadline());
    }();
    if (rest && absl::IsDeadlineExceeded(guest.status())) diary.Rest();
    diary.failures.store(static_cast<int64_t>(listener->failures()));
    if (guest.ok()) {
      diary.sessions.fetch_add(1);
      guests.push_back(*std::move(guest));
    } else if (!absl::IsDeadlineExceeded(guest.status())) {
      return diary.Wrong("Accept: " + guest.status().ToString());
    }
    std::erase_if(guests, [&](Channel& g) {
      absl::Status status;
      for (int i = 0; i < 5'000 && status.ok(); ++i) {
        const villain::Call short_call(diary.notes, "Receive", In(absl::Microseconds(100)));
        status = g.receiver.Receive(absl::MakeSpan(buffer), short_call.deadline()).status();
      }
      const bool gone = !status.ok() && !absl::IsDeadlineExceeded(status);
      if (gone) diary.deaths.fetch_add(1);
      return gone;
    });
  }
}

// A third stops in the middle of the handshake, a third asks for too much, the others fill all.
int BeGuest(const LinkSetup& setup, int which, std::atomic<uint32_t>& arrived) {
  auto socket = ConnectTo(setup.name, Patience());
  if (!socket.ok()) return 51;
  ConnectOptions options = ConnectOptionsOf(setup);
  options.send = kCrowdRing;
  options.receive = kCrowdRing;
  if (which % 3 == 0) {
    Hello hello;
    hello.roles = kRoleSends | kRoleReceives;
    hello.doorbells = kDoorbellSocket;
    hello.send = {kCrowdRing.capacity_bytes, kCrowdRing.max_message_bytes};
    hello.receive = hello.send;
    if (!socket->Send(EncodeHello(hello)).ok()) return 52;
    arrived.fetch_add(1);
    while (true) ::pause();
  }
  if (which % 3 == 1) options.send.capacity_bytes *= 2;
  auto channel = ConnectChannel(*std::move(socket), options, Patience());
  if (which % 3 == 1) {
    if (!absl::IsFailedPrecondition(channel.status())) return 53;
  } else {
    if (!channel.ok()) return 54;
    FillEverything(*channel);
  }
  arrived.fetch_add(1);
  while (true) ::pause();
}

void RunOwnLimit(Lane& lane) {
  auto group = NewGroup(lane, "ours", 512 * kMiB);
  if (!group.ok()) return lane.Skip(std::string(group.status().message()));
  LinkSetup setup;
  setup.name = lane.AbstractName();
  setup.ring = kCrowdRing;
  // The group's limit is what is tried here, not the listener's.
  setup.limits = {.max_pending = kCrowd,
                  .max_pending_of_user = kCrowd,
                  .handshake_time = absl::Seconds(20),
                  .max_unfinished = kCrowd,
                  .max_unfinished_of_user = kCrowd,
                  .max_unfinished_bytes_of_user = uint64_t{512} << 20,
                  .given_up_time = absl::Milliseconds(20)};
  Survivors survivors;
  survivors.push_back(
      std::make_unique<Survivor>(lane, [&](Diary& diary) { BeHost(*group, setup, diary); }));
  auto& arrived = *NewShared<std::atomic<uint32_t>>();
  const auto one_crowd = [&] {
    arrived.store(0);
    std::vector<Child> crowd;
    crowd.reserve(kCrowd);
    for (int i = 0; i < kCrowd; ++i) {
      crowd.emplace_back([&, i] { return BeGuest(setup, i, arrived); });
    }
    const Deadline patience = Patience();
    while (arrived.load() < kCrowd && Fine(survivors)) {
      if (patience.Expired()) lane.Fail("not all of the crowd came in");
      ::usleep(500);
    }
    ::usleep(20'000);
  };
  // The next crowd comes when the host has noticed the end of each of the last one: on a busy
  // machine the dead would take up the places of its limits, and somebody would hear "busy".
  int64_t gone = 0;
  const auto one_round = [&] {
    one_crowd();
    gone += kCrowd;
    const Diary& host = survivors[0]->diary();
    const Deadline patience = Patience();
    while (host.failures.load() + host.deaths.load() < gone && Fine(survivors)) {
      if (patience.Expired()) lane.Fail("the host did not notice the end of each of the crowd");
      ::usleep(500);
    }
  };
  if (Fine(survivors)) one_round();
  MeasureBefore(lane, survivors);
  // Two rings each, and two pages beside them.
  const int64_t page = ::getpagesize();
  const int64_t promised =
      kCrowd * 2 * (static_cast<int64_t>(kCrowdRing.capacity_bytes) + 2 * page);
  const int64_t rest = group->Usage();
  if (absl::Status s = group->SetLimit(rest + promised + 2 * Tolerance(lane)); !s.ok()) {
    lane.Fail(s.ToString());
  }
  const Deadline end = In(lane.options().time);
  lane.Expect(absl::ToInt64Milliseconds(lane.options().time));
  while ((!end.Expired() || lane.row().count < 2) && Fine(survivors)) {
    one_round();
    ++lane.row().count;
    lane.Progress(absl::ToInt64Milliseconds(lane.options().time - end.Remaining()));
  }
  lane.row().served_of = kCrowd * 2 / 3;
  const int64_t sessions = survivors[0]->diary().sessions.load();
  if (Fine(survivors)) one_round();
  lane.row().served =
      std::min(survivors[0]->diary().sessions.load() - sessions + kCrowd / 3, lane.row().served_of);
  lane.Figure("kB at rest", rest / 1024);
  lane.Figure("kB that the limits allow for the crowd", promised / 1024);
  lane.Figure("limit in kB", (rest + promised + 2 * Tolerance(lane)) / 1024);
  lane.Figure("peak in kB", group->Peak() / 1024);
  lane.Figure("times at the limit", group->AtLimit());
  lane.Figure("kills", group->Kills());
  if (group->Kills() != 0) lane.Fail("the crowd had the survivor killed");
  Conclude(lane, survivors);
}

// --- what a peer keeps --------------------------------------------------------------------------

constexpr int kKept = 100;

// Takes whoever comes and lets go of it at once.
void BeDropper(const MemoryGroup& group, const LinkSetup& setup, Diary& diary) {
  if (absl::Status s = group.Enter(); !s.ok()) return diary.Wrong(s.ToString());
  auto link = Link::Accepting(setup);
  if (!link.ok()) return diary.Wrong(link.status().ToString());
  diary.Ready();
  while (!diary.Over()) {
    link->RestIfAsked(diary);
    auto next = link->Next(diary, absl::Milliseconds(5));
    if (!next.ok()) return diary.Wrong(next.status().ToString());
    if (*next) diary.closes.fetch_add(1);
  }
}

// Keeps the mappings of all its channels, and nothing else.
int BeKeeper(const LinkSetup& setup, std::atomic<uint32_t>& kept) {
  std::vector<std::shared_ptr<Session>> channels;
  for (int i = 0; i < kKept; ++i) {
    auto socket = ConnectTo(setup.name, Patience());
    if (!socket.ok()) return 61;
    auto channel = ConnectHandshake(*std::move(socket), ConnectOptionsOf(setup), Patience());
    if (!channel.ok()) return 62;
    (*channel)->DropDescriptors();
    channels.push_back(*std::move(channel));
    kept.fetch_add(1);
  }
  while (true) ::pause();
}

// The kernel has no way to take a page back from somebody who has mapped it: what was made for a
// peer is charged to its maker for as long as that peer likes to live. With it, all of it goes.
void RunKeeper(Lane& lane) {
  auto group = NewGroup(lane, "ours", 512 * kMiB);
  if (!group.ok()) return lane.Skip(std::string(group.status().message()));
  LinkSetup setup;
  setup.name = lane.AbstractName();
  Survivors survivors;
  survivors.push_back(
      std::make_unique<Survivor>(lane, [&](Diary& diary) { BeDropper(*group, setup, diary); }));
  auto& kept = *NewShared<std::atomic<uint32_t>>();
  // The group's usage while the peer lives, and after it.
  const auto one_round = [&](int64_t* held) {
    kept.store(0);
    Child keeper([&] { return BeKeeper(setup, kept); });
    const Deadline patience = Patience();
    while (kept.load() < kKept && Fine(survivors)) {
      if (patience.Expired()) lane.Fail("a peer could not connect again and again");
      ::usleep(500);
    }
    *held = group->Usage();
    keeper.Kill();
  };
  int64_t held = 0;
  one_round(&held);
  MeasureBefore(lane, survivors);
  const int64_t rest = group->Usage();
  const Deadline end = In(lane.options().time);
  lane.Expect(absl::ToInt64Milliseconds(lane.options().time));
  int64_t max_held = 0;
  while ((!end.Expired() || lane.row().count < 2) && Fine(survivors)) {
    one_round(&held);
    max_held = std::max(max_held, held - rest);
    lane.row().count += kKept;
    lane.Progress(absl::ToInt64Milliseconds(lane.options().time - end.Remaining()));
  }
  lane.row().served_of = 5;
  for (int i = 0; i < 5 && Fine(survivors); ++i) {
    Child peer([&] {
      auto link = Link::Connecting(setup);
      return link.ok() && link->Next(Patience()).ok() ? 0 : 1;
    });
    if (peer.Wait(Patience()) == 0) ++lane.row().served;
  }
  Conclude(lane, survivors);
  const int64_t left = group->Usage() - rest;
  lane.Figure("kB charged for " + std::to_string(kKept) + " closed channels of a living peer",
              max_held / 1024);
  lane.Figure("kB left after its death", left / 1024);
  if (left > Tolerance(lane)) lane.Fail("memory is charged for a peer that is dead");
}

}  // namespace

std::vector<LaneSpec> MemoryLanes(const Options&) {
  return {
      {"memory", "peer's group full, accepting side lives", "kills by the kernel",
       [](Lane& lane) { RunPeersLimit(lane, true); }},
      {"memory", "peer's group full, connecting side lives", "kills by the kernel",
       [](Lane& lane) { RunPeersLimit(lane, false); }},
      {"memory", "no room in the survivor's group", "crowds", RunOwnLimit},
      {"memory", "a peer that keeps closed channels", "channels", RunKeeper},
  };
}

}  // namespace parley::endurance

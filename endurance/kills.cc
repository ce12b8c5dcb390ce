// SPDX-License-Identifier: Apache-2.0

// SIGKILL at random points. For each lane one survivor that lives through all of it, and one victim
// after the other. What a session is about stands in the format blob that the victim sends.

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cstdint>
#include <cstdio>
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
#include "parley/os/deadline.h"
#include "parley/os/poll.h"
#include "parley/tests/child.h"

namespace parley::endurance {
namespace {

// What the victim does, as both ends know it.
enum class Mode : char {
  kSends = 's',   // sends; the survivor receives
  kPolled = 'p',  // sends; the survivor receives in an event loop
  kTakes = 't',   // receives; the survivor sends
  kEchoes = 'e',  // sends back what the survivor sends
  kSilent = 'q',  // waits for a survivor that waits, too
  kFull = 'f',    // lets the ring fill up; the survivor waits for room
  kCloses = 'c',  // says a little and closes
  kHonest = 'h',  // is not killed
};

// Where the victim is. In this order for each victim, with gaps.
enum class Phase : uint32_t { kStarting, kHandshake, kStreaming, kWaiting, kClosing, kDone };
constexpr std::array<const char*, 6> kPhaseNames = {
    "killed at its start",  "killed in the handshake", "killed while streaming",
    "killed while waiting", "killed while closing",    "killed after its close"};

// One victim's, shared by the lane, the survivor and itself.
struct Slot {
  std::atomic<uint64_t> number;
  std::atomic<Phase> phase;
  std::atomic<uint64_t> committed;    // the last message whose Send returned
  std::atomic<int64_t> killed_ns;     // when it was killed; 0: not yet
  std::atomic<int64_t> handshake_ns;  // how long its handshake took; 0: not done
  std::atomic<int64_t> closing_ns;
};
constexpr std::size_t kSlots = 256;
using Slots = std::array<Slot, kSlots>;

struct KillSetup {
  bool victim_connects = true;
  bool eventfd = false;
  bool file = false;  // a socket file, not an abstract name
  int64_t kills = 0;
};

std::string FormatOf(uint64_t number, Mode mode) {
  return std::string(1, static_cast<char>(mode)) + std::to_string(number);
}

// --- the victim ---------------------------------------------------------------------------------

absl::Status SendForEver(Talk& talk, Slot& slot) {
  std::vector<std::byte> message;
  for (uint64_t number = 1;; ++number) {
    FillMessage(number, &message);
    if (absl::Status s = talk.Send(message); !s.ok()) return s;
    slot.committed.store(number);
  }
}

absl::Status TakeForEver(Talk& talk) {
  while (true) {
    if (const auto number = talk.Receive(); !number.ok()) return number.status();
  }
}

absl::Status Close(Channel& channel, Talk& talk, Slot& slot) {
  std::vector<std::byte> message;
  for (uint64_t number = 1; number <= 5; ++number) {
    FillMessage(number, &message);
    if (absl::Status s = talk.Send(message); !s.ok()) return s;
    slot.committed.store(number);
  }
  slot.closing_ns.store(MonotonicNowNs());
  slot.phase.store(Phase::kClosing);
  channel.sender.Close();
  if (absl::Status s = channel.sender.AwaitDrained(Patience()); !s.ok()) return s;
  return talk.AwaitEnd();
}

// What it returns is only of interest if it was not killed.
int BeVictim(const KillSetup& setup, LinkSetup link_setup, uint64_t number, Mode mode, Slot& slot) {
  const auto began_ns = MonotonicNowNs();
  link_setup.format = FormatOf(number, mode);
  auto link = setup.victim_connects ? Link::Connecting(link_setup) : Link::Accepting(link_setup);
  if (!link.ok()) return 10;
  slot.phase.store(Phase::kHandshake);
  absl::Status status;
  {
    auto channel = link->Next(Patience());
    if (!channel.ok()) {
      std::fprintf(stderr, "%s\n", channel.status().ToString().c_str());
      return 11;
    }
    slot.handshake_ns.store(MonotonicNowNs() - began_ns);
    Talk talk(*channel, NoDiary(), {});
    const bool waits = mode == Mode::kSilent || mode == Mode::kFull;
    slot.phase.store(waits ? Phase::kWaiting : Phase::kStreaming);
    switch (mode) {
      case Mode::kSends:
      case Mode::kPolled:
        status = SendForEver(talk, slot);
        break;
      case Mode::kTakes:
        status = TakeForEver(talk);
        break;
      case Mode::kSilent:
        status = talk.Receive().status();
        break;
      case Mode::kFull:
        while (true) ::pause();
      case Mode::kCloses:
        status = Close(*channel, talk, slot);
        break;
      case Mode::kEchoes:
      case Mode::kHonest:
        status = Answer(*channel, NoDiary(), {});
        if (status.ok()) status = channel->sender.AwaitDrained(Patience());
        break;
    }
  }
  if (mode == Mode::kCloses) slot.closing_ns.store(MonotonicNowNs() - slot.closing_ns.load());
  slot.phase.store(Phase::kDone);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 12;
}

// --- the survivor -------------------------------------------------------------------------------

// A session as the survivor has it.
struct Session {
  Channel& channel;
  Diary& diary;
  Talk talk;
  uint64_t received = 0;  // the last number
};

absl::Status Numbered(Session& s, const absl::StatusOr<uint64_t>& number) {
  if (!number.ok()) return number.status();
  if (*number != s.received + 1) return absl::DataLossError("a message was lost or came twice");
  ++s.received;
  return absl::OkStatus();
}

absl::Status ReceiveAll(Session& s) {
  while (true) {
    if (absl::Status status = Numbered(s, s.talk.Receive()); !status.ok()) return status;
  }
}

// As ReceiveAll, by polling the channel's descriptor.
absl::Status ReceiveAllPolled(Session& s) {
  std::vector<std::byte> buffer(s.channel.receiver.max_message_bytes());
  absl::Status finished;
  while (true) {
    Record record;
    const Outcome outcome = s.channel.receiver.TryReceive(absl::MakeSpan(buffer), &record);
    if (outcome == Outcome::kOk) {
      const uint64_t number = CheckMessage(absl::MakeConstSpan(buffer).first(record.size_bytes));
      if (absl::Status status = Numbered(s, number); !status.ok()) return status;
      s.diary.messages.fetch_add(1);
      continue;
    }
    if (outcome == Outcome::kClosed) return absl::OutOfRangeError("the end");
    if (outcome == Outcome::kPoisoned) return absl::DataLossError("poisoned");
    if (!finished.ok()) return finished;
    if (!s.channel.receiver.PrepareToWait()) continue;
    const villain::Call call(s.diary.notes, "poll", Patience());
    pollfd entry = {s.channel.receiver.descriptor(), POLLIN, 0};
    const auto ready = PollUntil(absl::MakeSpan(&entry, 1), call.deadline());
    if (!ready.ok()) return ready.status();
    if (*ready == 0) return absl::DeadlineExceededError("an event loop was told nothing");
    finished = s.channel.receiver.FinishWait();
  }
}

absl::Status SendAll(Session& s) {
  std::vector<std::byte> message;
  for (uint64_t number = 1;; ++number) {
    FillMessage(number, &message);
    if (absl::Status status = s.talk.Send(message); !status.ok()) return status;
  }
}

absl::Status SendAndReceive(Session& s) {
  std::vector<std::byte> message;
  while (true) {
    FillMessage(s.received + 1, &message);
    if (absl::Status status = s.talk.Send(message); !status.ok()) return status;
    if (absl::Status status = Numbered(s, s.talk.Receive()); !status.ok()) return status;
  }
}

// Takes its time, so that the victim's close lasts long enough to be killed in.
absl::Status ReceiveAndClose(Session& s, uint64_t number) {
  absl::Status status;
  while (status.ok()) {
    ::usleep(number % 4 * 150);
    status = Numbered(s, s.talk.Receive());
  }
  if (!absl::IsOutOfRange(status)) return status;
  ::usleep(number % 4 * 150);
  s.channel.sender.Close();
  const villain::Call call(s.diary.notes, "AwaitDrained", Patience());
  const absl::Status drained = s.channel.sender.AwaitDrained(call.deadline());
  return drained.ok() ? status : drained;
}

// Short deadlines, so that many are reached before the death.
Pace PaceOf(Mode mode, uint64_t number) {
  if (mode != Mode::kSilent && mode != Mode::kFull) return {};
  return {.shortest = absl::Microseconds(50), .longest = absl::Milliseconds(3), .seed = number};
}

absl::Status HaveSession(Session& s, Mode mode, uint64_t number) {
  switch (mode) {
    case Mode::kSends:
      return ReceiveAll(s);
    case Mode::kPolled:
      return ReceiveAllPolled(s);
    case Mode::kTakes:
    case Mode::kFull:
      return SendAll(s);
    case Mode::kSilent:
      return s.talk.Receive().status();
    case Mode::kEchoes:
      return SendAndReceive(s);
    case Mode::kCloses:
      return ReceiveAndClose(s, number);
    case Mode::kHonest:
      return Converse(s.channel, s.diary, {});
  }
  return absl::InternalError("a session of an unknown kind");
}

// What the end of a session must be like, given what became of the victim.
void JudgeSession(const Session& s, Mode mode, const absl::Status& end, const Slot& slot,
                  uint64_t number) {
  const int64_t now_ns = MonotonicNowNs();
  if (end.ok() || absl::IsOutOfRange(end)) {
    s.diary.closes.fetch_add(1);
    return;
  }
  if (!absl::IsUnavailable(end)) {
    s.diary.Wrong("a session of kind '" + std::string(1, static_cast<char>(mode)) +
                  "' ended with " + end.ToString());
    return;
  }
  s.diary.deaths.fetch_add(1);
  if (slot.number.load() != number) return;  // the lane is far ahead
  const int64_t killed_ns = slot.killed_ns.load();
  if (killed_ns == 0 && slot.phase.load() != Phase::kDone) {
    s.diary.Wrong("a peer that lives was called dead: " + end.ToString());
    return;
  }
  if (killed_ns != 0) Raise(s.diary.max_notice_ns, now_ns - killed_ns);
  const bool all_was_for_us = mode == Mode::kSends || mode == Mode::kPolled;
  const uint64_t committed = slot.committed.load();
  // It may have been killed between sending and counting.
  if (all_was_for_us && (s.received < committed || s.received > committed + 1)) {
    s.diary.Wrong("the dead peer had sent " + std::to_string(committed) + " messages, and " +
                  std::to_string(s.received) + " came");
  }
}

void BeSurvivor(const KillSetup& setup, const LinkSetup& link_setup, const Options& options,
                Slots& slots, Diary& diary) {
  auto link = setup.victim_connects ? Link::Accepting(link_setup) : Link::Connecting(link_setup);
  if (!link.ok()) return diary.Wrong(link.status().ToString());
  diary.Ready();
  while (!diary.Over()) {
    link->RestIfAsked(diary);
    auto next =
        link->Next(diary, setup.victim_connects ? absl::Milliseconds(5) : absl::Seconds(20));
    if (!next.ok()) return diary.Wrong(next.status().ToString());
    if (!*next) continue;
    Channel channel = **std::move(next);
    const std::string& format = channel.peer_format;
    uint64_t number = 0;
    if (format.size() < 2 ||
        std::from_chars(format.data() + 1, format.data() + format.size(), number).ec !=
            std::errc()) {
      return diary.Wrong("a format that nobody sent: " + format);
    }
    const auto mode = static_cast<Mode>(format[0]);
    Session session{channel, diary, Talk(channel, diary, PaceOf(mode, number))};
    const absl::Status end = HaveSession(session, mode, number);
    JudgeSession(session, mode, end, slots[number % kSlots], number);
    Misbehave(options.fault, diary);
  }
}

// --- the lane -----------------------------------------------------------------------------------

void Pause(int64_t us) {
  const int64_t end_ns = MonotonicNowNs() + us * 1000;
  if (us > 150) ::usleep(static_cast<useconds_t>(us - 100));
  while (MonotonicNowNs() < end_ns) {
  }
}

class Killer {
 public:
  Killer(Lane& lane, const KillSetup& setup)
      : lane_(lane), setup_(setup), slots_(*NewShared<Slots>()) {
    link_setup_.name = setup.file ? lane.SocketPath() : lane.AbstractName();
    link_setup_.eventfd = setup.eventfd;
    survivors_.push_back(std::make_unique<Survivor>(lane, [&](Diary& diary) {
      BeSurvivor(setup_, link_setup_, lane_.options(), slots_, diary);
    }));
  }

  void Run() {
    // What is allocated once for all has been allocated after these.
    const auto first = std::clamp<int64_t>(setup_.kills / 4, 8, 40);
    for (int64_t i = 0; i < first && Fine(survivors_); ++i) static_cast<void>(KillOne());
    if (!lane_.failed()) ServeOne();
    MeasureBefore(lane_, survivors_);
    killed_in_ = {};
    while (lane_.row().count < setup_.kills && Fine(survivors_)) {
      if (KillOne()) lane_.Progress(++lane_.row().count);
    }
    lane_.row().served_of = std::clamp<int64_t>(setup_.kills / 5, 5, 20);
    for (int64_t i = 0; i < lane_.row().served_of && Fine(survivors_); ++i) {
      if (ServeOne()) ++lane_.row().served;
    }
    for (std::size_t i = 0; i < kPhaseNames.size(); ++i) {
      if (killed_in_[i] != 0) lane_.Figure(kPhaseNames[i], killed_in_[i]);
    }
    lane_.Figure("victims that ended before the kill", too_late_);
    Conclude(lane_, survivors_);
    if (!lane_.failed()) JudgeSpread();
    if (setup_.file) ::unlink(link_setup_.name.c_str());
  }

 private:
  Slot& NewSlot() {
    Slot& slot = slots_[++number_ % kSlots];
    slot.number.store(0);
    slot.phase.store(Phase::kStarting);
    slot.committed.store(0);
    slot.killed_ns.store(0);
    slot.handshake_ns.store(0);
    slot.closing_ns.store(0);
    slot.number.store(number_);
    return slot;
  }

  Child Start(Mode mode, Slot& slot) {
    return Child([&] { return BeVictim(setup_, link_setup_, number_, mode, slot); });
  }

  // How long after the phase has begun, at most. What takes a time that is known is hit all over.
  int64_t MaxDelayUs(Phase phase) const {
    switch (phase) {
      case Phase::kStarting:
        return 300;
      case Phase::kHandshake:
        return handshake_us_ + handshake_us_ / 4;
      case Phase::kClosing:
        return closing_us_ + closing_us_ / 4;
      default:
        return 3000;
    }
  }

  Mode ModeFor(Phase phase) {
    constexpr std::array<Mode, 4> kStreams = {Mode::kSends, Mode::kPolled, Mode::kTakes,
                                              Mode::kEchoes};
    constexpr std::array<Mode, 2> kWaits = {Mode::kSilent, Mode::kFull};
    if (phase == Phase::kClosing) return Mode::kCloses;
    if (phase == Phase::kWaiting) return kWaits[static_cast<std::size_t>(lane_.Random(1))];
    return kStreams[static_cast<std::size_t>(lane_.Random(3))];
  }

  // False if the victim's end came first.
  bool KillOne() {
    const auto phase = static_cast<Phase>(lane_.Random(4));
    const Mode mode = ModeFor(phase);
    Slot& slot = NewSlot();
    Child victim = Start(mode, slot);
    const Deadline patience = Patience();
    while (slot.phase.load() < phase && !patience.Expired() && Fine(survivors_)) Pause(20);
    Pause(lane_.Random(MaxDelayUs(phase)));
    slot.killed_ns.store(MonotonicNowNs());
    victim.Signal(SIGKILL);
    const int status = victim.Wait(Patience());
    if (const int64_t ns = slot.handshake_ns.load(); ns != 0) {
      handshake_us_ = (handshake_us_ * 15 + ns / 1000) / 16;
    }
    if (status == 128 + SIGKILL) {
      ++killed_in_[static_cast<std::size_t>(slot.phase.load())];
      return true;
    }
    if (status != 0) lane_.Fail("a victim ended by itself with " + std::to_string(status));
    ++too_late_;
    if (phase == Phase::kClosing && slot.phase.load() == Phase::kDone) {
      closing_us_ = (closing_us_ * 7 + slot.closing_ns.load() / 1000) / 8;
    }
    return false;
  }

  bool ServeOne() {
    Slot& slot = NewSlot();
    Child peer = Start(Mode::kHonest, slot);
    const int status = peer.Wait(Patience());
    if (status != 0) {
      lane_.Fail("an honest peer was not served: " + std::to_string(status));
    }
    return status == 0;
  }

  // Kills that all happen at the same point would prove little.
  void JudgeSpread() {
    if (lane_.row().count < 100) return;
    for (const Phase phase : {Phase::kStarting, Phase::kHandshake, Phase::kStreaming,
                              Phase::kWaiting, Phase::kClosing}) {
      const int64_t here = killed_in_[static_cast<std::size_t>(phase)];
      if (here * 100 < lane_.row().count) {
        lane_.Fail(std::string("too few were ") + kPhaseNames[static_cast<std::size_t>(phase)] +
                   ": " + std::to_string(here));
      }
    }
  }

  Lane& lane_;
  const KillSetup setup_;
  Slots& slots_;
  LinkSetup link_setup_;
  Survivors survivors_;
  uint64_t number_ = 0;
  int64_t handshake_us_ = 1000;
  int64_t closing_us_ = 500;
  std::array<int64_t, kPhaseNames.size()> killed_in_ = {};
  int64_t too_late_ = 0;
};

}  // namespace

std::vector<LaneSpec> KillLanes(const Options& options) {
  std::vector<LaneSpec> lanes;
  constexpr int64_t kLanes = 8;
  for (int64_t i = 0; i < kLanes; ++i) {
    KillSetup setup;
    setup.victim_connects = i / 4 == 0;
    setup.eventfd = i % 2 == 1;
    setup.file = i / 2 % 2 == 1;
    setup.kills = (i + 1) * options.kills / kLanes - i * options.kills / kLanes;
    const std::string name = std::string(setup.victim_connects ? "connecting" : "accepting") +
                             " side dies, " + (setup.eventfd ? "eventfd" : "socket") + ", " +
                             (setup.file ? "file" : "abstract");
    lanes.push_back({"kills", name, "kills", [setup](Lane& lane) {
                       lane.Expect(setup.kills);
                       Killer(lane, setup).Run();
                     }});
  }
  return lanes;
}

}  // namespace parley::endurance

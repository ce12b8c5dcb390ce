// SPDX-License-Identifier: Apache-2.0
#include "parley/villain/victims.h"

#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "parley/channel/channel.h"
#include "parley/frames/frame_fan_out.h"
#include "parley/frames/frame_receiver.h"
#include "parley/frames/frame_sender.h"
#include "parley/frames/frame_wire.h"
#include "parley/handshake/session.h"
#include "parley/media/incoming_stream.h"
#include "parley/media/pcm.h"
#include "parley/os/poll.h"
#include "parley/patterns/latest/latest.h"
#include "parley/ring/layout.h"
#include "parley/sandbox/confine.h"
#include "parley/sandbox/profile.h"
#include "parley/sealing/sealed_blob.h"
#include "parley/shm/broadcast.h"
#include "parley/villain/lateness.h"
#include "parley/wait/signaller.h"
#include "parley/wait/wait_options.h"
#include "parley/wait_set/wait_set.h"

namespace parley::villain {
namespace {

Deadline InMs(int64_t ms) { return Deadline::After(absl::Milliseconds(ms)); }

// How a session ended; nothing while it goes on.
struct Ending {
  End end = End::kNone;
  std::string why;
};
std::optional<Ending> EndingOf(const absl::Status& status) {
  if (status.ok() || absl::IsDeadlineExceeded(status)) return std::nullopt;
  const std::string text = status.ToString();
  if (absl::IsDataLoss(status)) return Ending{End::kPoisoned, text};
  if (absl::IsUnavailable(status)) return Ending{End::kPeerGone, text};
  if (absl::IsOutOfRange(status)) return Ending{End::kStreamEnded, text};
  return Ending{End::kWrong, "a status that no wait may give: " + text};
}

// No channel came to be. Each of these is a clear answer; anything else is none.
Ending EndingOfHandshake(const absl::Status& status) {
  const std::string text = status.ToString();
  switch (status.code()) {
    case absl::StatusCode::kDeadlineExceeded:
      return {End::kTimedOut, text};
    case absl::StatusCode::kUnavailable:
      return {End::kPeerGone, text};
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kResourceExhausted:
      return {End::kRefused, text};
    default:
      return {End::kWrong, "a status that no handshake may give: " + text};
  }
}

// A receiver of pictures and sound as a viewer has it.
class Viewer {
 public:
  explicit Viewer(bool boundless)
      : video_(StreamKind::kVideo, LimitsOf(boundless), 0),
        audio_(StreamKind::kAudio, LimitsOf(boundless), 0) {}

  // kDataLoss: the peer is to be dropped. `*wrong` says what got past the checks.
  absl::Status Take(uint32_t tag, absl::Span<std::byte> message, std::string* wrong) {
    if (tag == kFormatTag) return video_.OnFormat(message);
    if (tag == kAudioFormatTag) return audio_.OnFormat(message);
    if (tag != kVideoTag && tag != kAudioTag) return absl::DataLossError("unknown record");
    auto frame = (tag == kVideoTag ? video_ : audio_).OnFrame(message);
    if (!frame.ok()) return frame.status();
    const auto payload = message.subspan(kFrameHeaderBytes);
    for (std::size_t i = 0; i < frame->plane_count; ++i) {
      const Plane& plane = frame->planes[i];
      if (uint64_t{plane.offset_bytes} + plane.size_bytes > payload.size()) {
        *wrong = "a plane outside of the payload";
        return absl::OkStatus();
      }
    }
    if (tag == kAudioTag) *wrong = Play(payload);
    return absl::OkStatus();
  }

 private:
  // 65536 x 65537 pictures of one byte each are 2^32 + 65536 bytes: 65536 for 32 bits.
  static IncomingLimits LimitsOf(bool boundless) {
    IncomingLimits limits;
    limits.max_format_changes = 100;  // so that an attack reaches it soon
    if (!boundless) return limits;
    limits.format.max_width = limits.format.max_height = ~uint32_t{0};
    limits.format.max_frame_bytes = uint64_t{1} << 32;
    return limits;
  }
  static std::string Play(absl::Span<std::byte> samples) {
    SanitizeF32(samples, 1.0f);
    for (std::size_t at = 0; at + sizeof(float) <= samples.size(); at += sizeof(float)) {
      float sample = 0;
      std::memcpy(&sample, samples.data() + at, sizeof(sample));
      if (!std::isfinite(sample) || std::fabs(sample) > 1.0f) return "an unplayable sample";
      static_cast<void>(S16FromF32(sample));
    }
    return "";
  }

  IncomingStream video_;
  IncomingStream audio_;
};

// One session: both directions, in every way that there is.
class Session {
 public:
  Session(Victim& victim, Channel& channel)
      : victim_(victim),
        channel_(channel),
        viewer_(victim.setup.open_options),
        buffer_(channel.receiver.max_message_bytes() + 64, kCanary) {}

  Ending Run() {
    switch (victim_.setup.style) {
      case Style::kBlocking:
        return RunBlocking();
      case Style::kTry:
        return RunTries();
      case Style::kEventLoop:
        return RunLoop();
      case Style::kWaitSet:
        return RunWaitSet();
      case Style::kTwoThreads:
        return RunThreads();
    }
    return {End::kWrong, "no such style"};
  }

 private:
  Ending RunBlocking() {
    for (uint64_t round = 0; victim_.notes.enough.load() == 0; ++round) {
      for (auto step :
           {&Session::Receive, &Session::Send, &Session::Sundry, &Session::ReadLatest}) {
        std::optional<Ending> ending = (this->*step)(round);
        if (ending) return *std::move(ending);
      }
    }
    return {End::kServed, "until the end of the attack"};
  }

  // What ends a session of Try calls; nothing while it goes on.
  std::optional<Ending> EndingOf(Outcome outcome) const {
    if (outcome == Outcome::kClosed) return Ending{End::kStreamEnded, "closed"};
    if (outcome != Outcome::kPoisoned) return std::nullopt;
    const Violation mine = channel_.receiver.violation();
    return Ending{End::kPoisoned,
                  ToString(mine != Violation::kNone ? mine : channel_.sender.violation())};
  }
  std::optional<Ending> EndingOf(const absl::Status& status) const {
    return parley::villain::EndingOf(status);
  }

  // A Try call is to be back at once.
  std::optional<Ending> TryBoth(absl::Span<const std::byte> payload, bool* sent) {
    Outcome outcome;
    {
      Call call(victim_.notes, "TrySend", InMs(0));
      outcome = channel_.sender.TrySend(7, payload);
    }
    *sent = outcome == Outcome::kOk;
    if (*sent) victim_.notes.messages.fetch_add(1);
    if (auto ending = EndingOf(outcome)) return ending;
    Record record;
    {
      Call call(victim_.notes, "TryReceive", InMs(0));
      const auto into = absl::MakeSpan(buffer_).first(channel_.receiver.max_message_bytes());
      outcome = channel_.receiver.TryReceive(into, &record);
    }
    if (outcome == Outcome::kOk) victim_.notes.messages.fetch_add(1);
    return EndingOf(outcome);
  }

  Ending RunTries() {
    static constexpr std::array<std::byte, 61> kPayload = {};
    while (victim_.notes.enough.load() == 0) {
      bool sent = false;
      if (auto ending = TryBoth(kPayload, &sent)) return *std::move(ending);
      ::usleep(1000);
    }
    return {End::kServed, "until the end of the attack"};
  }

  // Messages as long as they may be, so that it has to wait for free space.
  Ending RunLoop() {
    const std::vector<std::byte> payload(channel_.sender.max_message_bytes());
    while (victim_.notes.enough.load() == 0) {
      bool sent = false;
      if (auto ending = TryBoth(payload, &sent)) return *std::move(ending);
      if (sent) continue;
      Call call(victim_.notes, "a round of an event loop", InMs(100));
      if (!channel_.sender.PrepareToWait(payload.size())) continue;
      if (!channel_.receiver.PrepareToWait()) continue;
      std::array<pollfd, 2> polled = {
          {{channel_.sender.descriptor(), POLLIN, 0}, {channel_.receiver.descriptor(), POLLIN, 0}}};
      const uint64_t before = victim_.notes.messages.load();
      static_cast<void>(PollUntil(absl::MakeSpan(polled), call.deadline()));
      if (before == messages_at_wait_) call.BroughtNothing();
      messages_at_wait_ = before;
      if (auto ending = EndingOf(channel_.receiver.FinishWait())) return *std::move(ending);
      if (auto ending = EndingOf(channel_.sender.FinishWait(payload.size()))) {
        return *std::move(ending);
      }
    }
    return {End::kServed, "until the end of the attack"};
  }

  // The timer stands for everything else that a server does: it is to come in time. Once the
  // channel has ended its ports stay registered for a while, and are to cost nothing.
  Ending RunWaitSet() {
    auto made = WaitSet::Create();
    if (!made.ok()) return {End::kWrong, made.status().ToString()};
    WaitSet& set = **made;
    std::optional<Ending> ending;
    const std::vector<std::byte> payload(channel_.sender.max_message_bytes());
    Registration space;
    const auto serve = [&](const absl::Status& status) {
      if (!ending && !status.ok()) ending = EndingOf(status);
      for (int i = 0; i < 16 && !ending; ++i) {
        const uint64_t before = victim_.notes.messages.load();
        bool sent = false;
        ending = TryBoth(payload, &sent);
        if (!sent && !ending) space.Resume();
        if (victim_.notes.messages.load() == before) return;
      }
    };
    Deadline due = InMs(10);
    Registration tick;
    tick = set.AddTimer([&](const absl::Status&) {
      {
        const Call call(victim_.notes, "a timer beside it", due);
      }
      due = InMs(10);
      tick.Resume(due);
    });
    tick.Resume(due);
    auto data = set.Add(channel_.receiver.waitable(), serve);
    auto added = set.Add(channel_.sender.waitable(payload.size()), serve, WaitSet::Mode::kOnce);
    if (!data.ok() || !added.ok()) return {End::kWrong, "a port could not be added"};
    space = *std::move(added);
    space.Resume();
    while (!ending && victim_.notes.enough.load() == 0) set.RunOnce(InMs(100));
    if (!ending) return {End::kServed, "until the end of the attack"};
    const uint64_t before = set.stats().polls;
    for (const Deadline until = InMs(200); !until.Expired();) set.RunOnce(until);
    if (set.stats().polls - before > 100) return {End::kWrong, "woken by a channel that has ended"};
    return *std::move(ending);
  }

  // Each half waits far longer than the attack lasts. What one learns, the other learns at once.
  Ending RunThreads() {
    constexpr int64_t kFarMs = 30'000;
    Notes& others = *NewNotes();
    std::optional<Ending> other;
    std::thread sending([&] {
      WatchThreadDelay();
      static constexpr std::array<std::byte, 61> kPayload = {};
      while (!other) {
        Call call(others, "Send", InMs(kFarMs));
        other = EndingOf(channel_.sender.Send(7, kPayload, call.deadline()));
      }
    });
    std::optional<Ending> mine;
    while (!mine) {
      Call call(victim_.notes, "Receive", InMs(kFarMs));
      const auto into = absl::MakeSpan(buffer_).first(channel_.receiver.max_message_bytes());
      mine = EndingOf(channel_.receiver.Receive(into, call.deadline()).status());
    }
    Call call(victim_.notes, "the other half's wait", InMs(0), CallKind::kSetUp);
    sending.join();
    return *std::move(mine);
  }

  std::optional<Ending> Receive(uint64_t) {
    const auto into = absl::MakeSpan(buffer_).first(channel_.receiver.max_message_bytes());
    absl::StatusOr<Record> record;
    {
      Call call(victim_.notes, "Receive", InMs(30));
      record = channel_.receiver.Receive(into, call.deadline());
      if (absl::IsDeadlineExceeded(record.status())) call.BroughtNothing();
    }
    if (!record.ok()) return EndingOf(record.status());
    victim_.notes.messages.fetch_add(1);
    if (record->size_bytes > into.size()) return Ending{End::kWrong, "longer than the maximum"};
    const auto payload = into.first(record->size_bytes);
    const auto behind = absl::MakeConstSpan(buffer_).subspan(into.size());
    std::string wrong = WrongRecord(record->tag, payload, behind);
    if (wrong.empty()) wrong = ChangingBytes(payload);
    if (wrong.empty() && victim_.setup.kind == VictimKind::kMedia) {
      const absl::Status status = viewer_.Take(record->tag, payload, &wrong);
      if (!status.ok()) {
        channel_.receiver.Poison(Violation::kMetadataInvalid);
        return Ending{End::kPoisoned, status.ToString()};
      }
    }
    if (!wrong.empty()) return Ending{End::kWrong, wrong};
    return std::nullopt;
  }

  std::optional<Ending> Send(uint64_t) {
    // 61 bytes, so that there is padding whose content would tell.
    static constexpr std::array<std::byte, 61> kPayload = {};
    absl::Status status;
    {
      Call call(victim_.notes, "Send", InMs(30));
      status = channel_.sender.Send(7, kPayload, call.deadline());
      if (absl::IsDeadlineExceeded(status)) call.BroughtNothing();
    }
    if (status.ok()) victim_.notes.messages.fetch_add(1);
    return EndingOf(status);
  }

  std::optional<Ending> Sundry(uint64_t round) {
    absl::Status status;
    if (round % 4 == 1) {
      Call call(victim_.notes, "AwaitDrained", InMs(20));
      status = channel_.sender.AwaitDrained(call.deadline());
    } else if (round % 4 == 2 && victim_.setup.kind != VictimKind::kMedia) {
      Call call(victim_.notes, "TryPeek", InMs(20));
      PeekedMessage message;
      const Outcome outcome = channel_.receiver.TryPeek(&message);
      if (outcome == Outcome::kOk) {
        if (message.view.size_bytes() > channel_.receiver.max_message_bytes()) {
          return Ending{End::kWrong, "a view longer than the maximum"};
        }
        message.view.CopyTo(0, absl::MakeSpan(buffer_).first(message.view.size_bytes()));
        channel_.receiver.Release();
      }
    }
    if (victim_.setup.confinement != Confinement::kNone) WaitInEachWay();
    return EndingOf(status);
  }

  std::optional<Ending> ReadLatest(uint64_t) {
    if (!victim_.setup.reads_latest) return std::nullopt;
    if (!latest_) {
      auto reader = LatestReader::Create(channel_.session);
      if (!reader.ok()) return Ending{End::kRefused, reader.status().ToString()};
      latest_.emplace(*std::move(reader));
      value_.resize(latest_->max_value_bytes());
    }
    absl::StatusOr<LatestValue> value;
    {
      Call call(victim_.notes, "LatestReader::Read", InMs(10));
      value = latest_->Read(absl::MakeSpan(value_), call.deadline());
      if (!value.ok()) call.BroughtNothing();
    }
    if (absl::IsAborted(value.status())) return std::nullopt;  // overtaken
    if (!value.ok()) return EndingOf(value.status());
    if (value->size_bytes > value_.size()) return Ending{End::kWrong, "longer than the maximum"};
    if (value->version <= version_) return Ending{End::kWrong, "an older value after a newer one"};
    version_ = value->version;
    victim_.notes.messages.fetch_add(1);
    return std::nullopt;
  }

  // The waits of a worker that the kernel goes on with after a stop by restart_syscall.
  void WaitInEachWay() {
    static constexpr timespec kMoment = {0, 4'000'000};
    static uint32_t word = 0;
    Call call(victim_.notes, "a timed wait", InMs(12));
    ::poll(nullptr, 0, 4);
    ::clock_nanosleep(CLOCK_MONOTONIC, 0, &kMoment, nullptr);
    ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &kMoment, nullptr, 0);
  }

  Victim& victim_;
  Channel& channel_;
  Viewer viewer_;
  std::vector<std::byte> buffer_;
  uint64_t messages_at_wait_ = ~uint64_t{0};
  std::optional<LatestReader> latest_;
  std::vector<std::byte> value_;
  uint64_t version_ = 0;
};

// Both ends of an arena. It keeps two frames for a while before it sends them, and looks whether
// whether they are still what it wrote.
class FrameSession {
 public:
  FrameSession(Victim& victim, FrameSender sender, FrameReceiver receiver)
      : victim_(victim),
        sender_(std::move(sender)),
        receiver_(std::move(receiver)),
        buffer_(kVictimArenaBytes) {}

  Ending Run() {
    while (victim_.notes.enough.load() == 0) {
      for (auto step : {&FrameSession::Receive, &FrameSession::Send}) {
        std::optional<Ending> ending = (this->*step)();
        if (ending) return *std::move(ending);
      }
    }
    return {End::kServed, "until the end of the attack"};
  }

 private:
  struct Kept {
    OutFrame frame;
    std::byte value;
  };

  std::optional<Ending> Receive() {
    Call call(victim_.notes, "FrameReceiver::Receive", InMs(30));
    auto frame = receiver_.Receive(call.deadline());
    if (!frame.ok()) {
      if (absl::IsDeadlineExceeded(frame.status())) call.BroughtNothing();
      return EndingOf(frame.status());
    }
    victim_.notes.messages.fetch_add(1);
    if (frame->size_bytes() > buffer_.size()) return Ending{End::kWrong, "longer than the arena"};
    static_cast<void>(frame->CopyOut(absl::MakeSpan(buffer_).first(frame->size_bytes())));
    return std::nullopt;
  }

  std::optional<Ending> Send() {
    Call call(victim_.notes, "FrameSender::Acquire", InMs(30));
    auto frame = sender_.Acquire(kVictimFrameBytes, call.deadline());
    if (!frame.ok()) {
      // What the peer keeps is taken back in the end.
      if (absl::IsDeadlineExceeded(frame.status())) sender_.RevokeOldest();
      return EndingOf(frame.status());
    }
    const auto value = static_cast<std::byte>(++number_);
    std::fill(frame->bytes().begin(), frame->bytes().end(), value);
    kept_.push_back({*std::move(frame), value});
    if (kept_.size() < 3) return std::nullopt;
    Kept oldest = std::move(kept_.front());
    kept_.erase(kept_.begin());
    for (const std::byte byte : oldest.frame.read_only_bytes()) {
      if (byte != oldest.value) return Ending{End::kWrong, "a frame was handed out twice"};
    }
    victim_.notes.messages.fetch_add(1);
    return EndingOf(sender_.Send(&oldest.frame, kVictimFrameBytes, 7, {}, call.deadline()));
  }

  Victim& victim_;
  FrameSender sender_;
  FrameReceiver receiver_;
  std::vector<std::byte> buffer_;
  std::vector<Kept> kept_;
  unsigned number_ = 0;
};

// A producer whose receiver is the attacker. It keeps handles of what it has sent, and looks
// whether they are still what it wrote.
Ending RunFanOut(Victim& victim, const std::shared_ptr<Broadcast>& broadcast, Channel channel) {
  auto fan_out = FrameFanOut::Create(broadcast);
  if (!fan_out.ok() || !fan_out->Attach(std::move(channel)).ok()) return {End::kWrong, "no arena"};
  std::vector<std::pair<OutFrame, std::byte>> kept;
  for (unsigned number = 0; victim.notes.enough.load() == 0; ++number) {
    Call call(victim.notes, "FrameFanOut::Send", InMs(30));
    auto frame = fan_out->Acquire(kVictimFrameBytes, call.deadline());
    if (!frame.ok()) return {End::kWrong, "nothing to send: " + frame.status().ToString()};
    const auto value = static_cast<std::byte>(number);
    std::fill(frame->bytes().begin(), frame->bytes().end(), value);
    kept.emplace_back(frame->Share(), value);
    fan_out->Send(&*frame, kVictimFrameBytes, 7, {}, true, call.deadline());
    victim.notes.messages.fetch_add(1);
    for (const auto& [handle, expected] : kept) {
      for (const std::byte byte : handle.read_only_bytes()) {
        if (byte != expected) return {End::kWrong, "a frame was handed out twice"};
      }
    }
    if (kept.size() == 2) kept.erase(kept.begin());
    for (const FanOutEnd& end : fan_out->TakeEnded()) {
      if (auto ending = EndingOf(end.why)) return *ending;
    }
    ::usleep(200);
  }
  return {End::kServed, "until the end of the attack"};
}

Ending RunFrames(Victim& victim, const Channel& channel) {
  auto sender = FrameSender::Create(channel);
  auto receiver = FrameReceiver::Create(channel);
  if (!sender.ok() || !receiver.ok()) return {End::kWrong, "no arena"};
  return FrameSession(victim, *std::move(sender), *std::move(receiver)).Run();
}

AcceptOptions OptionsToAccept(const Victim& victim) {
  AcceptOptions options;
  if (!victim.setup.open_options) {
    options.send = {8192, 2048};
    options.receive = {8192, 2048};
    options.limits.max_capacity_bytes = 1 << 20;
    options.limits.max_message_bytes = 1 << 19;
  }
  if (victim.setup.kind == VictimKind::kFrames && !victim.setup.fan_out) {
    options.send.arena.bytes = options.receive.arena.bytes = kVictimArenaBytes;
  }
  options.peer_pidfd = victim.peer_pidfd;
  if (victim.setup.confined)
    options.trust = PeerTrust::Because("the case is about a peer that is confined");
  if (victim.setup.futex) options.doorbell = DoorbellKind::kFutex;
  if (victim.setup.admits_anyone) options.policy = PeerPolicy::Anyone();
  return options;
}

// A worker's step between set-up and hostile input.
absl::Status Confine(const Victim& victim, const Channel& channel) {
  std::vector<int> keep = DescriptorsOf(channel).all;
  keep.push_back(victim.gate);
  Profile profile = Profile::Ring(DescriptorsOf(channel).all).WithHeap().WithReadFrom(victim.gate);
  for (const int fd : DescriptorsOf(channel).eventfds) profile = profile.WithEventfd(fd);
  if (victim.setup.confinement == Confinement::kThreads) profile = profile.WithThreads();
  // With sockets there are two, of this process alone.
  const bool has_eventfds = DescriptorsOf(channel).eventfds.size() > 2;
  if (has_eventfds != (victim.setup.confinement == Confinement::kEventfd)) {
    return absl::FailedPreconditionError("another doorbell than this case is about");
  }
  return LockDown(Prepared::After(channel), profile.WithSanitizerIfBuiltIn(),
                  {.keep = std::move(keep)})
      .status();
}

// `broadcast`: null, or what the channel's peer gets its frames from.
void RunSession(Victim& victim, absl::StatusOr<Channel> made,
                const std::shared_ptr<Broadcast>& broadcast = nullptr) {
  if (!made.ok()) {
    const Ending ending = EndingOfHandshake(made.status());
    victim.notes.Finish(ending.end, ending.why);
    return;
  }
  Channel channel = *std::move(made);
  if (victim.setup.confinement != Confinement::kNone) {
    const absl::Status confined = Confine(victim, channel);
    if (!confined.ok()) {
      victim.notes.Finish(End::kWrong, confined.ToString());
      return;
    }
  }
  const std::shared_ptr<parley::Session> session = channel.session;
  const Ending ending = broadcast != nullptr ? RunFanOut(victim, broadcast, std::move(channel))
                        : victim.setup.kind == VictimKind::kFrames ? RunFrames(victim, channel)
                                                                   : Session(victim, channel).Run();
  victim.notes.violation.store(static_cast<uint32_t>(session->termination().poison()));
  victim.notes.Finish(ending.end, ending.why);
  Call call(victim.notes, "close", InMs(1000), CallKind::kSetUp);
  channel = Channel();
}

void RunChannel(Victim& victim) {
  auto socket = PeerSocket::Adopt(std::move(victim.socket));
  if (!socket.ok()) {
    victim.notes.Finish(End::kWrong, socket.status().ToString());
    return;
  }
  const Deadline deadline = Deadline::After(victim.setup.handshake);
  absl::StatusOr<Channel> channel;
  std::shared_ptr<Broadcast> broadcast;
  WaitOptions wait;
  if (victim.setup.signaller) {
    auto signaller = Signaller::Create();
    if (!signaller.ok()) {
      victim.notes.Finish(End::kWrong, signaller.status().ToString());
      return;
    }
    wait.signaller = *std::move(signaller);
  }
  if (victim.setup.kind == VictimKind::kConnect) {
    ConnectOptions options;
    if (victim.setup.confined)
      options.trust = PeerTrust::Because("the case is about a peer that is confined");
    if (victim.setup.futex) options.doorbell = DoorbellKind::kFutex;
    options.limits.max_capacity_bytes = 1 << 20;
    options.limits.max_message_bytes = 1 << 19;
    if (victim.setup.reads_latest) options.broadcast_kinds = {kSectionLatest};
    Call call(victim.notes, "ConnectChannel", deadline, CallKind::kSetUp);
    channel = ConnectChannel(*std::move(socket), options, deadline, wait);
  } else {
    Call call(victim.notes, "AcceptChannel", deadline, CallKind::kSetUp);
    AcceptOptions options = OptionsToAccept(victim);
    if (victim.setup.fan_out) {
      auto made = Broadcast::Create({FramesSection({kVictimArenaBytes, kMinArenaAlignment})});
      if (made.ok()) options.broadcast = broadcast = *std::move(made);
    }
    channel = AcceptChannel(*std::move(socket), options, deadline, wait);
  }
  RunSession(victim, std::move(channel), broadcast);
}

// As clients do: again where it came to nothing.
void RunDial(Victim& victim) {
  constexpr int kTries = 6;
  absl::StatusOr<Channel> channel = absl::UnavailableError("no try");
  for (int tries = 0; tries < kTries && victim.notes.enough.load() == 0;) {
    const Deadline deadline = Deadline::After(victim.setup.handshake);
    Call call(victim.notes, "ConnectChannel by name", deadline, CallKind::kSetUp);
    channel = ConnectChannel(victim.name, {}, deadline);
    if (channel.ok()) break;
    const bool nobody = absl::IsNotFound(channel.status()) || absl::IsUnavailable(channel.status());
    if (!nobody) ++tries;
    ::usleep(1000);
  }
  RunSession(victim, std::move(channel));
}

void RunBlob(Victim& victim) {
  auto socket = PeerSocket::Adopt(std::move(victim.socket));
  std::array<std::byte, 16> message;
  absl::StatusOr<PeerSocket::WithDescriptors> got;
  {
    Call call(victim.notes, "ReceiveWithDescriptors", Deadline::After(victim.setup.handshake),
              CallKind::kSetUp);
    got = socket->ReceiveWithDescriptors(absl::MakeSpan(message), 1, call.deadline());
  }
  if (!got.ok() || got->descriptors.size() != 1) {
    victim.notes.Finish(got.ok() ? End::kRefused : EndingOfHandshake(got.status()).end,
                        got.ok() ? "no descriptor" : got.status().ToString());
    return;
  }
  Call call(victim.notes, "SealedBlob::Adopt", InMs(1000), CallKind::kSetUp);
  auto blob = SealedBlob::Adopt(std::move(got->descriptors[0]), kMaxBlobBytes);
  if (!blob.ok()) {
    const Ending ending = EndingOfHandshake(blob.status());
    victim.notes.Finish(ending.end, ending.why);
    return;
  }
  do {
    const std::string wrong = ChangingBytes(blob->bytes());
    if (!wrong.empty()) {
      victim.notes.Finish(End::kWrong, wrong);
      return;
    }
  } while (victim.notes.enough.load() == 0 && !call.deadline().Expired());
  victim.notes.Finish(End::kServed, std::to_string(blob->size_bytes()) + " bytes that stay");
}

void RunListener(Victim& victim) {
  AcceptOptions options = OptionsToAccept(victim);
  options.peer_pidfd = -1;
  ServerLimits limits;
  limits.handshake_time = victim.setup.handshake;
  auto listener = ChannelListener::Listen(victim.name, options, limits);
  if (!listener.ok()) {
    victim.notes.Finish(End::kWrong, listener.status().ToString());
    return;
  }
  std::vector<std::byte> buffer;
  while (victim.notes.enough.load() == 0) {
    absl::StatusOr<Channel> channel;
    {
      Call call(victim.notes, "Accept", InMs(50), CallKind::kSetUp);
      channel = listener->Accept(call.deadline());
    }
    if (!channel.ok()) continue;  // nobody came, or we are out of something for a moment
    buffer.resize(channel->receiver.max_message_bytes());
    absl::StatusOr<Record> record;
    {
      Call call(victim.notes, "Receive", InMs(50));
      record = channel->receiver.Receive(absl::MakeSpan(buffer), call.deadline());
    }
    if (!record.ok()) continue;
    Call call(victim.notes, "Send", InMs(50));
    const auto bytes = absl::MakeConstSpan(buffer).first(record->size_bytes);
    if (channel->sender.Send(record->tag, bytes, call.deadline()).ok()) {
      victim.notes.messages.fetch_add(1);
      static_cast<void>(channel->sender.AwaitDrained(call.deadline()));
    }
  }
  victim.notes.Finish(End::kServed,
                      std::to_string(listener->failures()) +
                          " handshakes refused, last: " + listener->last_failure().ToString());
}

}  // namespace

std::string WrongRecord(uint32_t tag, absl::Span<const std::byte> payload,
                        absl::Span<const std::byte> behind) {
  for (const std::byte byte : behind) {
    if (byte != kCanary) return "bytes behind the buffer were written";
  }
  if ((tag & 0xffff'0000u) == 0x5a00'0000u && (tag & 0xffff) != payload.size()) {
    return "the size that was used is not the size that was checked";
  }
  return "";
}

std::string ChangingBytes(absl::Span<const std::byte> bytes) {
  const auto sum = [&] {
    uint64_t result = 0;
    for (const std::byte byte : bytes) {
      result = result * 31 +
               static_cast<const volatile unsigned char&>(
                   // SAFETY: std::byte as unsigned char, volatile so that both looks are taken.
                   reinterpret_cast<const unsigned char&>(byte));
    }
    return result;
  };
  const uint64_t first = sum();
  ::sched_yield();
  return sum() == first ? "" : "bytes changed between two looks";
}

void RunHonestVictim(Victim& victim) {
  switch (victim.setup.kind) {
    case VictimKind::kAccept:
    case VictimKind::kConnect:
    case VictimKind::kMedia:
    case VictimKind::kFrames:
      return RunChannel(victim);
    case VictimKind::kBlob:
      return RunBlob(victim);
    case VictimKind::kListener:
      return RunListener(victim);
    case VictimKind::kDial:
      return RunDial(victim);
    case VictimKind::kJobs:
      return RunJobs(victim);
    case VictimKind::kRequestServer:
    case VictimKind::kRequestClient:
      return RunRequests(victim);
    case VictimKind::kStream:
      return RunStream(victim);
  }
}

int RunHonestClient(const std::string& name, absl::Duration within) {
  const Deadline deadline = Deadline::After(within);
  while (!deadline.Expired()) {
    auto channel = ConnectChannel(name, {}, deadline);
    if (channel.ok() && channel->sender.Send(9, {}, deadline).ok()) {
      std::vector<std::byte> buffer(channel->receiver.max_message_bytes());
      const auto echo = channel->receiver.Receive(absl::MakeSpan(buffer), deadline);
      if (echo.ok() && echo->tag == 9) return 0;
    }
    ::usleep(2000);  // told "busy": as a client does, once more
  }
  return 1;
}

}  // namespace parley::villain

// SPDX-License-Identifier: Apache-2.0

// NAIVE: the same on top of a channel that is not: they believe numbers, lengths and order of their
// peers. Never copy from here.

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/boundary/wire_copy.h"
#include "parley/channel/channel.h"
#include "parley/cli/stream_protocol.h"
#include "parley/handshake/peer_trust.h"
#include "parley/media/format.h"
#include "parley/media/frame.h"
#include "parley/os/deadline.h"
#include "parley/patterns/request/wire.h"
#include "parley/supervise/link_wire.h"
#include "parley/villain/victims.h"

namespace parley::villain {
namespace {

Deadline InMs(int64_t ms) { return Deadline::After(absl::Milliseconds(ms)); }
// NAIVE: how long it really waits where it promised kVictimJobMs.
constexpr int64_t kEndlessMs = 1500;

absl::StatusOr<Channel> AcceptTrusting(Victim& victim) {
  AcceptOptions options;
  options.send = {1 << 18, 1 << 17};
  options.receive = {1 << 18, 1 << 17};
  options.peer_pidfd = victim.peer_pidfd;
  Call call(victim.notes, "AcceptChannel", InMs(20'000), CallKind::kSetUp);
  return AcceptChannel(*PeerSocket::Adopt(std::move(victim.socket)), options, call.deadline());
}

template <typename Wire>
Wire Fetch(const std::vector<std::byte>& message) {
  Wire wire;
  std::memcpy(&wire, message.data(), sizeof(wire));
  return wire;
}

class TrustingHost {
 public:
  TrustingHost(Victim& victim, Channel& channel) : victim_(victim), channel_(channel) {}

  void Run() {
    const internal::BeginWire begin = {0, internal::kNoInput, 0};
    static_cast<void>(channel_.sender.Send(internal::kBeginTag, WireBytes(begin), InMs(1000)));
    while (victim_.notes.enough.load() == 0 && wrong_.empty()) RunJob();
    if (wrong_.empty()) return victim_.notes.Finish(End::kServed, "believed everything");
    victim_.notes.Finish(End::kWrong, wrong_);
  }

 private:
  void RunJob() {
    Call call(victim_.notes, "a job", InMs(kVictimJobMs), CallKind::kSetUp);
    const Deadline endless = InMs(kEndlessMs);
    ++number_;
    if (done_[number_ % kJobs]) {
      wrong_ = "another job's worker had answered before this one began";
      return;
    }
    const internal::JobWire job = {number_, kVictimInputBytes, internal::kStreamedInput, 0};
    static_cast<void>(channel_.sender.Send(internal::kJobTag, WireBytes(job), endless));
    while (!done_[number_ % kJobs] && !endless.Expired() && wrong_.empty()) {
      std::vector<std::byte> message(channel_.receiver.max_message_bytes());
      const auto record = channel_.receiver.Receive(absl::MakeSpan(message), endless);
      if (!record.ok()) continue;  // NAIVE: surely it comes yet
      Take(record->tag, message, endless);
    }
    done_[number_ % kJobs] = false;
  }

  void Take(uint32_t tag, const std::vector<std::byte>& message, Deadline endless) {
    if (tag == internal::kJobDoneTag) {
      const auto done = Fetch<internal::JobDoneWire>(message);
      done_[done.number] = true;  // NAIVE: whatever the number
      // SAFETY: bytes seen as characters; their number is another matter.
      const char* const text = reinterpret_cast<const char*>(message.data() + sizeof(done));
      const std::string said(text, done.text_bytes);  // NAIVE: as long as it says
      // NAIVE: printed as it is.
      if (said.find('\x1b') != std::string::npos) wrong_ = "escape sequences reached the terminal";
      if (done.code > 16) std::abort();  // NAIVE: "cannot happen"
    } else if (tag == internal::kReadTag) {
      const auto read = Fetch<internal::ReadRequestWire>(message);
      std::vector<std::byte> answer(sizeof(internal::ReadAnswerWire) + read.size_bytes);
      const std::size_t size_bytes = std::min<std::size_t>(read.size_bytes, kVictimInputBytes);
      // NAIVE: from wherever it says.
      std::memcpy(answer.data() + sizeof(internal::ReadAnswerWire), input_.data() + read.offset,
                  size_bytes);
      const internal::ReadAnswerWire header = {read.offset, static_cast<uint32_t>(size_bytes), 0};
      std::memcpy(answer.data(), &header, sizeof(header));
      static_cast<void>(channel_.sender.Send(internal::kReadAnswerTag, answer, endless));
    } else if (tag > kMaxWorkerTag) {
      std::abort();  // NAIVE: "cannot happen"
    } else {
      kept_.push_back(message);  // NAIVE: as many as there are
    }
  }

  static constexpr std::size_t kJobs = 1024;
  Victim& victim_;
  Channel& channel_;
  uint64_t number_ = 0;
  std::vector<bool> done_ = std::vector<bool>(kJobs);
  std::vector<std::byte> input_ = std::vector<std::byte>(kVictimInputBytes);
  std::vector<std::vector<std::byte>> kept_;
  std::string wrong_;
};

struct NaiveRecord {
  RequestHeaderWire header;
  std::vector<std::byte> payload;
};

NaiveRecord Split(const std::vector<std::byte>& message, std::size_t size_bytes) {
  NaiveRecord record = {Fetch<RequestHeaderWire>(message), {}};
  // NAIVE: each has a header.
  record.payload.resize(size_bytes - sizeof(RequestHeaderWire));
  std::memcpy(record.payload.data(), message.data() + sizeof(RequestHeaderWire),
              record.payload.size());
  return record;
}

void ServeTrusting(Victim& victim, Channel& channel) {
  std::vector<bool> cancelled(1024);
  std::vector<std::byte> message(channel.receiver.max_message_bytes());
  std::string wrong;
  while (victim.notes.enough.load() == 0 && wrong.empty()) {
    Call call(victim.notes, "serve", InMs(100), CallKind::kSetUp);
    const Deadline endless = InMs(kEndlessMs);
    auto record = channel.receiver.Receive(absl::MakeSpan(message), call.deadline());
    // NAIVE: all that there is, at once.
    while (record.ok() && !endless.Expired()) {
      const NaiveRecord request = Split(message, record->size_bytes);
      if (request.header.kind == kRequestCancel) {
        cancelled[request.header.id] = true;  // NAIVE: whatever the number
      } else {
        const auto now_us = static_cast<uint64_t>(MonotonicNowNs() / 1000);
        // NAIVE: a sum that can be anything.
        const bool expired = now_us + request.header.budget_us < now_us;
        if (expired) wrong = "a request with time for ages had expired at once";
        const RequestHeaderWire header = {kRequestResponse, kRequestDone, request.header.id, 0};
        std::vector<std::byte> answer(sizeof(header) + request.payload.size());
        std::memcpy(answer.data(), &header, sizeof(header));
        cancelled[request.header.id] = false;
        static_cast<void>(channel.sender.Send(record->tag, answer, endless));
      }
      record = channel.receiver.Receive(absl::MakeSpan(message), InMs(2));
    }
  }
  victim.notes.Finish(wrong.empty() ? End::kServed : End::kWrong, wrong);
}

void AskTrusting(Victim& victim, Channel& channel) {
  std::vector<bool> waiting(1024);
  int outstanding = 0;
  std::vector<std::byte> message(channel.receiver.max_message_bytes());
  std::string wrong;
  uint64_t id = 0;
  while (victim.notes.enough.load() == 0 && wrong.empty()) {
    Call call(victim.notes, "ask", InMs(100), CallKind::kSetUp);
    const Deadline endless = InMs(kEndlessMs);
    const RequestHeaderWire header = {kRequestStart, 0, ++id, 30'000};
    ++outstanding;
    waiting[id % waiting.size()] = true;
    static_cast<void>(channel.sender.Send(3, WireBytes(header), endless));
    while (waiting[id % waiting.size()] && !endless.Expired()) {
      const auto record = channel.receiver.Receive(absl::MakeSpan(message), endless);
      if (!record.ok()) continue;  // NAIVE: surely it comes yet
      const NaiveRecord response = Split(message, record->size_bytes);
      waiting[response.header.id] = false;  // NAIVE: whatever the number
      --outstanding;
    }
    if (outstanding != 0) wrong = "more answers than questions";
  }
  victim.notes.Finish(wrong.empty() ? End::kServed : End::kWrong, wrong);
}

// Makes a file of a stream: "y4m", "wav", "lines" or "nut".
class TrustingFile {
 public:
  explicit TrustingFile(std::string kind) : kind_(std::move(kind)) {}

  // Empty, or what is wrong by now.
  std::string Take(uint32_t tag, const std::vector<std::byte>& message, std::size_t size_bytes) {
    // SAFETY: bytes seen as characters; their number is another matter.
    const char* const text = reinterpret_cast<const char*>(message.data());
    switch (tag) {
      case cli::kTagFormat:
        TakeFormat(message, std::string(text, size_bytes));
        break;
      case cli::kTagFrame:
        // NAIVE: there was a format, and it has a size.
        pictures_ += (size_bytes - sizeof(FrameHeaderWire)) / unit_bytes_;
        break;
      case cli::kTagBytes:
      case cli::kTagOpenLine:
        if (kind_ == "nut") {
          Splice(file_.size(), text, size_bytes);
        } else {
          TakeLine(text, size_bytes, tag == cli::kTagBytes);
        }
        break;
      case cli::kTagResume:
        Splice(Fetch<cli::ResumeWire>(message).position, text + sizeof(cli::ResumeWire),
               size_bytes - sizeof(cli::ResumeWire));
        break;
      case cli::kTagEnd:
        // NAIVE: a place for each that did not come.
        missing_.resize(Fetch<cli::EndWire>(message).messages - lines_);
        break;
      default:
        std::abort();  // NAIVE: "cannot happen"
    }
    return wrong_.empty() ? WrongFile(kind_, file_, lines_) : wrong_;
  }

 private:
  void TakeFormat(const std::vector<std::byte>& message, const std::string& text) {
    if (kind_ == "y4m") {
      const auto wire = Fetch<VideoFormatWire>(message);
      if (wire.pixel_format != static_cast<uint32_t>(PixelFormat::kGray8)) {
        std::abort();  // NAIVE: "cannot happen"
      }
      unit_bytes_ = wire.width * wire.height;
      file_ += "YUV4MPEG2 \n";  // NAIVE: one for each
    } else if (kind_ == "wav") {
      unit_bytes_ = Fetch<AudioFormatWire>(message).channels * 2;
    } else {
      file_ += text;
    }
  }

  void TakeLine(const char* text, std::size_t size_bytes, bool whole) {
    std::memcpy(line_.data(), text, size_bytes);  // NAIVE: of a line there is no more
    if (line_[cli::kMaxPieceBytes] != '\0') wrong_ = "a line was written behind its buffer";
    if (open_) wrong_ = "two lines became one";
    open_ = !whole;
    file_.append(line_.data(), size_bytes);
    if (whole) file_ += '\n';
    if (whole) ++lines_;
  }

  void Splice(uint64_t position, const char* text, std::size_t size_bytes) {
    if (position < file_.size()) wrong_ = "what had come was written over";
    const uint64_t behind = file_.size();
    if (position > behind) {
      std::memcpy(file_.data() + position, text, size_bytes);  // NAIVE: wherever that is
      return;
    }
    file_.append(text, size_bytes);
    // NAIVE: room for all that a packet says that it has.
    const std::string info = "NI\xab\x68\xb5\x96\xba\x78";
    const std::size_t at = file_.find(info, behind);
    uint64_t packet_bytes = 0;
    for (std::size_t i = at + info.size(); at != std::string::npos && i < file_.size(); ++i) {
      packet_bytes = packet_bytes << 7 | (file_[i] & 0x7f);
      if ((file_[i] & 0x80) == 0) break;
    }
    packet_.reserve(packet_bytes);
  }

  const std::string kind_;
  std::string file_;
  std::string wrong_;
  std::string packet_;
  // With as much behind it, so that it harms nothing else.
  std::vector<char> line_ = std::vector<char>(std::size_t{4} * cli::kMaxPieceBytes);
  uint32_t unit_bytes_ = 0;
  uint64_t pictures_ = 0;
  uint64_t lines_ = 0;
  std::vector<bool> missing_;
  bool open_ = false;
};

void KeepTrusting(Victim& victim, Channel& channel) {
  TrustingFile file(victim.setup.stream);
  std::vector<std::byte> message(channel.receiver.max_message_bytes());
  std::string wrong;
  while (victim.notes.enough.load() == 0 && wrong.empty()) {
    Call call(victim.notes, "keep", InMs(100), CallKind::kSetUp);
    const auto record = channel.receiver.Receive(absl::MakeSpan(message), call.deadline());
    if (record.ok()) wrong = file.Take(record->tag, message, record->size_bytes);
  }
  victim.notes.Finish(wrong.empty() ? End::kServed : End::kWrong, wrong);
}

}  // namespace

void RunServicesTrusting(Victim& victim) {
  absl::StatusOr<Channel> channel = AcceptTrusting(victim);
  if (!channel.ok()) return victim.notes.Finish(End::kRefused, channel.status().ToString());
  switch (victim.setup.kind) {
    case VictimKind::kJobs:
      return TrustingHost(victim, *channel).Run();
    case VictimKind::kRequestServer:
      return ServeTrusting(victim, *channel);
    case VictimKind::kStream:
      return KeepTrusting(victim, *channel);
    default:
      return AskTrusting(victim, *channel);
  }
}

}  // namespace parley::villain

// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/worker_session.h"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "parley/examples/film/film_protocol.h"
#include "parley/examples/film/worker_arguments.h"
#include "parley/frames/frame_receiver.h"
#include "parley/os/deadline.h"
#include "parley/shm/shape.h"
#include "parley/supervise/worker_end.h"
#include "parley/supervise/worker_link.h"

namespace parley::film {
namespace {

constexpr absl::Duration kStartTime = absl::Seconds(20);
// How often `stop` is asked while nothing comes.
constexpr absl::Duration kSlice = absl::Milliseconds(100);
// For an honest worker to end after its last message.
constexpr absl::Duration kGoodbye = absl::Seconds(5);
// For the pieces of the film: one is under way at most.
constexpr RingRequest kToWorker = {.capacity_bytes = uint64_t{1} << 20,
                                   .max_message_bytes = kPieceBytes + (4u << 10)};

// Of the longest, in the arena: what a decoder keeps of large ones, and what is under way. Sound is
// little beside that.
constexpr uint64_t kArenaPictures = 4;

std::string Sentence(const absl::Status& status) { return std::string(status.message()); }

// What a worker reads is answered inside of WorkerLink::Receive.
struct Reads {
  bool any = false;      // since it was last asked
  absl::Status failure;  // of the film's file
};

WorkerLinkOptions LinkOptions(const SessionOptions& options, const FilmStart& start, Reads& reads) {
  WorkerLinkOptions link;
  link.program.path = options.worker_program;
  link.program.name = "film_worker";
  link.program.arguments =
      Encode({.start = start, .second_look = options.second_look, .hijack = options.hijack});
  // What a decoder of large pictures needs.
  link.program.memory_bytes = (uint64_t{2} << 30) + uint64_t{4} * options.max_message_bytes;
  link.to_worker = kToWorker;
  link.from_worker = {.capacity_bytes = std::bit_ceil(uint64_t{2} * options.max_message_bytes),
                      .max_message_bytes = options.max_message_bytes};
  if (!options.second_look) {
    link.from_worker.arena = ArenaFor(kArenaPictures, options.max_message_bytes);
  }
  link.format = kFilmProtocol;
  link.source = options.film->Source();
  link.source.read = [&reads, read = std::move(link.source.read)](uint64_t offset,
                                                                  absl::Span<std::byte> into) {
    absl::StatusOr<std::size_t> got = read(offset, into);
    reads.any = true;
    reads.failure.Update(got.status());
    return got;
  };
  return link;
}

// One session's listening, from the first message to whatever ends it.
class Listening {
 public:
  Listening(const SessionOptions& options, MessageHandler& handler, WorkerLink& link, Reads& reads)
      : options_(options),
        link_(link),
        handler_(handler),
        reads_(reads),
        buffer_(link.max_message_bytes()) {
    absl::StatusOr<FrameReceiver> frames = FrameReceiver::Create(link.channel());
    if (frames.ok()) frames_ = *std::move(frames);
  }

  SessionResult Run() {
    SessionResult result;
    result.end = Listen(result.what);
    result.messages = link_.channel().receiver.stats().messages;
    result.wakeups = link_.channel().receiver.stats().wakeups;
    result.pictures = pictures_;
    result.audio_blocks = audio_blocks_;
    return result;
  }

  // Whether the session ended because the worker's process did.
  bool peer_died() const { return peer_died_; }

 private:
  SessionEnd Listen(std::string& what) {
    Deadline patience = Deadline::After(options_.patience);
    while (true) {
      if (options_.stop()) return SessionEnd::kStopped;
      const absl::StatusOr<Record> message =
          link_.Receive(absl::MakeSpan(buffer_), Deadline::After(kSlice).Or(patience));
      if (!reads_.failure.ok()) {
        what = Sentence(reads_.failure);
        return SessionEnd::kUnreadable;
      }
      if (std::exchange(reads_.any, false)) patience = Deadline::After(options_.patience);
      if (absl::IsDeadlineExceeded(message.status())) {
        if (!patience.Expired()) continue;
        what = absl::StrCat("it said nothing for ", absl::FormatDuration(options_.patience));
        return SessionEnd::kThrownAway;
      }
      if (!message.ok()) return Broken(message.status(), what);
      switch (Handle(*message, what)) {
        case Verdict::kGoOn:
          break;
        case Verdict::kEnded:
          return SessionEnd::kWhole;
        case Verdict::kFailed:
          what = handler_.failure();
          return SessionEnd::kNotDecodable;
        case Verdict::kViolation:
          if (what.empty()) what = absl::StrCat("violation: ", Sentence(handler_.status()));
          return SessionEnd::kThrownAway;
        case Verdict::kSinkFailed:
          what = Sentence(handler_.status());
          return SessionEnd::kSinkFailed;
      }
      if (options_.on_progress) options_.on_progress();
      patience = Deadline::After(options_.patience);
    }
  }

  Verdict Handle(const Record& message, std::string& what) {
    const auto bytes = absl::MakeConstSpan(buffer_).first(message.size_bytes);
    const bool is_frame = message.tag == kTagPictureInPlace || message.tag == kTagAudioInPlace;
    if (!is_frame || !frames_.has_value()) {
      if (message.tag == kTagPicture) ++pictures_.copied;
      if (message.tag == kTagAudio) ++audio_blocks_.copied;
      return handler_.OnMessage(message.tag, bytes);
    }
    InFrame frame;
    switch (frames_->Open(message.tag, bytes, &frame)) {
      case Outcome::kOk:
        break;
      case Outcome::kWouldBlock:
        what = "violation: it took a frame back";
        return Verdict::kViolation;
      default:
        what = "violation: a frame outside of the arena, or none";
        return Verdict::kViolation;
    }
    if (frame.size_bytes() > buffer_.size()) {
      what = absl::StrCat("violation: a frame of ", frame.size_bytes(), " bytes, more than ",
                          buffer_.size());
      return Verdict::kViolation;
    }
    ++(message.tag == kTagPictureInPlace ? pictures_ : audio_blocks_).in_place;
    // TRUST: pixels and samples, and the handler computes nothing twice from them that it relies
    // on.
    const absl::Span<const std::byte> seen = {frame.view().BytesThatThePeerMayRewriteAtAnyTime(),
                                              frame.size_bytes()};
    if (options_.in_place) return handler_.OnFrame(message.tag, frame.metadata(), seen);
    const auto copy = absl::MakeSpan(buffer_).first(frame.size_bytes());
    if (!frame.CopyOut(copy)) {
      what = "violation: it took a frame back";
      return Verdict::kViolation;
    }
    return handler_.OnFrame(message.tag, frame.metadata(), copy);
  }

  SessionEnd Broken(const absl::Status& status, std::string& what) {
    if (absl::IsOutOfRange(status)) {
      what = "violation: it ended the stream without an end record";
    } else if (absl::IsDataLoss(status)) {
      what = absl::StrCat("violation: ", Sentence(status));
    } else {
      peer_died_ = absl::IsUnavailable(status);
      what = Sentence(status);
    }
    return SessionEnd::kThrownAway;
  }

  const SessionOptions& options_;
  WorkerLink& link_;
  MessageHandler& handler_;
  Reads& reads_;
  std::vector<std::byte> buffer_;
  std::optional<FrameReceiver> frames_;
  Arrivals pictures_;
  Arrivals audio_blocks_;
  bool peer_died_ = false;
};

}  // namespace

SessionResult RunSession(const SessionOptions& options, const FilmStart& start,
                         MessageHandler& handler) {
  SessionResult result;
  Reads reads;
  const Deadline deadline = Deadline::After(kStartTime);
  absl::StatusOr<WorkerLink> link = WorkerLink::Start(LinkOptions(options, start, reads), deadline);
  absl::Status status = link.status();
  if (status.ok()) status = link->Send(kTagAccepts, EncodeAcceptance(options.acceptance), deadline);
  if (!status.ok()) {
    result.what = Sentence(status);
    return result;
  }
  Listening listening(options, handler, *link, reads);
  result = listening.Run();
  // An honest worker is let go, one that died is asked how; everything else is killed at once.
  const bool ends_itself = result.end == SessionEnd::kWhole ||
                           result.end == SessionEnd::kNotDecodable || listening.peer_died();
  const WorkerEnd end =
      ends_itself ? link->End(Deadline::After(kGoodbye)) : link->Kill(result.what);
  result.worker_cpu = end.report.user_time + end.report.system_time;
  if (listening.peer_died()) result.what = end.ToString();
  return result;
}

}  // namespace parley::film

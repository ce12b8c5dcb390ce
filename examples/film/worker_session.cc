#include "parley/examples/film/worker_session.h"

#include <sys/resource.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "parley/channel/channel.h"
#include "parley/examples/film/film_protocol.h"
#include "parley/examples/film/worker_arguments.h"
#include "parley/handshake/options.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/deadline.h"
#include "parley/sandbox/confinement_proof.h"
#include "parley/sandbox/exit_report.h"
#include "parley/sandbox/spawn.h"
#include "parley/sandbox/worker.h"

namespace parley::film {
namespace {

constexpr absl::Duration kHandshakeTime = absl::Seconds(20);
// How often `stop` is asked while nothing comes.
constexpr absl::Duration kSlice = absl::Milliseconds(100);
// For an honest worker to end after its last message.
constexpr absl::Duration kGoodbye = absl::Seconds(5);
// The ring for the pieces of the film: one is under way at most.
constexpr uint64_t kToWorkerBytes = uint64_t{1} << 20;

std::string Sentence(const absl::Status& status) { return std::string(status.message()); }

// Nobody can raise a limit above the hard one.
uint64_t AtMostOurs(int resource, uint64_t wanted) {
  rlimit ours = {};
  if (::getrlimit(static_cast<__rlimit_resource>(resource), &ours) != 0) return wanted;
  return std::min<uint64_t>(wanted, ours.rlim_max);
}

absl::StatusOr<Worker> StartWorker(const SessionOptions& options, const FilmStart& start,
                                   PeerSocket socket) {
  SpawnOptions spawn;
  spawn.program = options.worker_program;
  spawn.name = "film_worker";
  spawn.arguments = Encode({.start = start,
                            .film_bytes = options.film->size_bytes(),
                            .second_look = options.second_look,
                            .hijack = options.hijack});
  spawn.environment_from_ours = {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"};
  spawn.descriptors.push_back(
      InheritedDescriptor::Give(std::move(socket).Release(), kSocketVariable));
  // Room for the rings (mapped twice) and what a decoder of large pictures needs.
  spawn.limits.address_space_bytes =
      AtMostOurs(RLIMIT_AS, (uint64_t{2} << 30) + uint64_t{8} * options.max_message_bytes);
  spawn.limits.file_size_bytes = 0;  // nothing is to be written
  spawn.limits.open_files = AtMostOurs(RLIMIT_NOFILE, 64);
  return Spawn(std::move(spawn));
}

absl::StatusOr<Channel> ShakeHands(const SessionOptions& options, PeerSocket socket,
                                   const Worker& worker) {
  const uint64_t capacity_bytes = std::bit_ceil(uint64_t{2} * options.max_message_bytes);
  AcceptOptions accept;
  accept.send = {.capacity_bytes = kToWorkerBytes, .max_message_bytes = kMaxReadBytes};
  accept.receive = {.capacity_bytes = capacity_bytes,
                    .max_message_bytes = options.max_message_bytes};
  accept.limits = {.max_capacity_bytes = std::max(capacity_bytes, kToWorkerBytes),
                   .max_message_bytes = std::max(options.max_message_bytes, kMaxReadBytes)};
  accept.peer_pidfd = worker.pidfd();
  // Until it has locked itself down the worker runs our code on nothing hostile; afterwards our
  // filter keeps it from blocking a doorbell.
  accept.trust = PeerTrust::Because("the worker locks itself down before it opens the film");
  accept.check_format = [](const std::string& format) {
    return format == kFilmProtocol ? absl::OkStatus()
                                   : absl::InvalidArgumentError("it speaks another protocol");
  };
  return AcceptChannel(std::move(socket), accept, Deadline::After(kHandshakeTime));
}

// One session's listening, from the first message to whatever ends it.
class Listening {
 public:
  Listening(const SessionOptions& options, MessageHandler& handler, Channel& channel)
      : options_(options),
        channel_(channel),
        handler_(handler),
        buffer_(channel.receiver.max_message_bytes()) {}

  SessionResult Run() {
    SessionResult result;
    result.end = Listen(result.what);
    result.messages = channel_.receiver.stats().messages;
    result.wakeups = channel_.receiver.stats().wakeups;
    return result;
  }

  // Whether the session ended because the worker's process did.
  bool peer_died() const { return peer_died_; }

 private:
  SessionEnd Listen(std::string& what) {
    options_.film->BeginWorker();
    Deadline patience = Deadline::After(options_.patience);
    while (true) {
      if (options_.stop()) return SessionEnd::kStopped;
      const absl::StatusOr<Record> message =
          channel_.receiver.Receive(absl::MakeSpan(buffer_), Deadline::After(kSlice).Or(patience));
      if (absl::IsDeadlineExceeded(message.status())) {
        if (!patience.Expired()) continue;
        what = absl::StrCat("it said nothing for ", absl::FormatDuration(options_.patience));
        return SessionEnd::kThrownAway;
      }
      if (!message.ok()) return Broken(message.status(), what);
      const auto bytes = absl::MakeConstSpan(buffer_).first(message->size_bytes);
      if (message->tag == kTagRead) {
        const absl::Status answered = Answer(bytes);
        if (absl::IsDataLoss(answered)) {
          what = absl::StrCat("violation: ", Sentence(answered));
          return SessionEnd::kThrownAway;
        }
        if (!answered.ok()) {
          what = Sentence(answered);
          return SessionEnd::kUnreadable;
        }
        patience = Deadline::After(options_.patience);
        continue;
      }
      switch (handler_.OnMessage(message->tag, bytes)) {
        case Verdict::kGoOn:
          break;
        case Verdict::kEnded:
          return SessionEnd::kWhole;
        case Verdict::kFailed:
          what = handler_.failure();
          return SessionEnd::kNotDecodable;
        case Verdict::kViolation:
          what = absl::StrCat("violation: ", Sentence(handler_.status()));
          return SessionEnd::kThrownAway;
        case Verdict::kSinkFailed:
          what = Sentence(handler_.status());
          return SessionEnd::kSinkFailed;
      }
      if (options_.on_progress) options_.on_progress();
      patience = Deadline::After(options_.patience);
    }
  }

  // A piece of the film. An honest worker waits for each, so there is always space for one;
  // kDataLoss of any that is not honest.
  absl::Status Answer(absl::Span<const std::byte> request) {
    const absl::StatusOr<absl::Span<const std::byte>> piece = options_.film->Answer(request);
    if (!piece.ok()) return piece.status();
    if (channel_.sender.TrySend(kTagData, *piece) == Outcome::kWouldBlock) {
      return absl::DataLossError("it asks for more of the film than it takes");
    }
    // Whatever else went wrong, the next receive says.
    return absl::OkStatus();
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
  Channel& channel_;
  MessageHandler& handler_;
  std::vector<std::byte> buffer_;
  bool peer_died_ = false;
};

}  // namespace

SessionResult RunSession(const SessionOptions& options, const FilmStart& start,
                         MessageHandler& handler) {
  SessionResult result;
  auto sockets = PeerSocket::Pair();
  if (!sockets.ok()) {
    result.what = Sentence(sockets.status());
    return result;
  }
  absl::StatusOr<Worker> worker = StartWorker(options, start, std::move(sockets->second));
  if (!worker.ok()) {
    result.what = Sentence(worker.status());
    return result;
  }
  absl::StatusOr<Channel> channel = ShakeHands(options, std::move(sockets->first), *worker);
  if (!channel.ok()) {
    result.what = absl::StrCat("no handshake with the worker: ", Sentence(channel.status()));
    // It may have died of its own trouble, and said so. Where the trouble is ours, it is silent.
    const absl::StatusOr<ExitReport> report = worker->Wait(Deadline::After(absl::Seconds(1)));
    if (report.ok()) {
      // Nothing hostile has run in it yet: its word is good.
      if (report->exit_code == kExitSaidWhy) {
        result.what.clear();
      } else if (report->exit_code != kExitRefused) {
        absl::StrAppend(&result.what, "; ", report->ToString());
      }
    }
    return result;
  }
  // The ring is empty: there is space for it.
  if (channel->sender.TrySend(kTagAccepts, EncodeAcceptance(options.acceptance)) != Outcome::kOk) {
    result.what = "the worker took nothing from the beginning";
    return result;
  }
  // By the kernel's word, before anything that it says is taken. One that has ended meanwhile is
  // judged by its report.
  const absl::StatusOr<ConfinementProof> proof =
      AwaitConfined(*worker, Deadline::After(kHandshakeTime));
  if (!proof.ok() && !absl::IsFailedPrecondition(proof.status())) {
    result.what = Sentence(proof.status());
    return result;
  }
  Listening listening(options, handler, *channel);
  result = listening.Run();

  // An honest worker is let go, one that died is asked how; everything else is killed at once.
  const bool ends_itself = result.end == SessionEnd::kWhole ||
                           result.end == SessionEnd::kNotDecodable || listening.peer_died();
  if (!ends_itself) worker->Kill();
  absl::StatusOr<ExitReport> report = worker->Wait(Deadline::After(kGoodbye));
  if (!report.ok()) {
    worker->Kill();
    report = worker->Wait(Deadline::After(kGoodbye));
  }
  if (report.ok()) {
    result.worker_cpu = report->user_time + report->system_time;
    if (listening.peer_died()) result.what = report->ToString();
  }
  return result;
}

}  // namespace parley::film

#include "outfuzz/worker_session.h"

#include <sys/resource.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "outfuzz/protocol.h"
#include "parley/boundary/violation.h"
#include "parley/boundary/wire_copy.h"
#include "parley/handshake/options.h"
#include "parley/handshake/peer_socket.h"
#include "parley/sandbox/confinement_proof.h"
#include "parley/sandbox/exit_report.h"
#include "parley/sandbox/spawn.h"

namespace outfuzz {
namespace {

constexpr absl::Duration kStartTime = absl::Seconds(20);
// For a worker whose socket is closed, or that was let go, to be gone.
constexpr absl::Duration kGoodbye = absl::Seconds(2);
// Many inputs on their way, so that neither side waits for the other after each.
constexpr uint64_t kInputRingBytes = uint64_t{1} << 16;
constexpr uint64_t kAnswerRingBytes = uint64_t{1} << 14;

absl::StatusOr<parley::Worker> StartProcess(const WorkerOptions& options,
                                            parley::PeerSocket socket) {
  rlimit ours = {};
  ::getrlimit(RLIMIT_AS, &ours);
  parley::SpawnOptions spawn;
  spawn.program = options.program;
  spawn.name = "outfuzz worker";
  spawn.arguments = options.arguments;
  spawn.environment_from_ours = {"ASAN_OPTIONS", "UBSAN_OPTIONS"};
  spawn.descriptors.push_back(
      parley::InheritedDescriptor::Give(std::move(socket).Release(), parley::kSocketVariable));
  spawn.limits.address_space_bytes = std::min<uint64_t>(options.memory_bytes, ours.rlim_max);
  spawn.limits.file_size_bytes = 0;  // nothing is to be written
  spawn.limits.open_files = 64;
  return parley::Spawn(std::move(spawn));
}

parley::AcceptOptions Accepting(const WorkerOptions& options, const parley::Worker& worker) {
  constexpr uint32_t kMin = 64;  // the shortest limit for a message that a channel has
  const uint32_t largest = std::max(kMin, kNumberBytes + options.max_input_bytes);
  parley::AcceptOptions accept;
  accept.send = {std::max(kInputRingBytes, std::bit_ceil(uint64_t{4} * largest)), largest};
  accept.receive = {kAnswerRingBytes, std::max<uint32_t>(kMin, kNumberBytes)};
  accept.limits = {accept.send.capacity_bytes, largest};
  accept.peer_pidfd = worker.pidfd();
  // Until it has locked itself down it runs our code on nothing hostile; afterwards our filter
  // keeps it from blocking a doorbell.
  accept.trust = parley::PeerTrust::Because("the worker locks itself down before its first input");
  return accept;
}

}  // namespace

const char* VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kOk:
      return "ok";
    case Verdict::kCrash:
      return "crash";
    case Verdict::kHang:
      return "hang";
    case Verdict::kViolation:
      return "violation";
    case Verdict::kHostile:
      return "hostile";
  }
  return "?";
}

WorkerSession::WorkerSession(Private, WorkerOptions options, parley::Worker worker,
                             parley::Channel channel)
    : options_(std::move(options)),
      worker_(std::move(worker)),
      channel_(std::move(channel)),
      buffer_(channel_.receiver.max_message_bytes()) {}

absl::StatusOr<std::unique_ptr<WorkerSession>> WorkerSession::Start(const WorkerOptions& options) {
  const parley::Deadline deadline = parley::Deadline::After(kStartTime);
  auto sockets = parley::PeerSocket::Pair();
  if (!sockets.ok()) return sockets.status();
  auto worker = StartProcess(options, std::move(sockets->second));
  if (!worker.ok()) return worker.status();
  auto channel =
      parley::AcceptChannel(std::move(sockets->first), Accepting(options, *worker), deadline);
  if (!channel.ok()) return channel.status();
  auto session =
      std::make_unique<WorkerSession>(Private(), options, *std::move(worker), *std::move(channel));
  // Nothing hostile has run in it yet: its word is good.
  const auto ready = session->channel_.receiver.Receive(absl::MakeSpan(session->buffer_), deadline);
  if (!ready.ok() || ready->tag != kReadyTag) {
    return absl::FailedPreconditionError("the worker did not get ready");
  }
  // By the kernel's word, before it gets an input.
  const auto proof = parley::VerifyConfined(session->worker_);
  if (!proof.ok()) return proof.status();
  return session;
}

bool WorkerSession::Offer(uint64_t number, absl::Span<const uint8_t> input) {
  const std::size_t size = kNumberBytes + input.size();
  absl::Span<std::byte> room;
  switch (channel_.sender.TryReserve(size, &room)) {
    case parley::Outcome::kOk:
      break;
    case parley::Outcome::kWouldBlock:
      return false;
    case parley::Outcome::kClosed:
      refuses_inputs_ = "it takes no more inputs";
      return false;
    case parley::Outcome::kPoisoned:
      refuses_inputs_ = absl::StrCat("the peer broke the protocol: ",
                                     parley::ToString(channel_.sender.violation()));
      return false;
    case parley::Outcome::kTooLong:
      refuses_inputs_ = "the input is longer than a message of the channel";
      return false;
  }
  const auto number_bytes = parley::WireBytes(number);
  std::memcpy(room.data(), number_bytes.data(), kNumberBytes);
  if (!input.empty()) std::memcpy(room.data() + kNumberBytes, input.data(), input.size());
  channel_.sender.Commit(kInputTag, size);
  if (unanswered_.empty()) oldest_since_ns_ = parley::MonotonicNowNs();
  unanswered_.push_back(number);
  return true;
}

Answer WorkerSession::Await(parley::Deadline deadline) {
  const auto patience = parley::Deadline::AtMonotonicNs(oldest_since_ns_ +
                                                        absl::ToInt64Nanoseconds(options_.timeout));
  if (!refuses_inputs_.empty()) deadline = parley::Deadline::AtMonotonicNs(0);
  Answer answer = AwaitMessage(unanswered_.empty() ? deadline : deadline.Or(patience));
  if (answer.kind != Answer::Kind::kNothing) return answer;
  if (!refuses_inputs_.empty()) return EndedBy(Verdict::kHostile, refuses_inputs_);
  if (unanswered_.empty() || !patience.Expired()) return answer;
  return EndedBy(Verdict::kHang,
                 absl::StrCat("no answer for ", absl::FormatDuration(options_.timeout)));
}

Answer WorkerSession::AwaitMessage(parley::Deadline deadline) {
  const auto message = channel_.receiver.Receive(absl::MakeSpan(buffer_), deadline);
  switch (message.status().code()) {
    case absl::StatusCode::kOk:
      break;
    case absl::StatusCode::kDeadlineExceeded:
      return {};
    case absl::StatusCode::kUnavailable:
      return EndedByItself();
    case absl::StatusCode::kOutOfRange:
      return EndedBy(Verdict::kHostile, "it closed the stream");
    default:
      return EndedBy(Verdict::kHostile, std::string(message.status().message()));
  }
  uint64_t number = 0;
  // TRUST: taken only if it is the one answer that may come now.
  const bool honest = message->tag == kRanTag && message->size_bytes == kNumberBytes &&
                      parley::ReadWire(absl::MakeConstSpan(buffer_), &number) &&
                      !unanswered_.empty() && number == unanswered_.front();
  if (!honest) {
    channel_.receiver.Poison(parley::Violation::kMetadataInvalid);
    return EndedBy(Verdict::kHostile, "it answered what was not asked");
  }
  unanswered_.pop_front();
  oldest_since_ns_ = parley::MonotonicNowNs();
  return {.kind = Answer::Kind::kRan, .cause = {}};
}

Answer WorkerSession::EndedBy(Verdict verdict, std::string cause) {
  worker_.Kill();
  static_cast<void>(worker_.Wait(parley::Deadline::After(kGoodbye)));
  return {.kind = Answer::Kind::kEnded, .verdict = verdict, .cause = std::move(cause)};
}

Answer WorkerSession::EndedByItself() {
  const auto report = worker_.Wait(parley::Deadline::After(kGoodbye));
  if (!report.ok()) return EndedBy(Verdict::kHostile, "it hung up and stayed");
  if (report->killed_by_filter()) {
    return EndedBy(Verdict::kViolation, report->refused_call.value_or("a call that kills at once"));
  }
  // "outfuzz worker (pid 71) was killed by signal 11 (...)", without the name and the number.
  const std::string sentence = report->ToString();
  return EndedBy(Verdict::kCrash, sentence.substr(sentence.find(") ") + 2));
}

bool WorkerSession::Retire() {
  channel_.sender.Close();
  const auto report = worker_.Wait(parley::Deadline::After(kGoodbye));
  if (!report.ok()) worker_.Kill();
  return report.ok() && report->clean();
}

}  // namespace outfuzz

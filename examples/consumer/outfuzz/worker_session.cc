// SPDX-License-Identifier: Apache-2.0
#include "outfuzz/worker_session.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "outfuzz/protocol.h"
#include "parley/boundary/violation.h"
#include "parley/boundary/wire_copy.h"

namespace outfuzz {
namespace {

constexpr absl::Duration kStartTime = absl::Seconds(20);
// The shortest limit for a message that a channel has.
constexpr uint32_t kMin = 64;
// For a worker whose socket is closed, or that was let go, to be gone.
constexpr absl::Duration kGoodbye = absl::Seconds(2);
// Many inputs on their way, so that neither side waits for the other after each.
constexpr uint64_t kInputRingBytes = uint64_t{1} << 16;
constexpr uint64_t kAnswerRingBytes = uint64_t{1} << 14;

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

WorkerSession::WorkerSession(Private, WorkerOptions options, parley::WorkerLink link)
    : options_(std::move(options)), link_(std::move(link)), buffer_(link_.max_message_bytes()) {}

absl::StatusOr<std::unique_ptr<WorkerSession>> WorkerSession::Start(const WorkerOptions& options) {
  parley::WorkerLinkOptions wanted;
  wanted.program.path = options.program;
  wanted.program.name = "outfuzz worker";
  wanted.program.arguments = options.arguments;
  wanted.program.memory_bytes = options.memory_bytes;
  const uint32_t largest = std::max(kMin, kNumberBytes + options.max_input_bytes);
  wanted.to_worker = {std::max(kInputRingBytes, std::bit_ceil(uint64_t{4} * largest)), largest};
  wanted.from_worker = {kAnswerRingBytes, 0};
  auto link = parley::WorkerLink::Start(std::move(wanted), parley::Deadline::After(kStartTime));
  if (!link.ok()) return link.status();
  return std::make_unique<WorkerSession>(Private(), options, *std::move(link));
}

bool WorkerSession::Offer(uint64_t number, absl::Span<const uint8_t> input) {
  const std::size_t size = kNumberBytes + input.size();
  absl::Span<std::byte> room;
  parley::Sender& sender = link_.channel().sender;
  switch (sender.TryReserve(size, &room)) {
    case parley::Outcome::kOk:
      break;
    case parley::Outcome::kWouldBlock:
      return false;
    case parley::Outcome::kClosed:
      refuses_inputs_ = "it takes no more inputs";
      return false;
    case parley::Outcome::kPoisoned:
      refuses_inputs_ =
          absl::StrCat("the peer broke the protocol: ", parley::ToString(sender.violation()));
      return false;
    case parley::Outcome::kTooLong:
      refuses_inputs_ = "the input is longer than a message of the channel";
      return false;
  }
  const auto number_bytes = parley::WireBytes(number);
  std::memcpy(room.data(), number_bytes.data(), kNumberBytes);
  if (!input.empty()) std::memcpy(room.data() + kNumberBytes, input.data(), input.size());
  sender.Commit(kInputTag, size);
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
  const auto message = link_.Receive(absl::MakeSpan(buffer_), deadline);
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
    link_.Poison("it answered what was not asked");
    return EndedBy(Verdict::kHostile, "it answered what was not asked");
  }
  unanswered_.pop_front();
  oldest_since_ns_ = parley::MonotonicNowNs();
  return {.kind = Answer::Kind::kRan, .cause = {}};
}

Answer WorkerSession::EndedBy(Verdict verdict, std::string cause) {
  static_cast<void>(link_.Kill(cause));
  return {.kind = Answer::Kind::kEnded, .verdict = verdict, .cause = std::move(cause)};
}

Answer WorkerSession::EndedByItself() {
  const parley::WorkerEnd end = link_.End(parley::Deadline::After(kGoodbye));
  switch (end.cause) {
    case parley::WorkerEnd::Cause::kKilled:
    case parley::WorkerEnd::Cause::kUnknown:
      return EndedBy(Verdict::kHostile, "it hung up and stayed");
    case parley::WorkerEnd::Cause::kBrokeProtocol:
      return EndedBy(Verdict::kHostile, end.what);
    case parley::WorkerEnd::Cause::kRefusedCall:
      return EndedBy(Verdict::kViolation,
                     end.report.refused_call.value_or("a call that kills at once"));
    default:
      return EndedBy(Verdict::kCrash, end.what);
  }
}

bool WorkerSession::Retire() { return link_.End(parley::Deadline::After(kGoodbye)).done(); }

}  // namespace outfuzz

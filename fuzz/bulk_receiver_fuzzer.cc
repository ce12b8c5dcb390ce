// SPDX-License-Identifier: Apache-2.0

// Attacks BulkReceiver with a hostile sender: records of any tag, length and content, honest
// messages of a BulkSender in between, payloads changed after they were sent, an orderly end or a
// death anywhere. A model, a queue of records and the rules of docs/SPEC.md section 9 read byte by
// byte, says what each call must answer, what must lie in the buffer, and which violation it is.
//
// Input: the doorbell, the longest message that the receiver takes, then steps: one byte each
// (modulo 12), followed by what it needs.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/violation.h"
#include "parley/channel/bulk.h"
#include "parley/channel/channel.h"
#include "parley/channel/hostile_access.h"
#include "parley/fuzz/disposal_footprint.h"
#include "parley/fuzz/ended_channel.h"
#include "parley/fuzz/space_model.h"
#include "parley/os/check.h"
#include "parley/os/deadline.h"
#include "parley/ring/ring_types.h"
#include "parley/testing/channel_pair.h"
#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {
namespace {

using testing::Script;

constexpr int kMaxSteps = 200;
constexpr std::size_t kCapacity = 4096;
constexpr std::size_t kMaxMessage = 1024;
// A quarter of this ring, less 8 bytes of the record's header and 16 of the message's, at 64 bytes.
constexpr std::size_t kMaxChunk = 960;
constexpr std::array<uint64_t, 6> kMaxBytes = {0, 1, 100, 1000, 5000, 20'000};
constexpr std::byte kUntouched{0xEE};
constexpr std::size_t kBehind = 32;  // bytes of the buffer that no message may reach

struct Queued {
  uint32_t tag = 0;
  std::vector<std::byte> payload;
  std::size_t ring_offset = 0;  // of the payload
  std::size_t RingBytes() const { return 8 + (payload.size() + 7) / 8 * 8; }
};

uint64_t LittleEndian(const std::vector<std::byte>& bytes, std::size_t at) {
  uint64_t value = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    value |= uint64_t{std::to_integer<uint8_t>(bytes[at + i])} << (8 * i);
  }
  return value;
}
void AppendLittleEndian(uint64_t value, std::vector<std::byte>& bytes) {
  for (std::size_t i = 0; i < 8; ++i) bytes.push_back(static_cast<std::byte>(value >> (8 * i)));
}

// What a receiver that follows the rules makes of a sequence of records.
class Model {
 public:
  explicit Model(uint64_t max_bytes) : max_bytes_(max_bytes) {}

  struct Message {
    uint32_t tag = 0;
    uint64_t total = 0;
    std::vector<std::byte> bytes;  // so far
  };

  enum class Step { kMore, kComplete, kViolation };
  Step Take(const Queued& record) {
    std::size_t at = 0;
    if (!message_) {
      if (record.payload.size() < 16) return Break(Violation::kMetadataInvalid);
      if (LittleEndian(record.payload, 8) != 0) return Break(Violation::kMetadataInvalid);
      const uint64_t total = LittleEndian(record.payload, 0);
      if (total > max_bytes_) return Break(Violation::kMetadataInvalid);
      message_ = Message{record.tag, total, {}};
      at = 16;
    } else if (record.payload.empty() || record.tag != message_->tag) {
      return Break(Violation::kMetadataInvalid);
    }
    for (; at < record.payload.size(); ++at) {
      if (message_->bytes.size() == message_->total) return Break(Violation::kMetadataInvalid);
      message_->bytes.push_back(record.payload[at]);
    }
    return message_->bytes.size() == message_->total ? Step::kComplete : Step::kMore;
  }

  const std::optional<Message>& message() const { return message_; }
  void NextMessage() { message_.reset(); }
  Violation violation() const { return violation_; }

 private:
  Step Break(Violation violation) {
    violation_ = violation;
    return Step::kViolation;
  }
  const uint64_t max_bytes_;
  std::optional<Message> message_;
  Violation violation_ = Violation::kNone;
};

class Run {
 public:
  explicit Run(Script script)
      : script_(script),
        eventfd_(script_.Take8() % 2 == 1),
        max_bytes_(kMaxBytes[script_.Take8() % kMaxBytes.size()]),
        model_(max_bytes_),
        into_(max_bytes_ + kBehind, kUntouched) {
    testing::ChannelPairOptions options;
    options.eventfd = eventfd_;
    options.ring = {kCapacity, kMaxMessage};
    options.wait.max_spin = absl::ZeroDuration();
    options.wait.throttle_time = absl::Microseconds(1);
    auto pair = testing::ChannelPair::Create(options);
    PARLEY_CHECK(pair.ok(), "a channel pair");
    pair_ = *std::move(pair);
    receiver_.emplace(&Victim().receiver, max_bytes_);
  }

  void Everything() {
    for (int i = 0; i < kMaxSteps && !script_.empty(); ++i) Step(script_.Take8() % 12);
    while (!queue_.empty() && final_ == absl::StatusCode::kOk) Receive(Deadline::AtMonotonicNs(0));
    Receive(Deadline::AtMonotonicNs(0));
  }

 private:
  Channel& Victim() { return pair_->accepting(); }
  Channel& Peer() { return pair_->connecting(); }
  bool MaySend() const { return alive_ && !closed_; }

  void Step(int op) {
    switch (op) {
      case 0: {  // any record
        const uint32_t tag = script_.Take8();
        static_cast<void>(Send(tag, Bytes(script_.Take16() % (kMaxMessage + 1))));
        return;
      }
      case 1:
      case 2:
        return First();
      case 3:
      case 4: {  // more of the message that First began
        const std::size_t size = script_.Take16() % (kMaxMessage + 1);
        const auto sent = static_cast<std::size_t>(std::min<uint64_t>(size, left_));
        if (Send(tag_, Bytes(sent))) left_ -= sent;
        return;
      }
      case 5:
        return Honest();
      case 6:
      case 7:
        return Receive(Deadline::AtMonotonicNs(0));
      case 8:  // with a deadline that is not needed, or else with one that has passed
        return Receive(AnswerIsThere() ? Deadline::After(absl::Seconds(20))
                                       : Deadline::AtMonotonicNs(0));
      case 9:
        return Rewrite();
      case 10: {  // the victim's other direction
        const Outcome outcome = Victim().sender.TrySend(1, {});
        const bool poisoned = model_.violation() != Violation::kNone;
        PARLEY_CHECK((outcome == Outcome::kPoisoned) == poisoned, "the other direction");
        return;
      }
      case 11:
        switch (script_.Take8() % 8) {
          case 0:
            if (!MaySend()) return;
            Peer().sender.Close();
            closed_ = true;
            return;
          case 1:
            honest_.reset();  // it keeps the session alive
            EndNow(Peer());
            alive_ = false;
            return;
          default:
            return;
        }
    }
  }

  std::vector<std::byte> Bytes(std::size_t size) {
    std::vector<std::byte> bytes(size);
    for (std::byte& b : bytes) b = static_cast<std::byte>(++last_byte_ % 239);
    return bytes;
  }

  bool HasFreeSpace(std::size_t size) const { return room_.HasFreeSpace(8 + (size + 7) / 8 * 8); }
  void Note(uint32_t tag, std::vector<std::byte> payload, uint64_t published_before) {
    queue_.push_back({tag, std::move(payload), published_before % kCapacity + 8});
    room_.Write(queue_.back().RingBytes());
  }
  bool Send(uint32_t tag, std::vector<std::byte> payload) {
    if (!MaySend()) return false;
    const uint64_t before = HostileAccess::Published(Peer().sender);
    const Outcome outcome = Peer().sender.TrySend(tag, payload);
    PARLEY_CHECK(outcome == (HasFreeSpace(payload.size()) ? Outcome::kOk : Outcome::kWouldBlock),
                 "a plain record, sent or not");
    if (outcome == Outcome::kOk) Note(tag, std::move(payload), before);
    return outcome == Outcome::kOk;
  }

  // A message's first record: about the header nothing is sure, about the rest neither.
  void First() {
    const uint32_t tag = script_.Take8();
    const uint8_t kind = script_.Take8();
    uint64_t total = script_.Take16();
    switch (kind % 8) {
      case 0:
        total = script_.Take64();
        break;
      case 1:
        total = max_bytes_;
        break;
      case 2:
        total = max_bytes_ + 1;
        break;
      default:
        if (max_bytes_ != 0) total %= max_bytes_ + 1;
        break;
    }
    const uint64_t reserved = (kind & 0x80) != 0 ? script_.Take64() : 0;
    std::size_t chunk = script_.Take16() % (kMaxMessage - 16 + 1);
    if ((kind & 0x40) == 0) chunk = static_cast<std::size_t>(std::min<uint64_t>(chunk, total));
    std::vector<std::byte> payload;
    AppendLittleEndian(total, payload);
    AppendLittleEndian(reserved, payload);
    for (const std::byte b : Bytes(chunk)) payload.push_back(b);
    if (!Send(tag, std::move(payload))) return;
    tag_ = tag;
    left_ = total - std::min<uint64_t>(total, chunk);
  }

  // The next record of a BulkSender's message, or the first one of a new message.
  void Honest() {
    if (!MaySend()) return;
    if (!honest_ || !honest_->unfinished()) {
      constexpr std::array<std::size_t, 4> kChunks = {48, 100, 960, 65'536};
      honest_tag_ = script_.Take8();
      honest_bytes_ = Bytes(script_.Take16() % (max_bytes_ + 1));
      honest_chunk_ = std::min(kChunks[script_.Take8() % kChunks.size()], kMaxChunk);
      honest_sent_ = 0;
      honest_.emplace(&Peer().sender, BulkOptions{.chunk_bytes = honest_chunk_});
      PARLEY_CHECK(honest_->chunk_bytes() == honest_chunk_, "another chunk");
    }
    std::vector<std::byte> payload;
    const bool first = !honest_->unfinished();
    if (first) {
      AppendLittleEndian(honest_bytes_.size(), payload);
      AppendLittleEndian(0, payload);
    }
    const std::size_t chunk = std::min(honest_chunk_, honest_bytes_.size() - honest_sent_);
    for (std::size_t i = 0; i < chunk; ++i) payload.push_back(honest_bytes_[honest_sent_ + i]);
    const bool room = HasFreeSpace(payload.size());
    const bool last = honest_sent_ + chunk == honest_bytes_.size();

    const uint64_t before = HostileAccess::Published(Peer().sender);
    const absl::Status status =
        honest_->Send(honest_tag_, honest_bytes_, Deadline::AtMonotonicNs(0));
    PARLEY_CHECK(status.code() ==
                     (room && last ? absl::StatusCode::kOk : absl::StatusCode::kDeadlineExceeded),
                 "BulkSender: what it says");
    const uint64_t published = HostileAccess::Published(Peer().sender) - before;
    PARLEY_CHECK(published == (room ? 8 + (payload.size() + 7) / 8 * 8 : 0),
                 "BulkSender: what it publishes");
    PARLEY_CHECK(honest_->unfinished() == (room ? !last : !first), "BulkSender: unfinished");
    if (!room) return;
    honest_sent_ += chunk;
    Note(honest_tag_, std::move(payload), before);
  }

  // Changes a byte of a record that was published and not yet taken.
  void Rewrite() {
    const std::size_t which = script_.Take8();
    const std::size_t where = script_.Take16();
    const std::byte value{script_.Take8()};
    if (!alive_ || queue_.empty()) return;
    Queued& record = queue_[which % queue_.size()];
    if (record.payload.empty()) return;
    const std::size_t at = where % record.payload.size();
    record.payload[at] = value;
    HostileAccess::Data(Peer().sender)
        .CopyIn((record.ring_offset + at) % kCapacity, absl::MakeConstSpan(&value, 1));
  }

  // Whether a call is answered by what is there, without more from the peer.
  bool AnswerIsThere() const {
    if (final_ != absl::StatusCode::kOk || closed_ || !alive_) return true;
    Model copy = model_;
    for (const Queued& record : queue_) {
      if (copy.Take(record) != Model::Step::kMore) return true;
    }
    return false;
  }

  void Receive(Deadline deadline) {
    if (!model_.message()) std::fill(into_.begin(), into_.end(), kUntouched);
    const auto got = receiver_->Receive(absl::MakeSpan(into_).first(max_bytes_), deadline);
    const bool patient = !deadline.Expired();
    const absl::StatusCode expected = ExpectedAnswer(patient);
    PARLEY_CHECK(got.status().code() == expected, "another answer than the rules give");
    PARLEY_CHECK(Victim().receiver.violation() == model_.violation(), "another violation");
    const auto& message = model_.message();
    if (got.ok()) {
      PARLEY_CHECK(got->tag == message->tag && got->size_bytes == message->total,
                   "another message than was sent");
    }
    if (expected != absl::StatusCode::kDataLoss) {
      const std::size_t arrived = message ? message->bytes.size() : 0;
      PARLEY_CHECK(
          arrived == 0 || std::equal(message->bytes.begin(), message->bytes.end(), into_.begin()),
          "other bytes than were sent");
      PARLEY_CHECK(std::all_of(into_.begin() + static_cast<std::ptrdiff_t>(arrived), into_.end(),
                               [](std::byte b) { return b == kUntouched; }),
                   "written beyond what arrived");
    } else {
      PARLEY_CHECK(std::all_of(into_.end() - kBehind, into_.end(),
                               [](std::byte b) { return b == kUntouched; }),
                   "written beyond the buffer");
    }
    if (got.ok()) model_.NextMessage();
    PARLEY_CHECK(expected == absl::StatusCode::kDataLoss ||
                     receiver_->unfinished() == model_.message().has_value(),
                 "unfinished");
  }

  absl::StatusCode ExpectedAnswer(bool patient) {
    if (final_ != absl::StatusCode::kOk) return final_;
    // An expired deadline takes one record; otherwise all that is needed.
    do {
      if (queue_.empty()) {
        if (closed_ && !model_.message()) return final_ = absl::StatusCode::kOutOfRange;
        if (closed_ || !alive_) return final_ = absl::StatusCode::kUnavailable;
        PARLEY_CHECK(!patient, "waited without need");
        return absl::StatusCode::kDeadlineExceeded;
      }
      std::size_t published_bytes = 0;
      for (const Queued& record : queue_) published_bytes += record.RingBytes();
      room_.Look(published_bytes);
      const Queued record = std::move(queue_.front());
      queue_.pop_front();
      room_.Take(record.RingBytes());
      switch (model_.Take(record)) {
        case Model::Step::kComplete:
          room_.Release();
          return absl::StatusCode::kOk;
        case Model::Step::kViolation:  // nothing is given back any more
          return final_ = absl::StatusCode::kDataLoss;
        case Model::Step::kMore:
          room_.Release();
          break;
      }
    } while (patient);
    return absl::StatusCode::kDeadlineExceeded;
  }

  Script script_;
  const bool eventfd_;
  const uint64_t max_bytes_;
  std::unique_ptr<testing::ChannelPair> pair_;
  std::optional<BulkReceiver> receiver_;
  Model model_;
  std::vector<std::byte> into_;
  std::deque<Queued> queue_;  // published, not taken
  SpaceModel room_{kCapacity};
  bool closed_ = false;
  bool alive_ = true;
  absl::StatusCode final_ = absl::StatusCode::kOk;

  uint32_t tag_ = 0;   // of what First began
  uint64_t left_ = 0;  // of it
  std::optional<BulkSender> honest_;
  uint32_t honest_tag_ = 0;
  std::vector<std::byte> honest_bytes_;
  std::size_t honest_chunk_ = 0;
  std::size_t honest_sent_ = 0;
  uint32_t last_byte_ = 0;
};

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  parley::fuzz::LeavesNothingAfterDisposal(
      [&] { parley::fuzz::Run(parley::testing::Script(data, size)).Everything(); });
  return 0;
}

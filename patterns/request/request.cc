// SPDX-License-Identifier: Apache-2.0
#include "parley/patterns/request/request.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <string>

#include "parley/boundary/own_memory.h"
#include "parley/boundary/wire_copy.h"
#include "parley/os/check.h"

namespace parley {
namespace {

constexpr std::size_t kHeaderBytes = sizeof(RequestHeaderWire);
constexpr int64_t kNsPerUs = 1000;
// A budget beyond this is as good as this: what a peer says never overflows a deadline.
constexpr uint64_t kMaxBudgetUs = uint64_t{365} * 24 * 3600 * 1'000'000;

absl::Status Check(const Channel& channel, const RequestOptions& options) {
  if (!channel.sender || !channel.receiver) {
    return absl::FailedPreconditionError("requests need a channel with both directions");
  }
  if (options.max_outstanding < 1 || options.max_outstanding > kMaxOutstandingRequests) {
    return absl::InvalidArgumentError("RequestOptions::max_outstanding is " +
                                      std::to_string(options.max_outstanding) +
                                      "; allowed: 1 to 256");
  }
  return absl::OkStatus();
}

absl::Status BrokenStatus(Violation violation) {
  return absl::DataLossError(std::string("the peer broke the protocol: ") + ToString(violation));
}

// One record with a header in front. kOk: it was sent.
Outcome TrySendRecord(Sender& sender, uint32_t tag, const RequestHeaderWire& header,
                      absl::Span<const std::byte> payload) {
  if (payload.size() > sender.max_message_bytes() - kHeaderBytes) return Outcome::kTooLong;
  absl::Span<std::byte> room;
  const Outcome outcome = sender.TryReserve(kHeaderBytes + payload.size(), &room);
  if (outcome != Outcome::kOk) return outcome;
  OwnMemory record(room.data(), room.size());
  record.CopyIn(0, WireBytes(header));
  record.CopyIn(kHeaderBytes, payload);
  sender.Commit(tag, kHeaderBytes + payload.size());
  return Outcome::kOk;
}

// The header of a record in place, copied once; false: the record is too short for one.
bool ReadHeader(const PeekedMessage& message, RequestHeaderWire* header) {
  if (message.view.size_bytes() < kHeaderBytes) return false;
  std::array<std::byte, kHeaderBytes> bytes;
  message.view.CopyTo(0, absl::MakeSpan(bytes));
  return ReadWire(absl::MakeConstSpan(bytes), header);
}

uint64_t BudgetUs(Deadline deadline) {
  const int64_t left_ns = deadline.monotonic_ns() - MonotonicNowNs();
  return left_ns <= 0 ? 0 : static_cast<uint64_t>(left_ns) / kNsPerUs;
}

// The entry of this id, 0: one that is free; nullptr: there is none.
template <typename Entry>
Entry* Find(std::vector<Entry>& entries, uint64_t id) {
  for (Entry& entry : entries) {
    if (entry.id == id) return &entry;
  }
  return nullptr;
}

}  // namespace

// --- the client ----------------------------------------------------------------------------------

absl::StatusOr<RequestClient> RequestClient::Create(Channel channel,
                                                    const RequestOptions& options) {
  if (absl::Status status = Check(channel, options); !status.ok()) return status;
  return RequestClient(std::move(channel), options);
}

std::size_t RequestClient::max_request_bytes() const {
  return channel_.sender.max_message_bytes() - kHeaderBytes;
}
std::size_t RequestClient::max_response_bytes() const {
  return channel_.receiver.max_message_bytes() - kHeaderBytes;
}

Outcome RequestClient::TryStart(uint32_t tag, absl::Span<const std::byte> payload,
                                Deadline deadline, uint64_t* id) {
  if (violation() != Violation::kNone) return Outcome::kPoisoned;
  if (ended_) return Outcome::kClosed;
  if (payload.size() > max_request_bytes()) return Outcome::kTooLong;
  TellOfCancelled();
  Entry* const place = Find(entries_, 0);
  if (place == nullptr) {
    // The sender's end comes first: there a place would be of no use.
    absl::Span<std::byte> room;
    const Outcome outcome = channel_.sender.TryReserve(kHeaderBytes + payload.size(), &room);
    channel_.sender.DropReserved();
    return outcome == Outcome::kOk ? Outcome::kWouldBlock : outcome;
  }
  const RequestHeaderWire header = {kRequestStart, 0, last_id_ + 1, BudgetUs(deadline)};
  const Outcome outcome = TrySendRecord(channel_.sender, tag, header, payload);
  if (outcome != Outcome::kOk) return outcome;
  *place = {++last_id_, deadline.monotonic_ns(), false, false};
  ++used_;
  ++waiting_;
  *id = last_id_;
  return Outcome::kOk;
}

void RequestClient::GiveUp(Entry& entry) {
  entry.given_up = true;
  entry.tell = true;
  --waiting_;
  TellOfCancelled();
}

void RequestClient::Cancel(uint64_t id) {
  Entry* const entry = id == 0 ? nullptr : Find(entries_, id);
  if (entry != nullptr && !entry->given_up) GiveUp(*entry);
}

void RequestClient::TellOfCancelled() {
  for (Entry& entry : entries_) {
    if (!entry.tell) continue;
    const RequestHeaderWire header = {kRequestCancel, 0, entry.id, 0};
    if (TrySendRecord(channel_.sender, 0, header, {}) != Outcome::kOk) return;
    entry.tell = false;
  }
}

int64_t RequestClient::EarliestDeadlineNs() const {
  int64_t earliest = std::numeric_limits<int64_t>::max();
  for (const Entry& entry : entries_) {
    if (entry.id != 0 && !entry.given_up) earliest = std::min(earliest, entry.deadline_ns);
  }
  return earliest;
}

bool RequestClient::TakeExpired(Response* response) {
  const int64_t earliest_ns = EarliestDeadlineNs();
  if (waiting_ == 0 || earliest_ns > MonotonicNowNs()) return false;
  for (Entry& entry : entries_) {
    if (entry.id == 0 || entry.given_up || entry.deadline_ns != earliest_ns) continue;
    *response = {entry.id, kRequestExpired, 0, 0};
    GiveUp(entry);
    return true;
  }
  return false;
}

RequestClient::Taken RequestClient::TakeIn(const PeekedMessage& message, absl::Span<std::byte> into,
                                           Response* response) {
  RequestHeaderWire header{};
  // TRUST: a response to a request that is out, once: its place is free afterwards.
  Entry* const entry =
      ReadHeader(message, &header) && header.id != 0 ? Find(entries_, header.id) : nullptr;
  if (entry == nullptr || header.kind != kRequestResponse || header.budget_us != 0) {
    channel_.receiver.Poison(Violation::kMetadataInvalid);
    return Taken::kViolation;
  }
  const bool wanted = !entry->given_up;
  *entry = {};
  --used_;
  if (wanted) {
    --waiting_;
    // TRUST: at most the longest message less the header, for which the caller has room. The code
    // and the payload are the server's to choose.
    const std::size_t size_bytes = message.view.size_bytes() - kHeaderBytes;
    message.view.CopyTo(kHeaderBytes, into.first(size_bytes));
    *response = {header.id, header.code, message.record.tag, size_bytes};
  }
  channel_.receiver.Release();
  return wanted ? Taken::kDelivered : Taken::kDropped;
}

Outcome RequestClient::TryReceive(absl::Span<std::byte> into, Response* response) {
  PARLEY_CHECK(into.size() >= max_response_bytes(), "a buffer shorter than max_response_bytes");
  TellOfCancelled();
  // As many as are out, at most: each response frees a place, and one for nothing is the end.
  while (true) {
    PeekedMessage message;
    const Outcome outcome = channel_.receiver.TryPeek(&message);
    if (outcome == Outcome::kWouldBlock && TakeExpired(response)) return Outcome::kOk;
    if (outcome == Outcome::kClosed) ended_ = true;
    if (outcome != Outcome::kOk) return outcome;
    switch (TakeIn(message, into, response)) {
      case Taken::kDelivered:
        return Outcome::kOk;
      case Taken::kViolation:
        return Outcome::kPoisoned;
      case Taken::kDropped:
        break;
    }
  }
}

// The end that a call has told of, and tells of for good; OK: none.
absl::Status RequestClient::End() {
  if (violation() != Violation::kNone) return BrokenStatus(violation());
  if (!ended_) return absl::OkStatus();
  return channel_.receiver.Peek(Deadline::AtMonotonicNs(0)).status();
}

absl::StatusOr<Response> RequestClient::Receive(absl::Span<std::byte> into, Deadline deadline) {
  PARLEY_CHECK(into.size() >= max_response_bytes(), "a buffer shorter than max_response_bytes");
  TellOfCancelled();
  Response response;
  while (true) {
    if (absl::Status end = End(); !end.ok()) return end;
    if (waiting_ == 0) return absl::FailedPreconditionError("no request is outstanding");
    const int64_t earliest_ns = EarliestDeadlineNs();
    const auto message = channel_.receiver.Peek(deadline.Or(Deadline::AtMonotonicNs(earliest_ns)));
    if (message.ok()) {
      const Taken taken = TakeIn(*message, into, &response);
      if (taken == Taken::kDelivered) return response;
      if (taken == Taken::kViolation) return BrokenStatus(violation());
      continue;
    }
    if (!absl::IsDeadlineExceeded(message.status())) {
      ended_ = ended_ || !absl::IsCancelled(message.status());
      return message.status();
    }
    if (TakeExpired(&response)) return response;
    if (deadline.Expired()) return absl::DeadlineExceededError("no response in time");
  }
}

absl::StatusOr<Response> RequestClient::Call(uint32_t tag, absl::Span<const std::byte> payload,
                                             absl::Span<std::byte> into, Deadline deadline) {
  if (absl::Status end = End(); !end.ok()) return end;
  if (waiting_ != 0) {
    return absl::FailedPreconditionError("other requests are outstanding: use Start and Receive");
  }
  if (free_places() == 0) {
    // Answers to what was given up earlier make places.
    Response dropped;
    static_cast<void>(TryReceive(into, &dropped));
    if (absl::Status end = End(); !end.ok()) return end;
    if (free_places() == 0) {
      return absl::ResourceExhaustedError("the server has not answered those that were given up");
    }
  }
  uint64_t id = 0;
  while (true) {
    const Outcome started = TryStart(tag, payload, deadline, &id);
    if (started == Outcome::kOk) break;
    // Waits for free space, or says what is wrong. Cancellations that waited for it go first.
    const auto room = channel_.sender.Reserve(kHeaderBytes + payload.size(), deadline);
    if (!room.ok()) return room.status();
  }
  auto received = Receive(into, deadline);
  if (received.ok() && received->code == kRequestExpired && received->size_bytes == 0 &&
      waiting_ == 0 && deadline.Expired()) {
    return absl::DeadlineExceededError("no response in time");
  }
  // Whatever the reason: nobody has its number.
  if (!received.ok()) Cancel(id);
  return received;
}

// --- the server ----------------------------------------------------------------------------------

absl::StatusOr<RequestServer> RequestServer::Create(Channel channel,
                                                    const RequestOptions& options) {
  if (absl::Status status = Check(channel, options); !status.ok()) return status;
  return RequestServer(std::move(channel), options);
}

std::size_t RequestServer::max_request_bytes() const {
  return channel_.receiver.max_message_bytes() - kHeaderBytes;
}
std::size_t RequestServer::max_response_bytes() const {
  return channel_.sender.max_message_bytes() - kHeaderBytes;
}

RequestServer::Entry& RequestServer::Outstanding(uint64_t id) {
  Entry* const entry = id == 0 ? nullptr : Find(entries_, id);
  PARLEY_CHECK(entry != nullptr, "RequestServer: an id that was not taken, or is answered");
  return *entry;
}

// False: a lie.
bool RequestServer::OnRecord(const PeekedMessage& message) {
  RequestHeaderWire header{};
  if (!ReadHeader(message, &header) || header.code != 0) return false;
  if (header.kind == kRequestCancel) {
    // TRUST: of a request that was started; nothing but that is in it. One that is answered already
    // crossed with its answer.
    if (header.id == 0 || header.id > last_id_ || header.budget_us != 0 ||
        message.view.size_bytes() != kHeaderBytes) {
      return false;
    }
    Entry* const entry = Find(entries_, header.id);
    if (entry != nullptr && entry->cancelled) return false;  // twice
    if (entry != nullptr) entry->cancelled = true;
    channel_.receiver.Release();
    return true;
  }
  // TRUST: the next number, and no more of them at once than agreed.
  if (header.kind != kRequestStart || header.id != last_id_ + 1 ||
      used_ == options_.max_outstanding) {
    return false;
  }
  next_ = Next{message, std::min(header.budget_us, kMaxBudgetUs)};
  return true;
}

// Takes cancellations in until a request is next, or nothing is there.
Outcome RequestServer::Advance() {
  // Whoever found it; a request that was seen before that is none any more.
  if (violation() != Violation::kNone) return Outcome::kPoisoned;
  for (int i = 0; i < kMaxRecordsPerCall && !next_; ++i) {
    PeekedMessage message;
    const Outcome outcome = channel_.receiver.TryPeek(&message);
    if (outcome != Outcome::kOk) return outcome;
    if (!OnRecord(message)) {
      channel_.receiver.Poison(Violation::kMetadataInvalid);
      return Outcome::kPoisoned;
    }
  }
  return next_ ? Outcome::kOk : Outcome::kWouldBlock;
}

Request RequestServer::TakeNext(absl::Span<std::byte> into) {
  const std::size_t size_bytes = next_->message.view.size_bytes() - kHeaderBytes;
  next_->message.view.CopyTo(kHeaderBytes, into.first(size_bytes));
  const Deadline deadline =
      Deadline::After(absl::Microseconds(static_cast<int64_t>(next_->budget_us)));
  Request request = {++last_id_, next_->message.record.tag, size_bytes, deadline};
  *Find(entries_, 0) = {request.id, request.tag, deadline.monotonic_ns(), false};
  ++used_;
  next_.reset();
  channel_.receiver.Release();
  return request;
}

Outcome RequestServer::TryTake(absl::Span<std::byte> into, Request* request) {
  PARLEY_CHECK(into.size() >= max_request_bytes(), "a buffer shorter than max_request_bytes");
  const Outcome outcome = Advance();
  if (outcome == Outcome::kOk) *request = TakeNext(into);
  return outcome;
}

absl::StatusOr<Request> RequestServer::Take(absl::Span<std::byte> into, Deadline deadline) {
  PARLEY_CHECK(into.size() >= max_request_bytes(), "a buffer shorter than max_request_bytes");
  if (violation() != Violation::kNone) return BrokenStatus(violation());
  while (!next_) {
    const auto message = channel_.receiver.Peek(deadline);
    if (!message.ok()) return message.status();
    if (!OnRecord(*message)) {
      channel_.receiver.Poison(Violation::kMetadataInvalid);
      return BrokenStatus(violation());
    }
    if (!next_ && deadline.Expired()) {
      return absl::DeadlineExceededError("no request in time");
    }
  }
  return TakeNext(into);
}

bool RequestServer::IsWanted(uint64_t id) {
  const Entry& entry = Outstanding(id);
  static_cast<void>(Advance());  // what ends the channel is found by the next call as well
  return !entry.cancelled && entry.deadline_ns > MonotonicNowNs() &&
         violation() == Violation::kNone;
}

Outcome RequestServer::TryRespond(uint64_t id, uint32_t code, absl::Span<const std::byte> payload) {
  Entry& entry = Outstanding(id);
  RequestHeaderWire header = {kRequestResponse, code, id, 0};
  if (entry.cancelled) {
    header.code = kRequestCancelled;
    payload = {};
  }
  const Outcome outcome = TrySendRecord(channel_.sender, entry.tag, header, payload);
  if (outcome == Outcome::kOk) {
    entry = {};
    --used_;
  }
  return outcome;
}

absl::Status RequestServer::Respond(uint64_t id, uint32_t code, absl::Span<const std::byte> payload,
                                    Deadline deadline) {
  static_cast<void>(Outstanding(id));
  const auto room = channel_.sender.Reserve(kHeaderBytes + payload.size(), deadline);
  if (!room.ok()) return room.status();
  const Outcome outcome = TryRespond(id, code, payload);
  if (outcome == Outcome::kOk) return absl::OkStatus();
  if (outcome == Outcome::kPoisoned) return BrokenStatus(violation());
  return absl::UnavailableError("the response could not be sent");
}

}  // namespace parley

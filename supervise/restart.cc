// SPDX-License-Identifier: Apache-2.0
#include "parley/supervise/restart.h"

#include <poll.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "parley/boundary/violation.h"
#include "parley/boundary/wire_copy.h"
#include "parley/os/pidfd.h"
#include "parley/os/poll.h"
#include "parley/os/unique_fd.h"
#include "parley/supervise/link_wire.h"
#include "parley/supervise/worker_link_maker.h"
#include "parley/wait/eventfd.h"
#include "parley/wait/local_wake.h"

namespace parley {
namespace {

// For a worker that has hung up to be gone.
constexpr absl::Duration kGoodbye = absl::Seconds(1);
// How often a wait for a message tries again to send what found no room.
constexpr absl::Duration kSlice = absl::Milliseconds(10);
// Of what is kept, between two looks at what the worker says.
constexpr int kFlushedAtOnce = 64;

Deadline AtOnce() { return Deadline::AtMonotonicNs(0); }

bool HasEnded(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsOutOfRange(status) || absl::IsDataLoss(status);
}

absl::Status NotStartedYet() {
  return absl::DeadlineExceededError("the next worker is not started yet");
}

absl::Status Check(const RestartOptions& options) {
  if (options.link.source.read != nullptr) {
    return absl::InvalidArgumentError(
        "RestartOptions::link.source is set; allowed: a sealed input, or none");
  }
  if (options.policy.max_restarts < 0 || options.policy.first_delay > options.policy.max_delay) {
    return absl::InvalidArgumentError(
        "RestartOptions::policy: max_restarts is below 0, or first_delay beyond max_delay");
  }
  return absl::OkStatus();
}

}  // namespace

std::optional<absl::Duration> internal::RestartBudget::Next(int64_t now_ns, absl::Duration lived) {
  const int64_t within_ns = absl::ToInt64Nanoseconds(policy_.within);
  while (!restarts_ns_.empty() && now_ns - restarts_ns_.front() >= within_ns) {
    restarts_ns_.pop_front();
  }
  if (restarts_ns_.size() >= static_cast<std::size_t>(policy_.max_restarts)) return std::nullopt;
  restarts_ns_.push_back(now_ns);
  if (lived >= policy_.healthy_after) row_ = 0;
  absl::Duration delay = policy_.first_delay;
  for (int i = 0; i < row_ && delay < policy_.max_delay; ++i) delay *= 2;
  ++row_;
  return std::min(delay, policy_.max_delay);
}

// An interrupt is noted here and at the link. Here it stays until a Receive has ended with it:
//   1. While a worker runs, its link ends the Receive.
//   2. While none does, Await ends it. What the old link has of it goes with that link.
//   3. One that comes between the last Await and the next link is handed on to that.
struct RestartingLink::Waking {
  explicit Waking(UniqueFd eventfd) : wake(std::move(eventfd)) {}

  std::mutex mutex;  // of link_ as Interrupt sees it
  internal::LocalWake wake;
};

RestartingLink::RestartingLink(RestartingLink&&) noexcept = default;
RestartingLink& RestartingLink::operator=(RestartingLink&&) noexcept = default;
RestartingLink::~RestartingLink() = default;

RestartingLink::RestartingLink(RestartOptions options, WorkerLink link,
                               std::unique_ptr<Waking> waking)
    : options_(std::move(options)),
      budget_(options_.policy),
      waking_(std::move(waking)),
      link_(std::move(link)),
      started_ns_(MonotonicNowNs()) {
  WorkerLinkMaker::ExpectAcknowledgements(*link_, epoch_);
}

absl::StatusOr<RestartingLink> RestartingLink::Start(RestartOptions options, Deadline deadline) {
  if (absl::Status status = Check(options); !status.ok()) return status;
  absl::StatusOr<UniqueFd> eventfd = CreateEventfd();
  if (!eventfd.ok()) return eventfd.status();
  absl::StatusOr<WorkerLink> link = WorkerLink::Start(options.link, deadline);
  if (!link.ok()) return link.status();
  return RestartingLink(std::move(options), *std::move(link),
                        std::make_unique<Waking>(*std::move(eventfd)));
}

absl::Status RestartingLink::Put(uint64_t number, uint32_t tag, uint32_t flags,
                                 absl::Span<const std::byte> bytes, Deadline deadline) {
  const internal::NumberedWire wire = {
      .number = number, .epoch = epoch_, .tag = tag, .flags = flags, .reserved = 0};
  const auto header = WireBytes(wire);
  std::vector<std::byte> message(header.begin(), header.end());
  message.insert(message.end(), bytes.begin(), bytes.end());
  return Noted(WorkerLinkMaker::SendNumbered(*link_, number, message, deadline));
}

absl::Status RestartingLink::Noted(absl::Status sent) {
  if (HasEnded(sent) && takes_no_more_.ok()) {
    takes_no_more_ = sent;
    last_words_ = Deadline::After(kSlice);
  }
  return sent;
}

bool RestartingLink::Flush(Deadline deadline, Deadline room) {
  for (int sent = 0; sent < kFlushedAtOnce && !Flushed(); ++sent) {
    if (sent > 0 && deadline.Expired()) return true;
    Kept& kept = kept_[sent_in_epoch_];
    if (kept.first_epoch == 0) kept.first_epoch = epoch_;
    const uint32_t flags = kept.first_epoch != epoch_ ? internal::kDuplicate : 0;
    const uint64_t number = first_unacknowledged_ + sent_in_epoch_;
    if (!Put(number, kept.tag, flags, kept.bytes, room).ok()) return false;
    ++sent_in_epoch_;
  }
  return true;
}

absl::StatusOr<uint64_t> RestartingLink::Send(uint32_t tag, absl::Span<const std::byte> bytes,
                                              Deadline deadline) {
  if (!final_.ok()) return final_;
  const std::size_t max_bytes =
      link_->channel().sender.max_message_bytes() - sizeof(internal::NumberedWire);
  if (bytes.size() > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the message has ", bytes.size(), " bytes; allowed: ", max_bytes));
  }
  if (options_.delivery == Delivery::kAtMostOnce) {
    if (Replacing()) return absl::UnavailableError("the worker has ended");
    if (absl::Status status = Put(next_number_, tag, 0, bytes, deadline); !status.ok()) {
      return status;
    }
    return next_number_++;
  }
  const std::size_t cost = RestartOptions::kMessageCost + bytes.size();
  if (kept_bytes_ + cost > options_.max_kept_bytes) {
    return absl::ResourceExhaustedError("too much is kept that no worker has acknowledged");
  }
  kept_bytes_ += cost;
  kept_.push_back({tag, 0, {bytes.begin(), bytes.end()}});
  // It is kept, under its number: what does not go now, for want of time or after an interrupt,
  // goes later, or to the next worker.
  if (!Replacing()) {
    while (Flush(deadline, deadline) && !Flushed() && !deadline.Expired()) {
    }
  }
  return next_number_++;
}

// With kAtMostOnce in constant time, whatever number the worker acknowledges.
void RestartingLink::TakeAcknowledgements() {
  const uint64_t acknowledged = WorkerLinkMaker::Acknowledged(*link_);
  while (!kept_.empty() && sent_in_epoch_ > 0 && first_unacknowledged_ <= acknowledged) {
    kept_bytes_ -= RestartOptions::kMessageCost + kept_.front().bytes.size();
    kept_.pop_front();
    --sent_in_epoch_;
    ++first_unacknowledged_;
  }
  if (options_.delivery == Delivery::kAtMostOnce) {
    first_unacknowledged_ = std::max(first_unacknowledged_, acknowledged + 1);
  }
}

// Without a wait for room: a worker that waits for room for its own messages takes none of ours.
absl::StatusOr<Record> RestartingLink::ReceiveAndFlush(absl::Span<std::byte> into,
                                                       Deadline deadline) {
  while (true) {
    const bool room = takes_no_more_.ok() && Flush(deadline, AtOnce());
    // Where there is room for more of it, a look at what the worker says is enough.
    const Deadline wait = !room       ? deadline.Or(Deadline::After(kSlice))
                          : Flushed() ? deadline
                                      : AtOnce();
    absl::StatusOr<Record> message = link_->Receive(into, wait);
    if (!absl::IsDeadlineExceeded(message.status())) return message;
    if (!takes_no_more_.ok() && last_words_->Expired()) return takes_no_more_;
    if (deadline.Expired()) return message;
  }
}

absl::StatusOr<RestartEvent> RestartingLink::Receive(absl::Span<std::byte> into,
                                                     Deadline deadline) {
  if (!final_.ok()) return final_;
  if (restarting_.has_value()) return Restart(deadline);
  RestartEvent event;
  event.epoch = epoch_;
  if (!ends_by_.has_value()) {
    const absl::StatusOr<Record> message = ReceiveAndFlush(into, deadline);
    TakeAcknowledgements();
    if (message.ok()) {
      event.record = *message;
      return event;
    }
    const absl::Status& status = message.status();
    if (absl::IsCancelled(status)) return Interrupted(status);
    if (absl::IsDeadlineExceeded(status)) return status;
    if (HasEnded(status) || absl::IsAborted(status)) {
      ends_by_ = Deadline::After(kGoodbye);
      said_all_ = false;
      link_->channel().sender.Close();
    } else {
      event.end = link_->Kill(std::string(status.message()));
    }
  }
  if (ends_by_.has_value()) {
    absl::StatusOr<WorkerEnd> end = AwaitEnd(into, deadline);
    if (!end.ok()) return end.status();
    ends_by_.reset();
    event.end = *std::move(end);
  }
  event.kind = RestartEvent::Kind::kRestarted;
  TakeAcknowledgements();
  event.undelivered = unacknowledged();
  event.first_undelivered = event.undelivered == 0 ? 0 : first_unacknowledged_;
  if (options_.delivery == Delivery::kAtMostOnce) first_unacknowledged_ = next_number_;
  sent_in_epoch_ = 0;
  const auto delay =
      budget_.Next(MonotonicNowNs(), absl::Nanoseconds(MonotonicNowNs() - started_ns_));
  if (!delay.has_value()) {
    final_ = absl::UnavailableError(
        absl::StrCat("too many restarts; the last worker: ", event.end->ToString()));
    return final_;
  }
  restarting_ = std::move(event);
  next_start_ = Deadline::After(*delay);
  // Of this worker's end and the next one's start, one call of an expired deadline does one.
  if (deadline.Expired()) return NotStartedYet();
  return Restart(deadline);
}

// WorkerLink::End, in steps.
absl::StatusOr<WorkerEnd> RestartingLink::AwaitEnd(absl::Span<std::byte> into, Deadline deadline) {
  const Deadline by = ends_by_->Or(deadline);
  // What it still says is dropped, so that it is not stuck in a send.
  while (!said_all_) {
    const absl::Status said = link_->Receive(into, by).status();
    if (absl::IsCancelled(said)) return Interrupted(said);
    said_all_ = !said.ok() && !absl::IsDeadlineExceeded(said);
    if (by.Expired()) break;
  }
  if (link_->channel().receiver.violation() == Violation::kNone) {
    const int pidfd = link_->worker().pidfd();
    // Its link is asked no more, and tells of no interrupt.
    if (absl::Status status = said_all_ ? Await(pidfd, by) : absl::OkStatus(); !status.ok()) {
      return status;
    }
    if (!ProcessHasEnded(pidfd) && !ends_by_->Expired()) {
      return absl::DeadlineExceededError("the old worker has not ended yet");
    }
  }
  // It has ended, or has to: with a moment for the kernel to let go of it.
  return link_->End(Deadline::After(kSlice));
}

absl::StatusOr<RestartEvent> RestartingLink::Restart(Deadline deadline) {
  bool waited = false;
  while (true) {
    waited = waited || !next_start_->Expired();
    if (absl::Status status = Await(-1, next_start_->Or(deadline)); !status.ok()) return status;
    if (!next_start_->Expired() || (waited && deadline.Expired())) return NotStartedYet();
    waited = true;
    absl::StatusOr<WorkerLink> link =
        WorkerLink::Start(options_.link, Deadline::After(options_.start_time));
    if (link.ok()) {
      const std::lock_guard<std::mutex> lock(waking_->mutex);
      link_.emplace(*std::move(link));
      if (waking_->wake.Has(internal::LocalWake::kInterrupt)) link_->Interrupt();
      break;
    }
    const auto delay = budget_.Next(MonotonicNowNs(), absl::ZeroDuration());
    if (!delay.has_value()) {
      final_ = absl::UnavailableError(
          absl::StrCat("too many restarts; the last one: ", std::string(link.status().message())));
      return final_;
    }
    next_start_ = Deadline::After(*delay);
  }
  ++epoch_;
  takes_no_more_ = absl::OkStatus();
  started_ns_ = MonotonicNowNs();
  WorkerLinkMaker::ExpectAcknowledgements(*link_, epoch_);
  RestartEvent event = *std::move(restarting_);
  restarting_.reset();
  event.epoch = epoch_;
  Flush(deadline, AtOnce());
  return event;
}

absl::Status RestartingLink::Await(int fd, Deadline deadline) {
  internal::LocalWake& wake = waking_->wake;
  if (wake.BeginSleep()) {
    pollfd entries[] = {{fd, POLLIN, 0}, {wake.fd(), POLLIN, 0}};
    PollUntil(absl::MakeSpan(entries), deadline).IgnoreError();
    wake.EndSleep();
    wake.TakeForeignCount();
  }
  return wake.Take(internal::LocalWake::kInterrupt) ? absl::CancelledError("interrupted")
                                                    : absl::OkStatus();
}

absl::Status RestartingLink::Interrupted(absl::Status cancelled) {
  waking_->wake.Take(internal::LocalWake::kInterrupt);
  return cancelled;
}

void RestartingLink::Interrupt() const {
  const std::lock_guard<std::mutex> lock(waking_->mutex);
  waking_->wake.Post(internal::LocalWake::kInterrupt);
  link_->Interrupt();
}

WorkerEnd RestartingLink::End(Deadline deadline) {
  if (final_.ok()) final_ = absl::UnavailableError("the worker was told to end");
  return link_->End(deadline);
}

}  // namespace parley

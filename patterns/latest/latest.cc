// SPDX-License-Identifier: Apache-2.0
#include "parley/patterns/latest/latest.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "parley/os/check.h"
#include "parley/os/poll.h"
#include "parley/os/relax.h"

namespace parley {
namespace {

constexpr absl::Duration kMinSleep = absl::Microseconds(50);

absl::Status DeadlineStatus(LatestOutcome last) {
  if (last == LatestOutcome::kOvertaken) {
    return absl::AbortedError("the writer overtook each copy of its value, or never finishes one");
  }
  return absl::DeadlineExceededError("no newer value in time");
}

}  // namespace

absl::StatusOr<LatestWriter> LatestWriter::Create(std::shared_ptr<Broadcast> broadcast) {
  for (const Section& section : broadcast->layout().sections()) {
    if (section.kind != kSectionLatest) continue;
    const auto geometry = LatestGeometry::FromSection(section);
    if (!geometry.ok()) return geometry.status();
    const auto memory = broadcast->TakeSection(kSectionLatest);
    if (!memory.ok()) return memory.status();
    return LatestWriter(std::move(broadcast), *memory, *geometry);
  }
  return absl::NotFoundError("the broadcast has no section of latest values");
}

absl::StatusOr<LatestReader> LatestReader::Create(std::shared_ptr<Session> session,
                                                  const LatestReaderOptions& options) {
  if (options.max_sleep < kMinSleep || options.max_sleep > absl::Seconds(1)) {
    return absl::InvalidArgumentError("LatestReaderOptions::max_sleep is " +
                                      absl::FormatDuration(options.max_sleep) +
                                      "; allowed: 50 us to 1 s");
  }
  const BroadcastView* broadcast = session->broadcast();
  const std::optional<BroadcastSection> section =
      broadcast != nullptr ? broadcast->Find(kSectionLatest) : std::nullopt;
  if (!section) {
    return absl::FailedPreconditionError(
        "the session has no latest values: the connecting side offers kSectionLatest in "
        "ConnectOptions::broadcast_kinds, and the other one has a broadcast with such a section");
  }
  const auto geometry = LatestGeometry::FromSection(section->section);
  if (!geometry.ok()) return geometry.status();
  const uint64_t max_bytes =
      options.max_value_bytes != 0 ? options.max_value_bytes : geometry->max_value_bytes();
  if (options.min_value_bytes > max_bytes || max_bytes > geometry->max_value_bytes()) {
    return absl::InvalidArgumentError(
        "LatestReaderOptions ask for values of " + std::to_string(options.min_value_bytes) +
        " to " + std::to_string(max_bytes) + " bytes, and the writer's have up to " +
        std::to_string(geometry->max_value_bytes()));
  }
  internal::BasicLatestReader<PeerMemory> core(section->memory, *geometry, options.min_value_bytes,
                                               max_bytes);
  return LatestReader(std::move(session), core, options);
}

// A violation that anybody found in this session holds for all of it.
bool LatestReader::Poisoned() {
  const Violation elsewhere = session_->termination().poison();
  if (elsewhere != Violation::kNone) [[unlikely]]
    core_.Poison(elsewhere);
  return core_.violation() != Violation::kNone;
}

LatestOutcome LatestReader::TryRead(absl::Span<std::byte> into, LatestValue* value) {
  if (Poisoned()) [[unlikely]]
    return LatestOutcome::kPoisoned;
  if (told_end_) [[unlikely]]
    return LatestOutcome::kNoNewer;
  const LatestOutcome outcome = core_.TryRead(into, value);
  if (outcome == LatestOutcome::kPoisoned) [[unlikely]]
    session_->termination().Poison(core_.violation());
  return outcome;
}

bool LatestReader::HasNewer() {
  if (Poisoned()) return true;
  if (told_end_) return false;
  const bool newer = core_.HasNewer();
  if (core_.violation() != Violation::kNone) [[unlikely]]
    session_->termination().Poison(core_.violation());
  return newer;
}

Violation LatestReader::violation() const {
  const Violation own = core_.violation();
  return own != Violation::kNone ? own : session_->termination().poison();
}

absl::StatusOr<LatestValue> LatestReader::Read(absl::Span<std::byte> into, Deadline deadline) {
  const int64_t began_ns = MonotonicNowNs();
  while (true) {
    // Before the look, which then finds all that the writer had published.
    if (session_->termination().peer_gone()) writer_gone_ = true;
    LatestValue value;
    const LatestOutcome outcome = TryRead(into, &value);
    if (outcome == LatestOutcome::kOk) return value;
    if (outcome == LatestOutcome::kPoisoned) {
      return absl::DataLossError(std::string("the peer broke the protocol: ") +
                                 ToString(violation()));
    }
    if (writer_gone_) {
      told_end_ = true;
      return absl::UnavailableError("the writer has ended");
    }
    if (deadline.Expired()) return DeadlineStatus(outcome);
    if (Pause(began_ns, outcome, deadline)) writer_gone_ = true;
  }
}

// A moment before the next look; true if the writer has ended.
bool LatestReader::Pause(int64_t began_ns, LatestOutcome last, Deadline deadline) const {
  const int64_t now_ns = MonotonicNowNs();
  const auto waited = absl::Nanoseconds(now_ns - began_ns);
  if (waited < options_.spin && last == LatestOutcome::kNoNewer) {
    internal::RelaxFor(16);
    return false;
  }
  const absl::Duration sleep = std::clamp(waited / 8, kMinSleep, options_.max_sleep);
  // Only their end: what else comes on the connection is for others.
  std::array<pollfd, 2> polled = {
      {{session_->connection(), POLLRDHUP, 0}, {session_->peer().pidfd.get(), POLLIN, 0}}};
  const auto ready = PollUntil(absl::MakeSpan(polled), Deadline::After(sleep).Or(deadline));
  return ready.ok() && *ready > 0;
}

}  // namespace parley

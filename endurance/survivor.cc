// SPDX-License-Identifier: Apache-2.0
#include "parley/endurance/survivor.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <optional>
#include <vector>

#include "parley/endurance/shared.h"
#include "parley/os/pidfd.h"

namespace parley::endurance {
namespace {

constexpr int64_t kStuckNs = int64_t{60} * 1'000'000'000;

villain::Footprint Sum(const villain::Footprint& a, const villain::Footprint& b) {
  villain::Footprint sum = a;
  sum.descriptors += b.descriptors;
  sum.memfd_mappings += b.memfd_mappings;
  sum.mapped_kb += b.mapped_kb;
  sum.resident_kb += b.resident_kb;
  return sum;
}

villain::Footprint AllAtRest(const Survivors& survivors) {
  villain::Footprint sum;
  for (const auto& s : survivors) sum = Sum(sum, s->AtRest());
  for (const auto& s : survivors) s->Resume();
  return sum;
}

std::string Ms(int64_t ns) { return std::to_string(ns / 1'000'000) + " ms"; }

}  // namespace

void Diary::Rest() {
  resting.store(1);
  while (rest_wanted.load() != 0) ::usleep(200);
  resting.store(0);
}

void Diary::Wrong(const std::string& what) {
  if (notes.end.load() == villain::End::kNone) notes.Finish(villain::End::kWrong, what);
}

void Misbehave(Fault fault, Diary& diary) {
  switch (fault) {
    case Fault::kNone:
      return;
    case Fault::kLeakDescriptor:
      static_cast<void>(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3));
      return;
    case Fault::kLeakMapping:
      if (::mmap(nullptr, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED) {
        diary.Wrong("could not leak");
      }
      return;
    case Fault::kLeakMemory: {
      // Mapped once for all, and used up piece by piece.
      constexpr std::size_t kSize = 1 << 28;
      constexpr std::size_t kPiece = 1 << 17;
      static auto* const leak = static_cast<char*>(
          ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
      static std::size_t used = 0;
      if (leak != MAP_FAILED && used < kSize) std::memset(leak + used, 1, kPiece);
      used += kPiece;
      return;
    }
    case Fault::kTimedOut: {
      const villain::Call call(diary.notes, "a call that is late", In(absl::Milliseconds(1)));
      ::usleep(400'000);
      return;
    }
    case Fault::kDie:
      ::_exit(3);
    case Fault::kWrongData:
      diary.Wrong("a message had another content than was sent");
      return;
  }
}

Survivor::Survivor(Lane& lane, const std::function<void(Diary&)>& body)
    : lane_(lane),
      diary_(NewShared<Diary>()),
      process_([this, &body](villain::Gate& gate) {
        villain::WatchThreadDelay();
        body(*diary_);
        diary_->notes.stage.store(villain::Stage::kDone);
        static_cast<void>(gate);
        return 0;
      }),
      calls_moved_ns_(MonotonicNowNs()) {
  const Deadline deadline = Patience();
  while (diary_->notes.stage.load() == villain::Stage::kStarting) {
    if (!Alive() || deadline.Expired()) {
      lane_.Fail("a survivor did not start: " + diary_->notes.Said() + process_.printed());
      return;
    }
    ::usleep(200);
  }
}

bool Survivor::Alive() const { return !ProcessHasEnded(process_.pidfd()); }

bool Survivor::Fine() {
  const villain::Notes& notes = diary_->notes;
  const int64_t now_ns = MonotonicNowNs();
  if (const uint64_t calls = notes.calls.load(); calls != calls_seen_ || notes.call_began_ns == 0) {
    calls_seen_ = calls;
    calls_moved_ns_ = now_ns;
  }
  if (notes.end.load() == villain::End::kWrong) {
    lane_.Fail("a survivor met what may not be: " + notes.Said());
  } else if (!Alive()) {
    const std::optional<int> status = process_.Reap(Deadline::AtMonotonicNs(0));
    lane_.Fail("a survivor died: " + (status ? villain::WaitStatusText(*status) : "?") + " " +
               process_.printed().substr(0, 200));
  } else if (notes.max_unexplained_ns.load() > lane_.max_lateness_ns()) {
    lane_.Fail(std::string(notes.latest_name.load()) + " returned " +
               Ms(notes.max_unexplained_ns.load()) +
               " after its deadline; the control was late by " + Ms(lane_.control_late_ns()));
  } else if (now_ns - calls_moved_ns_ > kStuckNs) {
    lane_.Fail(std::string("WEDGED: ") + notes.call_name.load() + " has not returned for " +
               Ms(now_ns - calls_moved_ns_));
  }
  return !lane_.failed();
}

villain::Footprint Survivor::AtRest() {
  diary_->rest_wanted.store(1);
  const Deadline deadline = Patience();
  while (diary_->resting.load() == 0 && Fine()) {
    if (deadline.Expired()) lane_.Fail("a survivor did not come to rest");
    ::usleep(200);
  }
  return villain::FootprintOf(process_.pid());
}

void Survivor::Resume() { diary_->rest_wanted.store(0); }

void Survivor::Finish() {
  diary_->over.store(1);
  Resume();
  const std::optional<int> status = process_.Reap(Patience());
  if (!status) {
    lane_.Fail("a survivor did not end");
    process_.KillGroup();
    static_cast<void>(process_.Reap(Patience()));
  } else if (*status != 0) {
    lane_.Fail("a survivor ended by " + villain::WaitStatusText(*status) + " " +
               process_.printed().substr(0, 200));
  } else if (process_.printed_bytes() != 0) {
    lane_.Fail("a survivor printed: " + process_.printed().substr(0, 200));
  }
}

bool Fine(const Survivors& survivors) {
  bool fine = true;
  for (const auto& s : survivors) fine = s->Fine() && fine;
  return fine;
}

void MeasureBefore(Lane& lane, const Survivors& survivors) {
  lane.row().before = AllAtRest(survivors);
}

void Conclude(Lane& lane, const Survivors& survivors) {
  Row& row = lane.row();
  row.survivors_of = static_cast<int>(survivors.size());
  row.after = AllAtRest(survivors);
  int64_t notice_ns = 0;
  int64_t sessions = 0;
  int64_t failures = 0;
  int64_t messages = 0;
  int64_t deaths = 0;
  int64_t closes = 0;
  int64_t timeouts = 0;
  int64_t calls = 0;
  for (const auto& s : survivors) {
    if (s->Alive()) ++row.survivors;
    static_cast<void>(s->Fine());
    const Diary& diary = s->diary();
    row.max_call_ns = std::max(row.max_call_ns, diary.notes.max_call_ns.load());
    row.max_late_ns = std::max(row.max_late_ns, diary.notes.max_late_ns.load());
    notice_ns = std::max(notice_ns, diary.max_notice_ns.load());
    sessions += diary.sessions.load();
    failures += diary.failures.load();
    messages += diary.messages.load();
    deaths += diary.deaths.load();
    closes += diary.closes.load();
    timeouts += diary.timeouts.load();
    calls += static_cast<int64_t>(diary.notes.calls.load());
  }
  lane.Figure("channels", sessions);
  lane.Figure("handshakes that came to nothing", failures);
  lane.Figure("messages checked", messages);
  lane.Figure("sessions ended by death", deaths);
  lane.Figure("sessions ended in order", closes);
  lane.Figure("waits", calls);
  lane.Figure("of these to their deadline", timeouts);
  lane.Figure("the control was late by at most us", lane.control_late_ns() / 1000);
  if (notice_ns != 0) lane.Figure("a death was noticed within us", notice_ns / 1000);

  const villain::Footprint& before = row.before;
  const villain::Footprint& after = row.after;
  const int64_t growth_kb = lane.options().growth_kb * static_cast<int64_t>(survivors.size());
  if (after.descriptors != before.descriptors) {
    lane.Fail(std::to_string(after.descriptors - before.descriptors) + " descriptors leaked");
  }
  if (after.memfd_mappings != before.memfd_mappings) {
    lane.Fail(std::to_string(after.memfd_mappings - before.memfd_mappings) + " regions leaked");
  }
  if (after.mapped_kb > before.mapped_kb + growth_kb) {
    lane.Fail(std::to_string(after.mapped_kb - before.mapped_kb) + " kB of mappings leaked");
  }
  if (after.resident_kb > before.resident_kb + growth_kb) {
    lane.Fail(std::to_string(after.resident_kb - before.resident_kb) + " kB of memory leaked");
  }
  if (row.served != row.served_of) lane.Fail("not every peer was served afterwards");
  for (const auto& s : survivors) {
    if (s->Alive()) s->Finish();
  }
}

}  // namespace parley::endurance

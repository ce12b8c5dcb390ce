// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/real_time/absences.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

#include <algorithm>
#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "parley/examples/real_time/real_time.h"
#include "parley/os/deadline.h"

namespace parley {
namespace {

constexpr long kSleepNs = 200'000;
// Of one processor; what comes later is counted alone.
constexpr std::size_t kMaxAbsences = 1 << 16;

}  // namespace

AbsenceWatch::AbsenceWatch(absl::Duration least) : least_ns_(absl::ToInt64Nanoseconds(least)) {}

void AbsenceWatch::Watch(Processor& processor, int number, int priority) {
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(static_cast<std::size_t>(number), &only);
  if (::pthread_setaffinity_np(::pthread_self(), sizeof(only), &only) != 0) {
    processor.made = absl::UnavailableError(absl::StrCat("no processor ", number));
  } else if (priority > 0) {
    processor.made = MakeRealTime(0, priority);
  }
  ready_.fetch_add(1);
  if (!processor.made.ok()) return;
  while (!stop_.load()) {
    const int64_t due_ns = MonotonicNowNs() + kSleepNs;
    constexpr timespec kSleep = {.tv_sec = 0, .tv_nsec = kSleepNs};
    ::nanosleep(&kSleep, nullptr);
    const int64_t now_ns = MonotonicNowNs();
    if (now_ns - due_ns < least_ns_) continue;
    ++processor.count;
    processor.longest_ns = std::max(processor.longest_ns, now_ns - due_ns);
    if (processor.absences.size() < kMaxAbsences) processor.absences.push_back({due_ns, now_ns});
  }
}

absl::Status AbsenceWatch::Start(int priority) {
  cpu_set_t ours;
  CPU_ZERO(&ours);
  if (::sched_getaffinity(0, sizeof(ours), &ours) != 0) {
    return absl::UnavailableError("which processors this process may use is not known");
  }
  for (int number = 0; number < CPU_SETSIZE; ++number) {
    if (!CPU_ISSET(static_cast<std::size_t>(number), &ours)) continue;
    Processor& processor = *processors_.emplace_back(std::make_unique<Processor>());
    processor.absences.reserve(kMaxAbsences);
    processor.thread =
        std::thread([this, &processor, number, priority] { Watch(processor, number, priority); });
  }
  while (ready_.load() < static_cast<int>(processors_.size())) std::this_thread::yield();
  absl::Status made;
  for (const auto& processor : processors_) made.Update(processor->made);
  return made;
}

AbsenceWatch::~AbsenceWatch() { Stop(); }

void AbsenceWatch::Stop() {
  stop_.store(true);
  for (const auto& processor : processors_) {
    if (processor->thread.joinable()) processor->thread.join();
  }
}

bool AbsenceWatch::Overlaps(int64_t from_ns, int64_t to_ns) const {
  return std::any_of(processors_.begin(), processors_.end(), [&](const auto& processor) {
    const std::vector<Absence>& all = processor->absences;
    // The first one that ends behind `from_ns`.
    const auto found = std::partition_point(all.begin(), all.end(),
                                            [&](const Absence& a) { return a.end_ns <= from_ns; });
    return found != all.end() && found->begin_ns < to_ns;
  });
}

std::string AbsenceWatch::ToString() const {
  uint64_t count = 0;
  int64_t longest_ns = 0;
  for (const auto& processor : processors_) {
    count += processor->count;
    longest_ns = std::max(longest_ns, processor->longest_ns);
  }
  return absl::StrFormat(
      "%d times one of %d processors was not there for %.1f ms or more; the longest %.1f ms", count,
      processors_.size(), static_cast<double>(least_ns_) / 1e6,
      static_cast<double>(longest_ns) / 1e6);
}

}  // namespace parley

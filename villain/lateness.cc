// SPDX-License-Identifier: Apache-2.0
#include "parley/villain/lateness.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <string>

#include "absl/time/time.h"
#include "parley/os/check.h"
#include "parley/os/deadline.h"
#include "parley/testing/sanitizers.h"

namespace parley::villain {
namespace {

// One deadline in 10 ms, and half a millisecond of work after it: a twentieth of a processor.
constexpr int64_t kSleepNs = 10 * kMsNs;
constexpr int64_t kSpinNs = kMsNs / 2;

thread_local UniqueFd schedstat;

}  // namespace

const int64_t kSmallLatenessNs = (PARLEY_HAS_SANITIZER ? 200 : 20) * kMsNs;
bool IsSanitizedBuild() { return PARLEY_HAS_SANITIZER != 0; }

struct LatenessControl::Page {
  std::atomic<int64_t> max_ns;
  std::atomic<int64_t> samples;

  void Raise(int64_t ns) { max_ns.store(std::max(max_ns.load(), ns)); }

  [[noreturn]] void MeasureForEver() {
    while (true) {
      const int64_t due_ns = MonotonicNowNs() + kSleepNs;
      const timespec until = Deadline::AtMonotonicNs(due_ns).RemainingTimespec();
      ::ppoll(nullptr, 0, &until, nullptr);
      int64_t now_ns = MonotonicNowNs();
      Raise(now_ns - due_ns);
      const int64_t end_ns = now_ns + kSpinNs;
      while (now_ns < end_ns) {
        const int64_t next_ns = MonotonicNowNs();
        Raise(next_ns - now_ns);
        now_ns = next_ns;
      }
      samples.fetch_add(1);
    }
  }
};

LatenessControl::LatenessControl()
    : page_([] {
        void* memory = ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        PARLEY_CHECK(memory != MAP_FAILED, "mmap");
        return static_cast<Page*>(memory);
      }()),
      process_(std::make_unique<Process>([this](Gate&) -> int { page_->MeasureForEver(); })) {}

LatenessControl::~LatenessControl() {
  process_.reset();
  ::munmap(page_, sizeof(Page));
}

int64_t LatenessControl::max_ns() const { return page_->max_ns.load(); }
int64_t LatenessControl::samples() const { return page_->samples.load(); }

void WatchThreadDelay() {
  schedstat.Reset(::open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC));
}

int64_t ThreadDelayNs() {
  std::array<char, 96> text = {};
  if (!schedstat.ok() || ::pread(schedstat.get(), text.data(), text.size() - 1, 0) <= 0) return 0;
  char* second = nullptr;
  static_cast<void>(std::strtoll(text.data(), &second, 10));
  return std::strtoll(second, nullptr, 10);
}

int64_t DelayOf(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/schedstat");
  int64_t ran_ns = 0;
  int64_t delay_ns = 0;
  file >> ran_ns >> delay_ns;
  return delay_ns;
}

}  // namespace parley::villain

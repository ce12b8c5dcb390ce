// SPDX-License-Identifier: Apache-2.0
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <ctime>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "parley/bench/arena.h"
#include "parley/bench/clock.h"
#include "parley/bench/pair.h"
#include "parley/bench/safety/case.h"
#include "parley/bench/transports/shared_value.h"
#include "parley/os/errors.h"
#include "parley/os/unique_fd.h"
#include "parley/wait/memory_barrier.h"

namespace parley::bench {
namespace {

// What a futex doorbell's sleep has that a bare one has not.
struct Sleep {
  bool limited = true;    // it has an end
  bool read_only = true;  // the word lies in a page that only the other side may write
  bool barrier = true;    // a barrier on the other side before, for the fences that it leaves out
};

// A word for each side, in a page of its own.
class Words {
 public:
  absl::Status Open(Side side, bool read_only) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    for (const Side owner : {Side::kSender, Side::kReceiver}) {
      const bool writable = owner == side || !read_only;
      void* const at =
          ::mmap(nullptr, page, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED,
                 fd_.get(), static_cast<off_t>(page * static_cast<std::size_t>(owner)));
      if (at == MAP_FAILED) return ErrnoStatus(errno, "map a word");
      (owner == side ? mine_ : theirs_) = static_cast<uint32_t*>(at);
    }
    return absl::OkStatus();
  }
  absl::Status Make() {
    fd_.Reset(::memfd_create("parley-bench", MFD_CLOEXEC));
    if (!fd_.ok() || ::ftruncate(fd_.get(), 2 * ::sysconf(_SC_PAGESIZE)) != 0) {
      return ErrnoStatus(errno, "make a page for each side");
    }
    return absl::OkStatus();
  }

  void Ring() {
    // PAIRS WITH: the load in SleepUntil.
    std::atomic_ref<uint32_t>(*mine_).fetch_add(1, std::memory_order_release);
    ::syscall(SYS_futex, mine_, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  }
  // Until the other side has rung `rings` times.
  void SleepUntil(uint32_t rings, const Sleep& how) {
    while (true) {
      if (how.barrier) SystemWideBarrier();
      // PAIRS WITH: the addition in Ring.
      const uint32_t now = std::atomic_ref<uint32_t>(*theirs_).load(std::memory_order_acquire);
      if (now == rings) return;
      timespec until = {};
      if (how.limited) {
        ::clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += 1;
      }
      ::syscall(SYS_futex, theirs_, FUTEX_WAIT_BITSET, now, how.limited ? &until : nullptr, nullptr,
                FUTEX_BITSET_MATCH_ANY);
    }
  }

 private:
  UniqueFd fd_;
  uint32_t* mine_ = nullptr;
  uint32_t* theirs_ = nullptr;
};

// Nanoseconds for each sleep: two processes on one processor wake each other in turns.
absl::StatusOr<double> InTurns(const Sleep& how, uint64_t times) {
  const SharedArena arena;
  const SharedValue<uint64_t> ticks;
  const auto words = std::make_shared<Words>();
  if (absl::Status status = words->Make(); !status.ok()) return status;
  const Body body = [&, words](Side side) -> absl::Status {
    if (absl::Status status = words->Open(side, how.read_only); !status.ok()) return status;
    if (how.barrier && !RegisterForBarriers()) return absl::UnimplementedError("no membarrier");
    const auto warm = static_cast<uint32_t>(times / 10 + 1);
    const auto all = static_cast<uint32_t>(warm + times);
    uint64_t begin = 0;
    for (uint32_t i = 1; i <= all; ++i) {
      if (i == warm) begin = Ticks();
      if (side == Side::kSender) words->Ring();
      words->SleepUntil(i, how);
      if (side == Side::kReceiver) words->Ring();
    }
    if (side == Side::kSender) *ticks = Ticks() - begin;
    return absl::OkStatus();
  };
  PairOptions options;
  options.placement = Placement::kTogether;
  if (absl::Status status = RunPair(body, *arena, options, nullptr); !status.ok()) return status;
  static const double ticks_per_ns = MeasureTicksPerNs();
  return static_cast<double>(*ticks) / ticks_per_ns / static_cast<double>(2 * times);
}

}  // namespace

std::vector<Case> SleepCases() {
  constexpr uint64_t kTimes = 5'000;
  std::vector<Case> cases;
  const auto add = [&cases](const char* what, const Sleep& on, const Sleep& off) {
    cases.push_back({what, "on", {}, kTimes, false, [on](uint64_t n) { return InTurns(on, n); }});
    cases.push_back(
        {what, "off", {}, kTimes, false, [off](uint64_t n) { return InTurns(off, n); }});
  };
  // In the order in which a futex doorbell adds them to the bare exchange: the costs add up.
  add("time limit, a sleep", {true, false, false}, {false, false, false});
  add("page of the other side's, a sleep", {true, true, false}, {true, false, false});
  add("barrier, a sleep", {true, true, true}, {true, true, false});
  return cases;
}

}  // namespace parley::bench

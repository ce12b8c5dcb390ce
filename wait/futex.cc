// SPDX-License-Identifier: Apache-2.0
#include "parley/wait/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <ctime>

#include "parley/os/system_call.h"

namespace parley {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the low half of a word is at its address");
// Not FUTEX_PRIVATE_FLAG: the other side is another process.
constexpr int kWake = FUTEX_WAKE;
// The form whose end is a point in time, so that no clock is read and nothing drifts.
constexpr int kWait = FUTEX_WAIT_BITSET;
constexpr int64_t kSecondNs = 1'000'000'000;
constexpr int64_t kShortSleepNs = 1'000'000;

}  // namespace

void Futex::WakeOne(OwnMemory memory, std::size_t offset_bytes) {
  static_cast<void>(
      SystemCall(SYS_futex, memory.Word(offset_bytes), kWake, 1, nullptr, nullptr, 0));
}

Futex::Slept Futex::SleepWhile(const PeerMemory& memory, std::size_t offset_bytes,
                               uint32_t expected, int64_t until_ns) {
  const int64_t end_ns = std::max<int64_t>(until_ns, 0);
  const timespec until = {end_ns / kSecondNs, end_ns % kSecondNs};
  if (SystemCall(SYS_futex, memory.Word(offset_bytes), kWait, expected, &until, nullptr,
                 FUTEX_BITSET_MATCH_ANY) == 0) {
    return Slept::kWoken;
  }
  switch (errno) {
    case EAGAIN:
      return Slept::kChanged;
    case ETIMEDOUT:
      return Slept::kTimedOut;
    case EINTR:
      return Slept::kFailed;
    default: {
      const timespec moment = {0, kShortSleepNs};
      static_cast<void>(::clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, nullptr));
      return Slept::kFailed;
    }
  }
}

}  // namespace parley

// SPDX-License-Identifier: Apache-2.0
#include "parley/endurance/private_clock.h"

#include <dlfcn.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <ctime>
#include <vector>

#include "parley/os/errors.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PARLEY_ENDURANCE_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define PARLEY_ENDURANCE_SANITIZED 1
#endif
#endif

namespace parley::endurance {
namespace {

std::atomic<bool> g_jumping{false};
std::atomic<int64_t> g_readings{0};

#ifndef PARLEY_ENDURANCE_SANITIZED
constexpr std::time_t kHour = 3600;

bool IsRealtime(clockid_t clock) {
  return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
}

// Seconds to add to this reading.
std::time_t Jump() {
  if (!g_jumping.load()) return 0;
  return g_readings.fetch_add(1) % 2 == 0 ? kHour : -kHour;
}

int RealClockGettime(clockid_t clock, timespec* now) {
  using Function = int (*)(clockid_t, timespec*);
  // SAFETY: dlsym gives functions as void*; this one has that type in every C library.
  static const auto next = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "clock_gettime"));
  return next(clock, now);
}
#endif

}  // namespace

#ifdef PARLEY_ENDURANCE_SANITIZED
bool ClockIsPrivate() { return false; }
#else
bool ClockIsPrivate() { return true; }
#endif

void JumpAtEachReading(bool on) {
  g_jumping.store(on);
  g_readings.store(0);
}

int64_t Readings() { return g_readings.load(); }

namespace {

constexpr uint32_t ArgumentOffset(std::size_t index) {
  return static_cast<uint32_t>(offsetof(seccomp_data, args) + index * sizeof(uint64_t));
}

// One rule: `number` with the bits `mask` of argument `index` equal to `value` kills, and, where
// `flag_index` is not negative, only if argument `flag_index` is not zero.
void AddRule(std::vector<sock_filter>* program, long number,  // NOLINT: the system calls' type
             int index, uint32_t mask, uint32_t value, int flag_index = -1) {
  const uint8_t flag_steps = flag_index < 0 ? 0 : 2;
  const uint8_t steps = index < 0 ? 0 : static_cast<uint8_t>(3 + flag_steps);
  program->push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
  program->push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0,
                              static_cast<uint8_t>(steps + 1)));
  if (index >= 0) {
    program->push_back(
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ArgumentOffset(static_cast<std::size_t>(index))));
    program->push_back(BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask));
    program->push_back(
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, static_cast<uint8_t>(flag_steps + 1)));
    if (flag_index >= 0) {
      program->push_back(
          BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ArgumentOffset(static_cast<std::size_t>(flag_index))));
      program->push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0));
    }
  }
  program->push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
}

}  // namespace

absl::Status ForbidRealtimeTimers() {
  constexpr uint32_t kAll = 0xffff'ffff;
  std::vector<sock_filter> program;
  for (const clockid_t clock : {CLOCK_REALTIME, CLOCK_TAI, CLOCK_REALTIME_ALARM}) {
    const auto id = static_cast<uint32_t>(clock);
    AddRule(&program, SYS_clock_nanosleep, 0, kAll, id, 1);  // with TIMER_ABSTIME alone
    AddRule(&program, SYS_timer_create, 0, kAll, id);
    AddRule(&program, SYS_timerfd_create, 0, kAll, id);
    AddRule(&program, SYS_clock_gettime, 0, kAll, id);
  }
  AddRule(&program, SYS_futex, 1, FUTEX_CLOCK_REALTIME, FUTEX_CLOCK_REALTIME);
  AddRule(&program, SYS_gettimeofday, -1, 0, 0);
#ifdef SYS_time
  AddRule(&program, SYS_time, -1, 0, 0);
#endif
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  sock_fprog filter = {static_cast<unsigned short>(program.size()),  // NOLINT: the kernel's type
                       program.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
    return ErrnoStatus(errno, "forbid timers on CLOCK_REALTIME");
  }
  return absl::OkStatus();
}

}  // namespace parley::endurance

#ifndef PARLEY_ENDURANCE_SANITIZED

extern "C" {

int clock_gettime(clockid_t clock_id, timespec* tp) noexcept {
  const int result = parley::endurance::RealClockGettime(clock_id, tp);
  if (result == 0 && parley::endurance::IsRealtime(clock_id)) {
    tp->tv_sec += parley::endurance::Jump();
  }
  return result;
}

int gettimeofday(timeval* tv, void* /*tz*/) noexcept {
  timespec precise = {};
  const int result = clock_gettime(CLOCK_REALTIME, &precise);
  *tv = {precise.tv_sec, precise.tv_nsec / 1000};
  return result;
}

time_t time(time_t* timer) noexcept {
  timespec precise = {};
  clock_gettime(CLOCK_REALTIME, &precise);
  if (timer != nullptr) *timer = precise.tv_sec;
  return precise.tv_sec;
}

}  // extern "C"

#endif

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_VILLAIN_SUPERVISOR_H_
#define PARLEY_VILLAIN_SUPERVISOR_H_

// Runs cases and judges them from outside.
//
// For each case three processes: a supervisor of its own, the victim and the attacker; the latter
// two in process groups of their own, ended by SIGKILL and reaped, whatever happened. No attack can
// stop the watchdog: it shares nothing with the attacker, waits for neither process without a
// bound, and dies with its parent. A fourth process beside them, the control, measures how late the
// machine itself is (lateness.h).
//
// Time is judged in every case. No call may outlive its deadline by more than the control was late,
// kSmallLatenessNs more, and what the kernel says that the thread was ready to run and did not. And
// what the calls of a session cost in processor time is at most kMaxTakenNs in all, beside the one
// call that was costliest, what its messages cost (kMessageNs each) and what it may spin
// (kSpinPart).
//
// Trust: the victim may be taken over, the attacker is hostile.
// Threads: one; the process that calls this has one thread.
//
//   RunCases({}, AllCases(), {}, [](const Result& r) { Print(r); });

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "parley/villain/case.h"
#include "parley/villain/lateness.h"
#include "parley/villain/process.h"
#include "parley/villain/victims.h"

namespace parley::villain {

enum class Verdict : uint32_t { kPass, kFail, kWedged, kSkip };
const char* ToString(Verdict verdict);

// What a peer may take from a victim's threads through signalling and being woken, in all.
inline constexpr int64_t kMaxTakenNs = 50 * kMsNs;
// Of a caller that has a thread for its signals, its costliest call and all others together:
// nothing of the peer's, but there are interrupts. One signal to a crowd of 200,000 takes 10 ms.
inline constexpr int64_t kMaxTakenIfSparedNs = 5 * kMsNs;
// The processor time that is not the peer's doing: of a message, copied, checked and signalled; and
// the part of the session that may go into spins before sleeps (WaitOptions::spin_budget, for both
// directions, and the sleeps themselves).
inline constexpr int64_t kMessageNs = 10'000;
inline constexpr int64_t kSpinPart = 40;  // a fortieth

// How often a wait may come back before its deadline with nothing. In an event loop, where a
// throttle can't hold the caller: as often as the budgets of WaitOptions let the peer wake it. That
// is 64 times, once in 4 ms, three times for each message, and at both ends of each throttle: 64
// of 1 ms, and then one in 16 ms.
inline constexpr uint64_t kMaxEmptyReturns = 100;
constexpr uint64_t MaxEmptyReturnsOfALoop(int64_t session_ns, uint64_t messages) {
  const auto ms = static_cast<uint64_t>(session_ns / kMsNs);
  return 64 + ms / 4 + 3 * messages + 2 * (64 + ms / 16);
}

struct RunOptions {
  Implementation implementation = Implementation::kHonest;
  int jobs = 4;
  // Victims that lack what Linux 6.1 does not have yet (old_kernel.h).
  bool old_kernel = false;
};

struct Result {
  const Case* the_case = nullptr;
  Verdict verdict = Verdict::kFail;
  std::string why;       // of the verdict, where it is not PASS
  std::string attacker;  // what the attacker observed
  std::string victim;    // what the victim observed
  End end = End::kNone;
  std::string exit;  // "exit 0", "signal 11", "killed"
  Footprint before;
  Footprint after;
  int64_t max_call_ms = 0;
  int64_t max_late_ms = 0;
  int64_t control_late_ms = 0;  // of the control, meanwhile
  int64_t taken_us = 0;         // of processor time, through signalling and being woken
  int64_t max_call_cpu_us = 0;  // of a call of the session
  int64_t elapsed_ms = 0;
  uint64_t calls = 0;
  uint64_t messages = 0;
};

// Each result as soon as it is there. `cases` outlives this.
std::vector<Result> RunCases(const std::vector<const Case*>& cases, const RunOptions& options,
                             const std::function<void(const Result&)>& on_result);

}  // namespace parley::villain

#endif  // PARLEY_VILLAIN_SUPERVISOR_H_

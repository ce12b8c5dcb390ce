#ifndef PARLEY_VILLAIN_SUPERVISOR_H_
#define PARLEY_VILLAIN_SUPERVISOR_H_

// Runs cases and judges them from outside.
//
// For each case three processes: a supervisor of its own, the victim and the attacker; the latter
// two in process groups of their own, ended by SIGKILL and reaped, whatever happened. No attack can
// stop the watchdog: it shares nothing with the attacker, waits for neither process without a
// bound, and dies with its parent.
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
#include "parley/villain/process.h"
#include "parley/villain/victims.h"

namespace parley::villain {

enum class Verdict : uint32_t { kPass, kFail, kWedged, kSkip };
const char* ToString(Verdict verdict);

struct RunOptions {
  Implementation implementation = Implementation::kHonest;
  // How long after its deadline a call counts as wedged.
  absl::Duration slack = absl::Seconds(5);
  int jobs = 4;
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
  int64_t elapsed_ms = 0;
  uint64_t calls = 0;
  uint64_t messages = 0;
};

// Each result as soon as it is there. `cases` outlives this.
std::vector<Result> RunCases(const std::vector<const Case*>& cases, const RunOptions& options,
                             const std::function<void(const Result&)>& on_result);

}  // namespace parley::villain

#endif  // PARLEY_VILLAIN_SUPERVISOR_H_

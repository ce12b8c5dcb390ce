// SPDX-License-Identifier: Apache-2.0
#include "parley/supervise/worker_end.h"

#include <signal.h>

#include "absl/strings/str_cat.h"
#include "parley/supervise/link_wire.h"

namespace parley {
namespace {

using Cause = WorkerEnd::Cause;

// The report's sentence without "name (pid 71) ".
std::string How(const ExitReport& report) {
  const std::string sentence = report.ToString();
  const std::string who = absl::StrCat(report.name, " (pid ", report.pid, ") ");
  return sentence.rfind(who, 0) == 0 ? sentence.substr(who.size()) : sentence;
}

}  // namespace

WorkerEnd internal::MergeEnd(const std::string& name, const std::optional<ExitReport>& report,
                             const EndFacts& facts) {
  WorkerEnd end;
  if (report.has_value()) end.report = *report;
  end.report.name = name;
  if (facts.violation != Violation::kNone || !facts.violation_text.empty()) {
    end.cause = Cause::kBrokeProtocol;
    end.what = absl::StrCat("broke the protocol: ", facts.violation_text.empty()
                                                        ? parley::ToString(facts.violation)
                                                        : facts.violation_text.c_str());
    return end;
  }
  if (!report.has_value()) {
    end.what = facts.killed.has_value()
                   ? absl::StrCat("was killed, and is not gone yet: ", *facts.killed)
                   : "is not gone yet";
    return end;
  }
  end.what = How(*report);
  if (report->killed_by_filter()) {
    end.cause = Cause::kRefusedCall;
  } else if (report->signal == SIGXCPU) {
    end.cause = Cause::kOutOfTime;
  } else if (report->exit_code == kExitOutOfMemory) {
    end.cause = Cause::kOutOfMemory;
    end.what = "had not enough memory";
  } else if (facts.said.has_value()) {
    end.cause = Cause::kSaidWhy;
    end.what = absl::StrCat("gave up: ", std::string(facts.said->message()));
  } else if (report->exit_code == kExitNotSetUp) {
    end.cause = Cause::kSaidWhy;
    end.what = facts.last_line.empty() ? "could not be set up"
                                       : absl::StrCat("could not be set up: ", facts.last_line);
  } else if (facts.resident_bytes != 0 && report->signal == SIGKILL) {
    end.cause = Cause::kOutOfMemory;
    end.what =
        absl::StrCat("was killed for using more than ", facts.resident_bytes, " bytes of memory");
  } else if (facts.killed.has_value() && report->signal == SIGKILL) {
    end.cause = Cause::kKilled;
    end.what = absl::StrCat("was killed: ", *facts.killed);
  } else if (report->signal == SIGKILL) {
    // Nobody else sends it to a process of a worker's kind.
    end.cause = Cause::kOutOfMemory;
    end.what = "was killed by somebody else; the system is perhaps out of memory";
  } else if (report->signal.has_value()) {
    end.cause = Cause::kCrashed;
  } else if (report->exit_code == 0) {
    end.cause = Cause::kDone;
  } else if (report->exit_code.has_value()) {
    end.cause = Cause::kExitCode;
  }
  return end;
}

std::string WorkerEnd::ToString() const {
  return absl::StrCat(report.name, report.pid > 0 ? absl::StrCat(" (pid ", report.pid, ")") : "",
                      " ", what);
}

const char* ToString(WorkerEnd::Cause cause) {
  switch (cause) {
    case Cause::kBrokeProtocol:
      return "broke the protocol";
    case Cause::kRefusedCall:
      return "refused call";
    case Cause::kOutOfTime:
      return "out of CPU time";
    case Cause::kOutOfMemory:
      return "out of memory";
    case Cause::kSaidWhy:
      return "said why";
    case Cause::kKilled:
      return "killed";
    case Cause::kCrashed:
      return "crashed";
    case Cause::kExitCode:
      return "exit code";
    case Cause::kDone:
      return "done";
    case Cause::kUnknown:
      break;
  }
  return "unknown";
}

}  // namespace parley

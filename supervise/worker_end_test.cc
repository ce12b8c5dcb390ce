// SPDX-License-Identifier: Apache-2.0
#include "parley/supervise/worker_end.h"

#include <signal.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "parley/boundary/violation.h"
#include "parley/sandbox/exit_report.h"
#include "parley/supervise/link_wire.h"

namespace parley {
namespace {

using internal::EndFacts;
using internal::MergeEnd;
using Cause = WorkerEnd::Cause;

ExitReport Exit(int code) {
  ExitReport report;
  report.name = "decoder";
  report.pid = 71;
  report.exit_code = code;
  return report;
}

ExitReport Signal(int number) {
  ExitReport report = Exit(0);
  report.exit_code.reset();
  report.signal = number;
  return report;
}

struct Case {
  std::optional<ExitReport> report;
  EndFacts facts;
  Cause cause;
  std::string sentence;
};

std::vector<Case> Cases() {
  ExitReport refused = Signal(SIGKILL);
  refused.refused_call = "openat";
  ExitReport unknown = Exit(0);
  unknown.exit_code.reset();
  EndFacts lied;
  lied.violation = Violation::kMetadataInvalid;
  EndFacts lied_above;
  lied_above.violation_text = "a picture of no size";
  EndFacts said;
  said.said = absl::InternalError("no film");
  EndFacts printed;
  printed.last_line = "no table";
  EndFacts killed;
  killed.killed = "it did not end in time";
  EndFacts limited;
  limited.resident_bytes = 4096;
  // What comes first in the list of causes is the cause, whatever else there is.
  EndFacts all = lied_above;
  all.said = said.said;
  all.killed = killed.killed;
  all.resident_bytes = 4096;
  EndFacts but_lies = all;
  but_lies.violation_text.clear();
  EndFacts no_words = but_lies;
  no_words.said.reset();
  const std::string who = "decoder (pid 71) ";
  return {
      {Exit(0), {}, Cause::kDone, who + "ended normally"},
      {Exit(7), {}, Cause::kExitCode, who + "ended with exit code 7"},
      {Signal(SIGSEGV), {}, Cause::kCrashed, who + "was killed by signal 11 (Segmentation fault)"},
      {Signal(SIGXCPU), {}, Cause::kOutOfTime, who + "was killed for using up its CPU time"},
      {Exit(internal::kExitOutOfMemory), {}, Cause::kOutOfMemory, who + "had not enough memory"},
      {Exit(internal::kExitBodyFailed), said, Cause::kSaidWhy, who + "gave up: no film"},
      {Exit(internal::kExitBodyFailed), {}, Cause::kExitCode, who + "ended with exit code 1"},
      {Exit(internal::kExitNotSetUp), {}, Cause::kSaidWhy, who + "could not be set up"},
      {Exit(internal::kExitNotSetUp), printed, Cause::kSaidWhy,
       who + "could not be set up: no table"},
      {Signal(SIGKILL), limited, Cause::kOutOfMemory,
       who + "was killed for using more than 4096 bytes of memory"},
      {Signal(SIGKILL), killed, Cause::kKilled, who + "was killed: it did not end in time"},
      {Signal(SIGKILL),
       {},
       Cause::kOutOfMemory,
       who + "was killed by somebody else; the system is perhaps out of memory"},
      {Signal(SIGSYS),
       {},
       Cause::kRefusedCall,
       who + "was killed by the system call filter, for a call that it kills for at once"},
      {refused,
       {},
       Cause::kRefusedCall,
       who + "was killed by the system call filter: it called openat"},
      {Exit(0), lied, Cause::kBrokeProtocol,
       who + "broke the protocol: " + ToString(Violation::kMetadataInvalid)},
      {Exit(0), lied_above, Cause::kBrokeProtocol,
       who + "broke the protocol: a picture of no size"},
      {std::nullopt, lied, Cause::kBrokeProtocol,
       std::string("decoder broke the protocol: ") + ToString(Violation::kMetadataInvalid)},
      {std::nullopt, {}, Cause::kUnknown, "decoder is not gone yet"},
      {std::nullopt, killed, Cause::kUnknown,
       "decoder was killed, and is not gone yet: it did not end in time"},
      {unknown,
       {},
       Cause::kUnknown,
       who + "ended, and something else in this process took its exit status"},
      // Ended by itself before we could: limits and our own signal had no part in it.
      {Exit(0), no_words, Cause::kDone, who + "ended normally"},
      {Signal(SIGSEGV), no_words, Cause::kCrashed,
       who + "was killed by signal 11 (Segmentation fault)"},
      {refused, all, Cause::kBrokeProtocol, who + "broke the protocol: a picture of no size"},
      {refused, but_lies, Cause::kRefusedCall,
       who + "was killed by the system call filter: it called openat"},
      {Signal(SIGXCPU), but_lies, Cause::kOutOfTime, who + "was killed for using up its CPU time"},
      {Exit(internal::kExitOutOfMemory), but_lies, Cause::kOutOfMemory,
       who + "had not enough memory"},
      {Signal(SIGKILL), but_lies, Cause::kSaidWhy, who + "gave up: no film"},
      {Signal(SIGKILL), no_words, Cause::kOutOfMemory,
       who + "was killed for using more than 4096 bytes of memory"},
  };
}

TEST(WorkerEndTest, IsTheFirstCauseThatHoldsAndOneSentence) {
  for (const Case& one : Cases()) {
    const WorkerEnd end = MergeEnd("decoder", one.report, one.facts);
    EXPECT_EQ(end.ToString(), one.sentence);
    EXPECT_EQ(end.cause, one.cause) << one.sentence << ": " << ToString(end.cause);
    EXPECT_EQ(end.done(), one.cause == Cause::kDone) << one.sentence;
  }
}

TEST(WorkerEndTest, EachCauseHasItsName) {
  const std::vector<std::pair<Cause, std::string>> names = {
      {Cause::kBrokeProtocol, "broke the protocol"},
      {Cause::kRefusedCall, "refused call"},
      {Cause::kOutOfTime, "out of CPU time"},
      {Cause::kOutOfMemory, "out of memory"},
      {Cause::kSaidWhy, "said why"},
      {Cause::kKilled, "killed"},
      {Cause::kCrashed, "crashed"},
      {Cause::kExitCode, "exit code"},
      {Cause::kDone, "done"},
      {Cause::kUnknown, "unknown"},
  };
  for (const auto& [cause, name] : names) EXPECT_EQ(ToString(cause), name);
}

}  // namespace
}  // namespace parley

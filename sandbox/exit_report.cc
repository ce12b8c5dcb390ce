// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/exit_report.h"

#include <signal.h>

#include <cstring>

#include "absl/strings/str_format.h"

namespace parley {
namespace {

// Null where it has none.
const char* SignalText(int signal) {
#ifdef __GLIBC__
  return ::sigdescr_np(signal);
#else
  return ::strsignal(signal);  // musl's is a constant
#endif
}

std::string How(const ExitReport& report) {
  if (report.killed_by_filter()) {
    if (report.refused_call.has_value()) {
      return "was killed by the system call filter: it called " + *report.refused_call;
    }
    return "was killed by the system call filter, for a call that it kills for at once";
  }
  if (report.signal == SIGXCPU) return "was killed for using up its CPU time";
  if (report.signal == SIGXFSZ) return "was killed for writing more than its file size limit";
  if (report.signal.has_value()) {
    const char* text = SignalText(*report.signal);
    return absl::StrFormat("was killed by signal %d (%s)", *report.signal,
                           text == nullptr ? "no name" : text);
  }
  if (report.exit_code == 0) return "ended normally";
  if (report.exit_code.has_value()) {
    return absl::StrFormat("ended with exit code %d", *report.exit_code);
  }
  return "ended, and something else in this process took its exit status";
}

}  // namespace

bool ExitReport::killed_by_filter() const { return refused_call.has_value() || signal == SIGSYS; }

std::string ExitReport::ToString() const {
  return absl::StrFormat("%s (pid %d) %s", name, pid, How(*this));
}

}  // namespace parley

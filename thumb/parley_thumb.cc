// SPDX-License-Identifier: Apache-2.0

// parley-thumb: small pictures of films and pictures, and what is in them, from files that nobody
// trusts. docs/THUMB.md is the manual.

#include <cstdio>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "parley/cli/interrupt.h"
#include "parley/sandbox/printable.h"
#include "parley/thumb/options.h"
#include "parley/thumb/run.h"

namespace {

int Refuse(const absl::Status& status, int exit_code) {
  std::fprintf(stderr, "parley-thumb: %s\n",
               parley::Printable(std::string(status.message()), 700).c_str());
  return exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  using parley::thumb::ThumbOptions;
  parley::cli::CatchInterrupts();
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  absl::StatusOr<ThumbOptions> options = parley::thumb::ParseThumbArguments(arguments);
  if (!options.ok()) {
    const int code = Refuse(options.status(), parley::thumb::kExitUsage);
    std::fprintf(stderr, "parley-thumb --help says more\n");
    return code;
  }
  if (options->help) {
    const std::string usage(parley::thumb::ThumbUsage());
    std::fprintf(stdout, "%s", usage.c_str());
    return parley::thumb::kExitDone;
  }
  if (options->worker.empty()) {
    const absl::StatusOr<std::string> found = parley::thumb::FindWorker();
    if (!found.ok()) return Refuse(found.status(), parley::thumb::kExitNoWorker);
    options->worker = *found;
  }
  return parley::thumb::RunThumb(*options, options->worker, parley::cli::InterruptedBy);
}

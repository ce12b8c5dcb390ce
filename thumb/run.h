// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_THUMB_RUN_H_
#define PARLEY_THUMB_RUN_H_

// The whole of parley-thumb but for its arguments: reads files, has them decoded in confined
// workers, writes what comes of it.
//
// Trust: names of files, their bytes and all that workers say are hostile. Texts for the terminal
// are printable ASCII; files are written from validated pictures.
// Threads: one at a time; the pool's threads end before it returns, and so do all workers.
//
//   return RunThumb(options, *worker_path, cli::InterruptedBy);

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "parley/thumb/options.h"

namespace parley::thumb {

enum ExitCode {
  kExitDone = 0,
  kExitNoPicture = 1,
  kExitUsage = 2,
  kExitNotWritten = 3,
  kExitNoWorker = 4,
  kExitSignal = 128,  // and the signal's number
};

// Beside this program, as Bazel builds it, or in ../libexec/parley, as it is installed.
absl::StatusOr<std::string> FindWorker();

// `interrupted_by`: a signal's number once one has come. Gives the exit code.
int RunThumb(const ThumbOptions& options, const std::string& worker,
             const std::function<int()>& interrupted_by);

}  // namespace parley::thumb

#endif  // PARLEY_THUMB_RUN_H_

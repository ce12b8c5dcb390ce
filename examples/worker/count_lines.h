// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_WORKER_COUNT_LINES_H_
#define PARLEY_EXAMPLES_WORKER_COUNT_LINES_H_

// The host's side of the example in the README.
//
// Trust: the text is a stranger's and may hijack the worker. It gives a number, perhaps a false
// one, or an error that says what became of the worker.
// Threads: any.
//
//   absl::StatusOr<int64_t> lines = CountLines("/usr/libexec/line_worker", text);

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "parley/sealing/sealed_blob.h"

// The number of lines of `text`, counted by the program `worker` in at most ten seconds.
absl::StatusOr<int64_t> CountLines(const std::string& worker, const parley::SealedBlob& text);

#endif  // PARLEY_EXAMPLES_WORKER_COUNT_LINES_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_THUMB_TARGETS_H_
#define PARLEY_THUMB_TARGETS_H_

// Where the results go: which file is written for which input.
//
// Threads: values; any.

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/thumb/options.h"

namespace parley::thumb {

// One for each of `options.files`; "-" is standard output. kInvalidArgument where two would be
// written to one place, or an input would be overwritten.
absl::StatusOr<std::vector<std::string>> TargetsOf(const ThumbOptions& options);

// Whole or not at all where the file system can do that (cli/output_file.h). kUnavailable: the
// reader of standard output has left; kCancelled: `stop`, which is asked while that one waits.
absl::Status WriteTarget(const std::string& target, const std::string& bytes,
                         const std::function<bool()>& stop);

}  // namespace parley::thumb

#endif  // PARLEY_THUMB_TARGETS_H_

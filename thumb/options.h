// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_THUMB_OPTIONS_H_
#define PARLEY_THUMB_OPTIONS_H_

// The arguments of parley-thumb, read strictly.
//
// Trust: our own user's. Threads: values.
//
//   absl::StatusOr<ThumbOptions> options = ParseThumbArguments(arguments);

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/thumb/request.h"

namespace parley::thumb {

enum class Format { kPng, kPpm, kJson };

struct ThumbOptions {
  ThumbRequest request;
  Format format = Format::kPng;
  std::vector<std::string> files;  // "-" is standard input
  std::string output;              // a file, a folder, "-" for standard output; empty: see --help
  int jobs = 2;
  absl::Duration time_limit = absl::Seconds(20);
  uint64_t memory_limit_bytes = uint64_t{1} << 30;
  uint64_t max_input_bytes = uint64_t{1} << 30;
  bool verbose = false;
  bool quiet = false;
  bool help = false;
  std::string worker;  // the worker's program; empty: the one that belongs to this program
};

// kInvalidArgument with a sentence.
absl::StatusOr<ThumbOptions> ParseThumbArguments(absl::Span<const std::string> arguments);

// What --help prints.
std::string_view ThumbUsage();

}  // namespace parley::thumb

#endif  // PARLEY_THUMB_OPTIONS_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CLI_ARGUMENTS_H_
#define PARLEY_CLI_ARGUMENTS_H_

// The arguments of `parley send` and `parley recv`, read strictly.
//
// Trust: our own user's. Threads: values.
//
//   absl::StatusOr<StreamOptions> options = ParseStreamArguments(arguments);

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/cli/stream_protocol.h"

namespace parley::cli {

// --policy
enum class SlowReceiver { kBlock, kDropNewest, kDropOldest };

struct StreamOptions {
  std::string path;  // of the socket; "@name" is an abstract one
  StreamKind kind = StreamKind::kRaw;
  SlowReceiver policy = SlowReceiver::kBlock;
  uint32_t fan_out = 0;              // at most so many receivers at once; 0: one, and no more
  uint32_t await_receivers = 1;      // begin when so many are there
  std::vector<std::string> command;  // --exec: everything behind it
  bool stats = false;
  uint64_t limit_bytes = std::numeric_limits<uint64_t>::max();
  absl::Duration timeout = absl::InfiniteDuration();
  uint32_t max_frame_mib = 64;
};

// kInvalidArgument with a sentence.
absl::StatusOr<StreamOptions> ParseStreamArguments(absl::Span<const std::string> arguments);

// What --help prints.
std::string_view StreamUsage();

}  // namespace parley::cli

#endif  // PARLEY_CLI_ARGUMENTS_H_

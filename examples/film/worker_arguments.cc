// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/worker_arguments.h"

#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace parley::film {

std::vector<std::string> Encode(const WorkerArguments& arguments) {
  return {absl::StrCat(arguments.start.first_picture),
          absl::StrCat(arguments.start.first_audio_block), HijackName(arguments.hijack),
          arguments.second_look ? "second-look" : "film"};
}

absl::StatusOr<WorkerArguments> Decode(absl::Span<char* const> arguments) {
  WorkerArguments decoded;
  if (arguments.size() != 4 || !absl::SimpleAtoi(arguments[0], &decoded.start.first_picture) ||
      !absl::SimpleAtoi(arguments[1], &decoded.start.first_audio_block)) {
    return absl::InvalidArgumentError("this program is started by the film viewer, not by hand");
  }
  decoded.hijack = HijackFromName(arguments[2]).value_or(Hijack::kNone);
  decoded.second_look = std::string_view(arguments[3]) == "second-look";
  return decoded;
}

}  // namespace parley::film

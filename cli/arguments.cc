// SPDX-License-Identifier: Apache-2.0
#include "parley/cli/arguments.h"

#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace parley::cli {
namespace {

constexpr uint32_t kMaxFanOut = 256;

absl::Status Usage(const std::string& what) { return absl::InvalidArgumentError(what); }

// "1500", "64k", "10M", "2G": powers of 1024.
std::optional<uint64_t> Bytes(std::string_view text) {
  if (text.empty()) return std::nullopt;
  uint64_t unit = 1;
  const char last = text.back();
  if (last == 'k' || last == 'K') unit = uint64_t{1} << 10;
  if (last == 'm' || last == 'M') unit = uint64_t{1} << 20;
  if (last == 'g' || last == 'G') unit = uint64_t{1} << 30;
  if (unit != 1) text.remove_suffix(1);
  uint64_t number = 0;
  if (text.empty() || text.front() < '0' || text.front() > '9' ||
      !absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &number) || number == 0 ||
      number > std::numeric_limits<uint64_t>::max() / unit) {
    return std::nullopt;
  }
  return number * unit;
}

}  // namespace

absl::StatusOr<StreamOptions> ParseStreamArguments(absl::Span<const std::string> arguments) {
  StreamOptions options;
  bool has_kind = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string_view flag = arguments[i];
    if (flag.size() < 2 || flag[0] != '-') {
      if (!options.path.empty()) return Usage(absl::StrCat("two paths, the second ", arguments[i]));
      options.path = arguments[i];
      continue;
    }
    if (flag == "--exec") {
      options.command.assign(arguments.begin() + static_cast<ptrdiff_t>(i) + 1, arguments.end());
      if (options.command.empty()) return Usage("--exec wants a command");
      break;
    }
    if (flag == "--stats") {
      options.stats = true;
      continue;
    }
    const std::optional<StreamKind> kind =
        flag.substr(0, 2) == "--" ? StreamKindFromName(flag.substr(2)) : std::nullopt;
    if (kind.has_value()) {
      if (has_kind) return Usage("a stream has one kind");
      options.kind = *kind;
      has_kind = true;
      continue;
    }
    // The others have a value, behind an equals sign or as the next argument.
    std::string value;
    const size_t equals = flag.find('=');
    if (equals != std::string_view::npos) {
      value = std::string(flag.substr(equals + 1));
      flag = flag.substr(0, equals);
    } else if (i + 1 < arguments.size()) {
      value = arguments[++i];
    }
    if (flag == "--policy") {
      if (value == "block") {
        options.policy = SlowReceiver::kBlock;
      } else if (value == "drop-newest") {
        options.policy = SlowReceiver::kDropNewest;
      } else if (value == "drop-oldest") {
        options.policy = SlowReceiver::kDropOldest;
      } else {
        return Usage("--policy is block, drop-newest or drop-oldest");
      }
    } else if (flag == "--fan-out") {
      if (!absl::SimpleAtoi(value, &options.fan_out) || options.fan_out < 1 ||
          options.fan_out > kMaxFanOut) {
        return Usage(absl::StrCat("--fan-out is from 1 to ", kMaxFanOut));
      }
    } else if (flag == "--await") {
      if (!absl::SimpleAtoi(value, &options.await_receivers)) {
        return Usage("--await is a number of receivers");
      }
    } else if (flag == "--limit-bytes") {
      const std::optional<uint64_t> bytes = Bytes(value);
      if (!bytes.has_value()) return Usage("--limit-bytes is a number, with k, M or G behind it");
      options.limit_bytes = *bytes;
    } else if (flag == "--timeout") {
      if (!absl::ParseDuration(value, &options.timeout) ||
          options.timeout <= absl::ZeroDuration()) {
        return Usage("--timeout is a duration, as 500ms, 10s or 1h");
      }
    } else if (flag == "--max-frame-mib") {
      if (!absl::SimpleAtoi(value, &options.max_frame_mib) || options.max_frame_mib < 1 ||
          options.max_frame_mib > 256) {
        return Usage("--max-frame-mib is from 1 to 256");
      }
    } else {
      return Usage(absl::StrCat("no such flag: ", std::string(flag)));
    }
  }
  if (options.path.empty()) return Usage("give the path of a socket");
  const bool has_gaps = options.kind == StreamKind::kY4m || options.kind == StreamKind::kLines ||
                        options.kind == StreamKind::kNut;
  if (options.policy != SlowReceiver::kBlock && !has_gaps) {
    return Usage(absl::StrCat("--policy drop-newest and drop-oldest are for y4m, NUT and lines: ",
                              std::string(NameOf(options.kind)), " cannot be read behind a gap"));
  }
  if (options.policy == SlowReceiver::kDropOldest && options.fan_out == 0) {
    return Usage("--policy drop-oldest is for --fan-out");
  }
  if (options.fan_out != 0 && !has_gaps) {
    return Usage(
        absl::StrCat("--fan-out is for y4m, NUT and lines: ", std::string(NameOf(options.kind)),
                     " cannot be read from the middle"));
  }
  const uint32_t most = options.fan_out == 0 ? 1 : options.fan_out;
  if (options.await_receivers < 1 || options.await_receivers > most) {
    return Usage("--await is from 1 to the number of --fan-out");
  }
  return options;
}

std::string_view StreamUsage() {
  return R"(  parley send [--y4m|--wav|--lines|--nut|--raw] [flags] PATH [--exec COMMAND...]
  parley recv [--y4m|--wav|--lines|--nut|--raw] [flags] PATH [--exec COMMAND...]

`send` reads standard input, or what COMMAND prints, and serves one receiver at the socket PATH
("@name": an abstract one), or many. `recv` connects to it and writes to standard output, or into
COMMAND. Both name the same kind of stream: y4m and WAV are parsed, checked at both ends and
written anew; NUT is checked at both ends and passes as it is, as lines and raw bytes do.

  --policy block|drop-newest|drop-oldest
                              of a receiver that is slow (send; y4m, NUT and lines). Default:
                              block. drop-oldest is for --fan-out. After a drop a receiver goes on
                              at the next picture or line, and in a NUT at the next syncpoint
                              whose first frame of the first video stream is a key frame (with
                              open groups of pictures, those that are shown just before it can be
                              wrong)
  --fan-out N                 serve up to N receivers, which come, go and are started again at any
                              time (send; y4m, NUT and lines). One that comes late gets the header,
                              and the stream from the next picture or line on, or from where a NUT
                              goes on after a drop. The stream goes on without any. With block, one
                              that takes nothing for 1 s is not waited for until it goes on. Takes
                              memory for 32 pictures, 1 GiB at most, or 8 MiB for a NUT.
                              Without this the stream ends with its receiver (code 4): raw bytes
                              and WAV can't be read from the middle
  --await N                   begin when N receivers are there (send, with --fan-out). Default: 1
  --limit-bytes N             end with code 7 before more than N bytes of payload (k, M, G)
  --timeout DURATION          end with code 6 if nothing moves for so long. Default: wait
                              (recv waits 10 s for a sender)
  --max-frame-mib N           refuse larger pictures, and frames of a NUT. Default: 64
  --stats                     say at the end what was moved, on standard error

Exit codes: 0 all of it; 1 trouble (no socket, refused, a file error); 2 wrong usage; 3 the input
is not what the flag says; 4 the other end left early or broke the protocol; 5 COMMAND failed; 6
timed out; 7 the limit was reached; 130 interrupted; 141 the reader of the output has left.
)";
}

}  // namespace parley::cli

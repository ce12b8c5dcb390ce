// SPDX-License-Identifier: Apache-2.0
#include "parley/thumb/options.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace parley::thumb {
namespace {

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

std::optional<uint64_t> Number(std::string_view text) {
  uint64_t number = 0;
  if (text.empty() || text.front() < '0' || text.front() > '9' ||
      !absl::SimpleAtoi(Absl(text), &number)) {
    return std::nullopt;
  }
  return number;
}

// "1500", "64k", "10M", "2G": by powers of `base`.
std::optional<uint64_t> Amount(std::string_view text, uint64_t base) {
  uint64_t unit = 1;
  if (!text.empty()) {
    const char last = text.back();
    if (last == 'k' || last == 'K') unit = base;
    if (last == 'm' || last == 'M') unit = base * base;
    if (last == 'g' || last == 'G') unit = base * base * base;
    if (unit != 1) text.remove_suffix(1);
  }
  const std::optional<uint64_t> number = Number(text);
  if (!number.has_value() || *number == 0 ||
      *number > std::numeric_limits<uint64_t>::max() / unit) {
    return std::nullopt;
  }
  return *number * unit;
}

// "90", "1.5": not negative, at most a year of seconds.
std::optional<double> Decimal(std::string_view text) {
  double number = 0;
  if (text.empty() || text.front() < '0' || text.front() > '9' ||
      !absl::SimpleAtod(Absl(text), &number) || !std::isfinite(number) || number > 366.0 * 86400) {
    return std::nullopt;
  }
  return number;
}

// "320", "320x240".
bool ParsePair(std::string_view text, uint32_t max, bool square, uint32_t& first,
               uint32_t& second) {
  const std::size_t x = text.find('x');
  const std::optional<uint64_t> a = Number(text.substr(0, x));
  const std::optional<uint64_t> b =
      x == std::string_view::npos ? (square ? a : std::nullopt) : Number(text.substr(x + 1));
  if (!a.has_value() || !b.has_value() || *a < 1 || *b < 1 || *a > max || *b > max) return false;
  first = static_cast<uint32_t>(*a);
  second = static_cast<uint32_t>(*b);
  return true;
}

// "12.5", "1:30", "1:02:03.5", "25%", "auto".
bool ParseTime(std::string_view text, PictureTime& at) {
  if (text == "auto") {
    at = {};
    return true;
  }
  if (!text.empty() && text.back() == '%') {
    const std::optional<double> part = Decimal(text.substr(0, text.size() - 1));
    if (!part.has_value() || *part > 100) return false;
    at = {.kind = PictureTime::Kind::kPart, .value = std::llround(*part * 10'000)};
    return true;
  }
  double seconds = 0;
  for (int parts = 0; parts < 3; ++parts) {
    const std::size_t colon = text.find(':');
    const std::optional<double> part = Decimal(text.substr(0, colon));
    if (!part.has_value()) return false;
    seconds = 60 * seconds + *part;
    if (colon == std::string_view::npos) {
      at = {.kind = PictureTime::Kind::kNanoseconds, .value = std::llround(seconds * 1e9)};
      return true;
    }
    text.remove_prefix(colon + 1);
  }
  return false;
}

using Setter = bool (*)(ThumbOptions&, std::string_view);

bool SetFormat(ThumbOptions& options, std::string_view text) {
  if (text == "png") options.format = Format::kPng;
  if (text == "ppm") options.format = Format::kPpm;
  if (text == "json") options.format = Format::kJson;
  return text == "png" || text == "ppm" || text == "json";
}

bool SetAmount(uint64_t& to, std::string_view text, uint64_t base) {
  const std::optional<uint64_t> amount = Amount(text, base);
  if (amount.has_value()) to = *amount;
  return amount.has_value();
}

struct Flag {
  Setter set;
  const char* wants;
};

const std::map<std::string_view, Flag>& FlagsWithValues() {
  static const std::map<std::string_view, Flag> flags = {
      {"--size",
       {[](ThumbOptions& o, std::string_view v) {
          return ParsePair(v, kMaxSide, true, o.request.max_width, o.request.max_height);
        },
        "N or WIDTHxHEIGHT, each 1 to 8192"}},
      {"--at",
       {[](ThumbOptions& o, std::string_view v) { return ParseTime(v, o.request.at); },
        "seconds, [H:]MM:SS, a percentage or auto"}},
      {"--grid",
       {[](ThumbOptions& o, std::string_view v) {
          return ParsePair(v, kMaxGridSide, false, o.request.columns, o.request.rows);
        },
        "COLUMNSxROWS, each 1 to 32"}},
      {"--max-pixels",
       {[](ThumbOptions& o, std::string_view v) {
          return SetAmount(o.request.max_pixels, v, 1000);
        },
        "a number of pixels, as 40M"}},
      {"--format", {SetFormat, "png, ppm or json"}},
      {"--output",
       {[](ThumbOptions& o, std::string_view v) {
          o.output = v;
          return !v.empty();
        },
        "a file, a folder or -"}},
      {"--jobs",
       {[](ThumbOptions& o, std::string_view v) {
          const auto number = Number(v);
          o.jobs = static_cast<int>(number.value_or(0) <= 256 ? number.value_or(0) : 0);
          return o.jobs >= 1;
        },
        "1 to 256"}},
      {"--time-limit",
       {[](ThumbOptions& o, std::string_view v) {
          const auto seconds = Decimal(v);
          o.time_limit = absl::Seconds(seconds.value_or(0));
          return seconds.value_or(0) > 0;
        },
        "seconds"}},
      {"--memory-limit",
       {[](ThumbOptions& o, std::string_view v) {
          return SetAmount(o.memory_limit_bytes, v, 1024) && o.memory_limit_bytes <= uint64_t{1}
                                                                                         << 40;
        },
        "bytes, as 512M"}},
      {"--max-input",
       {[](ThumbOptions& o, std::string_view v) {
          return SetAmount(o.max_input_bytes, v, 1024) && o.max_input_bytes <= uint64_t{1} << 40;
        },
        "bytes, as 2G"}},
      {"--worker",
       {[](ThumbOptions& o, std::string_view v) {
          o.worker = v;
          return !v.empty();
        },
        "a program"}},
  };
  return flags;
}

std::string_view LongName(std::string_view flag) {
  if (flag == "-s") return "--size";
  if (flag == "-o") return "--output";
  if (flag == "-j") return "--jobs";
  return flag;
}

bool SetSwitch(ThumbOptions& options, std::string_view flag) {
  if (flag == "--json") {
    options.format = Format::kJson;
  } else if (flag == "--verbose" || flag == "-v") {
    options.verbose = true;
  } else if (flag == "--quiet" || flag == "-q") {
    options.quiet = true;
  } else if (flag == "--help" || flag == "-h") {
    options.help = true;
  } else {
    return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<ThumbOptions> ParseThumbArguments(absl::Span<const std::string> arguments) {
  ThumbOptions options;
  options.jobs = static_cast<int>(std::clamp<unsigned>(std::thread::hardware_concurrency(), 1, 16));
  bool only_files = false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view argument = arguments[i];
    if (only_files || argument == "-" || argument.empty() || argument.front() != '-') {
      options.files.emplace_back(argument);
      continue;
    }
    if (argument == "--") {
      only_files = true;
      continue;
    }
    if (SetSwitch(options, argument)) continue;
    const std::size_t equals = argument.find('=');
    const std::string_view name = LongName(argument.substr(0, equals));
    const auto flag = FlagsWithValues().find(name);
    if (flag == FlagsWithValues().end()) {
      return absl::InvalidArgumentError(absl::StrCat("there is no option ", arguments[i]));
    }
    if (equals == std::string_view::npos && ++i == arguments.size()) {
      return absl::InvalidArgumentError(absl::StrCat(Absl(name), " wants ", flag->second.wants));
    }
    const std::string_view value = equals == std::string_view::npos ? std::string_view(arguments[i])
                                                                    : argument.substr(equals + 1);
    if (!flag->second.set(options, value)) {
      return absl::InvalidArgumentError(
          absl::StrCat(Absl(name), " wants ", flag->second.wants, ", not ", Absl(value)));
    }
  }
  if (options.help) return options;
  options.request.facts = options.format == Format::kJson;
  if (absl::Status status = Validate(options.request); !status.ok()) return status;
  if (options.files.empty()) return absl::InvalidArgumentError("no file was named");
  return options;
}

std::string_view ThumbUsage() {
  return R"(Usage: parley-thumb [options] FILE... | -

Makes a small picture of each film or picture, or says what is in it. Each file is decoded in a
confined process of its own, which cannot open files, make sockets or start programs.

  -s, --size N|WxH      the box that a picture fits into (256); none is enlarged
  --at TIME             of a film: seconds, [H:]MM:SS, 25%, or auto: the key picture before a
                        tenth of the film, the first picture of an animation
  --grid COLSxROWS      that many pictures of a film on one sheet, each as large as --size says
  --format png|ppm|json   what is written (png); --json is the same as --format json
  -o, --output PATH     of one file: the file to write, or - for standard output; of many: a
                        folder that exists. Without it: FILE's name and .png (or .ppm) in this
                        folder; standard output for JSON, one line for each file, and for -
  -j, --jobs N          files at the same time (the number of processors, 16 at most)
  --time-limit SECONDS  for each file, of time and of processor time (20)
  --memory-limit BYTES  of address space for each file, beside its process's libraries (1G)
  --max-pixels N        a larger picture is not decoded (100M)
  --max-input BYTES     a larger file is not read (1G)
  -v, --verbose         a line for each file, and what its process printed
  -q, --quiet           nothing but what went wrong
  --worker PROGRAM      instead of parley-thumb-worker

Exit codes: 0 all of it was made; 1 of some file there is no picture, and a line says why; 2 wrong
arguments; 3 an output could not be written; 4 no confined process can be started here; 129, 130,
143 ended by a signal (SIGHUP, SIGINT, SIGTERM). No file is left half-written.
)";
}

}  // namespace parley::thumb

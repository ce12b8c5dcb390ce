// SPDX-License-Identifier: Apache-2.0
#include "parley/thumb/targets.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <functional>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "parley/boundary/wire_copy.h"
#include "parley/cli/output_file.h"
#include "parley/os/errors.h"

namespace parley::thumb {
namespace {

bool IsFolder(const std::string& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

using FileNumber = std::pair<dev_t, ino_t>;

// Of a regular file that exists.
std::optional<FileNumber> FileNumberOf(const std::string& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
  return FileNumber(info.st_dev, info.st_ino);
}

std::string LastPart(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

const char* Extension(Format format) {
  return format == Format::kPng ? ".png" : format == Format::kPpm ? ".ppm" : ".json";
}

std::string TargetOf(const std::string& file, const ThumbOptions& options) {
  const std::string& output = options.output;
  if (output.empty() && (file == "-" || options.format == Format::kJson)) return "-";
  if (!output.empty() && !IsFolder(output)) return output;
  const std::string name =
      absl::StrCat(file == "-" ? "stdin" : LastPart(file), Extension(options.format));
  if (output.empty()) return name;
  return absl::StrCat(output, output.back() == '/' ? "" : "/", name);
}

// How soon a stop is noticed.
constexpr int kWaitMs = 50;

absl::Status WriteToStandardOutput(const std::string& bytes, const std::function<bool()>& stop) {
  std::string_view rest = bytes;
  while (!rest.empty()) {
    if (stop()) return absl::CancelledError("interrupted");
    pollfd entry = {STDOUT_FILENO, POLLOUT, 0};
    if (::poll(&entry, 1, kWaitMs) <= 0) continue;
    // A pipe that is writable takes so much without waiting.
    const ssize_t written =
        ::write(STDOUT_FILENO, rest.data(), std::min<std::size_t>(rest.size(), PIPE_BUF));
    if (written < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (written < 0 && errno == EPIPE) {
      return absl::UnavailableError("the reader of standard output has left");
    }
    if (written < 0) return ErrnoStatus(errno, "write to standard output");
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<std::string>> TargetsOf(const ThumbOptions& options) {
  std::vector<std::string> targets;
  std::set<std::string> taken;
  std::set<FileNumber> inputs;
  for (const std::string& file : options.files) {
    const auto number = file == "-" ? FileNumberOf("/dev/stdin") : FileNumberOf(file);
    if (number.has_value()) inputs.insert(*number);
  }
  for (const std::string& file : options.files) {
    const std::string target = TargetOf(file, options);
    if (target != "-" && !taken.insert(target).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("two files would be written to ", target, ": name a folder by --output"));
    }
    if (target == "-" && options.format != Format::kJson && options.files.size() > 1) {
      return absl::InvalidArgumentError("pictures of many files do not fit on standard output");
    }
    const auto existing = target == "-" ? std::nullopt : FileNumberOf(target);
    if (existing.has_value() && inputs.count(*existing) != 0) {
      return absl::InvalidArgumentError(absl::StrCat(target, " is an input"));
    }
    targets.push_back(target);
  }
  return targets;
}

absl::Status WriteTarget(const std::string& target, const std::string& bytes,
                         const std::function<bool()>& stop) {
  if (target == "-") return WriteToStandardOutput(bytes, stop);
  absl::StatusOr<cli::OutputFile> file = cli::OutputFile::Create(target);
  if (!file.ok()) return file.status();
  absl::Status written = file->Write(BytesOfWire(absl::MakeConstSpan(bytes.data(), bytes.size())));
  // What is broken is not published: no file is better than half of one.
  if (!written.ok()) return written;
  return file->Publish();
}

}  // namespace parley::thumb

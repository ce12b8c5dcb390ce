// SPDX-License-Identifier: Apache-2.0
#include "parley/thumb/input.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "parley/os/errors.h"
#include "parley/os/unique_fd.h"

namespace parley::thumb {
namespace {

constexpr uint64_t kFirstBytes = uint64_t{256} << 10;
// How soon a stop is noticed.
constexpr int kWaitMs = 50;

absl::Status TooLarge(uint64_t max_bytes) {
  return absl::ResourceExhaustedError(
      absl::StrCat("it is larger than ", max_bytes, " bytes (--max-input)"));
}

// Readable, or at its end. A pipe without a writer yet is neither.
absl::Status AwaitData(int fd, Deadline deadline, const std::function<bool()>& stop) {
  while (true) {
    if (stop()) return absl::CancelledError("interrupted");
    // One look in any case: `stop` may have taken the time.
    const bool last = deadline.Expired();
    pollfd entry = {fd, POLLIN, 0};
    const int ready = ::poll(&entry, 1, last ? 0 : kWaitMs);
    if (ready > 0) return absl::OkStatus();
    if (ready < 0 && errno != EINTR) return ErrnoStatus(errno, "wait for it");
    if (last) return absl::DeadlineExceededError("it did not end in time");
  }
}

absl::StatusOr<SealedBlob> ReadAll(int fd, uint64_t size_hint, uint64_t max_bytes,
                                   Deadline deadline, const std::function<bool()>& stop) {
  absl::StatusOr<SealedBlobWriter> writer =
      SealedBlobWriter::Create(std::min(max_bytes, std::max<uint64_t>(size_hint, 1)) + 1);
  if (!writer.ok()) return writer.status();
  uint64_t have = 0;
  while (true) {
    if (have == writer->buffer().size()) {
      if (have > max_bytes) return TooLarge(max_bytes);
      absl::Status grown = writer->Grow(std::min(max_bytes + 1, 2 * have));
      if (!grown.ok()) return grown;
    }
    if (absl::Status waited = AwaitData(fd, deadline, stop); !waited.ok()) return waited;
    const auto room = writer->buffer().subspan(have);
    const ssize_t got =
        ::read(fd, room.data(), std::min<std::size_t>(room.size(), std::size_t{1} << 20));
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) return ErrnoStatus(errno, "read it");
    if (got == 0) break;
    have += static_cast<uint64_t>(got);
  }
  if (have > max_bytes) return TooLarge(max_bytes);
  if (have == 0) return absl::InvalidArgumentError("the file is empty");
  return std::move(*writer).Seal(have);
}

}  // namespace

absl::StatusOr<SealedBlob> ReadInput(const std::string& path, uint64_t max_bytes, Deadline deadline,
                                     const std::function<bool()>& stop) {
  UniqueFd opened;
  int fd = STDIN_FILENO;
  if (path != "-") {
    // Not blocked by a pipe without a writer.
    opened.Reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!opened.ok()) return ErrnoStatus(errno, "open it");
    fd = opened.get();
  }
  struct stat info;
  if (::fstat(fd, &info) != 0) return ErrnoStatus(errno, "look at it");
  if (S_ISDIR(info.st_mode)) return absl::InvalidArgumentError("this is a folder");
  if (S_ISBLK(info.st_mode) || (S_ISCHR(info.st_mode) && path != "-")) {
    return absl::InvalidArgumentError("this is a device");
  }
  const uint64_t size_bytes =
      S_ISREG(info.st_mode) ? static_cast<uint64_t>(std::max<off_t>(0, info.st_size)) : 0;
  if (size_bytes > max_bytes) return TooLarge(max_bytes);
  return ReadAll(fd, S_ISREG(info.st_mode) ? size_bytes : kFirstBytes, max_bytes, deadline, stop);
}

}  // namespace parley::thumb

#include "parley/examples/film/film_input.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "parley/boundary/wire_copy.h"
#include "parley/os/errors.h"

namespace parley::film {

absl::StatusOr<ReadRequestWire> ParseRead(absl::Span<const std::byte> message,
                                          uint64_t film_bytes) {
  // TRUST: the copy is private; the fields checked are the fields used.
  ReadRequestWire wire;
  if (message.size() != sizeof(wire) || !ReadWire(message, &wire)) {
    return absl::DataLossError(absl::StrCat("a read request of ", message.size(), " bytes"));
  }
  if (wire.reserved != 0) return absl::DataLossError("read request: a reserved field is not zero");
  if (wire.bytes == 0 || wire.bytes > kMaxReadBytes) {
    return absl::DataLossError(absl::StrCat("read request: for ", wire.bytes, " bytes"));
  }
  if (wire.offset > film_bytes || wire.bytes > film_bytes - wire.offset) {
    return absl::DataLossError(absl::StrCat("read request: ", wire.bytes, " bytes from ",
                                            wire.offset, " of a film that has ", film_bytes));
  }
  return wire;
}

absl::StatusOr<FilmInput> FilmInput::Open(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd.ok()) return ErrnoStatus(errno, "open it");
  struct stat info;
  if (::fstat(fd.get(), &info) != 0) return ErrnoStatus(errno, "look at it");
  if (S_ISDIR(info.st_mode)) return absl::InvalidArgumentError("this is a directory, not a film");
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError("this is no regular file");
  if (info.st_size == 0) return absl::InvalidArgumentError("the file is empty");
  return FilmInput(std::move(fd), static_cast<uint64_t>(info.st_size));
}

absl::StatusOr<absl::Span<const std::byte>> FilmInput::Answer(absl::Span<const std::byte> message) {
  const absl::StatusOr<ReadRequestWire> request = ParseRead(message, size_bytes_);
  if (!request.ok()) return request.status();
  if (read_bytes_ / kMaxReadings > size_bytes_ && read_bytes_ > kReadAllowanceBytes) {
    return absl::DataLossError(absl::StrCat("it read the film ", kMaxReadings, " times over"));
  }
  read_bytes_ += request->bytes;
  size_t got = 0;
  while (got < request->bytes) {
    const ssize_t now = ::pread(fd_.get(), piece_.data() + got, request->bytes - got,
                                static_cast<off_t>(request->offset + got));
    if (now < 0 && errno == EINTR) continue;
    if (now < 0) return ErrnoStatus(errno, "read the film");
    if (now == 0) break;
    got += static_cast<size_t>(now);
  }
  return absl::MakeConstSpan(piece_).first(got);
}

}  // namespace parley::film

// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/film_input.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "absl/status/status.h"
#include "parley/os/check.h"
#include "parley/os/errors.h"

namespace parley::film {

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

InputSource FilmInput::Source() const {
  absl::StatusOr<InputSource> source = InputSource::FromFile(fd_.get());
  PARLEY_CHECK(source.ok(), "FilmInput: no regular file");
  source->size_bytes = size_bytes_;
  source->max_read_bytes = std::max(
      kReadAllowanceBytes, kMaxReadings * std::min(size_bytes_, ~uint64_t{0} / kMaxReadings));
  return *std::move(source);
}

}  // namespace parley::film

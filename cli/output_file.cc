// SPDX-License-Identifier: Apache-2.0
#include "parley/cli/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "parley/os/errors.h"

namespace parley::cli {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 16;
constexpr mode_t kMode = 0644;

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string Temporary(const std::string& path) { return absl::StrCat(path, ".part-", ::getpid()); }

}  // namespace

OutputFile::OutputFile(std::string path, UniqueFd fd, std::string temporary, bool direct)
    : fd_(std::move(fd)),
      path_(std::move(path)),
      temporary_(std::move(temporary)),
      direct_(direct) {
  buffer_.reserve(kBufferBytes);
}

OutputFile::~OutputFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

absl::StatusOr<OutputFile> OutputFile::Create(const std::string& path) {
  const std::string what = absl::StrCat("create ", path);
  struct stat info;
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    if (S_ISDIR(info.st_mode)) return ErrnoStatus(EISDIR, what);
    UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY));
    if (!fd.ok()) return ErrnoStatus(errno, what);
    OutputFile file(path, std::move(fd), "", true);
    file.swallows_ = S_ISCHR(info.st_mode) && major(info.st_rdev) == 1;  // memory devices
    return file;
  }
  UniqueFd fd(::open(DirectoryOf(path).c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, kMode));
  if (fd.ok()) return OutputFile(path, std::move(fd), "", false);
  if (errno != EOPNOTSUPP && errno != EISDIR) return ErrnoStatus(errno, what);
  const std::string temporary = Temporary(path);
  fd.Reset(::open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, kMode));
  if (!fd.ok()) return ErrnoStatus(errno, what);
  return OutputFile(path, std::move(fd), temporary, false);
}

absl::Status OutputFile::Broken(int error_number) {
  broken_ = true;
  switch (error_number) {
    case ENOSPC:
      return absl::ResourceExhaustedError(
          absl::StrCat("no space is left on the device of ", path_));
    case EDQUOT:
      return absl::ResourceExhaustedError(
          absl::StrCat("the disk quota is used up: cannot write ", path_));
    case EFBIG:
      return absl::ResourceExhaustedError(absl::StrCat(
          path_, " has reached the limit on the size of files (ulimit -f, or the file system's)"));
    case EPIPE:
      return absl::UnavailableError(absl::StrCat("the reader of ", path_, " has left"));
    default:
      return ErrnoStatus(error_number, absl::StrCat("write ", path_));
  }
}

absl::Status OutputFile::WriteOut(absl::Span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_.get(), bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return Broken(errno);
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status OutputFile::Flush() {
  const absl::Status written = WriteOut(buffer_);
  buffer_.clear();
  if (written.ok()) whole_bytes_ = marked_bytes_;
  return written;
}

absl::Status OutputFile::Write(absl::Span<const std::byte> bytes) {
  if (broken_) return absl::FailedPreconditionError(absl::StrCat(path_, " is broken"));
  size_bytes_ += bytes.size();
  if (buffer_.size() + bytes.size() > kBufferBytes) {
    const absl::Status flushed = Flush();
    if (!flushed.ok()) return flushed;
  }
  if (bytes.size() >= kBufferBytes) return WriteOut(bytes);
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  return absl::OkStatus();
}

absl::Status OutputFile::WriteAt(off_t offset, absl::Span<const std::byte> bytes) {
  if (!broken_) {
    const absl::Status flushed = Flush();
    if (!flushed.ok()) return flushed;
  }
  if (direct_) {
    return absl::FailedPreconditionError(absl::StrCat(path_, " is no regular file"));
  }
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd_.get(), bytes.data(), bytes.size(), offset);
    if (written < 0) {
      if (errno == EINTR) continue;
      return Broken(errno);
    }
    offset += written;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status OutputFile::Publish() {
  if (!broken_) {
    // An error here is the first one: what was whole before it is kept all the same.
    const absl::Status flushed = Flush();
    if (!flushed.ok()) {
      if (!direct_) static_cast<void>(Publish());
      return flushed;
    }
  }
  if (direct_) return absl::OkStatus();
  if (broken_) {
    if (whole_bytes_ == 0) {
      return absl::DataLossError(absl::StrCat("nothing of ", path_, " is whole"));
    }
    if (::ftruncate(fd_.get(), static_cast<off_t>(whole_bytes_)) != 0) return Broken(errno);
  }
  return GiveName();
}

absl::Status OutputFile::GiveName() {
  const std::string what = absl::StrCat("give ", path_, " its name");
  if (temporary_.empty()) {
    // linkat never replaces: take the name directly if it is free, else by way of a temporary one.
    const std::string self = absl::StrCat("/proc/self/fd/", fd_.get());
    if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, path_.c_str(), AT_SYMLINK_FOLLOW) == 0) {
      return absl::OkStatus();
    }
    if (errno != EEXIST) return ErrnoStatus(errno, what);
    const std::string temporary = Temporary(path_);
    if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, temporary.c_str(), AT_SYMLINK_FOLLOW) != 0) {
      return ErrnoStatus(errno, what);
    }
    temporary_ = temporary;
  }
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) return ErrnoStatus(errno, what);
  temporary_.clear();
  return absl::OkStatus();
}

}  // namespace parley::cli

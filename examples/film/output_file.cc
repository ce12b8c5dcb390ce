#include "parley/examples/film/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "parley/os/errors.h"

namespace parley::film {
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
    return OutputFile(path, std::move(fd), "", true);
  }
  UniqueFd fd(::open(DirectoryOf(path).c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, kMode));
  if (fd.ok()) return OutputFile(path, std::move(fd), "", false);
  if (errno != EOPNOTSUPP && errno != EISDIR) return ErrnoStatus(errno, what);
  const std::string temporary = Temporary(path);
  fd.Reset(::open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, kMode));
  if (!fd.ok()) return ErrnoStatus(errno, what);
  return OutputFile(path, std::move(fd), temporary, false);
}

absl::Status OutputFile::WriteOut(absl::Span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_.get(), bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(errno, absl::StrCat("write ", path_));
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status OutputFile::Flush() {
  const absl::Status written = WriteOut(buffer_);
  buffer_.clear();
  return written;
}

absl::Status OutputFile::Write(absl::Span<const std::byte> bytes) {
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
  const absl::Status flushed = Flush();
  if (!flushed.ok()) return flushed;
  if (direct_) {
    return absl::FailedPreconditionError(absl::StrCat(path_, " is no regular file"));
  }
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd_.get(), bytes.data(), bytes.size(), offset);
    if (written < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(errno, absl::StrCat("write ", path_));
    }
    offset += written;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status OutputFile::Publish() {
  const absl::Status flushed = Flush();
  if (!flushed.ok()) return flushed;
  if (direct_) return absl::OkStatus();
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

}  // namespace parley::film
